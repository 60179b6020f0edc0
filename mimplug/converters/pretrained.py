"""``init_cfg`` type that loads weights strictly."""
from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.model.weight_init import update_init_info
from torch import nn

from mimplug.errors import CheckpointError, ConfigError, check_range
from mimplug.models.run_record import MARK, Record, check_filter, saved_record
from mimplug.registry import WEIGHT_INITIALIZERS

from .key_maps import get_key_map, key_map_names
from .matching import LoadReport, compare, load_strict
from .reader import Tensors, read_file, select_state, take_prefix


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """Initialises a module from a weight file, or fails and says why.

    MMEngine's ``Pretrained`` runs pickles and only warns when names do not
    fit; this one reads files by :func:`mimplug.converters.read_file` and
    refuses a partial fit that nobody asked for. Use::

        init_cfg=dict(type='mimplug.Pretrained', checkpoint='ibot.pth',
                      key='teacher', converter='ibot', prefix='backbone.')

    A file of a run whose images went through an input filter is loaded only
    where the same filter stands before the module: that of the algorithm, or
    of ``mimplug.InputFilterHook``.

    Steps: read, take ``key``, rename by ``converter``, take ``prefix``,
    compare, load. As with the stock type, sub-modules draw their own initial
    weights first, and the loaded ones win.

    Args:
        checkpoint (str): Path or address of a ``.pth``, ``.pt``, ``.npz`` or
            ``.safetensors`` file.
        key (str, optional): Entry that holds the state dict, e.g.
            ``'teacher'``. Defaults to None: the only one there is, or with a
            ``converter`` that knows them a whole training checkpoint.
        prefix (str, optional): Load only names that start with it (in our
            spelling), without it. Defaults to None.
        converter (str, optional): Key map by which foreign names become ours
            (``'ibot'``, ``'timm'``). Defaults to None.
        min_share (float): Share of the module's tensors that must be loaded,
            in (0, 1]. Defaults to 1.
        allow_missing (Sequence[str]): Shell patterns of module names that the
            file need not have (``'mask_token'``, ``'head.*'``).
        allow_unexpected (Sequence[str]): Shell patterns of file names, after
            prefix and renaming, that may be left out.
        resize_pos_embed (bool): Let the module's own load hook resize
            position embeddings. Defaults to False: another shape is an error.

    Raises:
        ConfigError: A setting is wrong.
        CheckpointError: When called: the file does not fit, or its images
            were filtered in another way.
    """

    wholemodule = False

    def __init__(self, checkpoint: str, key: str | None = None,
                 prefix: str | None = None, converter: str | None = None, *,
                 min_share: float = 1.0, allow_missing: Sequence[str] = (),
                 allow_unexpected: Sequence[str] = (),
                 resize_pos_embed: bool = False) -> None:
        check_range('min_share', min_share, 1e-9, 1.0)
        for name, value in (('allow_missing', allow_missing),
                            ('allow_unexpected', allow_unexpected)):
            if isinstance(value, str):
                raise ConfigError(
                    f'{name}={value!r}: allowed is a list of patterns')
        self.key_map = get_key_map(converter) if converter else None
        self.checkpoint = checkpoint
        self.key = key
        self.prefix = prefix
        self.min_share = min_share
        self.allow_missing = tuple(allow_missing)
        self.allow_unexpected = tuple(allow_unexpected)
        self.resizable = ('*pos_embed',) if resize_pos_embed else ()
        self._record: Record | None = None

    def __call__(self, module: nn.Module) -> LoadReport:
        """Loads the weights.

        Args:
            module (nn.Module): Receives them.

        Returns:
            LoadReport: What was loaded.
        """
        tensors = self.read()
        check_filter(self._record, getattr(module, MARK, None),
                     self.checkpoint)
        if hasattr(module, '_params_init_info'):
            self._init_parts(module)
        try:
            report = load_strict(
                module, tensors, min_share=self.min_share,
                allow_missing=self.allow_missing,
                allow_unexpected=self.allow_unexpected,
                resizable=self.resizable, source=self.checkpoint)
        except CheckpointError as error:
            raise CheckpointError(
                f'{error}{self._hint(module, tensors)}') from error
        self._log(module, report)
        if hasattr(module, '_params_init_info'):
            update_init_info(
                module, init_info=f'mimplug.Pretrained: {self.checkpoint}')
        return report

    def read(self) -> Tensors:
        """The tensors that the file offers, in our names.

        Raises:
            CheckpointError: No file, no such key or prefix.
        """
        content = read_file(self.checkpoint)
        self._record = saved_record(content)
        key_map = self.key_map
        if key_map is None:
            tensors = select_state(content, self.key, self.checkpoint)
        elif self.key is None and key_map.is_training(content):
            tensors = key_map.read_training(content)  # type: ignore[misc]
        else:
            tensors = key_map.read(
                select_state(content, self.key, self.checkpoint),
                keep_unknown=True)
        return take_prefix(tensors, self.prefix, self.checkpoint)

    def _init_parts(self, module: nn.Module) -> None:
        """Lets sub-modules draw first, as MMEngine does for its own type.

        MMEngine runs any other initialiser *before* the sub-modules', which
        would draw over the loaded weights.
        """
        if self.wholemodule:  # named by `override` in the parent's init_cfg
            _init_once(module)
            return
        for part in module.children():
            _init_once(part)
        self._announce(module)

    def _announce(self, module: nn.Module) -> None:
        """Turns the module's init_cfg into the stock type's.

        Backbones of MMPretrain ask ``init_cfg['type'] == 'Pretrained'`` after
        loading and re-draw the position embedding otherwise.
        """
        given = getattr(module, 'init_cfg', None)
        if isinstance(given, (list, tuple)):
            kinds = [_is_ours(cfg) for cfg in given]
            if True in kinds and not all(kinds[kinds.index(True):]):
                raise ConfigError(
                    'init_cfg: mimplug.Pretrained must come last in the '
                    'list, or the next entry draws over the loaded weights')
        module.init_cfg = dict(  # type: ignore[assignment]
            type='Pretrained', checkpoint=self.checkpoint, prefix=self.prefix)

    def _hint(self, module: nn.Module, tensors: Tensors) -> str:
        """What would have fitted better."""
        hints = []
        found = compare(module, tensors)
        if any(name.endswith('pos_embed') for name, _, _ in found.misshaped):
            hints.append('resize_pos_embed=True resizes position embeddings')
        for name in key_map_names() if self.key_map is None else ():
            try:
                renamed = get_key_map(name).read(tensors, keep_unknown=True)
            except CheckpointError:
                continue
            better = len(compare(module, renamed).loaded)
            if better > len(found.loaded):
                hints.append(f'converter={name!r} fits {better} tensors')
        return ''.join(f'\n  hint: {hint}' for hint in hints)

    def _log(self, module: nn.Module, report: LoadReport) -> None:
        """One line; a warning with the names if a part stays as it was."""
        level = logging.WARNING if report.missing else logging.INFO
        print_log(
            f'mimplug.Pretrained: {self.checkpoint} -> '
            f'{type(module).__name__}: {report.describe()}'
            + (f' ({report.excused} more need not be there)'
               if report.excused else ''),
            logger='current', level=level)


def _is_ours(cfg: dict) -> bool:
    """Whether an init_cfg entry is of this type."""
    return cfg['type'] in ('mimplug.Pretrained', Pretrained)


def _init_once(module: nn.Module) -> None:
    """Runs ``init_weights`` and keeps MMEngine from running it again."""
    if is_model_wrapper(module) and not hasattr(module, 'init_weights'):
        module = module.module  # type: ignore[assignment]
    if hasattr(module, 'init_weights') and not getattr(
            module, 'is_init', False):
        module.init_weights()  # type: ignore[operator]
        update_init_info(module, init_info='Initialized by init_weights of '
                         f'{type(module).__name__}')
        module.is_init = True  # type: ignore[assignment]
