"""Draws of a batch: a row sees nothing but its own key."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, SampleKeys


def draws_of(index, views=(0, 1), seed=5, step=9, epoch=2, rank=0):
    index = np.asarray(index)
    keys = SampleKeys(np.full_like(index, epoch), index, index % 3)
    return HashDraws(seed, step, keys, views, rank)


class Sample:
    """Stands for a DataSample with metainfo."""

    def __init__(self, key=None):
        if key is not None:
            self.sample_key = key


class TestSampleKeys:

    @pytest.mark.unit
    def test_reads_data_samples(self):
        keys = SampleKeys.from_data_samples(
            [Sample((1, 20, 0)), Sample((1, 7, 2))])
        assert keys.epoch.tolist() == [1, 1]
        assert keys.index.tolist() == [20, 7]
        assert keys.repeat.tolist() == [0, 2]
        assert len(keys) == 2

    @pytest.mark.unit
    def test_positions_differ_between_ranks(self):
        ranks = [SampleKeys.arange(2, step=3, rank=rank) for rank in (0, 1)]
        values = [HashDraws(0, 0, keys).row_uniform('a') for keys in ranks]
        assert len(set(np.concatenate(values))) == 4

    @pytest.mark.unit
    def test_refuses_half_a_batch_and_wrong_shapes(self):
        for others in ([Sample((0, 0, 0))], [Sample()]):
            with pytest.raises(ValueError, match='of 2 samples have no'):
                SampleKeys.from_data_samples([*others, Sample()])
        with pytest.raises(ValueError, match='epoch, index, repeat'):
            SampleKeys.from_data_samples([Sample((0, 0))])
        with pytest.raises(ValueError, match='one shape'):
            SampleKeys(np.zeros(2), np.zeros(3), np.zeros(2))
        with pytest.raises(ValueError, match='B >= 1'):
            SampleKeys.arange(0)


class TestHashDraws:

    @pytest.mark.property
    @pytest.mark.parametrize('shape', [(), (7,), (3, 5), (0,)])
    def test_device_and_host_tables_have_the_same_bits(self, shape):
        draws = draws_of([3, 8, 1])
        host = draws.host_uniform('x', *shape, n=2)
        device = draws.uniform('x', *shape, device='cpu', n=2)
        assert device.dtype == torch.float32
        assert host.shape == (6, *shape) == tuple(device.shape)
        np.testing.assert_array_equal(device.numpy(), host)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
    def test_cuda_has_the_same_bits(self):
        draws = draws_of(range(50))
        host = draws.host_uniform('x', 400)
        device = draws.uniform('x', 400, device='cuda')
        np.testing.assert_array_equal(device.cpu().numpy(), host)

    @pytest.mark.property
    def test_a_row_does_not_see_the_others(self):
        whole, part = draws_of([3, 8, 1]), draws_of([1, 99], (1,))
        np.testing.assert_array_equal(
            whole.row_uniform('a')[5], part.row_uniform('a')[0])
        np.testing.assert_array_equal(
            whole.host_uniform('a', 4)[5], part.host_uniform('a', 4)[0])
        np.testing.assert_array_equal(
            whole.image_uniform('a')[2], part.image_uniform('a')[0])

    @pytest.mark.unit
    def test_where_picks_rows(self):
        draws = draws_of([3, 8, 1])
        where = np.array([4, 0])
        low, high = np.array([0., 10.]), np.array([1., 20.])
        unit = draws.row_uniform('a', n=1)[where]
        np.testing.assert_array_equal(
            draws.row_uniform('a', low, high, where=where, n=1),
            low + (high - low) * unit)
        ints = draws.row_integers('a', 0, np.array([0, 5]), where=where)
        assert ints[0] == 0
        assert 0 <= ints[1] <= 5

    @pytest.mark.unit
    def test_scopes(self):
        ranks = [draws_of([rank], rank=rank) for rank in (0, 1)]
        assert len({d.batch_uniform('a') for d in ranks}) == 1
        assert len({d.rank_uniform('a') for d in ranks}) == 2
        values = {d.batch_uniform('a', n=n) for d in ranks for n in (0, 1)}
        assert len(values) == 2
        assert draws_of([0], step=1).batch_uniform('a') not in values
        two = draws_of([1, 2])
        assert two.image_uniform('a').shape == (2,)
        assert not set(two.image_uniform('a')) & set(two.row_uniform('a'))
        for n in range(50):
            assert two.batch_integers('i', 2, 3, n=n) in (2, 3)
            assert two.rank_integers('i', 2, 3, n=n) in (2, 3)
            assert set(two.image_integers('i', 2, 3, n=n)) <= {2, 3}

    @pytest.mark.unit
    def test_views(self):
        draws = draws_of([3, 8, 1])
        rows = draws.row_uniform('a')
        second = draws.for_view(1)
        assert second.rows == 3
        np.testing.assert_array_equal(second.row_uniform('a'), rows[3:])
        assert second.batch_uniform('a') == draws.batch_uniform('a')
        np.testing.assert_array_equal(
            second.image_uniform('a'), draws.image_uniform('a'))
        with pytest.raises(ValueError, match='view=2'):
            draws.for_view(2)
        assert draws.bind(2, 3) is draws
        with pytest.raises(ValueError, match='2 views of 3 images'):
            draws.bind(3, 2)

    @pytest.mark.unit
    def test_wrong_input(self):
        with pytest.raises(ValueError, match='at least one view'):
            draws_of([1], views=())
        draws = draws_of([1])
        for draw in (draws.row_integers, draws.image_integers,
                     draws.batch_integers, draws.rank_integers):
            with pytest.raises(ValueError, match='empty range'):
                draw('i', 3, 2)

    @pytest.mark.property
    def test_uniformity_and_independence(self):
        table = draws_of(range(256)).host_uniform('x', 196)
        flat = table.ravel()
        counts = np.histogram(flat, 64, (0, 1))[0]
        expected = flat.size / 64
        chi2 = ((counts - expected)**2 / expected).sum()
        # 63 degrees of freedom: mean 63, standard deviation 11.2.
        assert 20 < chi2 < 130
        bound = 5 / np.sqrt(flat.size)
        for a, b in [(table[:, 1:], table[:, :-1]),
                     (table[1:], table[:-1]), (table[:256], table[256:])]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < bound


@pytest.mark.property
def test_large_tables_have_the_bits_of_small_ones():
    keys = SampleKeys.arange(3)
    draws = HashDraws(0, 0, keys)
    large = draws.uniform('x', 9000, device='cpu')
    assert large.numel() > 1 << 14
    np.testing.assert_array_equal(large, draws.host_uniform('x', 9000))
    small = draws.uniform('x', 50, device='cpu')
    assert torch.equal(small, large[:, :50])
