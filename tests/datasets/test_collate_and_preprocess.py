"""Batches: collate function and data preprocessor."""
from __future__ import annotations

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.structures import DataSample

from mimplug.datasets import MultiViewDataPreprocessor, view_collate
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)


def image(side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8,
                         generator=generator)


def samples(count=2, sides=(8, 4)):
    return [dict(inputs=[image(side, 10 * i + v)
                         for v, side in enumerate(sides)],
                 data_samples=DataSample(metainfo=dict(number=i)))
            for i in range(count)]


def normalised(batch, dtype=torch.float32):
    mean, std = (torch.tensor(v, dtype=dtype).view(3, 1, 1)
                 for v in (MEAN, STD))
    return (batch.to(dtype) - mean) / std


def test_collate_stacks_each_view():
    batch = view_collate(samples(3))
    assert [tuple(v.shape) for v in batch['inputs']] == [
        (3, 3, 8, 8), (3, 3, 4, 4)]
    assert torch.equal(batch['inputs'][1][2], image(4, 21))
    assert [s.number for s in batch['data_samples']] == [0, 1, 2]
    single = view_collate([dict(inputs=image(5, i), data_samples=DataSample())
                           for i in range(2)])
    assert tuple(single['inputs'].shape) == (2, 3, 5, 5)


def test_collate_explains_ragged_batches():
    ragged = samples(1, (8, 4)) + samples(1, (8, 6))
    with pytest.raises(ConfigError, match=r'view 1.*\(3, 6, 6\)'):
        view_collate(ragged)
    with pytest.raises(ConfigError, match=r'\[1, 2\] views'):
        view_collate(samples(1, (8,)) + samples(1, (8, 4)))
    with pytest.raises(ConfigError, match='CenterView'):
        view_collate([dict(inputs=image(side), data_samples=None)
                      for side in (4, 5)])


@pytest.mark.parametrize('collate', [view_collate, pseudo_collate])
def test_many_views_from_either_collate_function(collate):
    prepare = MultiViewDataPreprocessor(MEAN, STD)
    data = samples(3)
    out = prepare(collate(data), training=True)
    assert [tuple(v.shape) for v in out['inputs']] == [
        (3, 3, 8, 8), (3, 3, 4, 4)]
    for number, view in enumerate(out['inputs']):
        stacked = torch.stack([s['inputs'][number] for s in data])
        torch.testing.assert_close(view, normalised(stacked), rtol=0, atol=0)
    assert [s.number for s in out['data_samples']] == [0, 1, 2]


@pytest.mark.parametrize('form', ['tensor', 'list', 'tuple'])
def test_one_view_gives_one_tensor(form):
    images = [image(6, i) for i in range(2)]
    inputs = {'tensor': torch.stack(images), 'list': images,
              'tuple': tuple(images)}[form]
    out = MultiViewDataPreprocessor(MEAN, STD)(dict(inputs=inputs))
    torch.testing.assert_close(
        out['inputs'], normalised(torch.stack(images)), rtol=0, atol=0)
    assert out['data_samples'] is None


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_type_follows_the_buffers(dtype):
    prepare = MultiViewDataPreprocessor(MEAN, STD).to(dtype)
    batch = image(6)[None]
    out = prepare(dict(inputs=batch))['inputs']
    assert out.dtype == dtype
    torch.testing.assert_close(out, normalised(batch, dtype))
    assert prepare(dict(inputs=batch.float()))['inputs'].dtype == dtype


@pytest.mark.unit
def test_whole_numbers_as_statistics():
    """Integers in a config once became a tensor of integers."""
    preprocessor = MultiViewDataPreprocessor(mean=(128, ), std=(64, ))
    out = preprocessor(dict(inputs=torch.full(
        (2, 1, 3, 3), 160, dtype=torch.uint8), data_samples=[]))
    assert out['inputs'].dtype == torch.float32
    assert torch.equal(out['inputs'], torch.full((2, 1, 3, 3), 0.5))



def test_inputs_stay_as_they_are_and_float_is_allowed():
    prepare = MultiViewDataPreprocessor(MEAN, STD)
    batch = image(6)[None].float()
    before = batch.clone()
    torch.testing.assert_close(
        prepare(dict(inputs=[batch]))['inputs'][0], normalised(before))
    assert torch.equal(batch, before)
    assert not list(prepare.state_dict())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_views_move_to_the_device_and_samples_do_not():
    prepare = MultiViewDataPreprocessor(MEAN, STD).cuda()
    batch = view_collate(samples(2))
    batch['data_samples'][0].set_gt_label(1)
    out = prepare(batch)
    assert {view.device.type for view in out['inputs']} == {'cuda'}
    assert out['data_samples'][0].gt_label.device.type == 'cpu'
    torch.testing.assert_close(
        out['inputs'][0].cpu(), normalised(batch['inputs'][0]))


@pytest.mark.parametrize('inputs, message', [
    (torch.zeros(2, 1, 4, 4), r'\(2, 1, 4, 4\)'),
    (torch.zeros(3, 4, 4), r'\(3, 4, 4\)'),
    ([], 'list'), ('images', 'str'), (['image'], 'list'),
    ([torch.zeros(3, 4, 4), torch.zeros(3, 5, 5)], 'cannot be stacked'),
])
def test_other_inputs_are_explained(inputs, message):
    with pytest.raises(ConfigError, match=message):
        MultiViewDataPreprocessor(MEAN, STD)(dict(inputs=inputs))


@pytest.mark.parametrize('mean, std', [((1, 2), (1,)), ((), ()),
                                       ((1.0,), (0.0,))])
def test_wrong_statistics(mean, std):
    with pytest.raises(ConfigError, match='mean='):
        MultiViewDataPreprocessor(mean, std)
