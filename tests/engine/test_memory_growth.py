"""5,000 steps need no more memory, threads or handles than 1,000."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = (Path(__file__).resolve().parents[2] / 'benchmarks'
          / 'memory_growth.py')


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not Path('/proc/self/status').is_file(),
                    reason='reads /proc')
@pytest.mark.parametrize('options', [[], ['--restart-workers']],
                         ids=['persistent', 'restarted'])
def test_nothing_grows(options, tmp_path):
    result = tmp_path / 'result.json'
    run = subprocess.run(
        [sys.executable, str(SCRIPT), '--steps', '5000', '--out', str(result),
         *options], capture_output=True, text=True)
    assert result.is_file(), run.stderr[-2000:]
    measured = json.loads(result.read_text())
    assert measured['rss_growth'] < 0.01, measured
    for name in ('threads', 'handles', 'children'):
        assert measured[f'{name}_growth'] <= 0, measured
    assert run.returncode == 0


@pytest.mark.unit
def test_the_verdict_sees_growth(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from memory_growth import judge
    flat = [dict(step=step, rss=100.0, threads=3, handles=9, children=2)
            for step in range(100, 5001, 100)]
    assert judge(flat, 5000)['ok']
    for name, share in (('rss', 2e-2), ('handles', 1.0), ('threads', 1.0)):
        grown = [dict(point, **{name: point[name] * (
            1 + share * point['step'] / 5000)}) for point in flat]
        assert not judge(grown, 5000)['ok'], name
