"""Contexts for tests of masks, and a guard against device syncs."""
from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mimplug.draws import HashDraws, SampleKeys
from mimplug.masking import MaskContext

ATEN = torch.ops.aten
READS = (ATEN._local_scalar_dense.default, ATEN.nonzero.default,
         ATEN.masked_select.default, ATEN._unique2.default,
         ATEN.unique_dim.default, ATEN.equal.default)
SYNCS = ('item', 'tolist', 'cpu', 'numpy', 'nonzero', '__float__', '__int__',
         '__bool__', '__index__')


@pytest.fixture
def make_context():
    """Builds a context of hashed draws; attention of 3 layers if asked."""

    def make(batch=4, views=2, grid=(6, 5), seed=0, step=0, keys=None,
             rank=0, attention=False, dtype=torch.float32, draws=None,
             **kwargs):
        keys = keys or SampleKeys.arange(batch)
        rows = views * len(keys)
        if attention:
            tokens = grid[0] * grid[1] + 1
            noise = torch.randn(rows, 2, tokens, tokens,
                                generator=torch.Generator().manual_seed(1))
            kwargs['attention'] = {
                layer: (noise * (layer + 1)).softmax(-1).to(dtype)
                for layer in range(3)}
            kwargs['num_layers'] = 3
        return MaskContext(
            grid=grid, num_views=views, batch_size=len(keys),
            draws=draws or HashDraws(seed, step, keys, range(views), rank),
            **kwargs)

    return make


class Unread(TorchDispatchMode):
    """Raises where an operator has to know values to go on."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        chosen = (args[1] if func in (
            ATEN.index.Tensor, ATEN.index_put.default,
            ATEN.index_put_.default) else ())
        if func in READS or any(
                part is not None and part.dtype == torch.bool
                for part in chosen):
            raise AssertionError(f'{func}: a tensor was read on the host')
        return func(*args, **(kwargs or {}))


@pytest.fixture
def no_sync(monkeypatch):
    """``with no_sync():`` reading a tensor raises: on CUDA it would wait."""

    def refuse(*args, **kwargs):
        raise AssertionError('a tensor was read on the host')

    @contextlib.contextmanager
    def guard():
        with monkeypatch.context() as patch:
            for name in SYNCS:
                patch.setattr(torch.Tensor, name, refuse)
            with Unread():
                yield

    return guard
