"""A small algorithm and labelled images whose class is their pattern."""
import torch
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import Dataset

from mimplug.datasets import MultiViewDataPreprocessor


class ToyBackbone(nn.Module):
    """Linear features; a tuple as MMPretrain's backbones give it."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, width)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        features = self.dropout(self.linear(images.flatten(1)))
        return (features[:, :2], features)


class ToyTeacher(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = ToyBackbone()
        self.head = nn.Linear(6, 5)


class ToyAlgorithm(BaseModel):
    """Student and teacher; the step trains the student on nothing much."""

    def __init__(self, with_teacher=True):
        super().__init__(MultiViewDataPreprocessor(
            mean=(128.0,) * 3, std=(64.0,) * 3))
        self.backbone = ToyBackbone()
        self.head = nn.Linear(6, 5)
        if with_teacher:
            self.teacher = ToyTeacher()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        features = self.backbone(inputs)[-1]
        if mode == 'loss':
            return dict(loss=features.square().mean())
        return features

    def preview_masks(self, inputs, data_samples=None):
        images = inputs if isinstance(inputs, torch.Tensor) else torch.cat(
            list(inputs))
        grid = images.mean(1).unflatten(1, (4, 2)).mean(2).unflatten(
            2, (4, 2)).mean(3)
        return dict(images=images, attention=grid.sigmoid(),
                    hidden=grid > grid.mean())


class ToyImages(Dataset):
    """Class c: noise plus a fixed pattern; ``labelled`` of them say so."""

    def __init__(self, size, classes=4, labelled=None, seed=0, views=None):
        draws = torch.Generator().manual_seed(seed)
        patterns = torch.randn(
            classes, 3, 8, 8, generator=torch.Generator().manual_seed(99))
        self.labels = torch.arange(size) % classes
        noise = torch.randn(size, 3, 8, 8, generator=draws)
        images = patterns[self.labels] + 0.7 * noise
        self.images = (images * 40 + 128).clamp(0, 255).to(torch.uint8)
        self.labelled = size if labelled is None else labelled
        self.views = views
        self.metainfo = {}

    def __len__(self):
        return len(self.images)

    def get_data_info(self, index):
        info = dict(sample_idx=index)
        if index < self.labelled:
            info['gt_label'] = int(self.labels[index])
        return info

    def __getitem__(self, index):
        sample = DataSample(metainfo=dict(sample_idx=index))
        if index < self.labelled:
            sample.set_gt_label(int(self.labels[index]))
        image = self.images[index]
        inputs = [image] * self.views if self.views else image
        return dict(inputs=inputs, data_samples=sample)


def loader_config(dataset, batch_size=4, **kwargs):
    """A loader as a config describes it, around a data set object."""
    return dict(
        batch_size=batch_size, num_workers=0, dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'), **kwargs)


def register():
    """Lets a config name the model and the images."""
    DATASETS.register_module(module=ToyImages, force=True)
    MODELS.register_module(module=ToyAlgorithm, force=True)
