"""What a mask generator asks the teacher for."""
from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from mimplug.errors import ConfigError


def absolute_layer(layer: int, num_layers: int) -> int:
    """Returns the index of a layer counted from the first.

    Args:
        layer (int): Index; negative ones count from the end.
        num_layers (int): Depth of the network.

    Raises:
        ConfigError: If there is no such layer.
    """
    if not -num_layers <= layer < num_layers:
        raise ConfigError(
            f'layer={layer}: a network of {num_layers} layers has '
            f'0, …, {num_layers - 1}, or -{num_layers}, …, -1 from the end')
    return layer % num_layers


@dataclass(frozen=True)
class LayerSpan:
    """Consecutive layers whose whole attention is needed, but one.

    Args:
        start (int | Fraction): First layer; negative ones count from the
            end, a fraction is a share of the depth.
        end (int | Fraction): Last layer, included; a fraction is the share
            of the depth that ends with it.
        row (str, optional): 'start' or 'end': of that layer the CLS row is
            enough. Defaults to none.
        head_mean (bool): Of the others the mean over the heads is enough.
            Defaults to False.

    Example:
        >>> list(LayerSpan(Fraction(2, 3), Fraction(1)).layers(12))
        [8, 9, 10, 11]
    """
    start: int | Fraction
    end: int | Fraction
    row: str | None = None
    head_mean: bool = False

    def layers(self, num_layers: int) -> range:
        """Returns the layers, counted from the first; at least one.

        Args:
            num_layers (int): Depth of the network.

        Raises:
            ConfigError: If a layer is out of range, or the last one comes
                before the first one.
        """
        start, end = self.start, self.end
        if isinstance(start, Fraction):
            start = min(_nearest(start * num_layers), num_layers - 1)
        start = absolute_layer(start, num_layers)
        if isinstance(end, Fraction):
            end = max(_nearest(end * num_layers) - 1, start)
        end = absolute_layer(end, num_layers)
        if end < start:
            raise ConfigError(
                f'start={self.start}, end={self.end}: in a network of '
                f'{num_layers} layers these are {start} and {end}, an empty '
                'range')
        return range(start, end + 1)

    def parts(self, num_layers: int) -> tuple[set[int], set[int]]:
        """Returns the layers of CLS rows and of whole matrices."""
        layers = self.layers(num_layers)
        ends = {'start': layers[0], 'end': layers[-1]}
        rows = {ends[self.row]} if self.row else set()
        return rows, set(layers) - rows


def _nearest(number: Fraction) -> int:
    """The nearest integer, halves up."""
    return int(number + Fraction(1, 2))


@dataclass(frozen=True)
class Needs:
    """Inputs beyond grid and draws that a generator looks at.

    Args:
        cls_rows (tuple[int, ...]): Layers of whose attention the CLS row is
            needed; negative indices count from the end. Defaults to none.
        full (tuple[int, ...]): Layers whose whole attention matrices are
            needed. Defaults to none.
        saliency (bool): A saliency map of each row. Defaults to False.
        features (bool): Patch features of each row. Defaults to False.
        images (bool): The pixels of each row. Defaults to False.
        spans (tuple[LayerSpan, ...]): Ranges of layers that are known only
            with the depth of the teacher. Defaults to none.
        difficulty (bool): Predicted loss of each token. Defaults to False.
        head_mean (tuple[int, ...]): Layers of ``full`` of which the mean
            over the heads is enough; :meth:`resolve` finds them in the
            spans. Whoever gives attention may give all heads instead.
            Defaults to none.

    Example:
        >>> needs = (Needs(cls_rows=(-1,)) | Needs(full=(2, 3))).resolve(12)
        >>> needs.cls_rows, needs.full
        ((11,), (2, 3))
    """
    cls_rows: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    saliency: bool = False
    features: bool = False
    images: bool = False
    spans: tuple[LayerSpan, ...] = ()
    difficulty: bool = False
    head_mean: tuple[int, ...] = ()

    def __or__(self, other: Needs) -> Needs:
        """Returns what either of the two needs."""
        full = {*self.full, *other.full}
        return Needs(
            tuple(sorted({*self.cls_rows, *other.cls_rows})),
            tuple(sorted(full)),
            self.saliency or other.saliency,
            self.features or other.features,
            self.images or other.images,
            tuple(dict.fromkeys((*self.spans, *other.spans))),
            self.difficulty or other.difficulty,
            tuple(sorted(full - self._each_head() - other._each_head())))

    def _each_head(self) -> set[int]:
        """Layers of which a mean over the heads is not enough."""
        return {*self.cls_rows, *self.full} - {*self.head_mean}

    @property
    def attention(self) -> bool:
        """Whether any attention is needed."""
        return bool(self.cls_rows or self.full or self.spans)

    def resolve(self, num_layers: int) -> Needs:
        """Returns the same with layers counted from the first.

        A layer that is needed in full is not asked for its CLS row as well,
        which is a part of the matrix. Spans become layers.

        Args:
            num_layers (int): Depth of the teacher.

        Raises:
            ConfigError: If a layer is out of range.
        """
        rows, full, heads = (
            {absolute_layer(layer, num_layers) for layer in layers}
            for layers in (self.cls_rows, self.full, self._each_head()))
        for span in self.spans:
            span_rows, span_full = span.parts(num_layers)
            rows, full = rows | span_rows, full | span_full
            if not span.head_mean:
                heads |= span_rows | span_full
        return replace(self, cls_rows=tuple(sorted(rows - full)),
                       full=tuple(sorted(full)), spans=(),
                       head_mean=tuple(sorted(full - heads)))
