"""A checkpoint says which filter its images went through; commands listen."""
from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mimplug.cli import main
from mimplug.cli._checkpoint import LoadReportHook
from mimplug.errors import CheckpointError
from mimplug.models.run_record import make_record, mark_filtered
from mimplug.models.targets import HighPass

EVALUATION = Path(__file__).parents[1] / 'evaluation'
CONFIG = """
custom_imports = dict(imports=['toy_knn'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(type='ToyAlgorithm')
loader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='ToyImages', size=24),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = loader
val_cfg = dict(type='mimplug.KNNValLoop', bank=loader, k=(3, ))
val_evaluator = []
"""
HOOK = """
custom_hooks = [dict(type='mimplug.InputFilterHook', input_filter=dict(
    type='mimplug.HighPass', kernel_size=3, sigma=1.0))]
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The module of the model; config and weights of a filtered run."""
    monkeypatch.syspath_prepend(str(EVALUATION))
    monkeypatch.chdir(tmp_path)
    import toy_knn
    torch.manual_seed(0)
    torch.save(dict(
        state_dict=toy_knn.ToyAlgorithm().state_dict(),
        meta=dict(mimplug=make_record(HighPass(3, 1.0)))), 'hp.pth')
    Path('plain.py').write_text(CONFIG)
    Path('filtered.py').write_text(CONFIG + HOOK)
    return toy_knn


@pytest.mark.e2e
@pytest.mark.parametrize('command', ['knn', 'test'])
def test_a_config_without_the_filter_is_refused(toy, command, capsys):
    toy.register()
    assert main([command, 'plain.py', 'hp.pth']) == 1
    message = capsys.readouterr().err
    assert 'hp.pth was trained on filtered images' in message
    assert "custom_hooks=[dict(type='mimplug.InputFilterHook'" in message


@pytest.mark.e2e
def test_with_the_line_it_names_it_works(toy, capsys):
    sys.modules['toy_knn'].register()
    assert main(['knn', 'filtered.py', 'hp.pth']) == 0
    filtered = capsys.readouterr().out
    assert '     3 ' in filtered


@pytest.mark.unit
def test_a_start_from_filtered_weights_is_refused(toy):
    model = toy.ToyAlgorithm()
    content = torch.load('hp.pth')
    hook = LoadReportHook('hp.pth')
    runner = SimpleNamespace(model=model)
    with pytest.raises(CheckpointError, match='input filter'):
        hook.after_load_checkpoint(runner, content)
    mark_filtered(model, HighPass(3, 1.0))
    hook.after_load_checkpoint(runner, content)
