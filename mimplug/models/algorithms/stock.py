"""MMPretrain's masked image modelling with any mask generator."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models import selfsup
from torch import Tensor

from mimplug.errors import ConfigError
from mimplug.masking import Mask
from mimplug.registry import MODELS

from ..backbones import MAEViT
from .takes_masks import TakesMasks


@MODELS.register_module()
class SimMIM(TakesMasks, selfsup.SimMIM):
    """MMPretrain's ``SimMIM`` that takes any mask generator.

    Swin's patches are 4 pixels wide; the published masks have cells of 32
    pixels, that is ``cell=8``.

    Args:
        **kwargs: Those of :class:`TakesMasks` and of the stock class.

    Source: Xie et al., SimMIM, CVPR 2022.
    """


@MODELS.register_module()
class BEiT(TakesMasks, selfsup.BEiT):
    """MMPretrain's ``BEiT`` (v1 and v2) that takes any mask generator.

    Args:
        **kwargs: Those of :class:`TakesMasks` and of the stock class.

    Source: Bao et al., BEiT, ICLR 2022; Peng et al., BEiT v2, 2022.
    """


@MODELS.register_module()
class MaskFeat(TakesMasks, selfsup.MaskFeat):
    """MMPretrain's ``MaskFeat`` that takes any mask generator.

    Args:
        **kwargs: Those of :class:`TakesMasks` and of the stock class.

    Source: Wei et al., MaskFeat, CVPR 2022.
    """


@MODELS.register_module()
class CAE(TakesMasks, selfsup.CAE):
    """MMPretrain's ``CAE`` that takes generators with a fixed count.

    Args:
        **kwargs: Those of :class:`TakesMasks` and of the stock class.

    Raises:
        ConfigError: The generator hides another number of patches than the
            neck has mask tokens.

    Source: Chen et al., Context Autoencoder, IJCV 2024.
    """

    fixed_count = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        tokens, count = self.neck.mask_token_num, self.mask_source.count
        if tokens != count:
            raise ConfigError(
                f'neck.mask_tokens_num={tokens}, but the generator hides '
                f'{count} patches of an image; the two must be equal')


@MODELS.register_module()
class MAE(TakesMasks, selfsup.MAE):
    """MMPretrain's ``MAE`` that takes generators with a fixed count.

    What a generator drops is, like what it hides, not seen by the encoder;
    the decoder guesses both, but the loss counts the hidden patches only.

    Args:
        **kwargs: Those of :class:`TakesMasks` and of the stock class; the
            backbone is ``mimplug.MAEViT``.

    Raises:
        ConfigError: The backbone is another one.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR
    2022.
    """

    fixed_count = True
    leaves_out = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.backbone, MAEViT):
            raise ConfigError(
                f'backbone {type(self.backbone).__name__}: it draws masks of '
                "its own; use type='mimplug.MAEViT'")

    def masked_loss(self, inputs: Tensor, mask: Mask,
                    data_samples: Sequence | None,
                    **kwargs: Any) -> dict[str, Tensor]:
        """MAE's loss on hidden patches; see :meth:`loss`."""
        latent, hidden, ids_restore = self.backbone(inputs, mask)
        guess = self.neck(latent, ids_restore)
        return dict(loss=self.head.loss(guess, inputs, hidden))
