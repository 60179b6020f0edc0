"""The views of Mugs: own global ones for teacher and student, and locals."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, check_range
from mimplug.registry import TRANSFORMS

from .erase import NOTHING
from .functional import Box, parse_interpolation, render_view, to_chw
from .multi_crop import CropSpec, MultiCrop
from .strong import StrongSpec, build_part

SEEDS = (1 << 53) - 1


class Slot(NamedTuple):
    """A view that is to be made.

    Args:
        spec (CropSpec): Its kind.
        place (int): Its place within its kind.
        strong (bool): Which augmentation.
    """
    spec: CropSpec
    place: int
    strong: bool


@TRANSFORMS.register_module()
class MugsMultiCrop(MultiCrop):
    """Cuts teacher's, student's and local views out of one decoded image.

    In this order: G global views of the teacher, always weakly augmented; G
    other global views of the student, with probability ``strong_prob`` all of
    them strong, else all weak; the student's local views, each for itself
    strong with that probability. Weak are the views of
    :class:`mimplug.MultiCrop`; strong: flip, RandAugment, crop, erasing. The
    erased rectangle is only drawn here:
    :class:`mimplug.MultiViewDataPreprocessor` fills it with normal noise of
    the [0, 1] scale, which uint8 cannot hold.

    Every draw is a function of the sample's key and the view's number.

    Required keys: ``img`` (H, W, 3) uint8 RGB, ``draws``. Added keys: those
    of ``MultiCrop``, with ``num_globals`` = 2 G, and ``weak`` (bool, the
    student's global views are weak), ``view_strong`` (V,) bool,
    ``erase_boxes`` (V, 4) int64, x0, y0, x1, y1 in pixels of the view, zeros
    for none, and ``erase_seeds`` (V,) int64. Boxes and flips say where a view
    was cut; what RandAugment rotates, shears or shifts is moved besides.

    Args:
        global_crops (dict): Arguments of :class:`mimplug.CropSpec`; ``num``
            is G. Defaults as in ``MultiCrop``.
        local_crops (dict, optional): The same for the local views. Defaults
            to None: no local views.
        strong_prob (float): In [0, 1]; 0: never strong. Defaults to 0.5.
        strong (dict, optional): Arguments of :class:`StrongSpec`.
            Defaults to None: the release's.
        share_views (bool): The student's global views are the teacher's, and
            come once; for ``mimplug.Mugs(share_views=True)``. The release
            copies them (``vanilla_weak_augmentation``). Defaults to False.

    Raises:
        ConfigError: A setting is unknown or out of range.

    Source: ``src/multicropdataset.py`` of sail-sg/mugs.

    Example:
        >>> MugsMultiCrop(dict(size=32), dict(num=3, size=16)).num_views
        7
    """

    def __init__(self, global_crops: Mapping[str, Any],
                 local_crops: Mapping[str, Any] | None = None, *,
                 strong_prob: float = 0.5,
                 strong: Mapping[str, Any] | None = None,
                 share_views: bool = False) -> None:
        super().__init__(global_crops, local_crops)
        check_range('strong_prob', strong_prob, 0.0, 1.0)
        self.strong_prob = strong_prob
        try:
            self.strong: StrongSpec = build_part(
                'strong', StrongSpec, strong or {})
        except ConfigError as error:
            raise ConfigError(f'MugsMultiCrop: {error}') from error
        self.share_views = share_views

    def _slots(self) -> list[tuple[CropSpec, int]]:
        """(kind, place within its kind) of every view."""
        slots = super()._slots()
        if self.share_views:
            return slots
        return slots[:self.global_crops.num] + slots

    def route(self, draws: KeyedRandom) -> tuple[list[Slot], bool]:
        """Draws which views are strong.

        Args:
            draws (KeyedRandom): Draws of this sample.

        Returns:
            tuple: All views in order, and whether the student's global ones
            are weak.
        """
        count = self.global_crops.num
        num_globals = count if self.share_views else 2 * count
        strong = not self.share_views and draws.for_view(count).bernoulli(
            'strong_globals', self.strong_prob)
        slots = []
        for number, (spec, place) in enumerate(self._slots()):
            if number >= num_globals:
                chosen = draws.for_view(number).bernoulli(
                    'strong', self.strong_prob)
            else:
                chosen = strong and number >= count
            slots.append(Slot(spec, place, chosen))
        return slots, not strong

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds the views of one sample.

        Args:
            results (dict): One sample with ``img`` and ``draws``.

        Returns:
            dict: The same dict without ``img``.
        """
        draws = self._draws(results)
        image = Image.fromarray(results.pop('img'))
        slots, weak = self.route(draws)
        views, boxes, flips, erased = [], [], [], []
        for number, slot in enumerate(slots):
            view, box, flip, gone = self._make(
                image, slot, draws.for_view(number))
            views.append(to_chw(view))
            boxes.append(box)
            flips.append(flip)
            erased.append(gone)
        locals_ = 0 if self.local_crops is None else self.local_crops.num
        results.update(
            views=views, weak=weak, num_globals=len(slots) - locals_,
            view_boxes=np.array(boxes, dtype=np.float32),
            view_flips=np.array(flips, dtype=bool),
            view_strong=np.array([slot.strong for slot in slots]),
            erase_boxes=np.array(erased, dtype=np.int64),
            erase_seeds=np.array([
                draws.for_view(number).integers('erase_seed', 0, SEEDS)
                for number in range(len(slots))], dtype=np.int64))
        return results

    def _make(self, image: Image.Image, slot: Slot, draws: KeyedRandom
              ) -> tuple[Image.Image, Box, bool, Box]:
        """A view, its box and flip, and what is erased of it."""
        spec = slot.spec
        if slot.strong:
            strong = self.strong.draw(
                spec, draws, image.width, image.height, slot.place)
            return (self.strong.render(image, strong, spec),
                    strong.view.box, strong.view.flip, strong.erased)
        params = spec.draw(draws, image.width, image.height, slot.place)
        view = render_view(image, params, spec.shape,
                           parse_interpolation(spec.interpolation))
        return view, params.box, params.flip, NOTHING

    def __repr__(self) -> str:
        return (f'{super().__repr__()[:-1]}, strong_prob={self.strong_prob}, '
                f'strong={self.strong}, share_views={self.share_views})')
