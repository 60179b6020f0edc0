"""Strict loading: all or nothing, with names."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from mimplug.converters import compare, load_strict
from mimplug.errors import CheckpointError, ConfigError


def model():
    """Two layers, four tensors."""
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))


def other():
    """Weights for :func:`model`."""
    torch.manual_seed(1)
    return {name: torch.randn_like(value)
            for name, value in model().state_dict().items()}


def unchanged(module, before):
    return all(torch.equal(value, before[name])
               for name, value in module.state_dict().items())


@pytest.mark.unit
def test_full_fit():
    module, weights = model(), other()
    report = load_strict(module, weights)
    assert report.share == 1
    assert unchanged(module, weights)
    assert report.describe() == '4 of 4 tensors fit'


@pytest.mark.unit
@pytest.mark.parametrize('spoil, options, words', [
    (lambda w: w.pop('1.bias'), {}, r'missing in the file \(1\):\n +1\.bias'),
    (lambda w: w.update(x=torch.ones(1)), {}, r'unexpected .*\n +x'),
    (lambda w: w.update({'1.bias': torch.ones(9)}), {},
     r'1\.bias: file \(9,\), module \(4,\)'),
    (lambda w: w.update({'1.bais': w.pop('1.bias')}), {},
     r'1\.bias \(nearest: 1\.bais\)'),
    (lambda w: w.pop('1.bias'), dict(min_share=0.8), r'3 of 4 tensors'),
    (lambda w: w.clear(), dict(min_share=0.1, allow_missing=['*']),
     '0 of 0 tensors'),
])
def test_bad_fit_changes_nothing(spoil, options, words):
    module, weights = model(), other()
    before = {name: value.clone()
              for name, value in module.state_dict().items()}
    spoil(weights)
    with pytest.raises(CheckpointError, match=words):
        load_strict(module, weights, source='some.pth', **options)
    assert unchanged(module, before)


@pytest.mark.unit
def test_share_and_patterns():
    weights = other()
    kept = weights.pop('1.bias')
    assert load_strict(model(), weights, min_share=0.75).share == 0.75
    report = load_strict(model(), weights, allow_missing=['1.*'])
    assert (report.share, report.excused) == (1, 1)
    extra = {**weights, '1.bias': kept, 'head.x': kept, 'head.y': kept}
    assert load_strict(model(), extra, allow_unexpected=['head.*']).loaded
    assert compare(model(), extra).unexpected == ('head.x', 'head.y')
    with pytest.raises(ConfigError, match='min_share=0'):
        load_strict(model(), weights, min_share=0)


@pytest.mark.unit
def test_long_lists_are_cut():
    report = compare(model(), {f'n{i}': torch.ones(1) for i in range(20)})
    text = report.describe()
    assert 'unexpected in the file (20)' in text
    assert '… and 12 more' in text
