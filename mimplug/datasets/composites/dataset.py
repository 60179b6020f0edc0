"""The data set of composites."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.registry import DATASETS

from .coco import encode_rle
from .scene import Scene, SceneRecipe, compose
from .sources import (
    ASSET,
    SPLITS,
    has_alpha,
    list_images,
    read_cutout,
    split_sources,
)

CUTOUTS = f'{ASSET}tuxpaint-stamps'
BACKGROUNDS = f'{ASSET}mvtb-data'


@DATASETS.register_module()
class Composites(BaseDataset):
    """Cut-outs pasted on photographs: exact masks, boxes and classes.

    Sample i is a function of (seed, split, i) and the files alone, not of
    workers, order or processes. Neither an object nor a background of the
    training side is in the test side, nor one of the same family
    (``rose1.png``, ``rose2.png``; for backgrounds also one of the same
    folder, unless there is only one).

    A sample has what image, detection, segmentation and saliency code asks
    for: ``img`` (H, W, 3) uint8 RGB, ``height``, ``width``, ``img_id``,
    ``gt_label`` (class of the largest object, -1 without objects),
    ``instances`` (each with ``bbox`` x0, y0, x1, y1, ``bbox_label``,
    ``mask`` as run lengths, ``area``, ``ignore_flag``), ``gt_masks``
    (N, H, W) bool, ``gt_seg_map`` (H, W) uint8 with 0 for the background and
    label + 1 elsewhere, ``foreground`` (H, W) bool, and the names ``objects``
    and ``background`` of the files.

    Args:
        cutouts (str): Folder of images with alpha channel; the first folder
            below it is the class. Or 'asset:NAME'. Defaults to the stamps of
            Tux Paint (GPL-2: never pass on pictures made of them).
        backgrounds (str): Folder of photographs, or 'asset:NAME'. Defaults
            to those of the Machine Vision Toolbox.
        split (str): 'train' or 'test'. Defaults to 'train'.
        num_samples (int): Length of the data set. Defaults to 1000.
        size (tuple[int, int]): See :class:`SceneRecipe`, like the next three.
        num_objects (tuple[int, int]): Defaults to (1, 4).
        object_size (tuple[int, int]): Defaults to (48, 160).
        min_visible (int): Defaults to 16.
        test_share (float): Share of cut-outs and of backgrounds for the test
            side. Defaults to 0.25.
        seed (int): Another seed gives other composites of the same files on
            the same sides. Defaults to 0.
        **kwargs: Further arguments of MMPretrain's ``BaseDataset``, such as
            ``pipeline``.

    Raises:
        ConfigError: A setting is wrong, or a folder has no images.
        AssetError: An asset has not been fetched; says how.
    """

    def __init__(self, cutouts: str = CUTOUTS, backgrounds: str = BACKGROUNDS,
                 *, split: str = 'train', num_samples: int = 1000,
                 size: tuple[int, int] = (256, 320),
                 num_objects: tuple[int, int] = (1, 4),
                 object_size: tuple[int, int] = (48, 160),
                 min_visible: int = 16, test_share: float = 0.25,
                 seed: int = 0, **kwargs: Any) -> None:
        check_choice('split', split, SPLITS)
        check_range('num_samples', num_samples, 1, float('inf'))
        self.recipe = SceneRecipe(
            tuple(size), tuple(num_objects),  # type: ignore[arg-type]
            tuple(object_size), min_visible)  # type: ignore[arg-type]
        every = list_images(cutouts)
        self.cutouts = split_sources(every, split, test_share=test_share)
        self.backgrounds = split_sources(
            list_images(backgrounds), split, test_share=test_share,
            whole_folders=True)
        self._check_alpha(cutouts)
        self.split, self.num_samples, self.seed = split, num_samples, seed
        names = tuple(sorted({one.category for one in every}))
        kwargs['metainfo'] = {'classes': names,
                              **(kwargs.get('metainfo') or {})}
        super().__init__(ann_file='', **kwargs)

    def _check_alpha(self, folder: str) -> None:
        """Photographs instead of cut-outs would hide the whole image."""
        first = self.cutouts[0].path
        if not has_alpha(read_cutout(first, 64)):
            raise ConfigError(
                f'cutouts={folder!r}: {self.cutouts[0].name} has no '
                'transparent pixel; images with an alpha channel are needed')

    def load_data_list(self) -> list[dict[str, Any]]:
        """The numbers of the samples; pictures are made on request."""
        return [dict(img_id=number) for number in range(self.num_samples)]

    def scene(self, number: int) -> Scene:
        """One composite.

        Args:
            number (int): ``img_id`` of the sample, >= 0.

        Returns:
            Scene: Image, masks and files.
        """
        draws = KeyedRandom(self.seed, SPLITS.index(self.split), number)
        return compose(self.cutouts, self.backgrounds, self.recipe, draws)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """One sample; see the class.

        Args:
            idx (int): Place in the data set.

        Returns:
            dict: Fresh arrays.
        """
        info: dict[str, Any] = super().get_data_info(idx)
        scene = self.scene(info['img_id'])
        classes = self.metainfo['classes']
        labels = [classes.index(one.category) for one in scene.sources]
        areas = scene.masks.sum((1, 2))
        height, width = scene.image.shape[:2]
        info.update(
            img=scene.image.copy(), height=height, width=width,
            gt_label=labels[int(areas.argmax())] if labels else -1,
            instances=[
                dict(bbox=box.tolist(), bbox_label=label, ignore_flag=0,
                     mask=encode_rle(mask), area=int(area))
                for box, label, mask, area in zip(
                    scene.boxes, labels, scene.masks, areas)],
            gt_masks=scene.masks, gt_seg_map=_classes_of(scene, labels),
            foreground=scene.masks.any(0),
            objects=tuple(one.name for one in scene.sources),
            background=scene.background.name)
        return info

    def extra_repr(self) -> list[str]:
        """Lines for ``print``."""
        return [f'Split: \t{self.split}, seed {self.seed}',
                f'Cut-outs: \t{len(self.cutouts)}',
                f'Backgrounds: \t{len(self.backgrounds)}', f'{self.recipe}']


def _classes_of(scene: Scene, labels: list[int]) -> np.ndarray:
    """(H, W) uint8, 0 is the background; visible parts do not overlap."""
    out = np.zeros(scene.image.shape[:2], dtype=np.uint8)
    for mask, label in zip(scene.masks, labels):
        out[mask] = label + 1
    return out
