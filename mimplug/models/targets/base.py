"""What every way to say where the object is promises."""
from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.errors import ConfigError

SaliencyLike = Mapping[str, Any] | nn.Module


class SaliencyTarget(BaseModule):
    """Base of formulas, frozen networks and stored maps that give saliency.

    A target gets no gradients and no state: nothing of it is in checkpoints
    but its :attr:`record`.

    Args:
        supervised (bool, optional): Whether labels took part in the training
            of the weights; recorded with every checkpoint, for such a
            localiser leaks labels. Defaults to None: not known.
    """

    # The algorithm hands in its own encoder, for there is no other network.
    needs_encoder = False

    def __init__(self, *, supervised: bool | None = None) -> None:
        super().__init__()
        self.supervised = supervised

    def check_encoder(self, encoder: nn.Module) -> None:
        """Raises if it cannot ask this encoder; called when a model is built.

        Args:
            encoder (nn.Module): What :meth:`forward` will get.

        Raises:
            ConfigError: Says what does not fit.
        """

    def forward(self, images: Tensor, data_samples: Sequence | None = None,
                encoder: nn.Module | None = None, view: int = 0) -> Tensor:
        """Maps of one view of a batch; larger is more salient.

        Args:
            images (Tensor): (M, 3, H, W), normalised as for the model, before
                its input filter and before any mask.
            data_samples (Sequence[DataSample], optional): M samples; stored
                maps need them.
            encoder (nn.Module, optional): The model's own backbone, for
                targets with ``needs_encoder``.
            view (int): Which view of the samples the images are. Defaults
                to 0.

        Returns:
            Tensor: (M, h, w) float32; h and w are the target's own.
        """
        raise NotImplementedError

    @property
    def record(self) -> dict[str, Any]:
        """Plain values that say how the maps were made."""
        return dict(type=f'mimplug.{type(self).__name__}',
                    supervised=self.supervised)


def build_saliency(target: SaliencyLike | None, *, has_encoder: bool = True
                   ) -> Any:
    """A target from its settings, or None.

    Args:
        target (dict | SaliencyTarget, optional): Settings, e.g.
            ``dict(type='mimplug.SpectralResidual')``, or an object.
        has_encoder (bool): Whether the caller can hand in an encoder.
            Defaults to True.

    Returns:
        SaliencyTarget | None: Ready to be asked.

    Raises:
        ConfigError: It is no such target, or it would need an encoder.
    """
    if target is None:
        return None
    if isinstance(target, Mapping):
        target = BUILD.build(dict(target))
    if not isinstance(target, SaliencyTarget):
        raise ConfigError(
            f'saliency: {type(target).__name__} gives no saliency; allowed '
            'are mimplug.SCDA, mimplug.SpectralResidual, '
            'mimplug.OnnxSaliency, mimplug.CachedSaliency')
    if target.needs_encoder and not has_encoder:
        raise ConfigError(
            f'saliency: {type(target).__name__} without a network of its own '
            'asks the encoder of the model, which is not at hand here; give '
            'it backbone=dict(...)')
    return target


@contextmanager
def frozen_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; every sub-module's own mode returns afterwards."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def stage_of(backbone: nn.Module, stage: int) -> nn.Module:
    """A backbone whose last output is the map of a stage.

    A residual network of MMPretrain may be built for its last stage only. The
    result shares all weights with it, stops after the stage, and nothing of
    the given module changes.

    Args:
        backbone (nn.Module): Any.
        stage (int): Counted from 0; negative ones from the end.

    Returns:
        nn.Module: The backbone itself if ``stage`` is -1.

    Raises:
        ConfigError: The backbone is no residual network of so many stages.
    """
    if stage == -1:
        return backbone
    layers: Any = getattr(backbone, 'res_layers', None)
    if layers is None:
        raise ConfigError(
            f'stage={stage}: {type(backbone).__name__} is not a residual '
            'network of MMPretrain; allowed is stage=-1, its last output')
    if not -len(layers) <= stage < len(layers):
        raise ConfigError(
            f'stage={stage}: {type(backbone).__name__} has {len(layers)} '
            f'stages; allowed is [{-len(layers)}, {len(layers) - 1}]')
    stage %= len(layers)
    # a shallow copy: parameters and sub-modules are the same objects
    part: Any = copy.copy(backbone)
    part.res_layers, part.out_indices = layers[:stage + 1], (stage, )
    stopped: nn.Module = part
    return stopped


def weights_record(path: str | Path | None) -> dict[str, Any]:
    """Name and SHA-256 of a weight file.

    Args:
        path (str | Path, optional): A file, or an address, which is not read.

    Returns:
        dict: ``weights`` and ``sha256``; None where there is none.

    Raises:
        ConfigError: There is no such file.
    """
    if path is None:
        return dict(weights=None, sha256=None)
    if '://' in str(path):
        return dict(weights=str(path), sha256=None)
    if not Path(path).is_file():
        raise ConfigError(
            f'saliency: {path}: no such file; the weights of the localiser '
            'must be there before a run starts')
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return dict(weights=str(path), sha256=digest.hexdigest())
