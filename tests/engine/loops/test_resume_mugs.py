"""A resumed run of Mugs is the same run: memories and queues included."""
from __future__ import annotations

import pytest
import toy_exact
from toy_exact import EPOCH, differences, exact_run, load
from toy_mugs import TERMS

pytestmark = pytest.mark.e2e


@pytest.fixture(params=[True, False], ids=['masks', 'no masks'])
def mugs(request, monkeypatch):
    """The toy run with Mugs and its crops, strong ones among them."""
    loader, model = toy_exact.loader_of, toy_exact.model_of

    def loader_of(*args):
        config = loader(*args)
        config['dataset']['pipeline'][1].update(
            type='mimplug.MugsMultiCrop', strong=dict(erase=dict(prob=0.9)))
        return config

    def model_of(kind):
        config = dict(model('mimplug.IBOT'), type=kind, **TERMS)
        config['backbone']['type'] = 'mimplug.LocalGroupViT'
        del config['head']
        if not request.param:
            del config['mask_generator']
        return config

    monkeypatch.setattr(toy_exact, 'loader_of', loader_of)
    monkeypatch.setattr(toy_exact, 'model_of', model_of)
    return request.param


def test_resumed_in_the_middle_of_an_epoch(mugs, tmp_path):
    """From the third of four micro-batches of an epoch, bit for bit."""
    run = dict(loop=dict(EPOCH, max_epochs=3), accumulation=2, workers=0,
               steps=6, model='mimplug.Mugs')
    _, whole = exact_run(tmp_path / 'whole', **run)
    _, resumed = exact_run(tmp_path / 'resumed', **run,
                           start=tmp_path / 'whole/iter_6.pth')
    assert sorted(resumed.seen) == list(range(6, 12))
    for place, seen in resumed.seen.items():
        assert not differences(whole.seen[place], seen, f'{place}')
    assert ('raw/hidden' in whole.seen[6]) == mugs
    names = [f'iter_{count}.pth' for count in (8, 10, 12)]
    for name in names:
        one, two = (load(tmp_path / part / name)
                    for part in ('whole', 'resumed'))
        assert not differences(one, two)
    state = one['state_dict']
    assert state['memories.teacher.written'].any()
    # of the images whose views were weak, and with masks unmasked
    stored = state['memories.student.pointer'].item()
    assert 0 < stored < 48
    assert stored != state['memories.teacher.pointer'].item()
