"""How two images become one: masked mixing (MixMask) and Un-Mix."""
from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mimplug.draws import Draws
from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking.build import build_part
from mimplug.masking.cells import as_grid, check_divides
from mimplug.masking.context import MaskContext
from mimplug.masking.fills.base import pixel_mask
from mimplug.masking.fills.mix import PARTNERS, partner_index
from mimplug.masking.generators import MaskGenerator, build_generator
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.registry import TASK_UTILS
from mimplug.schedules import Progress


@dataclass(frozen=True, eq=False)
class Mixed:
    """Images that were mixed with another image of their batch.

    Args:
        images (Tensor): (B, 3, H, W).
        lam (Tensor): (B,) float32 or better, share of the area (or the
            weight) of image i itself.
        partner (Tensor): (B,) int64, the other image of each.
        mask (Mask, optional): What was taken from the partner, if it was
            chosen by a mask.
    """
    images: Tensor
    lam: Tensor
    partner: Tensor
    mask: Mask | None = None


class Mixer(abc.ABC):
    """Mixes the images of a batch in pairs.

    Args:
        partner (str): 'reverse': image i with image B - 1 - i (the middle
            one of an odd batch, or the only one of a batch of 1, with
            itself). 'permutation': with a random one.

    Attributes:
        examples (tuple[Mapping, ...]): Arguments of small working instances,
            with which the tests build the class.

    Raises:
        ConfigError: If the partner is unknown.
    """

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    def __init__(self, partner: str = 'reverse') -> None:
        check_choice('partner', partner, PARTNERS)
        self.partner = partner

    @property
    def needs(self) -> Needs:
        """What it looks at beyond the images; nothing by default."""
        return Needs()

    def check(self, image_size: int | tuple[int, int]) -> None:
        """Raises if images of this size cannot be mixed.

        Args:
            image_size (int | tuple[int, int]): (H, W) in pixels, or both.

        Raises:
            ConfigError: Says what does not fit.
        """
        as_grid(image_size, 'image_size')

    def partners(self, batch: int, draws: Draws, device: torch.device
                 ) -> Tensor:
        """Returns (B,) int64, the partner of each image.

        Args:
            batch (int): B.
            draws (Draws): Random numbers of the batch.
            device (torch.device): Where the index is needed.
        """
        return partner_index(self.partner, batch, draws, device)

    @abc.abstractmethod
    def __call__(self, images: Tensor, draws: Draws,
                 progress: Progress | None = None) -> Mixed:
        """Returns the mixed images.

        Args:
            images (Tensor): (B, 3, H, W) floats.
            draws (Draws): Random numbers of these B rows.
            progress (Progress, optional): Where the run stands.
        """


def build_mixer(mixer: Mixer | Mapping[str, Any]) -> Mixer:
    """Returns a mixer from an object or a config.

    Args:
        mixer (Mixer | dict): ``type`` is written with or without the scope
            ``mimplug.``.

    Raises:
        ConfigError: If the type or an argument is unknown.
    """
    return build_part(mixer, Mixer, 'mixer')  # type: ignore[type-abstract]


@TASK_UTILS.register_module()
class MaskMix(Mixer):
    r"""MixMask: hidden cells show the partner.

    .. math:: y_i = (1 - m_i)\, x_i + m_i\, x_{\pi(i)}, \quad
        \lambda_i = 1 - mean(m_i)

    with the hidden cells m of a generator. :math:`\lambda` is the area that
    is really kept, not the one that was asked for.

    Args:
        mask_generator (MaskGenerator | dict): Where the partner is seen.
            Defaults to the published :class:`GridBlockMask`, one mask for
            the whole batch.
        grid (int | tuple[int, int]): Cells. Defaults to the published 8.
        partner (str): See :class:`Mixer`. Defaults to 'reverse'.

    Raises:
        ConfigError: If a part is unknown or the generator looks at anything
            but random numbers; in :meth:`check` also if the grid does not
            divide the image.

    Source: ``main_moco_mixmask.py`` of kirill-vish/MixMask (Vishniakov et
    al., arXiv 2210.11456), where masks are 1 = keep.
    """

    examples: ClassVar = (
        {'grid': 4}, {'mask_generator': {'type': 'RandomMask', 'ratio': 0.5},
                      'grid': 4, 'partner': 'permutation'})

    def __init__(self, mask_generator: MaskGenerator | Mapping[str, Any]
                 | None = None, grid: int | tuple[int, int] = 8,
                 partner: str = 'reverse') -> None:
        super().__init__(partner)
        self.mask_generator = build_generator(
            mask_generator or {'type': 'GridBlockMask'})
        self.grid = as_grid(grid, 'grid')
        if self.mask_generator.needs != Needs():
            raise ConfigError(
                f'mask_generator: {type(self.mask_generator).__name__} '
                f'needs {self.mask_generator.needs}; images are mixed '
                'without a look at them')

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        return size if self.mask_generator.pixels else self.grid

    def check(self, image_size: int | tuple[int, int]) -> None:
        size = as_grid(image_size, 'image_size')
        check_divides(self._grid(size), size)
        self.mask_generator.check(self._grid(size))

    def __call__(self, images: Tensor, draws: Draws,
                 progress: Progress | None = None) -> Mixed:
        size = (images.shape[2], images.shape[3])
        context = MaskContext(
            grid=self._grid(size), draws=draws, batch_size=len(images),
            progress=progress or Progress(), device=images.device)
        mask = self.mask_generator(context)
        partner = self.partners(len(images), context.draws, images.device)
        # the same bits as a weighted sum, in any precision
        mixed = torch.where(pixel_mask(mask, size), images[partner], images)
        return Mixed(mixed, mask.lam, partner, mask)


@TASK_UTILS.register_module()
class UnMix(Mixer):
    r"""Un-Mix: a global mix of the whole images, or one box.

    With probability ``prob`` ('unmix/global'), and
    :math:`\lambda \sim Beta(\beta, \beta)` ('unmix/lam'),

    .. math:: y_i = \lambda x_i + (1 - \lambda)\, x_{\pi(i)}

    and otherwise a box of the partner with the sides
    :math:`\lfloor H \sqrt{1 - \lambda} \rfloor` and
    :math:`\lfloor W \sqrt{1 - \lambda} \rfloor` around a random centre
    ('unmix/row', 'unmix/column'), cut at the border;
    :math:`\lambda` is then the share outside of it. One draw for the whole
    batch, the same on all ranks.

    Args:
        prob (float): Probability of the global mix. Defaults to 0.5.
        beta (float): :math:`\beta` > 0. Defaults to 1, uniform.
        partner (str): See :class:`Mixer`. Defaults to 'reverse'.

    Raises:
        ConfigError: If a setting is out of range.

    Source: ``main_moco_mixmask.py`` and ``rand_bbox`` in ``utils.py`` of
    kirill-vish/MixMask; Shen et al., Un-Mix, AAAI 2022.
    """

    examples: ClassVar = (
        {}, {'prob': 0.0}, {'prob': 1.0, 'beta': 0.7,
                            'partner': 'permutation'})

    def __init__(self, prob: float = 0.5, beta: float = 1.0,
                 partner: str = 'reverse') -> None:
        super().__init__(partner)
        check_range('prob', prob, 0.0, 1.0)
        check_range('beta', beta, 1e-3, 1e3)
        self.prob, self.beta = float(prob), float(beta)

    def __call__(self, images: Tensor, draws: Draws,
                 progress: Progress | None = None) -> Mixed:
        batch, device = len(images), images.device
        draws = draws.bind(1, batch)
        partner = self.partners(batch, draws, device)
        other = images[partner]
        lam = self._lam(draws)
        if draws.batch_uniform('unmix/global') < self.prob:
            mixed = lam * images + (1.0 - lam) * other
        else:
            height, width = images.shape[2:]
            top, left, bottom, right = self.box(lam, height, width, draws)
            mixed = images.clone()
            mixed[:, :, top:bottom, left:right] = other[
                :, :, top:bottom, left:right]
            lam = 1.0 - (bottom - top) * (right - left) / (height * width)
        weight = torch.full(
            (batch,), lam, device=device,
            dtype=torch.promote_types(images.dtype, torch.float32))
        return Mixed(mixed, weight, partner)

    def _lam(self, draws: Draws) -> float:
        """A number of Beta(beta, beta)."""
        uniform = draws.batch_uniform('unmix/lam')
        if self.beta == 1:
            return uniform
        from scipy.special import betaincinv
        return float(betaincinv(self.beta, self.beta, uniform))

    @staticmethod
    def box(lam: float, height: int, width: int, draws: Draws
            ) -> tuple[int, int, int, int]:
        """Returns top, left, bottom, right of the partner's box.

        Args:
            lam (float): Share that is to be kept.
            height (int): H in pixels.
            width (int): W in pixels.
            draws (Draws): Random numbers of the batch.
        """
        side = math.sqrt(1.0 - lam)
        ends = []
        for name, length in (('row', height), ('column', width)):
            centre = draws.batch_integers(f'unmix/{name}', 0, length - 1)
            half = int(length * side) // 2
            ends.append((max(0, centre - half), min(length, centre + half)))
        (top, bottom), (left, right) = ends
        return top, left, bottom, right
