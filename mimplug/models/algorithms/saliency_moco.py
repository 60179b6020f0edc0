"""MoCo with salient parts hidden in queries and in hard negatives."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import MODELS

from ..losses.info_nce import HARD_NEGATIVES
from .moco import MoCo
from .siamese_masks import HardNegative, read_settings
from .siamese_views import Seen


@MODELS.register_module()
class SaliencyMoCo(MoCo):
    r"""Saliency-guided masking for ConvNets, on MoCo v2.

    .. math::
        L = -\frac1B \sum_i \log \frac{e^{q_i \cdot k_i / T}}
        {e^{q_i \cdot k_i / T} + \sum_{n \in queue} e^{q_i \cdot n / T}
        + \sum_j e^{\alpha\, q_i \cdot t_i^j / T}}

    The query view is masked, with foreground and background at one rate
    (``view_masks`` with ``mimplug.SaliencyMask``); the key view is not. A
    hard negative t is the key view with much of its foreground hidden,
    encoded by the key encoder in a pass of its own after the keys.

    The three published strategies differ in the fill: *hp*
    (``input_filter=dict(type='mimplug.HighPass')``, ``NoiseFill``), *blur*
    (``BlurFill``) and *mean* (``MeanFill``).

    Args:
        backbone (dict | nn.Module): See :class:`Siamese`.
        neck (dict | nn.Module): Usually ``MoCoV2Neck``.
        hard_negative (dict, optional): Arguments of
            :class:`~.siamese_masks.HardNegative`: generator, fill, cells,
            ``num`` masks of each image and ``alpha``. Defaults to none.
        hard_negative_compat (str): ``'per_sample'``: every query has those
            of its image, as published. ``'first_image'``: as released, only
            the first ``num`` images of each process are encoded, one by one,
            and are the negatives of every query. Defaults to
            ``'per_sample'``.
        **kwargs: Arguments of :class:`MoCo`.

    Raises:
        ConfigError: Parts that do not fit together.

    Source: Chin et al., Masking Improves Contrastive Self-Supervised
    Learning for ConvNets, and Saliency Tells You Where, WACV 2024
    (arXiv 2309.12757); ``moco/builder.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets, which has one mask and so
    no form for ``num`` > 1 of ``'per_sample'``.
    """

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module, *,
                 hard_negative: Mapping[str, Any] | None = None,
                 hard_negative_compat: str = 'per_sample',
                 **kwargs: Any) -> None:
        check_choice('hard_negative_compat', hard_negative_compat,
                     HARD_NEGATIVES)
        if hard_negative is None and hard_negative_compat != 'per_sample':
            raise ConfigError(
                f'hard_negative_compat={hard_negative_compat!r} without '
                'hard_negative: there are none')
        self_made = None if hard_negative is None else read_settings(
            HardNegative, 'hard_negative', hard_negative)
        super().__init__(backbone, neck, hard_negative=self_made, **kwargs)
        self.hard_negative_compat = hard_negative_compat
        if hard_negative_compat == 'first_image' and (self.split_bn or 1) > 1:
            raise ConfigError(
                f'split_bn={self.split_bn}: hard negatives as released '
                'are encoded one by one, which have no parts; leave split_bn '
                'out')

    def _hard_keys(self, seen: Seen, pair: int) -> list[Tensor]:
        """Of each mask the keys (B, D), or (1, D) as released."""
        if self.hard_negative_compat == 'per_sample':
            return super()._hard_keys(seen, pair)
        assert self.hard_negative is not None
        images = self.hard_images(seen, pair)[0]
        if len(images) < self.hard_negative.num:
            raise ValueError(
                f"hard_negative_compat='first_image': {len(images)} images "
                f'a process, but num={self.hard_negative.num}')
        return [self._keys(images[i:i + 1], seen, f'hard{pair}/{i}')
                for i in range(self.hard_negative.num)]
