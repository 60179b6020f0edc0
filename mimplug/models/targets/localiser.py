"""SCDA maps of a frozen network, or of the model's own encoder."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.errors import ConfigError
from mimplug.registry import MODELS

from ..run_record import MARK, mark_filtered
from .base import SaliencyTarget, frozen_mode, stage_of, weights_record
from .input_filter import build_input_filter
from .scda import scda_map


@MODELS.register_module()
class SCDA(SaliencyTarget):
    """Sum of the activations of a convolutional network's feature map.

    The network is frozen, in evaluation mode, and no part of the model: its
    weights come from their file at every start and fill no checkpoint.
    Without ``backbone`` the algorithm hands in its own (momentum) encoder,
    whose running batch norm statistics are used. Images go through the input
    filter of that encoder, if it has one.

    Published is a torchvision ResNet-50 **trained with the labels of
    ImageNet**, which makes a self-supervised run leak labels. With weights by
    path::

        saliency=dict(
            type='mimplug.SCDA', supervised=True, backbone=dict(
                type='ResNet', depth=50, init_cfg=dict(
                    type='mimplug.Pretrained', checkpoint='resnet50.pth',
                    allow_unexpected=('fc.*', ))))

    Args:
        backbone (dict | nn.Module, optional): Any backbone of MMPretrain
            whose output is a feature map; ``TIMMBackbone`` gives those of
            timm. Its ``init_cfg`` names the weights. Defaults to None: the
            encoder that :meth:`forward` gets.
        stage (int): Stage whose map counts, from 0; -1 is the last. Small
            images want 1 or 2. Defaults to -1.
        input_filter (dict, optional): Of the images that ``backbone`` was
            trained with. Defaults to None.
        supervised (bool, optional): See :class:`SaliencyTarget`.

    Raises:
        ConfigError: The file with the weights is missing, the backbone has no
            such stage, or the filter belongs to no backbone.

    Source: ``Dataset/localize.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets (torchvision's ResNet-50
    without its last two children).
    """

    def __init__(self,
                 backbone: Mapping[str, Any] | nn.Module | None = None,
                 stage: int = -1, *,
                 input_filter: Mapping[str, Any] | None = None,
                 supervised: bool | None = None) -> None:
        super().__init__(supervised=supervised)
        self.stage = stage
        self.needs_encoder = backbone is None
        if backbone is None and input_filter is not None:
            raise ConfigError(
                'input_filter: SCDA without a backbone takes the filter of '
                'the encoder it is asked about; leave it out')
        self._weights = weights_record(_weights_of(backbone))
        self._filter = build_input_filter(input_filter)
        # in a tuple, so that torch does not count it as a part of the model
        self._network: tuple[nn.Module, ...] = ()
        if backbone is not None:
            network: nn.Module = BUILD.build(dict(backbone)) if isinstance(
                backbone, Mapping) else backbone
            self._network = (network, )
            mark_filtered(network, self._filter)
            stage_of(network, stage)
        self._freeze()
        self._filters: dict[str, nn.Module] = {}

    def init_weights(self) -> None:
        """Loads the weights of the frozen network."""
        for network in self._network:
            if isinstance(network, BaseModule) and not network.is_init:
                network.init_weights()
        self._freeze()

    def _freeze(self) -> None:
        """No gradients, running statistics."""
        for network in self._network:
            network.requires_grad_(False)
            network.eval()  # MMPretrain's ResNet returns nothing

    def _apply(self, fn: Callable, recurse: bool = True) -> SCDA:
        """Moves the network with the model."""
        for network in self._network:
            network._apply(fn, recurse)
        moved: SCDA = super()._apply(fn, recurse)
        return moved

    def check_encoder(self, encoder: nn.Module) -> None:
        """Raises :class:`ConfigError` if it has no such stage."""
        if self.needs_encoder:
            stage_of(encoder, self.stage)

    @torch.no_grad()
    def forward(self, images: Tensor, data_samples: Sequence | None = None,
                encoder: nn.Module | None = None, view: int = 0) -> Tensor:
        """Maps of a batch; see :meth:`SaliencyTarget.forward`.

        Raises:
            ConfigError: There is neither a backbone nor an encoder, or it
                gives no feature map.
        """
        del data_samples, view
        if self._network:
            network, images = self._network[0], self._filtered(images)
        elif encoder is not None:
            network, images = encoder, self._as_seen_by(encoder, images)
        else:
            raise ConfigError(
                'SCDA has no backbone and was given no encoder')
        with frozen_mode(network):
            output: Any = stage_of(network, self.stage)(images)
        features = output[-1] if isinstance(output, (tuple, list)) else output
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise ConfigError(
                f'SCDA: {type(network).__name__} gives no feature map '
                '(M, C, h, w)')
        return scda_map(features).float()

    def _filtered(self, images: Tensor) -> Tensor:
        """Images as the frozen network knows them."""
        return images if self._filter is None else self._filter(images)

    def _as_seen_by(self, encoder: nn.Module, images: Tensor) -> Tensor:
        """Images as the model feeds them to its encoder."""
        record = getattr(encoder, MARK, None)
        if record is None:
            return images
        key = repr(record)
        if key not in self._filters:
            self._filters[key] = build_input_filter(record)
        filtered: Tensor = self._filters[key](images)
        return filtered

    @property
    def record(self) -> dict[str, Any]:
        """Network, stage, weight file; ``encoder`` for the model's own."""
        if not self._network:
            return dict(super().record, network='encoder', stage=self.stage,
                        supervised=bool(self.supervised))
        return dict(
            super().record, network=_name_of(self._network[0]),
            stage=self.stage, **self._weights,
            input_filter=None if self._filter is None
            else self._filter.record)


def _name_of(network: nn.Module) -> str:
    """Class, and the name of a timm model."""
    inner = getattr(network, 'timm_model', None)
    name = type(network).__name__
    return name if inner is None else f'{name}({type(inner).__name__})'


def _weights_of(backbone: Any) -> str | None:
    """The weight file that a backbone's settings name."""
    if not isinstance(backbone, Mapping):
        return None
    init = backbone.get('init_cfg') or ()
    entries: Iterable = [init] if isinstance(init, Mapping) else init
    for entry in entries:
        if isinstance(entry, Mapping) and entry.get('checkpoint'):
            return str(entry['checkpoint'])
    path = backbone.get('checkpoint_path') or backbone.get('pretrained')
    return str(path) if isinstance(path, str) and path else None
