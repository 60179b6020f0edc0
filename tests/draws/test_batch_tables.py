"""Tables of the whole batch, and normal numbers."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import (
    HashDraws,
    PickedDraws,
    PythonRandomDraws,
    ReplayDraws,
    SampleKeys,
    normal_from_uniform,
)


def hashed(step=0, rank=0, batch=3):
    return HashDraws(0, step, SampleKeys.arange(batch, rank=rank), rank=rank)


@pytest.mark.property
@pytest.mark.parametrize('shape', [(), (5,), (2, 3, 4), (0,)])
def test_host_and_device_have_the_same_bits(shape):
    host = hashed().host_batch_table('x', *shape, n=2)
    device = hashed().batch_table('x', *shape, device='cpu', n=2)
    assert host.dtype == np.float32
    assert host.shape == tuple(device.shape) == shape
    np.testing.assert_array_equal(device.numpy(), host)


@pytest.mark.property
def test_tables_are_those_of_the_step():
    def table(name='x', n=0, **kwargs):
        return hashed(**kwargs).batch_table(name, 50, device='cpu', n=n)

    assert torch.equal(table(), table(rank=1, batch=7))
    for other in (table(step=1), table('y'), table(n=1)):
        assert (table() != other).sum() > 45
    picked = PickedDraws(hashed(), np.array([1]))
    assert torch.equal(picked.batch_table('x', 50, device='cpu'), table())
    np.testing.assert_array_equal(
        picked.host_batch_table('x', 50), table().numpy())


@pytest.mark.property
@pytest.mark.parametrize('shape', [(301, 7), (1,), (20000,)])
def test_normal_numbers(shape):
    draws = hashed(batch=4)
    rows = draws.normal('x', *shape, device='cpu')
    batch = draws.batch_normal('x', *shape, device='cpu')
    assert rows.shape == (4, *shape)
    assert batch.shape == shape
    assert rows.dtype == batch.dtype == torch.float32
    if len(batch.flatten()) > 1000:
        for values in (rows, batch):
            error = 5 / values.numel()**0.5
            assert values.mean().abs() < error
            assert (values.var() - 1).abs() < 2 * error
            assert (values.abs() < 1.96).float().mean() == pytest.approx(
                0.95, abs=error)
            assert ((values**4).mean() - 3).abs() < 15 * error
        assert torch.corrcoef(rows.flatten(1)).triu(1).abs().max() < 0.12
    picked = PickedDraws(draws, np.array([2, 0]))
    assert torch.equal(picked.normal('x', *shape, device='cpu'), rows[[2, 0]])
    assert torch.equal(
        picked.batch_normal('x', *shape, device='cpu'), batch)


@pytest.mark.unit
def test_extremes_are_finite():
    ends = torch.tensor([[0.0, 1 - 2.0**-24]])
    for first in (ends, ends.flip(1)):
        values = normal_from_uniform(first, ends, (4,))
        assert torch.isfinite(values).all()
        assert values.abs().max() < 5.8


@pytest.mark.unit
def test_given_values_come_back():
    table = np.arange(6.0).reshape(2, 3)
    draws = ReplayDraws({'x': table, 'x/1': table + 1}).bind(1, 2)
    np.testing.assert_array_equal(draws.host_batch_table('x', 2, 3), table)
    np.testing.assert_array_equal(
        draws.batch_normal('x', 2, 3, device='cpu', n=1), table + 1)
    np.testing.assert_array_equal(draws.normal('x', 3, device='cpu'), table)
    with pytest.raises(ValueError, match=r'needs shape \(3, 2\)'):
        draws.host_batch_table('x', 3, 2)


@pytest.mark.unit
def test_sequential_draws_have_tables():
    table = PythonRandomDraws(0).host_batch_table('x', 3, 4)
    assert sorted((12 * table).round().ravel()) == list(range(12))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_cuda_has_the_same_numbers():
    draws = hashed()
    host = draws.host_batch_table('x', 400)
    device = draws.batch_table('x', 400, device='cuda')
    np.testing.assert_array_equal(device.cpu().numpy(), host)
    torch.testing.assert_close(
        draws.normal('x', 400, device='cuda').cpu(),
        draws.normal('x', 400, device='cpu'), rtol=0, atol=1e-5)
