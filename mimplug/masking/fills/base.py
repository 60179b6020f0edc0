"""The interface of every fill."""
from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from mimplug.draws import Draws
from mimplug.masking.build import build_part
from mimplug.masking.cells import check_divides, enlarge
from mimplug.masking.mask import Mask


def pixel_mask(mask: Mask, size: tuple[int, int]) -> Tensor:
    """Enlarges a mask to pixels.

    Args:
        mask (Mask): On a grid (Hp, Wp); dropped cells count as hidden.
        size (tuple[int, int]): (H, W) in pixels.

    Returns:
        Tensor: (M, C, H, W) bool, True = hidden.

    Raises:
        ConfigError: If H or W is no multiple of the grid.

    Example:
        >>> mask = Mask(torch.tensor([[[[True, False]]]]))
        >>> pixel_mask(mask, (1, 4)).tolist()
        [[[[True, True, False, False]]]]
    """
    check_divides(mask.grid, size)
    hidden = mask.hidden
    if mask.dropped is not None:
        hidden = hidden | mask.dropped
    return enlarge(hidden, size)


class Fill(abc.ABC):
    r"""Replaces the hidden places of images.

    .. math:: y = m\, c + (1 - m)\, x

    with the pixel mask m (1 = hidden), the image x and the content c of a
    subclass. What is not hidden keeps its bits.

    Attributes:
        batch_coupled (bool): Whether the content of an image depends on the
            other images of the batch.
        examples (tuple[Mapping, ...]): Arguments of small working instances,
            with which the tests build the class.
    """

    batch_coupled: bool = False
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    @abc.abstractmethod
    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        """Returns what may be seen in the hidden places.

        Args:
            images (Tensor): (M, 3, H, W) normalised.
            mask (Mask): Of these M images.
            draws (Draws): Random numbers of the M rows.

        Returns:
            Tensor: Broadcastable to the images, of any float type.
        """

    def check(self, size: tuple[int, int]) -> None:  # noqa: B027 (optional)
        """Raises if the fill cannot work on images of this size.

        Args:
            size (tuple[int, int]): (H, W) in pixels.

        Raises:
            ConfigError: Says what does not fit.
        """

    def __call__(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        """Returns the images with their hidden places filled.

        Args:
            images (Tensor): (M, 3, H, W) normalised floats.
            mask (Mask): Of these M images, on any grid that divides them.
            draws (Draws): Random numbers of the M rows.

        Raises:
            ConfigError: If H or W is no multiple of the grid.
        """
        hidden = pixel_mask(mask, (images.shape[2], images.shape[3]))
        content = self.content(images, mask, draws).to(images.dtype)
        return torch.where(hidden, content, images)


def build_fill(fill: Fill | Mapping[str, Any]) -> Fill:
    """Returns a fill from an object or a config.

    Args:
        fill (Fill | dict): ``type`` is written with or without the scope
            ``mimplug.``.

    Raises:
        ConfigError: If the type or an argument is unknown.
    """
    return build_part(fill, Fill, 'fill')  # type: ignore[type-abstract]
