"""Pictures of what a mask generator hides, for people to look at."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mimplug.errors import ConfigError

BACKGROUND = 255
TEXT = (40, 40, 40)
HIDDEN = np.array([96, 108, 126], dtype=np.float32)
DROPPED = np.array([214, 124, 60], dtype=np.float32)
GRID_LINE = np.float32(255)
# Dark blue, teal, yellow: rising brightness, also for colour-blind eyes.
HEAT_STOPS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
HEAT_COLOURS = np.array([
    [13, 8, 80], [60, 50, 140], [35, 140, 140], [120, 205, 80],
    [253, 231, 37]], dtype=np.float32)
HEAT_SHARE = 0.65
HIDDEN_SHARE = 0.92
# Cells of fewer pixels get no lines between them.
FINE = 4
# Narrower pictures get no number in their corner.
MIN_TAGGED = 60
GAP = 6
MARGIN = 10


def render_mask_grid(images: np.ndarray, attention: np.ndarray | None,
                     hidden: np.ndarray, *, num_views: int = 1,
                     cell: int = 160, title: str = '') -> np.ndarray:
    """Draws image, attention and mask side by side.

    One row an image; from left to right its views, each as the image, the
    attention of the class token over it (each map from its own minimum,
    dark, to its maximum, yellow), and the image with hidden patches greyed
    and their share written on it.

    Args:
        images (ndarray): (M, 3, H, W) or (M, 1, H, W) floats in [0, 1],
            M = views x images, view-major: first view 0 of all images.
        attention (ndarray, optional): (M, Hp, Wp) floats; None leaves the
            column out.
        hidden (ndarray): (M, Hp, Wp) bool, True is hidden.
        num_views (int): V. Defaults to 1.
        cell (int): Least length in pixels of the longer side of one picture;
            small images are enlarged without smoothing. Defaults to 160.
        title (str): A line on top. Defaults to none.

    Returns:
        ndarray: (height, width, 3) uint8.

    Raises:
        ConfigError: Shapes that do not fit each other.

    Example:
        >>> picture = render_mask_grid(
        ...     np.zeros((2, 3, 32, 32)), None, np.zeros((2, 4, 4), bool))
        >>> picture.shape[2], picture.dtype
        (3, dtype('uint8'))
    """
    _check(images, attention, hidden, num_views)
    pictures = to_pictures(images, cell)
    names = ['image', 'attention', 'hidden']
    columns = [
        pictures,
        None if attention is None else [
            overlay_heat(*pair) for pair in zip(pictures, attention)],
        [_tag(overlay_hidden(picture, mask), f'{mask.mean():.0%}')
         for picture, mask in zip(pictures, hidden)],
    ]
    shown = [(name, column) for name, column in zip(names, columns)
             if column is not None]
    rows = len(images) // num_views
    blocks = [
        [column[view * rows + row] for row in range(rows)]
        for view in range(num_views) for _, column in shown]
    titles = [
        name if num_views == 1 else f'{name}, view {view + 1}'
        for view in range(num_views) for name, _ in shown]
    return _compose(blocks, titles, len(shown), title)


def to_pictures(images: np.ndarray, cell: int) -> list[np.ndarray]:
    """Images as pictures that fill a cell.

    Args:
        images (ndarray): (M, 3, H, W) or (M, 1, H, W) floats in [0, 1].
        cell (int): Least length in pixels of the longer side; small images
            are enlarged by a whole factor, nothing is smoothed.

    Returns:
        list[ndarray]: M of (h, w, 3) uint8.
    """
    return [_enlarge(image, cell) for image in _to_rgb(images)]


def overlay_heat(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colours a picture by a map, stretched to the range of the map.

    Args:
        picture (ndarray): (h, w, 3) uint8.
        heat (ndarray): (Hp, Wp) finite floats; each covers its patch.

    Returns:
        ndarray: (h, w, 3) uint8.
    """
    heat = np.asarray(heat, dtype=np.float64)
    low, high = heat.min(), heat.max()
    scaled = (heat - low) / (high - low) if high > low else 0 * heat
    colours = np.stack([np.interp(scaled, HEAT_STOPS, HEAT_COLOURS[:, i])
                        for i in range(3)], -1)
    grey = picture.mean(-1, keepdims=True)
    mixed = (1 - HEAT_SHARE) * grey + HEAT_SHARE * _stretch(
        colours, picture.shape[:2])
    return np.asarray(mixed.round(), dtype=np.uint8)


def overlay_hidden(picture: np.ndarray, hidden: np.ndarray,
                   dropped: np.ndarray | None = None) -> np.ndarray:
    """Greys the hidden patches and draws their borders.

    Args:
        picture (ndarray): (h, w, 3) uint8.
        hidden (ndarray): (Hp, Wp) bool, True is hidden; or (3, Hp, Wp), one
            mask for each colour channel.
        dropped (ndarray, optional): (Hp, Wp) bool, patches that are neither
            seen nor predicted; they become orange. Defaults to none.

    Returns:
        ndarray: (h, w, 3) uint8.
    """
    if dropped is not None:
        picture = _cover(picture, np.asarray(dropped, bool), DROPPED)
    hidden = np.asarray(hidden, dtype=bool)
    if hidden.ndim == 2:
        return _cover(picture, hidden, HIDDEN)
    return np.stack([
        _cover(picture[..., c:c + 1], cells, HIDDEN[c:c + 1])[..., 0]
        for c, cells in enumerate(hidden)], -1)


def _cover(picture: np.ndarray, cells: np.ndarray, colour: np.ndarray
           ) -> np.ndarray:
    """Colours cells and draws lines between them."""
    size = picture.shape[:2]
    covered = _stretch(cells, size)
    out = picture.astype(np.float32)
    out[covered] = ((1 - HIDDEN_SHARE) * out[covered]
                    + HIDDEN_SHARE * colour)
    lines = np.zeros(size, dtype=bool)
    for axis, (length, count) in enumerate(zip(size, cells.shape)):
        patch = np.arange(length) * count // length
        if length < FINE * count:
            continue
        first = np.flatnonzero(np.diff(patch)) + 1
        np.moveaxis(lines, axis, 0)[first] = True
    out[lines & covered] = 0.5 * (out[lines & covered] + GRID_LINE)
    return out.round().astype(np.uint8)


def _check(images: np.ndarray, attention: np.ndarray | None,
           hidden: np.ndarray, num_views: int) -> None:
    """Shapes."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ConfigError(
            f'images {images.shape}: (M, 3, H, W) or (M, 1, H, W) needed')
    if num_views < 1 or len(images) == 0 or len(images) % num_views:
        raise ConfigError(
            f'{len(images)} images are no {num_views} views of each image')
    for name, maps in (('attention', attention), ('hidden', hidden)):
        if maps is not None and (
                maps.ndim != 3 or len(maps) != len(images)):
            raise ConfigError(
                f'{name} {maps.shape}: ({len(images)}, Hp, Wp) needed')


def _to_rgb(images: np.ndarray) -> np.ndarray:
    """(M, H, W, 3) uint8."""
    scaled = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
    rows = np.moveaxis(scaled, 1, -1)
    return np.broadcast_to(rows, (*rows.shape[:3], 3))


def _enlarge(image: np.ndarray, cell: int) -> np.ndarray:
    """By the smallest whole factor that fills a cell; nothing smoothed."""
    factor = max(1, -(-cell // max(image.shape[:2])))
    return image.repeat(factor, 0).repeat(factor, 1)


def _tag(picture: np.ndarray, text: str) -> np.ndarray:
    """A word in the lower left corner, if there is room."""
    if picture.shape[1] < MIN_TAGGED:
        return picture
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    place = (4, picture.shape[0] - 18)
    left, top, right, bottom = draw.textbbox(place, text, font=font)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2),
                   fill=(BACKGROUND,) * 3)
    draw.text(place, text, TEXT, font=font)
    return np.asarray(canvas)


def _stretch(cells: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A grid of cells over a picture; sizes need not divide."""
    rows, columns = (
        np.arange(length) * count // length
        for length, count in zip(size, cells.shape[:2]))
    return np.asarray(cells[rows[:, None], columns])


def _compose(blocks: Sequence[Sequence[np.ndarray]], titles: Sequence[str],
             per_view: int, title: str) -> np.ndarray:
    """Columns of pictures with a word above each."""
    height, width = blocks[0][0].shape[:2]
    size = max(11, min(16, width // 10))
    font, line = ImageFont.load_default(size=size), int(size * 1.6)
    top = MARGIN + line * (2 if title else 1)
    lefts = [MARGIN + i * (width + GAP) + i // per_view * 2 * GAP
             for i in range(len(blocks))]
    canvas = Image.new(
        'RGB', (lefts[-1] + width + MARGIN,
                top + len(blocks[0]) * (height + GAP) - GAP + MARGIN),
        (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN // 2), title, TEXT, font=font)
    for left, name, column in zip(lefts, titles, blocks):
        draw.text((left, top - line + 2), name, TEXT, font=font)
        for row, picture in enumerate(column):
            canvas.paste(Image.fromarray(picture),
                         (left, top + row * (height + GAP)))
    return np.asarray(canvas)
