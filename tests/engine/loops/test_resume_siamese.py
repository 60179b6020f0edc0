"""A resumed run of MoCo is the same run: key encoder and queue included."""
from __future__ import annotations

import pytest
import toy_exact
from toy_exact import EPOCH, differences, exact_run, load
from toy_siamese import (
    ALGORITHMS,
    BACKBONE,
    HARD,
    MIXES,
    register,
    view_mask,
)

pytestmark = pytest.mark.e2e

SETTINGS = {
    'SaliencyMoCo': dict(view_masks=[view_mask(cells=2)],
                         hard_negative=dict(HARD, cells=2), momentum=0.9),
    'MoCo': dict(mixes=MIXES),
    'BYOL': dict(mixes=MIXES),
}
HOOKS = {
    'SaliencyMoCo': dict(type='mimplug.ProgressHook'),
    'MoCo': dict(type='mimplug.ProgressHook'),
    'BYOL': dict(type='mimplug.TeacherHook', momentum=0.9),
}


@pytest.fixture
def siamese(monkeypatch):
    """The toy run with two whole views and siamese algorithms."""
    register()

    def model_of(kind):
        name = kind.removeprefix('mimplug.')
        return dict(
            type=kind, backbone=BACKBONE, **ALGORITHMS[name],
            **SETTINGS[name],
            data_preprocessor=dict(type='mimplug.MultiViewDataPreprocessor',
                                   mean=[73] * 3, std=[90] * 3))

    monkeypatch.setattr(toy_exact, 'model_of', model_of)


@pytest.mark.full
@pytest.mark.parametrize('name', SETTINGS)
def test_resumed_in_the_middle_of_an_epoch(name, siamese, tmp_path):
    """Steps of two micro-batches; on from the third, bit for bit."""
    run = dict(loop=dict(EPOCH, max_epochs=2), accumulation=2, workers=0,
               steps=4, model=f'mimplug.{name}', own_hooks=[HOOKS[name]])
    _, whole = exact_run(tmp_path / 'whole', **run)
    _, resumed = exact_run(tmp_path / 'resumed', **run,
                           start=tmp_path / 'whole/iter_2.pth')
    assert sorted(resumed.seen) == list(range(2, 8))
    for place, seen in resumed.seen.items():
        assert not differences(whole.seen[place], seen, f'{place}')
    states = []
    for count in (2, 4, 8):
        files = [tmp_path / part / f'iter_{count}.pth'
                 for part in ('whole', 'resumed')]
        if count > 2:
            assert not differences(*map(load, files))
        states.append(load(files[0])['state_dict'])
    early, *_, late = states
    assert differences(early['teacher.backbone.conv1.weight'],
                       late['teacher.backbone.conv1.weight'])
    if name != 'BYOL':
        # 4 images of a micro-batch each: 32 keys in a queue of 10
        assert late['queue.pointer'].item() == 2
        assert late['queue.written'].all()
        assert not early['queue.written'].all()
