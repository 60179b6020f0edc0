"""Every registered generator, and what their tests share."""
from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from mimplug.draws import SampleKeys
from mimplug.masking import MaskGenerator, build_generator
from mimplug.registry import TASK_UTILS

# Every generator must take the first one; (batch, views, grid).
BATCHES = ((4, 2, (6, 4)), (1, 1, (6, 4)), (3, 3, (5, 7)), (1, 2, (3, 4)),
           (2, 2, (8, 8)), (2, 1, (2, 10)), (2, 2, (14, 14)))
GRID = BATCHES[0][2]
CLASSES = [(name, part) for name, part in sorted(
    TASK_UTILS.module_dict.items())
    if inspect.isclass(part) and issubclass(part, MaskGenerator)]
EXAMPLES = [
    pytest.param(dict(type=f'mimplug.{name}', **kwargs),
                 id=f'{name}-{number}')
    for name, part in CLASSES for number, kwargs in enumerate(part.examples)]

every_generator = pytest.mark.parametrize('config', EXAMPLES)


def examples_that(hold):
    """The examples of which something holds."""
    return pytest.mark.parametrize('config', [
        case for case in EXAMPLES if hold(build_generator(case.values[0]))])


keyed = examples_that(lambda generator: generator.keyed)
uncoupled = examples_that(lambda generator: not generator.batch_coupled)
coupled = examples_that(lambda generator: generator.batch_coupled)


def keys_of(index, epoch=0):
    index = np.asarray(index)
    return SampleKeys(np.full_like(index, epoch), index, 0 * index)


def share_of(whole, part, keys, rank=0):
    """The context of some images of a batch, as another process has it."""
    rows = np.arange(whole.rows).reshape(whole.num_views, -1)[:, part].ravel()
    picked = {name: getattr(whole, name)[rows] for name in (
        'features', 'difficulty', 'images', 'saliency')}
    attention = {layer: value[rows]
                 for layer, value in whole.attention.items()}
    return dict(keys=keys, views=whole.num_views, rank=rank), dict(
        picked, attention=attention, batch_size=len(keys))


def part_of(make, whole, part, index, rank=0):
    """:func:`share_of` for the images ``index[part]``."""
    arguments, tensors = share_of(whole, part, keys_of(index[part]), rank)
    return replace(make(**arguments), **tensors)


def states(mask, views=1):
    """(V, B, 2 C, Hp, Wp): what is hidden and what is dropped."""
    dropped = mask.dropped
    if dropped is None:
        dropped = torch.zeros_like(mask.hidden)
    both = torch.cat((mask.hidden, dropped), 1)
    return both.unflatten(0, (views, -1))
