"""Features of a whole data set, in its order, on every process."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from mmengine import dist
from mmengine.model import is_model_wrapper
from mmengine.runner import autocast
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mimplug.errors import ConfigError, check_choice

KEYS = ('auto', 'teacher', 'student')
NO_LABEL = -1

# A function of normalised images (b, C, H, W) that gives features (b, D).
Encoder = Callable[[Tensor], Tensor]
# Wraps the work on one batch: (number of the batch, batch) -> context.
Around = Callable[[int, Any], AbstractContextManager]


@dataclass(frozen=True)
class FeatureBank:
    """Features of a data set, one row a sample, in the data set's order.

    Args:
        features (Tensor): (N, D).
        labels (Tensor): (N,) int64; -1 where there is none.
        index (Tensor): (N,) int64, place in the data set, rising.
    """
    features: Tensor
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        """Number of samples N."""
        return len(self.index)

    @property
    def num_labelled(self) -> int:
        """Number of samples with a label."""
        return int((self.labels >= 0).sum())


def bare_model(model: nn.Module) -> Any:
    """Returns the algorithm in a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def choose_backbone(model: nn.Module, key: str = 'auto') -> nn.Module:
    """Returns the network whose features are evaluated.

    Args:
        model (nn.Module): An algorithm, wrapped or not.
        key (str): 'teacher' for ``teacher.backbone``, 'student' for
            ``backbone``, 'auto' for the teacher where there is one. Defaults
            to 'auto'.

    Returns:
        nn.Module: The backbone.

    Raises:
        ConfigError: Unknown key, or the model has no such network.
    """
    check_choice('key', key, KEYS)
    model = bare_model(model)
    teacher = getattr(getattr(model, 'teacher', None), 'backbone', None)
    if isinstance(teacher, nn.Module):
        if key != 'student':
            return teacher
    elif key == 'teacher':
        raise ConfigError(
            f"key='teacher': {type(model).__name__} has no teacher.backbone; "
            "allowed: 'student', 'auto'")
    student = getattr(model, 'backbone', None)
    if not isinstance(student, nn.Module):
        raise ConfigError(
            f'{type(model).__name__} has no backbone to take features from')
    return student


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every sub-module's mode returns.

    Args:
        *modules (nn.Module): Networks to switch.
    """
    modes = [(part, part.training)
             for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def pooled_output(output: Any) -> Tensor:
    """Returns one vector an image from what a backbone gives.

    Args:
        output (Tensor | Sequence[Tensor]): The last entry counts: (b, D)
            class-token features, or a map (b, D, H, W), which is averaged.

    Returns:
        Tensor: (b, D).

    Raises:
        ConfigError: Something else, for example all tokens.
    """
    last = output[-1] if isinstance(output, (tuple, list)) else output
    if isinstance(last, Tensor) and last.ndim == 4:
        return last.mean((2, 3))
    if isinstance(last, Tensor) and last.ndim == 2:
        return last
    got = tuple(last.shape) if isinstance(last, Tensor) else type(last)
    raise ConfigError(
        f'the backbone gives {got}; one vector (b, D) or map (b, D, H, W) is '
        "needed, for a vision transformer out_type='cls_token' or "
        "'avg_featmap'")


def extract_features(
        model: nn.Module,
        loader: DataLoader,
        *,
        key: str = 'auto',
        encoder: Encoder | None = None,
        fp16: bool = False,
        storage: torch.dtype = torch.float32,
        around: Around | None = None) -> FeatureBank:
    """Encodes a data set; each process its share, then all get everything.

    Rows that a sampler added to give all processes equally many are dropped.

    Args:
        model (nn.Module): An algorithm with ``data_preprocessor`` and
            ``backbone`` (and ``teacher``), wrapped or not. It is evaluated
            without gradients; its modes are restored afterwards.
        loader (DataLoader): Gives batches for the data preprocessor. Its
            sampler must give the same order when asked twice.
        key (str): As for :func:`choose_backbone`. Defaults to 'auto'.
        encoder (Callable, optional): Takes the place of the backbone.
        fp16 (bool): Encode under autocast. Defaults to False.
        storage (torch.dtype): Type of the stored features;
            ``torch.float16`` halves the memory. Defaults to float32.
        around (Callable, optional): Called with number and content of every
            batch; its context holds while the batch is encoded.

    Returns:
        FeatureBank: On CPU, equal on all processes.

    Raises:
        ConfigError: The model or its output does not fit, or the sampler
            shuffles anew at every pass.
    """
    model = bare_model(model)
    encode = encoder or _backbone_encoder(choose_backbone(model, key))
    order = _batch_indices(loader)
    features, labels = [], []
    with evaluating(model):
        for number, batch in enumerate(loader):
            with around(number, batch) if around else nullcontext():
                labels.append(batch_labels(batch))
                images = preprocess(model, batch)
                with autocast(device_type=images.device.type, enabled=fp16):
                    encoded = encode(images)
                features.append(encoded.to('cpu', storage))
    counts = [len(batch) for batch in order]
    if counts != [len(part) for part in features]:
        raise ConfigError(
            'the loader gave other batches than its sampler announced: '
            'features cannot be put into the order of the data set')
    index = torch.tensor([i for batch in order for i in batch],
                         dtype=torch.int64)
    # a process without a share knows no width; the others tell it
    nothing = torch.empty(0, 0, dtype=storage)
    return _in_order(
        _gather_rows(torch.cat(features) if features else nothing),
        _gather_rows(torch.cat(labels) if labels else index),
        _gather_rows(index))


def preprocess(model: nn.Module, batch: Any) -> Tensor:
    """Returns the images of a batch as the network gets them.

    Args:
        model (nn.Module): Owns ``data_preprocessor``.
        batch (dict): As the loader gives it.

    Returns:
        Tensor: (b, C, H, W), normalised and behind the model's input filter,
        on the device of the model.

    Raises:
        ConfigError: The pipeline gives several views, or no tensor.
    """
    prepare = cast(Callable[..., Any], model.data_preprocessor)
    inputs = prepare(batch, training=False)['inputs']
    if isinstance(inputs, (tuple, list)):
        if len(inputs) != 1:
            raise ConfigError(
                f'the evaluation pipeline gives {len(inputs)} views of an '
                'image; one is needed')
        inputs = inputs[0]
    if not isinstance(inputs, Tensor):
        raise ConfigError(
            f'the data preprocessor gives {type(inputs).__name__}, not a '
            'tensor of images')
    input_filter: Any = getattr(model, 'input_filter', None)
    return inputs if input_filter is None else input_filter(inputs)


def batch_labels(batch: Any) -> Tensor:
    """Returns the labels (b,) of a batch, -1 where a sample has none.

    Args:
        batch (dict): As the loader gives it, with ``data_samples``.

    Returns:
        Tensor: int64, on CPU.

    Raises:
        ConfigError: A sample with several labels.
    """
    samples = batch.get('data_samples') or [None] * len(batch['inputs'])
    found = [getattr(sample, 'gt_label', None) for sample in samples]
    many = [label for label in found
            if label is not None and label.numel() != 1]
    if many:
        raise ConfigError(
            f'a sample has {many[0].numel()} labels; k-NN and clustering '
            'metrics take one')
    return torch.tensor(
        [NO_LABEL if label is None else int(label) for label in found],
        dtype=torch.int64)


def _backbone_encoder(backbone: nn.Module) -> Encoder:
    """The backbone as a function to one vector an image."""
    return lambda images: pooled_output(backbone(images))


def _batch_indices(loader: DataLoader) -> list[list[int]]:
    """Data set indices of every batch that the loader will give."""
    sampler = loader.batch_sampler
    if sampler is None:
        raise ConfigError('the loader must make batches: batch_size=None')
    first, second = (
        [[_index(entry) for entry in batch]
         for batch in islice(sampler, len(loader))] for _ in range(2))
    if first != second:
        raise ConfigError(
            f'{type(loader.sampler).__name__} gives another order at every '
            "pass; use dict(type='DefaultSampler', shuffle=False)")
    return first


def _index(entry: int | Sequence[int]) -> int:
    """A sampler's entry: an index, or a key (epoch, index, repeat)."""
    return entry[1] if isinstance(entry, Sequence) else int(entry)


def _gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes, each with as many as it has, even none."""
    if dist.get_world_size() == 1:
        return rows
    shape = torch.tensor([rows.shape[0], *rows.shape[1:]])
    shapes = torch.stack(dist.all_gather(shape))
    padded = rows.new_zeros(shapes.amax(0).tolist())
    if len(rows):
        padded[:len(rows)] = rows
    sizes = shapes[:, 0].tolist()
    return torch.cat([
        part[:size] for part, size in zip(dist.all_gather(padded), sizes)])


def _in_order(features: Tensor, labels: Tensor, index: Tensor) -> FeatureBank:
    """Sorted by place in the data set, every sample once."""
    order = index.argsort(stable=True)
    index = index[order]
    keep = torch.ones_like(index, dtype=torch.bool)
    keep[1:] = index[1:] != index[:-1]
    order = order[keep]
    return FeatureBank(features[order], labels[order], index[keep])
