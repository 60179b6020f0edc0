"""Images in, masked images out: a generator and a fill together."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mimplug.draws import Draws
from mimplug.errors import ConfigError
from mimplug.masking.cells import as_grid, check_divides
from mimplug.masking.context import MaskContext
from mimplug.masking.fills import Fill, build_fill
from mimplug.masking.generators import MaskGenerator, build_generator
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.schedules import Progress


class ImageMasker:
    """Hides places of images and fills them.

    Args:
        mask_generator (MaskGenerator | dict): Where to hide. One that works
            on pixels (``pixels``) gets the image itself as its grid.
        fill (Fill | dict): What to put there.
        cells (int | tuple[int, int]): Grid of the other generators. Defaults
            to 7, which is 32 pixels a cell on images of 224.

    Raises:
        ConfigError: If a part is unknown, or the generator looks at
            something that only a ViT has.

    Example:
        >>> masker = ImageMasker(dict(type='RandomMask', ratio=0.5),
        ...                      dict(type='MeanFill'), cells=4)
        >>> masker.check((32, 32))
    """

    def __init__(self, mask_generator: MaskGenerator | Mapping[str, Any],
                 fill: Fill | Mapping[str, Any],
                 cells: int | tuple[int, int] = 7) -> None:
        self.mask_generator = build_generator(mask_generator)
        self.fill = build_fill(fill)
        self.cells = as_grid(cells)
        needs, name = self.needs, type(self.mask_generator).__name__
        for what in ('attention', 'features', 'difficulty'):
            if getattr(needs, what):
                raise ConfigError(
                    f'mask_generator: {name} needs {what} of a ViT; images '
                    'are masked without a look at a network')

    @property
    def needs(self) -> Needs:
        """What the generator looks at: saliency, images or nothing."""
        return self.mask_generator.needs

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Returns the grid on which the mask is made.

        Args:
            image_size (tuple[int, int]): (H, W) in pixels.
        """
        return image_size if self.mask_generator.pixels else self.cells

    def check(self, image_size: int | tuple[int, int]) -> None:
        """Raises if images of this size cannot be masked.

        Args:
            image_size (int | tuple[int, int]): (H, W) in pixels, or both.

        Raises:
            ConfigError: If the image is no multiple of the cells, or the
                generator or the fill cannot work on it.
        """
        size = as_grid(image_size, 'image_size')
        check_divides(self.grid(size), size)
        self.mask_generator.check(self.grid(size))
        self.fill.check(size)

    def __call__(self, images: Tensor, draws: Draws,
                 progress: Progress | None = None,
                 saliency: Tensor | None = None, *, num_views: int = 1
                 ) -> tuple[Tensor, Mask]:
        """Returns the masked images and their masks.

        Args:
            images (Tensor): (M, 3, H, W) normalised, view-major.
            draws (Draws): Random numbers of these M rows.
            progress (Progress, optional): Where the run stands.
            saliency (Tensor, optional): (M, h, w) float, larger = more
                salient.
            num_views (int): V, views among the M rows. Defaults to 1.

        Raises:
            ConfigError: If the image is no multiple of the cells, or a
                saliency map is missing.
        """
        size = (images.shape[2], images.shape[3])
        context = MaskContext(
            grid=self.grid(size), draws=draws, num_views=num_views,
            batch_size=len(images) // num_views,
            progress=progress or Progress(), device=images.device,
            saliency=saliency,
            images=images if self.needs.images else None)
        mask = self.mask_generator(context)
        return self.fill(images, mask, context.draws), mask
