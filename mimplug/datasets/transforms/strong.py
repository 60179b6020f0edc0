"""The strong augmentation of Mugs: RandAugment, crop, erasing."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from PIL import Image
from torchvision.transforms import functional as tvf

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, suggest

from .erase import EraseSpec
from .functional import Box, ViewParams, parse_interpolation, render_view
from .multi_crop import CropSpec
from .rand_augment import ImageOp, RandAugmentSpec


class StrongParams(NamedTuple):
    """Everything random about one strong view.

    Args:
        view (ViewParams): Crop, flip and, if asked for, colours.
        ops (tuple[ImageOp, ...]): RandAugment's operations.
        erased (tuple[int, ...]): x0, y0, x1, y1 in pixels of the view.
    """
    view: ViewParams
    ops: tuple[ImageOp, ...]
    erased: Box


@dataclass(frozen=True)
class StrongSpec:
    """How strong views are drawn; crop, flip and size are the weak views'.

    Args:
        rand_augment (RandAugmentSpec | dict): Operations and magnitudes.
        erase (EraseSpec | dict): The rectangle of noise.
        colours (bool): Jitter and grey of the weak views, too, after
            RandAugment; the release's ``color_aug``. Defaults to False.
        crop_first (bool): Augment the cropped view instead of the whole
            image: cheaper for photographs, but rotation, shear and
            translation then bring fill colour into the view where the
            release mostly brings more of the image. Defaults to False.

    Raises:
        ConfigError: A setting is unknown or out of range.

    Source: ``strong_transforms`` in ``src/multicropdataset.py`` of
    sail-sg/mugs.
    """
    rand_augment: RandAugmentSpec = field(default_factory=RandAugmentSpec)
    erase: EraseSpec = field(default_factory=EraseSpec)
    colours: bool = False
    crop_first: bool = False

    def __post_init__(self) -> None:
        for name, kind in (('rand_augment', RandAugmentSpec),
                           ('erase', EraseSpec)):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, build_part(name, kind, value))

    def draw(self, spec: CropSpec, draws: KeyedRandom, width: int,
             height: int, view: int) -> StrongParams:
        """Draws one view.

        Args:
            spec (CropSpec): Of the weak views of this kind.
            draws (KeyedRandom): Draws of this view.
            width (int): Width of the decoded image in pixels.
            height (int): Height of the decoded image in pixels.
            view (int): Place among the views of this kind.

        Returns:
            StrongParams: All that is random about it.
        """
        params = spec.draw(draws, width, height, view)
        params = replace(params, blur_radius=0.0, solarize_threshold=None)
        if not self.colours:
            params = replace(params, jitter=(), gray=False)
        rows, columns = spec.shape
        return StrongParams(params, self.rand_augment.draw(draws),
                            self.erase.draw(draws, columns, rows))

    def render(self, image: Image.Image, params: StrongParams,
               spec: CropSpec) -> Image.Image:
        """Flip, RandAugment, crop, colours; erasing is the device's.

        Args:
            image (Image.Image): The decoded image, mode RGB. Not changed.
            params (StrongParams): What to do.
            spec (CropSpec): Of the weak views of this kind.

        Returns:
            Image.Image: The view, mode RGB.
        """
        view, (rows, columns) = params.view, spec.shape
        plain = replace(view, jitter=(), gray=False)
        if params.ops and not self.crop_first:
            if view.flip:
                image = tvf.hflip(image)
                x0, y0, x1, y1 = view.box
                plain = replace(plain, flip=False, box=(
                    image.width - x1, y0, image.width - x0, y1))
            image = self.rand_augment.apply(image, params.ops)
        shown = render_view(image, plain, (rows, columns),
                            parse_interpolation(spec.interpolation))
        if self.crop_first:
            shown = self.rand_augment.apply(shown, params.ops)
        # the whole view as its own crop: only the colours are left to do
        return render_view(
            shown, ViewParams((0, 0, columns, rows), jitter=view.jitter,
                              gray=view.gray), (rows, columns)
        ) if self.colours else shown


def build_part(name: str, kind: type, given: Mapping[str, Any]) -> Any:
    """A settings object whose errors name the argument they came from.

    Args:
        name (str): Of the argument.
        kind (type): A dataclass.
        given (Mapping): Its settings.

    Returns:
        Any: The object.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    allowed = [part.name for part in fields(kind)]
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f'{name} has no setting {key!r}; {suggest(key, allowed)}')
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(f'{name}: {error}') from error
