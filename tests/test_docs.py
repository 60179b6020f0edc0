"""Pages name files that exist, their Python runs, their configs are read."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mimplug.utils import allow_config_inheritance

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
         *sorted((ROOT / 'configs').glob('*/README.md'))]
LINK = re.compile(r'\]\((?!https?://|#|mailto:)([^)#\s]+)')
PYTHON = re.compile(r'^```python\n(.*?)^```', re.DOTALL | re.MULTILINE)
FILE = re.compile(r'(?<![\w:/.])(?:configs|tools|benchmarks|docs|tests)'
                  r'/[\w./-]+\.(?:py|sh|md|yml)')

pytestmark = pytest.mark.unit


@pytest.mark.parametrize('page', PAGES,
                         ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_named_files_exist(page):
    text = page.read_text()
    links = [page.parent / name for name in LINK.findall(text)]
    # a method has configs below benchmarks/ of its own folder
    files = [ROOT / name for name in FILE.findall(text)
             if not (page.parent / name).exists()]
    assert [str(path) for path in links + files if not path.exists()] == []


@pytest.mark.full
@pytest.mark.parametrize('page', PAGES,
                         ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_python_runs(page):
    """The blocks of a page one after the other, as a reader would type."""
    blocks = PYTHON.findall(page.read_text())
    if not blocks:
        pytest.skip('no Python on this page')
    names = {'__name__': page.stem}
    for number, block in enumerate(blocks):
        exec(compile(block, f'{page.name}, block {number}', 'exec'), names)
    assert len(names) > 1


def test_own_images_config_of_the_readme(tmp_path):
    text = (ROOT / 'README.md').read_text()
    block, = re.findall(r'```python\n(_base_.*?)```', text, re.DOTALL)
    path = tmp_path / 'my_images.py'
    path.write_text(block)
    allow_config_inheritance()
    cfg = Config.fromfile(str(path))
    assert cfg.train_dataloader.dataset.type == 'mimplug.KeyedDataset'
    assert cfg.train_dataloader.dataset.dataset.to_dict() == dict(
        type='CustomDataset', data_root='path/to/images', with_label=False)
    assert cfg.val_cfg is None


def test_own_images_configs_of_saliency_guided_moco(tmp_path):
    text = (ROOT / 'docs' / 'saliency_moco.md').read_text()
    blocks = re.findall(r'```python\n(_base_.*?)```', text, re.DOTALL)
    allow_config_inheritance()
    configs = []
    for number, block in enumerate(blocks):
        path = tmp_path / f'own_{number}.py'
        path.write_text(block)
        configs.append(Config.fromfile(str(path)))
    training, probe = configs
    train, val = (dict(type='CustomDataset', data_root=f'my_images/{split}')
                  for split in ('train', 'val'))
    for cfg in configs:
        assert cfg.train_dataloader.dataset.dataset.to_dict() == train
        assert cfg.val_dataloader.dataset.dataset.to_dict() == val
    assert training.val_cfg.bank.dataset.dataset.to_dict() == train
    assert training.model.saliency.get('backbone') is None
    # the probe reads what the other one writes, behind the same filter
    assert probe.model.backbone.init_cfg.checkpoint.startswith(
        'work_dirs/my_saliency/')
    assert probe.custom_hooks[0].input_filter == training.model.input_filter
