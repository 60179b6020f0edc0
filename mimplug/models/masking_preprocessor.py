"""Masked views for siamese algorithms that know nothing of masks."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import dist
from mmengine.model import BaseDataPreprocessor
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.draws import Draws, HashDraws, SampleKeys
from mimplug.errors import ConfigError, suggest
from mimplug.masking import ImageMasker
from mimplug.registry import MODELS
from mimplug.schedules import Progress

from .run_record import Record, make_record
from .targets import build_input_filter, build_saliency

ENTRY = ('views', 'mask_generator', 'fill', 'cells')


def build_view_masks(view_masks: Sequence[Mapping[str, Any]], *,
                     image_size: int | tuple[int, int] | None = None
                     ) -> dict[int, ImageMasker]:
    """Maskers by view.

    Args:
        view_masks (Sequence[dict]): Each with ``views``, a list of view
            numbers, and the arguments of :class:`ImageMasker`.
        image_size (int | tuple[int, int], optional): (H, W) of the views, to
            be checked. Defaults to None: when the first batch comes.

    Returns:
        dict[int, ImageMasker]: Each masked view once.

    Raises:
        ConfigError: An entry is wrong, or a view has two.
    """
    maskers: dict[int, ImageMasker] = {}
    for entry in view_masks:
        for name in entry:
            if name not in ENTRY:
                raise ConfigError(
                    f'view_masks: {name!r}: {suggest(name, ENTRY)}')
        missing = [name for name in ENTRY[:3] if name not in entry]
        views = entry.get('views', ())
        if missing or not views or any(
                not isinstance(view, int) or view < 0 for view in views):
            raise ConfigError(
                f'view_masks: {dict(entry)!r}: needed are views=[0, …], '
                'mask_generator=dict(…) and fill=dict(…)')
        masker = ImageMasker(**{
            name: entry[name] for name in ENTRY[1:] if name in entry})
        if image_size is not None:
            masker.check(image_size)
        for view in views:
            if view in maskers:
                raise ConfigError(f'view_masks: view {view} has two entries')
            maskers[view] = masker
    return maskers


@MODELS.register_module()
class MaskingDataPreprocessor(BaseDataPreprocessor):
    """Gives stock siamese algorithms masked views, by config only.

    In training each view that ``view_masks`` names is masked and filled after
    normalisation and input filter; the other views, and all images of an
    evaluation, only go through the filter. SimCLR, BYOL, SimSiam, MoCo,
    BarlowTwins and others of MMPretrain so become masked siamese networks;
    Masked Siamese ConvNets (MSCN) are such a config::

        data_preprocessor=dict(
            type='mimplug.MaskingDataPreprocessor',
            input_filter=dict(type='mimplug.HighPass'),
            view_masks=[dict(
                views=[0], mask_generator=dict(type='RandomMask', ratio=0.15),
                fill=dict(type='NoiseFill'), cells=7)])

    Draws are keyed by sample, epoch and view, so ``mimplug.ProgressHook``
    must be among the hooks. Methods that mix images or use hard negatives
    need an algorithm of ours, such as ``mimplug.SaliencyMoCo``.

    Args:
        view_masks (Sequence[dict]): See :func:`build_view_masks`. Defaults
            to none.
        saliency (dict, optional): A target with its own network, formula or
            maps, for generators that ask for saliency; it sees the views
            before filter and masks. Defaults to None.
        input_filter (dict, optional): For every image, in training and in
            evaluation, e.g. ``dict(type='mimplug.HighPass')``; recorded in
            checkpoints. Defaults to None.
        base (dict, optional): The data preprocessor that stacks and
            normalises. Defaults to ``mimplug.MultiViewDataPreprocessor``
            with ``kwargs``.
        image_size (int | tuple[int, int], optional): Of the views; lets the
            build fail if they have no such cells. Defaults to None: the first
            batch fails.
        draws_seed (int, optional): Seed of the masks. Defaults to None: that
            of the run.
        **kwargs: Arguments of the default ``base``: ``mean``, ``std``.

    Raises:
        ConfigError: Parts do not fit together.
    """

    def __init__(self, view_masks: Sequence[Mapping[str, Any]] = (), *,
                 saliency: Mapping[str, Any] | nn.Module | None = None,
                 input_filter: Mapping[str, Any] | nn.Module | None = None,
                 base: Mapping[str, Any] | nn.Module | None = None,
                 image_size: int | tuple[int, int] | None = None,
                 draws_seed: int | None = None, **kwargs: Any) -> None:
        super().__init__()
        if base is not None and kwargs:
            raise ConfigError(
                f'{", ".join(sorted(kwargs))}: with base=dict(...) write '
                'these into it')
        self.base: Any = base
        if not isinstance(base, nn.Module):
            self.base = BUILD.build(dict(
                base or dict(type='mimplug.MultiViewDataPreprocessor'),
                **kwargs))
        self.maskers = build_view_masks(view_masks, image_size=image_size)
        self.saliency = build_saliency(saliency, has_encoder=False)
        self.input_filter = build_input_filter(input_filter)
        self._check_saliency()
        self.draws_seed = draws_seed
        self._progress: Progress | None = None

    def _check_saliency(self) -> None:
        """Whether it is there where it is asked for, and only there."""
        asking = [masker for masker in self.maskers.values()
                  if masker.needs.saliency]
        if asking and self.saliency is None:
            name = type(asking[0].mask_generator).__name__
            raise ConfigError(
                f'view_masks: {name} needs saliency: give '
                "saliency=dict(type='mimplug.SCDA', backbone=...) or "
                "dict(type='mimplug.SpectralResidual')")
        if self.saliency is not None and not asking:
            raise ConfigError(
                'saliency: no generator in view_masks looks at it; leave it '
                'out')

    def init_weights(self) -> None:
        """Loads the weights of the localiser."""
        if self.saliency is not None:
            self.saliency.init_weights()

    def set_progress(self, progress: Progress) -> None:
        """Tells where the run stands; ``mimplug.ProgressHook`` does.

        Args:
            progress (Progress): Optimiser steps and epochs.
        """
        self._progress = progress

    @property
    def progress(self) -> Progress:
        """Where the run stands.

        Raises:
            RuntimeError: Nobody has said so yet.
        """
        if self._progress is None:
            raise RuntimeError(
                'the data preprocessor does not know the position of the '
                "run: add dict(type='mimplug.ProgressHook') to custom_hooks, "
                'or call set_progress(Progress(…))')
        return self._progress

    def run_record(self) -> Record:
        """Filter and localiser, for checkpoints."""
        return make_record(self.input_filter, self.saliency)

    def forward(self, data: Any, training: bool = False) -> Any:
        """Prepares one batch.

        Args:
            data (dict): As the loader gives it, for ``base``.
            training (bool): Whether views are masked. Defaults to False.

        Returns:
            dict: ``inputs`` and ``data_samples`` as of ``base``; for
            training a list of views (B, 3, H, W).

        Raises:
            ConfigError: A view that is to be masked is not there, or has no
                such cells.
            RuntimeError: In training, nobody has said where the run stands.
        """
        batch = self.base(data, training)
        inputs = batch['inputs']
        if not training or not self.maskers:
            return dict(batch, inputs=self._filtered(inputs))
        if not isinstance(inputs, (list, tuple)) or len(inputs) <= max(
                self.maskers):
            number = len(inputs) if isinstance(inputs, (list, tuple)) else 1
            raise ConfigError(
                f'view_masks names view {max(self.maskers)}, the pipeline '
                f'gives {number} view(s) of an image; the first is 0')
        samples = batch.get('data_samples')
        views = [self._masked(view, image, samples)
                 for view, image in enumerate(inputs)]
        return dict(batch, inputs=views)

    def _masked(self, view: int, images: Tensor,
                samples: Sequence | None) -> Tensor:
        """One view, filtered and, if it is to be, masked."""
        masker = self.maskers.get(view)
        if masker is None:
            filtered: Tensor = self._filtered(images)
            return filtered
        progress, maps = self.progress, None
        if masker.needs.saliency:
            maps = self.saliency(images, samples, view=view)
        masked, _ = masker(
            self._filtered(images), self.draws(samples, view, len(images)),
            progress, maps)
        return masked

    def draws(self, data_samples: Sequence | None, view: int,
              batch_size: int) -> Draws:
        """Random numbers of one view of a batch, keyed by sample.

        A test may put another function in its place to replay draws.

        Args:
            data_samples (Sequence[DataSample], optional): Carry
                ``sample_key``; without one the position in the batch counts.
            view (int): Which view.
            batch_size (int): B on this rank.

        Returns:
            Draws: For B rows.
        """
        step, rank = (self._progress or Progress()).step, dist.get_rank()
        if data_samples and hasattr(data_samples[0], 'sample_key'):
            keys = SampleKeys.from_data_samples(data_samples)
        else:
            keys = SampleKeys.arange(batch_size, step, rank)
        return HashDraws(self.draws_seed or 0, step, keys, views=[view],
                         rank=rank)

    def _filtered(self, inputs: Any) -> Any:
        """Images or a list of views behind the input filter."""
        if self.input_filter is None:
            return inputs
        if isinstance(inputs, (list, tuple)):
            return [self.input_filter(images) for images in inputs]
        return self.input_filter(inputs)
