"""The end of a pipeline: tensors and one data sample."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.structures import DataSample

from mimplug.registry import TRANSFORMS

from .functional import to_chw


@TRANSFORMS.register_module()
class PackViews(BaseTransform):
    """Packs views and their geometry as ``dict(inputs=, data_samples=)``.

    ``inputs`` is the list ``views`` of a multi-view transform, or one uint8
    tensor (3, H, W) made of ``img`` when there is none. The data sample
    carries ``gt_label`` if the data set knows it, and as meta information
    what ``META_KEYS`` names; a single view without recorded geometry is the
    whole image.

    Args:
        meta_keys (tuple[str, ...]): Further keys of the sample to keep as
            meta information. Defaults to none.
    """

    META_KEYS = ('sample_key', 'view_boxes', 'view_flips', 'num_globals',
                 'ori_shape', 'img_shape', 'sample_idx', 'img_path', 'weak',
                 'view_strong', 'erase_boxes', 'erase_seeds')

    def __init__(self, meta_keys: tuple[str, ...] = ()) -> None:
        self.meta_keys = (*self.META_KEYS, *meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs one sample.

        Args:
            results (dict): One sample.

        Returns:
            dict: ``inputs`` and ``data_samples``.
        """
        inputs = results.get('views')
        if inputs is None:
            inputs = to_chw(results['img'])
            height, width = inputs.shape[-2:]
            results.setdefault('view_boxes', np.array(
                [[0, 0, width, height]], dtype=np.float32))
            results.setdefault('view_flips', np.zeros(1, dtype=bool))
            results.setdefault('num_globals', 1)
        sample = DataSample(metainfo={
            key: results[key] for key in self.meta_keys if key in results})
        if results.get('gt_label') is not None:
            sample.set_gt_label(results['gt_label'])
        return dict(inputs=inputs, data_samples=sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
