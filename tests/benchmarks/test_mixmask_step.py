"""The step benchmark of mixtures runs and judges; times are not tested."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import mixmask_step
    return mixmask_step


SMALL = ['--batch', '2', '--size', '56', '--depth', '18', '--pairs', '1',
         '--queue', '8']


@pytest.mark.full
def test_all_sides_run(script, tmp_path):
    out = tmp_path / 'result.json'
    script.main([*SMALL, '--out', str(out)])
    result = json.loads(out.read_text())
    assert set(result['sides']) == {'moco', *script.variants(18)}
    assert result['sides']['moco']['ratio'] == 1
    assert result['settings']['batch'] == 2


@pytest.mark.unit
@pytest.mark.parametrize('ratio,code', [(1.8, 0), (1.9, 1)])
def test_the_exit_code_tells(script, monkeypatch, ratio, code):
    rows = dict(moco=dict(seconds=1.0, images_per_second=1.0, ratio=1.0),
                mixmask=dict(seconds=ratio, images_per_second=1.0,
                             ratio=ratio))
    monkeypatch.setattr(script, 'measure', lambda args: rows)
    assert script.main(SMALL) == code
