"""MMPretrain's data preprocessors without a copy for every sample."""
from __future__ import annotations

from typing import Any

from mmengine.structures import BaseDataElement
from mmpretrain.models.utils import (
    SelfSupDataPreprocessor as StockSelfSup,
)
from mmpretrain.models.utils import (
    TwoNormDataPreprocessor as StockTwoNorm,
)

from mimplug.registry import MODELS


class HostSamples:
    """Mixin: data samples stay on the host, only images travel.

    Self-supervised losses read no labels, but the stock classes copy those of
    each sample to the device, one by one.
    """

    def cast_data(self, data: Any) -> Any:
        """Moves images to the device.

        Args:
            data (Any): Tensors and data samples in lists, tuples or dicts.

        Returns:
            Any: The same, data samples as they were.
        """
        if isinstance(data, BaseDataElement):
            return data
        return super().cast_data(data)  # type: ignore[misc]


@MODELS.register_module()
class SelfSupDataPreprocessor(HostSamples, StockSelfSup):
    """MMPretrain's class of this name; data samples stay on the host.

    Args:
        **kwargs: Those of the stock class.
    """


@MODELS.register_module()
class TwoNormDataPreprocessor(HostSamples, StockTwoNorm):
    """MMPretrain's class of this name; data samples stay on the host.

    Args:
        **kwargs: Those of the stock class.
    """
