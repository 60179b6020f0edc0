"""Global random number generators of all ranks, as tensors.

Nothing of mimplug draws from them in a step, but parts of other packages do:
dropout in a stock layer, a transform that calls ``random``.
"""
from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine import dist
from torch import Tensor

State = dict[str, Tensor]


def rng_state() -> State:
    """States of the generators of this process.

    Returns:
        dict[str, Tensor]: ``torch`` (uint8), ``numpy`` and ``python``
        (int64), the stored half of a normal pair of each (``*_gauss``,
        float64: whether there is one, and its value), and ``cuda`` (uint8)
        once CUDA is in use.
    """
    # the form of it is fixed, but a stub says it may be a dict
    generator: Any = np.random.get_state()
    _, keys, place, has_gauss, gauss = generator
    _, words, half = random.getstate()
    state = {
        'torch': torch.get_rng_state(),
        'numpy': torch.tensor([*keys.tolist(), place]),
        'numpy_gauss': _half(gauss if has_gauss else None),
        'python': torch.tensor(words),
        'python_gauss': _half(half),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def _half(value: float | None) -> Tensor:
    """Whether there is a number, and the number."""
    return torch.tensor([value is not None, value or 0.0],
                        dtype=torch.float64)


def set_rng_state(state: Mapping[str, Tensor]) -> None:
    """Sets the generators of this process.

    Args:
        state (dict[str, Tensor]): From :func:`rng_state`, on any device.
    """
    state = {name: value.cpu() for name, value in state.items()}
    torch.set_rng_state(state['torch'])
    *keys, place = state['numpy'].tolist()
    known, half = state['numpy_gauss'].tolist()
    np.random.set_state(('MT19937', np.array(keys, dtype=np.uint32), place,
                         int(known), half))
    known, half = state['python_gauss'].tolist()
    random.setstate((3, tuple(state['python'].tolist()),
                     half if known else None))
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


def gather_rng() -> dict[str, Any]:
    """The states of all ranks; every rank must call it.

    Returns:
        dict: ``ranks``, one :func:`rng_state` each.
    """
    gathered = {name: dist.all_gather(value)
                for name, value in sorted(rng_state().items())}
    return dict(ranks=[
        {name: values[rank].cpu() for name, values in gathered.items()}
        for rank in range(dist.get_world_size())])


def restore_rng(saved: Mapping[str, Any], seed: int, iteration: int) -> bool:
    """Goes on with the random numbers of a checkpoint.

    Args:
        saved (dict): From :func:`gather_rng`.
        seed (int): Seed of the run.
        iteration (int): Iterations done.

    Returns:
        bool: False if the checkpoint is of another number of processes. Each
        then gets a seed that follows from (seed, rank, iteration).
    """
    if len(saved['ranks']) == dist.get_world_size():
        set_rng_state(saved['ranks'][dist.get_rank()])
        return True
    words = np.random.SeedSequence(
        [seed, dist.get_rank(), iteration]).generate_state(1)
    value = int(words[0])
    torch.manual_seed(value)
    np.random.seed(value)
    random.seed(value)
    return False
