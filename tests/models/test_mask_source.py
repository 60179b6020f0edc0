"""Generator, cells and frozen network together."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_stock import network

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import Mask, MaskGenerator
from mimplug.models.mask_source import MaskSource, enlarge_mask, never_empty
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit
HALF = dict(type='mimplug.RandomMask', ratio=0.5)
LOOK = dict(type='mimplug.AttentionMask', ratio=0.25, apply_prob=1.0)


def build(generator=HALF, grid=(8, 8), size=(32, 32), **kwargs):
    torch.manual_seed(0)
    source = MaskSource(generator, image_size=size, grid=grid, **kwargs)
    source.init_weights()
    return source


def call(source, batch=2, size=(32, 32), step=0, first=0):
    images = torch.randn(batch, 3, *size,
                         generator=torch.Generator().manual_seed(1))
    draws = HashDraws(0, step, SampleKeys(*np.array(
        [[0] * batch, range(first, first + batch), [0] * batch])))
    return source(images, draws, Progress(step=step, max_steps=9)), images


def test_enlarging_is_nearest():
    hidden = torch.tensor([[[[True, False, False], [False, True, False]]]])
    mask = enlarge_mask(Mask(hidden, ~hidden & hidden.roll(1, -1),
                             torch.zeros(1, 4), 2, 2), 3)
    wanted = torch.nn.functional.interpolate(
        hidden.float(), scale_factor=3, mode='nearest').bool()
    assert torch.equal(mask.hidden, wanted)
    assert (mask.capacity, mask.num_dropped) == (18, 18)
    assert int(mask.dropped.sum()) == 18
    assert mask.boxes is not None


def test_an_empty_batch_hides_one_cell():
    mask = never_empty(Mask.none(3, (2, 2)))
    assert mask.tokens.nonzero().tolist() == [[0, 0]]
    assert mask.capacity == 1
    full = Mask(torch.ones(2, 1, 2, 2, dtype=torch.bool))
    one = Mask(torch.eye(2, dtype=torch.bool)[None, None], capacity=2)
    for mask in (full, one):
        assert torch.equal(never_empty(mask).hidden, mask.hidden)
        assert never_empty(mask).capacity == mask.capacity


def test_cells_of_several_patches():
    mask, _ = call(build(cell=2))
    assert mask.grid == (8, 8)
    assert mask.capacity == int(mask.hidden.sum()) == 2 * 32
    blocks = mask.hidden.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert torch.equal(blocks.all(-1), blocks.any(-1))


def test_images_that_are_not_square():
    mask, _ = call(build(grid=(4, 8), size=(16, 32), cell=2),
                   size=(16, 32))
    assert mask.grid == (4, 8)


def test_the_mask_belongs_to_the_sample():
    source = build()
    whole, _ = call(source, batch=4)
    part, _ = call(source, batch=2, first=2)
    assert torch.equal(whole.hidden[2:], part.hidden)
    assert not torch.equal(whole.hidden[:2], part.hidden)


@pytest.mark.parametrize('patch,cell', [(4, 1), (8, 2), (16, 4)])
def test_attention_of_a_frozen_network(patch, cell):
    """Hidden are the cells with the greatest attention, found anew here."""
    source = build(LOOK, attention_from=network(patch))
    assert source.cell == cell
    mask, images = call(source)
    attention = source.last_attention(images).flatten(1)
    k = attention.shape[1] // 4
    top = torch.zeros_like(attention, dtype=torch.bool).scatter(
        1, attention.topk(k).indices, True)
    wanted = enlarge_mask(Mask(top.view(2, 1, 8 // cell, 8 // cell)), cell)
    assert torch.equal(mask.hidden, wanted.hidden)


def test_features_of_a_frozen_network():
    source = build(dict(type='mimplug.PartMask', ratio=0.5, num_parts=3),
                   attention_from=network(4))
    assert int(call(source)[0].hidden.sum()) == 64


def test_the_network_stays_as_it_is():
    source = build(LOOK, attention_from=network(
        4, drop_path_rate=0.5, drop_rate=0.5)).train()
    assert source.training
    assert not any(part.training for part in source.network.modules())
    assert not any(p.requires_grad for p in source.parameters())
    assert torch.equal(call(source)[0].hidden, call(source)[0].hidden)
    assert all(name.startswith('network.') for name in source.state_dict())
    assert source.network.mask_token is None


def test_weights_of_the_network_come_from_a_file(tmp_path):
    teacher = build(LOOK, attention_from=network(4)).network
    torch.save({'state_dict': {
        f'teacher.backbone.{name}': value + 1
        for name, value in teacher.state_dict().items()}}, tmp_path / 't.pth')
    source = build(LOOK, attention_from=network(4, init_cfg=dict(
        type='mimplug.Pretrained', checkpoint=str(tmp_path / 't.pth'),
        prefix='teacher.backbone.')))
    for name, value in source.network.state_dict().items():
        assert torch.equal(value, teacher.state_dict()[name] + 1)


def test_fixed_counts_are_told():
    source = build(dict(type='mimplug.CheckerboardMask'), cell=2,
                   fixed_count=True)
    mask, _ = call(source)
    assert source.count == 32
    assert mask.capacity == int(mask.hidden.sum()) == 64


class Loose(MaskGenerator):
    """Hides the first row, and does not tell that it knows the count."""

    def limits(self, grid):
        return grid[1], grid[1]

    def __call__(self, context):
        hidden = torch.zeros(context.rows, 1, *context.grid, dtype=torch.bool)
        hidden[:, :, 0] = True
        return Mask(hidden)


def test_a_count_that_the_generator_keeps_to_itself():
    mask, _ = call(build(Loose(), fixed_count=True))
    assert mask.capacity == int(mask.hidden.sum()) == 16


@pytest.mark.parametrize('kwargs,words', [
    (dict(cell=3), r'cell=3.*\(8, 8\)'),
    (dict(cell=0), r'cell=0'),
    (dict(cell=16), r'cell=16'),
    (dict(attention_from=network(4)), 'looks at no network'),
    (dict(generator=LOOK), 'attention of a network.*attention_from'),
    (dict(generator=LOOK, attention_from=dict(
        type='ResNet', depth=18)), 'ResNet cannot tell its attention'),
    (dict(generator=LOOK, attention_from=network(4), cell=2),
     'cell=2.*covers 1 patches'),
    # 32 pixels are 6.4 patches of 5; patches of 2 are finer than the model's
    (dict(generator=LOOK, attention_from=network(5)), 'patches of 5 pixels'),
    (dict(generator=LOOK, attention_from=network(2)), 'patches of 2 pixels'),
    (dict(generator=LOOK, attention_from=network(64, 64)),
     'patches of 64 pixels'),
    (dict(generator=LOOK, attention_from=network(4), grid=(8, 4)),
     r'patches of 4 pixels'),
    (dict(generator=dict(LOOK, layer=7), attention_from=network(4)),
     'layer=7'),
    (dict(generator=dict(type='mimplug.SimMIMMask', cell=3)), 'cell=3'),
    (dict(generator=dict(type='mimplug.NoMask')), 'hides nothing'),
    (dict(generator=dict(HALF, ratio=(0.5, 0.2)), fixed_count=True),
     'hides 19 to 44 of the 64 cells.*fixed count'),
    (dict(generator=dict(HALF, apply_prob=0.5), fixed_count=True),
     'fixed count'),
    (dict(generator=dict(type='mimplug.UniformCellMask')), 'drops tokens'),
    (dict(generator=dict(type='mimplug.HardPatchMask')), 'difficulty'),
])
def test_what_does_not_fit(kwargs, words):
    with pytest.raises(ConfigError, match=words):
        build(**kwargs)


def test_images_of_another_size():
    with pytest.raises(ValueError, match=r'\(64, 64\).*\(32, 32\)'):
        call(build(), size=(64, 64))
