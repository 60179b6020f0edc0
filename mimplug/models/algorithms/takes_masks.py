"""Lets an algorithm of MMPretrain take any mask generator."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mimplug.errors import ConfigError
from mimplug.masking import Mask, MaskGenerator
from mimplug.schedules import Progress

from ..mask_source import MaskSource
from .base import KeyedSelfSupervisor


class TakesMasks(KeyedSelfSupervisor):
    """Mixin: the masks come from a generator instead of the data pipeline.

    Stands before the stock class in a list of bases and gives its ``loss``
    data samples with ``mask``, bool (Hp, Wp), which are views of one tensor
    on the device. Draws are keyed by sample as everywhere in mimplug; a
    transform of the pipeline that makes masks is no longer needed, and what
    it makes is overwritten. Everything else is the stock algorithm.

    ``mimplug.ProgressHook`` must tell it the position in the run.

    Args:
        mask_generator (MaskGenerator | dict): Any generator of
            :mod:`mimplug.masking` that fits; what does not is refused.
        cell (int, optional): The generator works on cells of ``cell`` x
            ``cell`` patches of the backbone. Defaults to 1, or to what
            ``attention_from`` asks for.
        attention_from (dict | nn.Module, optional): Frozen
            ``mimplug.MaskedViT`` that gives attention and features, for
            generators that look at them; see
            :class:`~mimplug.models.mask_source.MaskSource`. Its weights are
            saved with the model.
        draws_seed (int, optional): Seed of the masks. None: the seed of the
            run.
        **kwargs: Arguments of the stock class.

    Raises:
        ConfigError: The generator does not fit the algorithm.
    """

    # Must every row hide the same number of patches?
    fixed_count: ClassVar[bool] = False
    # Does the student leave out the tokens that a mask drops?
    leaves_out: ClassVar[bool] = False

    def __init__(self, *, mask_generator: MaskGenerator | Mapping[str, Any],
                 cell: int | None = None,
                 attention_from: Mapping[str, Any] | nn.Module | None = None,
                 draws_seed: int | None = None, **kwargs: Any) -> None:
        kwargs['data_preprocessor'] = kwargs.get('data_preprocessor') or dict(
            type='mimplug.SelfSupDataPreprocessor')
        super().__init__(draws_seed=draws_seed, **kwargs)
        embed: Any = getattr(self.backbone, 'patch_embed', None)
        if not hasattr(embed, 'init_out_size'):
            raise ConfigError(
                f'backbone {type(self.backbone).__name__}: a backbone of '
                'MMPretrain with a patch embedding is needed')
        self.mask_source = MaskSource(
            mask_generator, image_size=tuple(embed.init_input_size),
            grid=tuple(embed.init_out_size), cell=cell,
            attention_from=attention_from, fixed_count=self.fixed_count,
            drops=self.leaves_out)

    @property
    def mask_generator(self) -> MaskGenerator:
        """The generator."""
        return self.mask_source.mask_generator

    @property
    def progress(self) -> Progress:
        """Where the run stands.

        Raises:
            RuntimeError: Nobody has said so yet.
        """
        if self._progress is None:
            raise RuntimeError(
                'the model does not know its position: add '
                "dict(type='mimplug.ProgressHook') to custom_hooks, or call "
                'set_progress(Progress(…))')
        return self._progress

    def reset_teacher(self) -> None:
        """Nothing to do: a stock algorithm looks after its own networks."""

    def step_end(self, momentum: float,
                 finite: Tensor | None = None) -> None:
        """Nothing moves between steps."""

    def make_mask(self, inputs: Tensor | Sequence[Tensor],
                  data_samples: Sequence | None = None) -> Mask:
        """Asks the generator for the masks of a batch.

        Args:
            inputs (Tensor | Sequence[Tensor]): (B, 3, H, W), or a list whose
                first entry is this (BEiT's second is for its tokeniser).
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            Mask: (B, 1, Hp, Wp) on the patch grid of the backbone.
        """
        images = inputs if isinstance(inputs, Tensor) else inputs[0]
        mask: Mask = self.mask_source(
            images, self.draws(data_samples, 1, len(images)), self.progress)
        return mask

    def loss(self, inputs: Tensor | Sequence[Tensor],
             data_samples: Sequence | None = None,
             **kwargs: Any) -> dict[str, Tensor]:
        """Masks the batch and runs the stock algorithm.

        Args:
            inputs (Tensor | Sequence[Tensor]): As in :meth:`make_mask`.
            data_samples (Sequence[DataSample], optional): B samples with
                their ``sample_key``; they receive ``mask``.
            **kwargs: Passed on.

        Returns:
            dict: The stock losses and ``raw/hidden``, share of hidden
            patches, for the log.
        """
        mask = self.make_mask(inputs, data_samples)
        losses = self.masked_loss(inputs, mask, data_samples, **kwargs)
        losses['raw/hidden'] = mask.hidden.float().mean()
        return losses

    def masked_loss(self, inputs: Any, mask: Mask,
                    data_samples: Sequence | None,
                    **kwargs: Any) -> dict[str, Tensor]:
        """The stock losses for a mask; see :meth:`loss`."""
        losses: dict[str, Tensor] = super().loss(
            inputs, attach_masks(mask, data_samples), **kwargs)
        return losses

    def preview_masks(self, inputs: Tensor | Sequence[Tensor],
                      data_samples: Sequence | None = None
                      ) -> dict[str, Tensor | None]:
        """Masks of a batch, for pictures.

        Args:
            inputs (Tensor | Sequence[Tensor]): As in :meth:`make_mask`.
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: ``images`` (B, 3, H, W), ``hidden`` (B, Hp, Wp) bool and
            ``attention``: that of the frozen network's last layer, one value
            a cell, or None.
        """
        images = inputs if isinstance(inputs, Tensor) else inputs[0]
        mask = self.make_mask(images, data_samples)
        return dict(images=images, hidden=mask.hidden[:, 0],
                    attention=self.mask_source.last_attention(images))


def attach_masks(mask: Mask,
                 data_samples: Sequence | None = None) -> Sequence:
    """Gives each sample its mask, a view of one tensor.

    Args:
        mask (Mask): (B, 1, Hp, Wp).
        data_samples (Sequence[DataSample], optional): B samples, changed in
            place. Defaults to new ones.

    Returns:
        Sequence[DataSample]: The samples.
    """
    if data_samples is None:
        data_samples = [DataSample() for _ in range(mask.batch)]
    for sample, hidden in zip(data_samples, mask.hidden[:, 0].unbind()):
        sample.set_field(hidden, 'mask')
    return data_samples
