"""Checkpoints: what a run goes on from, and what of a file fits a model."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader, Runner
from torch import Tensor

from mimplug.converters import (
    compare,
    load_strict,
    read_file,
    select_state,
    strip_ddp,
)
from mimplug.engine.checkpoint import find_latest, hook_folder, read_header
from mimplug.errors import CheckpointError, ConfigError
from mimplug.evaluation import bare_model
from mimplug.models.run_record import check_filter, run_record, saved_record

# The backbone resizes them to its own grid while it loads.
RESIZABLE = ('*pos_embed', )
STRICT = 'mimplug-strict:'


@CheckpointLoader.register_scheme(prefixes=STRICT)
def load_from_strict_file(filename: str, map_location: Any = None) -> Any:
    """Lets MMEngine read a file without running its pickles.

    For a file that it cannot read in safe mode MMEngine falls back to
    running them.

    Args:
        filename (str): :data:`STRICT` and a path.
        map_location (str, optional): Not used: tensors stay on the CPU until
            the model and the optimiser take them.

    Returns:
        dict: Content, every object that is no tensor or container inert.

    Raises:
        CheckpointError: The file cannot be read.
    """
    return read_file(filename.removeprefix(STRICT))


def start_from(runner: Runner, path: str | None) -> None:
    """Makes the runner read this file and no other.

    Args:
        runner (Runner): Before its training.
        path (str, optional): Path, or address of one of MMEngine's schemes.
            None: no file, also where the config says resume.

    Raises:
        CheckpointError: The processes of a run name different files.
    """
    _check_agreement(path)
    if path is None:
        runner._resume = False
        return
    local = Path(path).expanduser()
    runner._load_from = f'{STRICT}{local}' if local.is_file() else path
    runner.register_hook(LoadReportHook(path))


def _check_agreement(path: str | None) -> None:
    """Refuses to start where the processes would go on from several files.

    Each has looked for itself, before they could speak with each other; a
    network file system may show them different lists for a while.
    """
    found = dist.all_gather_object(path)
    if any(other != path for other in found):
        raise CheckpointError(
            'the processes found different checkpoints to go on from: '
            f'{dict(enumerate(found))}; start again, or name one by '
            '--resume PATH')


def first_checkpoint(cfg: Config) -> str | None:
    """Returns the file that the runner will start from, if any.

    Args:
        cfg (Config): Read: ``resume``, ``load_from``, ``work_dir``.

    Returns:
        str | None: Path or address.
    """
    path: str | None = cfg.get('load_from')
    if path is not None or not cfg.get('resume'):
        return path
    hooks = [*(cfg.get('default_hooks') or {}).values(),
             *(cfg.get('custom_hooks') or [])]
    folders = [hook_folder(hook['out_dir'], cfg.work_dir)
               for hook in hooks if isinstance(hook, Mapping)
               and str(hook.get('type')).endswith('CheckpointHook')
               and hook.get('out_dir')]
    return find_latest(cfg.work_dir, folders)


def keep_seed(cfg: Config, path: str, asked: int | None = None) -> list[str]:
    """Gives a resumed run the seed that its checkpoint was trained with.

    MMEngine reads it after it has built the loaders, which then draw another
    order and other crops than the model's masks belong to.

    Args:
        cfg (Config): ``randomness.seed`` is replaced.
        path (str): Checkpoint of a run.
        asked (int, optional): Seed that the user wants.

    Returns:
        list[str]: Lines for the log.

    Raises:
        CheckpointError: The file is no checkpoint of a run.
        ConfigError: Another seed is asked for.
    """
    content = _header(path)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping) or 'iter' not in meta:
        raise CheckpointError(
            f'{path}: holds no position of a run to resume; to start a new '
            'run from its weights, use load_from without resume')
    seed = meta.get('seed')
    if seed is None:
        return []
    if asked not in (None, seed):
        raise ConfigError(
            f'seed {asked} is asked for, but {path} was trained with seed '
            f'{seed}, which a resumed run keeps; leave --seed out')
    randomness = cfg.get('randomness') or {}
    cfg.randomness = dict(randomness, seed=seed)
    return [f'Seed {seed} of {path} (config: {randomness.get("seed")})']


def _header(path: str) -> Any:
    """All but the tensors of a file; of another kind of file, everything."""
    try:
        return read_header(path)
    except CheckpointError:
        return read_file(path)


class StrictLoadHook(Hook):
    """Reads a file without running its pickles; every tensor must fit.

    MMEngine's own loading only warns about tensors that do not.

    Args:
        path (str): Checkpoint of a run.

    Raises:
        CheckpointError: The file cannot be read.
    """

    priority = 'VERY_LOW'  # after the hooks that add models, such as EMAHook

    def __init__(self, path: str) -> None:
        self.path = path
        self.content: Any = read_file(path)

    def before_run(self, runner: Runner) -> None:
        """Loads.

        Args:
            runner (Runner): Its model receives the weights.

        Raises:
            CheckpointError: The file belongs to another model, or to images
                that were filtered in another way.
        """
        runner.call_hook('after_load_checkpoint', checkpoint=self.content)
        _check_filter(runner, self.content, self.path)
        load_strict(bare_model(runner.model),
                    select_state(self.content, source=self.path),
                    resizable=RESIZABLE, source=self.path)
        runner.logger.info(f'Loaded {self.path}')


class LoadReportHook(Hook):
    """Says how much of the file that a run starts from fits its model.

    A backbone alone, or a student without its teacher, is a start. A file
    of which nothing fits would be training from scratch unnoticed.

    Args:
        path (str): The file, for messages.

    Raises:
        CheckpointError: No tensor fits.
    """

    priority = 'VERY_LOW'  # after the hooks that rewrite what was read

    def __init__(self, path: str) -> None:
        self.path = path

    def after_load_checkpoint(self, runner: Runner,
                              checkpoint: dict) -> None:
        """Compares, before MMEngine loads what fits.

        Args:
            runner (Runner): Its model receives the weights.
            checkpoint (dict): Content of the file.

        Raises:
            CheckpointError: No tensor fits.
        """
        model = bare_model(runner.model)
        _check_filter(runner, checkpoint, self.path)
        # the part that MMEngine takes
        state = checkpoint.get('state_dict', checkpoint)
        tensors = strip_ddp({name: value for name, value in state.items()
                             if isinstance(value, Tensor)})
        # without one in the file the teacher starts as the student
        taught = any(name.startswith('teacher.') for name in tensors)
        report = compare(model, tensors, resizable=RESIZABLE,
                         allow_missing=() if taught else ('teacher.*', ))
        text = f'{self.path} and {type(model).__name__}: {report.describe()}'
        if not report.loaded:
            raise CheckpointError(
                f'{text}\n  hint: names of other programs are translated by '
                "init_cfg=dict(type='mimplug.Pretrained', checkpoint=..., "
                'key=..., prefix=..., converter=...) of the backbone')
        if report.missing or report.unexpected or report.misshaped:
            runner.logger.warning(
                f'Only a part of the weights is loaded. {text}')


def _check_filter(runner: Runner, content: Any, path: str) -> None:
    """Refuses weights that are used to images filtered in another way."""
    present = run_record(bare_model(runner.model))['input_filter']
    check_filter(saved_record(content), present, path)
