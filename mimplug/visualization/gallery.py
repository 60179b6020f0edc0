"""Rows of pictures with words beside them."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mimplug.errors import ConfigError

from .mask_grid import BACKGROUND, DROPPED, GAP, HIDDEN, MARGIN, TEXT

FAINT = (110, 110, 110)
RULE = (225, 225, 225)
TITLE_SIZE, NAME_SIZE, NOTE_SIZE = 18, 15, 12
LABEL_WIDTH = 250
SQUARE = 12


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """One line of a gallery.

    Args:
        name (str): In larger letters, at the left.
        notes (tuple[str, ...]): Below it, wrapped where needed.
        pictures (Sequence[ndarray]): (h, w, 3) uint8, all of one size.
    """
    name: str
    notes: tuple[str, ...]
    pictures: Sequence[np.ndarray]


def render_gallery(rows: Sequence[GalleryRow], *, title: str = '',
                   notes: Sequence[str] = (), dropped: bool = False,
                   labels: bool = True) -> np.ndarray:
    """Draws rows of pictures below a title and a legend of the colours.

    Args:
        rows (Sequence[GalleryRow]): At least one; equally many pictures of
            equal size in each.
        title (str): A line on top. Defaults to none.
        notes (Sequence[str]): Smaller lines below it. Defaults to none.
        dropped (bool): Whether the legend names the colour of dropped
            patches. Defaults to False.
        labels (bool): Whether names, notes, title and legend are drawn; False
            leaves the pictures alone. Defaults to True.

    Returns:
        ndarray: (height, width, 3) uint8.

    Raises:
        ConfigError: Pictures that do not fit together.
    """
    shapes = {picture.shape for row in rows for picture in row.pictures}
    counts = {len(row.pictures) for row in rows}
    if len(shapes) != 1 or len(counts) != 1:
        raise ConfigError(
            f'a gallery needs equally many pictures of one size in each row, '
            f'got {sorted(counts)} of {sorted(shapes)}')
    (tall, wide, _), number = shapes.pop(), counts.pop()
    left = MARGIN + (LABEL_WIDTH if labels else 0)
    width = left + number * (wide + GAP) - GAP + MARGIN
    head = _Head(title, tuple(notes), dropped, width) if labels else None
    blocks = [_wrap(row, LABEL_WIDTH - 2 * GAP) for row in rows]
    tops, bottom = [], head.height if head else MARGIN
    for lines in blocks:
        tops.append(bottom)
        text = _text_height(len(lines)) if labels else 0
        bottom += max(tall, text) + (3 * GAP if labels else GAP)
    canvas = Image.new('RGB', (width, bottom - GAP + MARGIN),
                       (BACKGROUND, ) * 3)
    draw = ImageDraw.Draw(canvas)
    if head:
        head.paint(draw)
    for row, lines, top in zip(rows, blocks, tops):
        if labels:
            _write(draw, row.name, lines, top, width)
        for column, picture in enumerate(row.pictures):
            canvas.paste(Image.fromarray(picture),
                         (left + column * (wide + GAP), top))
    return np.asarray(canvas)


@dataclass(frozen=True)
class _Head:
    """Title, legend and notes."""
    title: str
    notes: tuple[str, ...]
    dropped: bool
    width: int

    @property
    def lines(self) -> list[str]:
        """Notes, wrapped."""
        return [line for note in self.notes
                for line in _wrapped(note, self.width - 2 * MARGIN)]

    @property
    def height(self) -> int:
        """Space above the first row."""
        title = int(1.6 * TITLE_SIZE) if self.title else 0
        return (MARGIN + title + int(1.5 * NOTE_SIZE) * (len(self.lines) + 1)
                + 2 * GAP)

    def paint(self, draw: ImageDraw.ImageDraw) -> None:
        """Writes it."""
        y = MARGIN // 2
        if self.title:
            draw.text((MARGIN, y), self.title, TEXT, font=_font(TITLE_SIZE))
            y += int(1.6 * TITLE_SIZE)
        x = MARGIN
        legend = [(HIDDEN, 'hidden')]
        if self.dropped:
            legend.append((DROPPED, 'dropped: neither seen nor predicted'))
        for colour, word in legend:
            fill = tuple(int(value) for value in colour)
            draw.rectangle((x, y + 2, x + SQUARE, y + 2 + SQUARE), fill=fill)
            draw.text((x + SQUARE + 5, y), word, TEXT, font=_font(NOTE_SIZE))
            x += SQUARE + 25 + int(_font(NOTE_SIZE).getlength(word))
        for line in self.lines:
            y += int(1.5 * NOTE_SIZE)
            draw.text((MARGIN, y), line, FAINT, font=_font(NOTE_SIZE))


def _write(draw: ImageDraw.ImageDraw, name: str, lines: Sequence[str],
           top: int, width: int) -> None:
    """The words of a row, and a fine line above it."""
    y = top - 3 * GAP // 2
    draw.line((MARGIN, y, width - MARGIN, y), fill=RULE)
    draw.text((MARGIN, top - 2), name, TEXT, font=_font(NAME_SIZE))
    for number, line in enumerate(lines):
        draw.text((MARGIN, top - 2 + _text_height(number)), line, FAINT,
                  font=_font(NOTE_SIZE))


def _text_height(notes: int) -> int:
    """Height of a name with so many lines of notes."""
    return int(1.5 * NAME_SIZE) + int(1.35 * NOTE_SIZE) * notes


def _wrap(row: GalleryRow, width: int) -> list[str]:
    """All notes of a row, in lines that fit."""
    return [line for note in row.notes for line in _wrapped(note, width)]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most this many pixels, broken at spaces."""
    font, lines = _font(NOTE_SIZE), ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: the same picture on every machine."""
    return ImageFont.load_default(size=size)
