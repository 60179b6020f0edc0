"""The table of quickstarts: which runs are repeated, and what it claims."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[2] / 'benchmarks'
METHODS = dict(one='one.py', two='two.py')


def row(seed, end, step0=50.0):
    return dict(seed=seed, end=end, step0=step0, pixels=79.5, chance=11.5,
                iterations=9, seconds=1.0)


@pytest.fixture
def trained(monkeypatch):
    """What was trained; a run ends at 60 + seed, or at 50 with two.py."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import quickstart_table
    calls = []

    def train(config, seed, work_dir, options, *, reuse=False):
        calls.append((config, seed, work_dir.name, reuse))
        return row(seed, 60.0 + seed if config == 'one.py' else 50.0)

    monkeypatch.setattr(quickstart_table, 'train', train)
    return calls


def table(monkeypatch, tmp_path, *argv, must_hold=('one', )):
    """Exit status and result of the script."""
    from quickstart_table import compare
    out = tmp_path / 'out.json'
    monkeypatch.setattr(sys, 'argv', [
        'x.py', '--seeds', '0', '1', '--out', str(out),
        '--work-dir', str(tmp_path), *argv])
    status = compare('x.py', METHODS, list(must_hold))
    return status, json.loads(out.read_text())


def test_all_are_trained_and_the_claims_decide(trained, monkeypatch,
                                               tmp_path):
    status, found = table(monkeypatch, tmp_path)
    assert status == 0
    assert trained == [('one.py', 0, 'one_seed0', False),
                       ('two.py', 0, 'two_seed0', False),
                       ('one.py', 1, 'one_seed1', False),
                       ('two.py', 1, 'two_seed1', False)]
    assert found['summary']['one']['mean_gain'] == 10.5
    assert found['summary']['one']['holds']
    assert table(monkeypatch, tmp_path, must_hold=('one', 'two'))[0] == 1


def test_earlier_runs_of_the_same_config_and_seed(trained, monkeypatch,
                                                  tmp_path):
    earlier = tmp_path / 'earlier.json'
    earlier.write_text(json.dumps(dict(
        config='two.py', runs=[row(1, 55.0), row(7, 99.0)])))
    _, found = table(monkeypatch, tmp_path, '--earlier', str(earlier))
    assert [call[:2] for call in trained] == [
        ('one.py', 0), ('two.py', 0), ('one.py', 1)]
    assert [run['end'] for run in found['runs']['two']] == [50.0, 55.0]
    assert found['command'].endswith(f'--earlier {earlier}')
    trained.clear()
    # other settings are other runs
    table(monkeypatch, tmp_path, '--earlier', str(earlier),
          '--cfg-options', 'a=1')
    assert len(trained) == 4


def test_runs_that_ended_in_the_work_directory(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    import quickstart_seeds
    runs = []

    def run(command, **kwargs):
        runs.append(command)
        name = 'knn/top1_k20'
        (tmp_path / 'knn_report.json').write_text(json.dumps(dict(
            k=20, end={name: 60.0}, step0={name: 50.0}, pixels={name: 70.0},
            chance=10.0, iterations=5)))

    monkeypatch.setattr(quickstart_seeds.subprocess, 'run', run)

    def train(config='c.py', seed=1, options=(), **kwargs):
        return quickstart_seeds.train(config, seed, tmp_path, list(options),
                                      **kwargs)

    first = train()
    assert first['end'] == 60
    assert train(reuse=True) == first
    assert len(runs) == 1
    train(seed=2, reuse=True)
    train(seed=2, options=['a=1'], reuse=True)
    train(seed=2, options=['a=1'])
    assert len(runs) == 4


@pytest.mark.parametrize('plain, holds', [(50.0, True), (59.5, False)])
def test_both_kinds_of_step_0_are_to_be_beaten(trained, plain, holds):
    from quickstart_table import report
    runs = [dict(row(seed, 60.0 + seed), step0_plain=plain + 4 * seed)
            for seed in (0, 1)]
    found = report(dict(one=runs))['one']
    assert found['holds'] == holds
    assert found['mean_gain'] == 10.5
    assert found['over_plain']['mean_gain'] == 58.5 - plain
