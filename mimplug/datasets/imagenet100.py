"""ImageNet-100: 100 classes of ImageNet-1k."""
from __future__ import annotations

from typing import Any, ClassVar

from mmpretrain.datasets import ImageNet
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmpretrain.datasets.custom import find_folders, get_samples

from mimplug.errors import ConfigError
from mimplug.registry import DATASETS

_FOLDERS = """
    n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546
    n01855672 n01978455 n01980166 n01983481 n02009229 n02018207 n02085620
    n02086240 n02086910 n02087046 n02089867 n02089973 n02090622 n02091831
    n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142
    n02108089 n02109047 n02113799 n02113978 n02114855 n02116738 n02119022
    n02123045 n02138441 n02172182 n02231487 n02259212 n02326432 n02396427
    n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837
    n02877765 n02974003 n03017168 n03032252 n03062245 n03085013 n03259280
    n03379051 n03424325 n03492542 n03494278 n03530642 n03584829 n03594734
    n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032
    n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417
    n04067472 n04099969 n04111531 n04127249 n04136333 n04229816 n04238763
    n04336792 n04418357 n04429376 n04435653 n04485082 n04493381 n04517823
    n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838
    n13037406 n13040303
"""

IMAGENET100_SYNSETS = tuple(_FOLDERS.split())
"""Names of the 100 class folders, in the order of the labels.

Source: ``imagenet100.sh`` of joycenerd/Saliency-Guided-Masking-for-ConvNets;
the same set as ``imagenet100_classes.txt`` of vturrisi/solo-learn.
"""

IMAGENET100_NUMBERS = (
    15, 45, 54, 57, 64, 74, 90, 99, 119, 120, 122, 131, 137, 151, 155, 157,
    158, 166, 167, 169, 176, 180, 209, 211, 222, 228, 234, 236, 242, 246,
    267, 268, 272, 275, 277, 281, 299, 305, 313, 317, 331, 342, 368, 374,
    407, 421, 431, 449, 452, 455, 479, 494, 498, 503, 508, 544, 560, 570,
    592, 593, 599, 606, 608, 619, 620, 653, 659, 662, 665, 667, 674, 682,
    703, 708, 717, 724, 748, 758, 765, 766, 772, 775, 796, 798, 830, 854,
    857, 858, 872, 876, 882, 904, 908, 936, 938, 953, 959, 960, 993, 994, )
"""Their labels in ImageNet-1k, whose classes are sorted by synset."""


@DATASETS.register_module()
class ImageNet100(ImageNet):
    """The 100 classes of an ImageNet-1k folder that make ImageNet-100.

    Labels are 0 to 99 in the order of the synsets, so equal to those of a
    folder that has only these classes, which does as well. Folders of other
    classes are not searched. A list (``ann_file``, or ``meta/<split>.txt``
    if there is one) carries the labels of ImageNet-1k.

    Args:
        data_root (str): Folder of ImageNet. Defaults to ''.
        split (str): ``'train'`` or ``'val'``. Defaults to ''.
        **kwargs: Arguments of MMPretrain's ``ImageNet``.

    Raises:
        ConfigError: ``split='test'``, which has no labels to choose by, or a
            class has no folder or no images.

    Source: Tian et al., Contrastive Multiview Coding, ECCV 2020 (the
    choice); :data:`IMAGENET100_SYNSETS` (the list).
    """

    METAINFO: ClassVar = {'classes': tuple(
        IMAGENET_CATEGORIES[number] for number in IMAGENET100_NUMBERS)}

    def __init__(self, data_root: str = '', split: str = '',
                 **kwargs: Any) -> None:
        if split == 'test' or kwargs.get('with_label') is False:
            raise ConfigError(
                f'ImageNet100: split={split!r}, '
                f'with_label={kwargs.get("with_label", True)}: the classes '
                'are chosen by labels; allowed are labelled splits (train, '
                'val)')
        super().__init__(data_root=data_root, split=split, **kwargs)

    def _find_samples(self) -> list[tuple[str, int]]:
        """Files of the 100 folders with their labels."""
        folders = set(find_folders(self.img_prefix)[0])
        missing = [name for name in IMAGENET100_SYNSETS
                   if name not in folders]
        self.folder_to_idx = {
            name: label for label, name in enumerate(IMAGENET100_SYNSETS)}
        empty: set[str] = set()
        samples: list[tuple[str, int]] = []
        if not missing:
            samples, empty = get_samples(
                self.img_prefix, self.folder_to_idx,
                is_valid_file=self.is_valid_file)
        if missing or empty:
            raise ConfigError(
                f'ImageNet100: {self.img_prefix} lacks images of '
                f'{len(missing) or len(empty)} of the 100 classes, e.g. '
                f'{", ".join(missing[:3] or sorted(empty)[:3])}')
        return samples

    def load_data_list(self) -> list[dict[str, Any]]:
        """Annotations of the 100 classes.

        Returns:
            list[dict]: ``img_path`` and ``gt_label``.
        """
        entries: list[dict[str, Any]] = super().load_data_list()
        if not self.ann_file:
            return entries
        label = {number: place
                 for place, number in enumerate(IMAGENET100_NUMBERS)}
        chosen = [{**entry, 'gt_label': label[entry['gt_label']]}
                  for entry in entries if entry['gt_label'] in label]
        if len({entry['gt_label'] for entry in chosen}) < len(label):
            raise ConfigError(
                f'ImageNet100: {self.ann_file} lacks some of the 100 '
                'classes; its labels must be those of ImageNet-1k, 0 to 999')
        return chosen
