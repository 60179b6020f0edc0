"""Which file a run goes on from."""
from __future__ import annotations

import os
import pickle

import pytest
import torch

from mimplug.engine.checkpoint import find, find_latest, read_header
from mimplug.errors import CheckpointError

pytestmark = pytest.mark.unit


@pytest.fixture
def warnings(monkeypatch):
    """Lines that the search would log."""
    lines = []
    monkeypatch.setattr(find, 'print_log',
                        lambda text, **kwargs: lines.append(text))
    return lines


def save(folder, name, iterations, *, samples=None, age=0, **parts):
    """A checkpoint; ``age`` seconds older than the youngest."""
    folder.mkdir(exist_ok=True)
    meta = dict(iter=iterations, epoch=0)
    if samples is not None:
        meta['position'] = dict(samples=samples)
    parts.setdefault('optimizer', {})
    torch.save(dict(meta=meta, state_dict=dict(x=torch.rand(5000)), **parts),
               folder / name)
    os.utime(folder / name, (10**9 - age, 10**9 - age))


def test_the_furthest_counts_not_the_youngest(tmp_path, warnings):
    save(tmp_path, 'epoch_9.pth', 90, age=50)
    save(tmp_path, 'epoch_10.pth', 100, age=40)
    save(tmp_path, 'milestone_epoch_8.pth', 80, age=0)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_9.pth'))
    assert find_latest(tmp_path) == str(tmp_path / 'epoch_10.pth')
    save(tmp_path, 'milestone_epoch_11.pth', 110, age=60)
    assert find_latest(tmp_path).endswith('milestone_epoch_11.pth')
    assert warnings == []


def test_samples_are_better_than_iterations(tmp_path):
    # after eight processes, two: fewer samples an iteration
    save(tmp_path, 'a.pth', 100, samples=3200)
    save(tmp_path, 'b.pth', 410, samples=3280)
    save(tmp_path, 'c.pth', 110, samples=3520)
    assert find_latest(tmp_path).endswith('c.pth')
    save(tmp_path, 'old.pth', 500)  # does not know
    assert find_latest(tmp_path).endswith('old.pth')


def test_weights_alone_are_the_last_resort(tmp_path):
    save(tmp_path, 'best_acc_epoch_3.pth', 30)
    whole = torch.load(tmp_path / 'best_acc_epoch_3.pth')
    del whole['optimizer']
    torch.save(whole, tmp_path / 'best_acc_epoch_3.pth')
    assert find_latest(tmp_path).endswith('best_acc_epoch_3.pth')
    save(tmp_path, 'epoch_2.pth', 20)
    assert find_latest(tmp_path).endswith('epoch_2.pth')


@pytest.mark.parametrize('keep', [0, 1, 100, 0.5, -1])
def test_a_cut_off_file_is_passed_over(tmp_path, warnings, keep):
    save(tmp_path, 'epoch_1.pth', 10, age=20)
    save(tmp_path, 'epoch_2.pth', 20, age=10)
    path = tmp_path / 'epoch_3.pth'
    save(tmp_path, path.name, 30)
    content = path.read_bytes()
    keep = int(keep * len(content)) if isinstance(keep, float) else keep
    path.write_bytes(content[:keep])
    assert find_latest(tmp_path) == str(tmp_path / 'epoch_2.pth')
    line, = warnings
    assert str(path) in line
    assert 'no complete checkpoint' in line


@pytest.mark.parametrize('content', [
    {'weight': torch.ones(1)}, [1, 2], dict(meta=dict(epoch=1))])
def test_foreign_files(tmp_path, warnings, content):
    torch.save(content, tmp_path / 'weights.pth')
    assert find_latest(tmp_path) is None
    assert 'weights.pth' in warnings.pop()
    save(tmp_path, 'epoch_1.pth', 10)
    os.utime(tmp_path / 'weights.pth', (1, 1))
    assert find_latest(tmp_path).endswith('epoch_1.pth')
    assert warnings == []  # older: not worth a line
    os.utime(tmp_path / 'weights.pth', (2 * 10**9, 2 * 10**9))
    assert find_latest(tmp_path).endswith('epoch_1.pth')
    assert 'weights.pth' in warnings.pop()


def test_other_folders_and_the_note(tmp_path):
    run, other = tmp_path / 'run', tmp_path / 'other'
    save(run, 'epoch_1.pth', 10)
    save(other, 'epoch_2.pth', 20)
    (run / 'last_checkpoint').write_text(str(other / 'epoch_2.pth'))
    assert find_latest(run) == str(run / 'epoch_1.pth')
    assert find_latest(run, [other]) == str(other / 'epoch_2.pth')
    (run / 'epoch_1.pth').unlink()
    assert find_latest(run) == str(other / 'epoch_2.pth')
    (other / 'epoch_2.pth').unlink()
    assert find_latest(run) is None
    assert find_latest(tmp_path / 'none') is None


def test_relative_paths_stay_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / 'run', 'epoch_1.pth', 10)
    assert find_latest('run') == 'run/epoch_1.pth'


def test_files_may_vanish_meanwhile(tmp_path, warnings):
    save(tmp_path, 'epoch_1.pth', 10)
    (tmp_path / 'epoch_2.pth').symlink_to(tmp_path / 'gone')
    assert find_latest(tmp_path) == str(tmp_path / 'epoch_1.pth')
    assert warnings == []


class Trap:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('sprung', )


def test_a_header_runs_nothing_and_reads_no_tensor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'a.pth'
    torch.save(dict(meta=dict(iter=3, trap=Trap(), log=[Trap()]),
                    big=torch.zeros(1000), optimizer=dict(state={
                        0: torch.ones(2)})), path, pickle_module=pickle)
    header = read_header(path)
    assert header['meta']['iter'] == 3
    assert not (tmp_path / 'sprung').exists()
    assert find_latest(tmp_path) == str(path)
    with pytest.raises(CheckpointError, match='no complete checkpoint'):
        read_header(tmp_path / 'none.pth')
