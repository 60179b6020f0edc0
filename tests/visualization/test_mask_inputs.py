"""What generators are shown when there is no training."""
from __future__ import annotations

import pytest
import torch
from matrix import build_ibot
from torch import nn

from mimplug.errors import ConfigError
from mimplug.masking import Needs, build_generator
from mimplug.visualization import NetworkInputs, StandInInputs

EVERYTHING = Needs(cls_rows=(1, ), full=(0, ), features=True, difficulty=True)


def images(count=2, size=(32, 32)):
    return torch.rand(count, 3, *size,
                      generator=torch.Generator().manual_seed(0))


def network(generator='AttentionMask', **kwargs):
    model = build_ibot(dict(type=f'mimplug.{generator}', **kwargs)).eval()
    return NetworkInputs(images(), (4, 4), model=model, source='some file')


@pytest.mark.unit
def test_stand_ins_are_attention_and_follow_the_image():
    # the odd square is at the right
    flat = images(size=(48, 64)) * 0.1
    flat[:, :, 16:28, 40:52] = 1
    inputs = StandInInputs(flat, (6, 8))
    given = inputs.look(Needs(cls_rows=(11, 0), full=(5, ), features=True,
                              difficulty=True))
    rows, full = given['attention'][11], given['attention'][5]
    assert rows.shape == (2, 3, 49)
    assert full.shape == (2, 3, 49, 49)
    for one in (rows, full):
        torch.testing.assert_close(
            one.sum(-1), torch.ones(one.shape[:-1]))
        assert (one > 0).all()
    assert not torch.equal(rows, given['attention'][0])
    for one in inputs.attention_map():
        y, x = divmod(int(one.argmax()), 8)
        assert y in (2, 3)
        assert x in (5, 6)
    assert given['features'].shape[:2] == given['difficulty'].shape == (2, 48)
    assert inputs.look(Needs()) == {}


@pytest.mark.unit
def test_words_say_what_is_a_stand_in():
    inputs = StandInInputs(images(), (4, 4))
    text = inputs.describe(EVERYTHING)
    for word in ('attention', 'features', 'difficulty', 'stand-in'):
        assert word in text
    assert inputs.describe(Needs()) == ''
    assert inputs.describe(Needs(saliency=True)) == (
        'saliency: spectral residual')
    text = network().describe(EVERYTHING)
    assert 'attention and features: some file' in text
    assert 'difficulty: contrast (stand-in' in text
    text = network('HardPatchMask', ratio=0.5).describe(
        Needs(difficulty=True))
    assert text == 'difficulty: some file'


@pytest.mark.unit
def test_a_network_gives_its_teachers_own():
    inputs = network()
    teacher = inputs.model.teacher.backbone
    given = inputs.look(EVERYTHING)
    want = teacher.encode(inputs.normalised(), cls_rows=[1], full=[0])
    # two passes may differ in their last bits
    close = torch.testing.assert_close
    for layer in (0, 1):
        close(given['attention'][layer], want.attention[layer])
    close(given['features'], want.patches)
    close(inputs.attention_map(),
          want.attention[1][:, :, 1:].mean(1).unflatten(1, (4, 4)))
    hard = network('HardPatchMask', ratio=0.5)
    torch.testing.assert_close(
        hard.look(Needs(difficulty=True))['difficulty'],
        hard.model.predict_difficulty(hard.backbone.encode(
            hard.normalised())))


@pytest.mark.unit
def test_images_are_normalised_as_in_training():
    model = network().model
    model.data_preprocessor.mean = torch.tensor([10.0, 20.0, 30.0])
    model.data_preprocessor.std = torch.tensor([2.0, 4.0, 5.0])
    inputs = NetworkInputs(images(), (4, 4), model=model, source='')
    torch.testing.assert_close(
        inputs.normalised()[:, 1], (images()[:, 1] * 255 - 20) / 4)


@pytest.mark.unit
def test_networks_without_attention_are_refused():
    with pytest.raises(ConfigError, match=r'mimplug\.MaskedViT'):
        NetworkInputs(images(), (4, 4), model=nn.Linear(2, 2), source='')


@pytest.mark.unit
@pytest.mark.parametrize('views', [1, 3])
def test_context(views):
    inputs = StandInInputs(images(), (4, 4), fraction=0.25)
    generator = build_generator(dict(type='AttentionMask'))
    context = inputs.context(generator, num_views=views)
    assert context.rows == 2 * views
    assert context.progress.fraction == 0.25
    assert context.progress.epoch == 25
    rows = context.cls_rows(-1)
    assert torch.equal(rows[:2], rows[-2:])
    other = StandInInputs(images(), (4, 4), seed=1).context(generator)
    assert other.draws.row_uniform('x')[0] != context.draws.row_uniform(
        'x')[0]
