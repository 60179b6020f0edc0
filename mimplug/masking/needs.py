"""What a mask generator asks the teacher for."""
from __future__ import annotations

from dataclasses import dataclass

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

    Example:
        >>> (Needs(cls_rows=(-1,)) | Needs(full=(2, 3))).resolve(12)
        Needs(cls_rows=(11,), full=(2, 3), saliency=False, features=False, \
images=False)
    """
    cls_rows: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    saliency: bool = False
    features: bool = False
    images: bool = False

    def __or__(self, other: Needs) -> Needs:
        """Returns what either of the two needs."""
        return Needs(
            tuple(sorted({*self.cls_rows, *other.cls_rows})),
            tuple(sorted({*self.full, *other.full})),
            self.saliency or other.saliency,
            self.features or other.features,
            self.images or other.images)

    @property
    def attention(self) -> bool:
        """Whether any attention is needed."""
        return bool(self.cls_rows or self.full)

    def resolve(self, num_layers: int) -> Needs:
        """Returns the same with layers counted from the first.

        A layer that is needed in full is not asked for its CLS row as well,
        which is a part of the matrix.

        Args:
            num_layers (int): Depth of the teacher.

        Raises:
            ConfigError: If a layer is out of range.
        """
        full = {absolute_layer(layer, num_layers) for layer in self.full}
        rows = {absolute_layer(layer, num_layers) for layer in self.cls_rows}
        return Needs(tuple(sorted(rows - full)), tuple(sorted(full)),
                     self.saliency, self.features, self.images)
