"""The block as a module: what is compiled, sharded or recomputed as one."""
from __future__ import annotations

from mmpretrain.models.backbones.vision_transformer import (
    TransformerEncoderLayer,
)
from torch import Tensor

from .block import BlockOutput, run_block
from .depth import BlockDepth
from .last_block import run_last_block


class MaskedBlock(TransformerEncoderLayer):
    """MMPretrain's layer with our arithmetic; parameters and names are its.

    Everything runs through :meth:`forward`, so that ``Module.compile``, FSDP
    wrapping and MMEngine's ``activation_checkpointing`` reach a block.
    """

    @classmethod
    def adopt(cls, layer: TransformerEncoderLayer) -> None:
        """Turns a stock layer into this class, its parts as they are."""
        layer.__class__ = cls

    def forward(self, x: Tensor, depth: BlockDepth = None,
                want: str | None = None, last: bool = False,
                patches: Tensor | None = None
                ) -> BlockOutput:
        """Runs the block on all tokens, or on those asked for.

        Args:
            x (Tensor): Tokens (M, T, D), CLS first.
            depth (Tensor | tuple[KeptRows, KeptRows], optional): Stochastic
                depth of the two branches.
            want (str, optional): Attention, as 'cls', 'full' or 'mean'; see
                :func:`run_block`.
            last (bool): Output for CLS and ``patches`` only, see
                :func:`run_last_block`. Defaults to False.
            patches (Tensor, optional): int64 (R,), with ``last``.

        Returns:
            BlockOutput: tokens (M, T, D) or (M + R, D), attention or None.
        """
        if last:
            return BlockOutput(run_last_block(self, x, patches, depth), None)
        return run_block(self, x, depth, want)
