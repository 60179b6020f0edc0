"""MoCo v2 with masks, mixtures and hard negatives as options."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_range
from mimplug.registry import MODELS

from ..losses import InfoNCE, MixTargets
from ..memory import RingBuffer, gather_rows
from ..shuffle import encode_shuffled, shuffle_order
from ..split_norm import split_batch_norms
from ..teacher import Teacher
from .siamese import Losses, Siamese, key_copy, unit
from .siamese_views import Seen


def width_of(neck: nn.Module) -> int:
    """Channels that a neck gives: those of its last linear layer.

    Args:
        neck (nn.Module): A neck of MMPretrain, or a sequence of layers.

    Raises:
        ConfigError: It has no linear layer.
    """
    linear = [part for part in neck.modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise ConfigError(
            f'neck {type(neck).__name__} has no linear layer, so the width '
            'of the queue is not known; use MoCoV2Neck or NonLinearNeck')
    return linear[-1].out_features


@MODELS.register_module()
class MoCo(Siamese):
    r"""Momentum contrast (v2); with ``mixes`` MixMask and Un-Mix.

    .. math::
        \ell(q, k) = -\log \frac{e^{q \cdot k / T}}
        {e^{q \cdot k / T} + \sum_{n \in queue} e^{q \cdot n / T}}

    One step: the encoder sees the query view, then each mixture of it; the
    key encoder moves towards the encoder (parameters only: its batch norms
    keep statistics of their own), once an optimiser step, on its first
    micro-batch; it encodes the key view, in shuffled order over all
    processes; all queries meet the queue in one product; keys enter the
    queue, those of mixtures and hard negatives do not.

    **What moves when.** The key encoder at the beginning of every optimiser
    step, also of one that is skipped afterwards or follows a skipped one, as
    released: it moves towards parameters that are finite. The queue on every
    micro-batch whose loss is finite on all ranks. In evaluation mode nothing.

    The position in the run comes from ``mimplug.ProgressHook``.

    Args:
        backbone (dict | nn.Module): See :class:`Siamese`.
        neck (dict | nn.Module): Usually ``MoCoV2Neck``.
        queue (int): K, keys that are kept, >= 1; need not be a multiple of
            the batch. Defaults to 65536.
        temperature (float): T > 0. Defaults to 0.2.
        momentum (float): Share that the key encoder keeps in a step, in
            [0, 1]. Defaults to 0.999.
        shuffle_bn (bool): Shuffle keys over processes. Defaults to True.
        split_bn (int, optional): Batch norms of both encoders see so many
            parts of a batch, and keys are shuffled between them: what
            several processes do, in one. Defaults to None.
        symmetric (bool): Adds the loss with exchanged views and stores both
            keys. Defaults to False.
        interleave_keys (bool): Keys of all processes enter the queue in the
            order in which the sampler dealt out the images, so that a queue
            that the batch does not divide holds the same for any number of
            processes. False: rank after rank, as released. Defaults to True.
        **kwargs: Arguments of :class:`SiameseViews`.

    Raises:
        ConfigError: A value out of range, or parts that do not fit together.

    Source: He et al., MoCo (arXiv 1911.05722), Chen et al., MoCo v2
    (arXiv 2003.04297), ``moco/builder.py`` of facebookresearch/moco;
    ``moco/builder.py`` and ``moco/builder_both.py`` of kirill-vish/MixMask.
    The symmetric loss is that of the MoCo CIFAR demo; mixtures of both views
    with it are ours (Un-Mix mixes the first view only).
    """

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module,
                 *, queue: int = 65536, temperature: float = 0.2,
                 momentum: float = 0.999, shuffle_bn: bool = True,
                 split_bn: int | None = None, interleave_keys: bool = True,
                 **kwargs: Any) -> None:
        super().__init__(backbone, neck, **kwargs)
        check_range('momentum', momentum, 0.0, 1.0)
        if queue < 1:
            raise ConfigError(f'queue={queue!r}: allowed is >= 1')
        self.momentum, self.shuffle_bn = momentum, shuffle_bn
        self.interleave_keys = interleave_keys
        if split_bn is not None:
            split_batch_norms(
                nn.ModuleList([self.backbone, self.neck]), split_bn)
        self.split_bn = split_bn
        self.teacher = Teacher(backbone=key_copy(self.backbone),
                               neck=key_copy(self.neck))
        self.queue = RingBuffer(queue, width_of(self.neck))
        alpha = self.hard_negative.alpha if self.hard_negative else 1.0
        self.contrast = InfoNCE(temperature, alpha)
        # optimiser step in which the key encoder has moved
        self._moved_at: int | None = None

    def loss(self, inputs: Sequence[Tensor],
             data_samples: Sequence | None = None) -> Losses:
        """One training step.

        Args:
            inputs (Sequence[Tensor]): Query view, key view, (B, 3, H, W).
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: See :meth:`Siamese.report`; ``raw/positive``, the mean
            share of the positive in the softmax of clean queries, and
            ``raw/queue``, the share of the queue that holds keys.

        Raises:
            ValueError: Fewer than two views.
            RuntimeError: ``set_progress`` was never called.
        """
        seen = self.look(inputs, data_samples)
        queries, targets = zip(*(
            self._queries(seen, query) for query, _ in self.pairs))
        self._move_key_encoder()
        keys = torch.stack([
            self._keys(seen.key[view], seen, f'keys{pair}')
            for pair, (_, view) in enumerate(self.pairs)])
        terms = self.contrast.terms(
            torch.stack(queries), torch.stack([
                target.positives(key) for target, key in zip(targets, keys)]),
            self.queue.rows, hard=self._hard(seen))
        sums = torch.stack([target.sums(term) for target, term
                            in zip(targets, terms)]).sum(dim=0)
        losses = self.report(sums, terms[0], targets[0], seen)
        with torch.no_grad():
            losses['raw/positive'] = terms[0, 0, :, 0].neg().exp().mean()
            losses['raw/queue'] = self.queue.fill_fraction
            self._remember(keys, sums.sum())
        return losses

    def _queries(self, seen: Seen, view: int) -> tuple[Tensor, MixTargets]:
        """Unit queries (Q, B, D) of a view and its mixtures."""
        mixed = self.mixtures(seen, view)
        passes = [seen.query[view], *(mix.images for mix in mixed)]
        return (torch.stack([unit(self.encode(images)) for images in passes]),
                self.targets_of(mixed, seen.query[view]))

    def _move_key_encoder(self) -> None:
        """Moving average, in the first micro-batch of an optimiser step."""
        step = self.progress.step
        if self.training and self._moved_at != step:
            self.teacher.update(self, self.momentum)
            self._moved_at = step

    @torch.no_grad()
    def _keys(self, images: Tensor, seen: Seen, name: str) -> Tensor:
        """Unit keys (B, D) of images, shuffled on their way."""
        order = None
        if self.shuffle_bn and (self.split_bn or get_world_size() > 1):
            order = shuffle_order(seen.draws, f'shuffle/{name}', len(images),
                                  images.device)
        return encode_shuffled(
            lambda part: unit(self.encode_key(part)), images, order)

    def _hard(self, seen: Seen) -> Tensor | None:
        """Hard negatives (S, 1, B, n, D) of the queries of each pair."""
        if self.hard_negative is None:
            return None
        found = [torch.stack(self._hard_keys(seen, pair), dim=1)
                 for pair in range(len(self.pairs))]
        return torch.stack(found).unsqueeze(1)

    def _hard_keys(self, seen: Seen, pair: int) -> list[Tensor]:
        """Of each mask the keys (B, D) of the views that it hides."""
        return [self._keys(images, seen, f'hard{pair}/{i}') for i, images
                in enumerate(self.hard_images(seen, pair))]

    def _remember(self, keys: Tensor, loss: Tensor) -> None:
        """Keys (S, B, D) enter the queue if all ranks' losses are finite."""
        if self.training:
            rows, kept = gather_rows(keys, loss.isfinite(),
                                     interleave=self.interleave_keys)
            assert kept is not None
            self.queue.enqueue(rows, kept.all(), gather=False)
