"""configs/, metafiles, READMEs and model-index.yml tell the same story."""
from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmpretrain.apis.model import ModelHub
from mmpretrain.registry import MODELS

ROOT = Path(__file__).parents[1]
# bases are no models; the quickstart has no published counterpart
EXEMPT = ('_base_', 'quickstart')
STATUS = ('published', 'variant', 'unverified')
METHODS = sorted(
    folder.name for folder in (ROOT / 'configs').iterdir()
    if folder.is_dir() and folder.name not in EXEMPT)
TRAINING = re.compile(
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)(-accum(?P<accum>\d+))?-'
    r'.*-(?P<epochs>\d+)e_')


@cache
def metafile(method: str) -> dict:
    return yaml.safe_load(
        (ROOT / 'configs' / method / 'metafile.yml').read_text())


ENTRIES = [
    pytest.param(method, entry, id=entry['Name'])
    for method in METHODS for entry in metafile(method)['Models']]
entries = pytest.mark.parametrize('method, entry', ENTRIES)


@cache
def load(path: str) -> Config:
    return Config.fromfile(str(ROOT / path))


@pytest.mark.unit
@pytest.mark.parametrize('method', METHODS)
def test_every_config_has_one_entry_and_vice_versa(method):
    files = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs' / method).rglob('*.py'))
    assert files
    assert files == sorted(
        entry['Config'] for entry in metafile(method)['Models'])


@pytest.mark.unit
@pytest.mark.parametrize('method', METHODS)
def test_collection_is_complete(method):
    (collection, ) = metafile(method)['Collections']
    assert {'Training Data', 'Training Techniques', 'Training Resources',
            'Architecture'} <= collection['Metadata'].keys()
    assert collection['Paper'].keys() == {'Title', 'URL'}
    assert collection['Code']['URL'].startswith('https://github.com/')
    assert (ROOT / collection['README']).is_file()


@pytest.mark.unit
@entries
def test_entry_is_complete(method, entry):
    assert entry['Name'] == Path(entry['Config']).stem
    (collection, ) = metafile(method)['Collections']
    assert entry['In Collection'] == collection['Name']
    assert {'Epochs', 'Batch Size', 'FLOPs', 'Parameters', 'Training Data',
            'Status'} <= entry['Metadata'].keys()
    assert entry['Metadata']['Status'] in STATUS
    assert 'Weights' in entry
    for result in entry['Results'] or ():
        assert {'Task', 'Dataset', 'Metrics', 'Source'} == result.keys()
        assert result['Metrics']
        assert result['Source'].strip()


@pytest.mark.unit
@entries
def test_only_published_settings_have_results(method, entry):
    header = (ROOT / entry['Config']).read_text().splitlines()[0]
    status = entry['Metadata']['Status']
    assert header.startswith('# Unverified:') == (status == 'unverified')
    assert status == 'published' or entry['Results'] is None


@pytest.mark.unit
@entries
def test_name_metadata_and_config_agree(method, entry):
    cfg, metadata = load(entry['Config']), entry['Metadata']
    said = TRAINING.search(entry['Name'])
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert int(said['batch']) == cfg.train_dataloader.batch_size
    assert int(said['accum'] or 1) == accumulation
    assert int(said['epochs']) == metadata['Epochs']
    assert metadata['Epochs'] == cfg.train_cfg.max_epochs
    images = int(said['gpus']) * int(said['batch']) * accumulation
    assert metadata['Batch Size'] == images
    # --auto-scale-lr changes nothing for the batch that the name promises
    assert cfg.auto_scale_lr.base_batch_size == images
    assert ('-amp-' in entry['Name']) == bool(cfg.optim_wrapper.get('dtype'))


@pytest.mark.unit
@entries
def test_size_of_a_vit(method, entry):
    backbone = dict(load(entry['Config']).model.backbone)
    if backbone['type'] not in ('mimplug.MaskedViT', 'mimplug.LocalGroupViT'):
        pytest.skip('the formula below is that of a ViT')
    backbone.update(init_cfg=None, with_mask_token=False)
    if backbone['type'] == 'mimplug.LocalGroupViT':
        backbone.update(num_relation_blocks=0)
    with torch.device('meta'):
        model = MODELS.build(backbone)
    parameters = sum(value.numel() for value in model.parameters())
    assert entry['Metadata']['Parameters'] == parameters
    width, patch = model.embed_dims, model.patch_size
    patches = model.patch_resolution[0] * model.patch_resolution[1]
    tokens = patches + 1
    # qkv, projection and MLP; q k and attention times v; patch embedding
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    flops = model.num_layers * block + patches * 3 * patch**2 * width
    assert entry['Metadata']['FLOPs'] == flops


def view_size(cfg: Config) -> int:
    """Side of the images that a config trains on."""
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'mimplug.MultiCrop':
            return step.global_crops.size
        if step.type == 'RandomResizedCrop':
            return step.scale
    raise AssertionError('no random crop')


@cache
def resnet_size(kind: str, depth: int, side: int) -> tuple[int, int]:
    """Parameters, and multiply-adds of the convolutions for one image."""
    # its builder reads numbers from tensors, which meta tensors have not
    model = MODELS.build(dict(type=kind, depth=depth)).to('meta')
    flops = 0

    def count(layer, inputs, output):
        nonlocal flops
        flops += output.numel() * layer.weight[0].numel()

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    model.eval()
    model(torch.empty(1, 3, side, side, device='meta'))
    return sum(value.numel() for value in model.parameters()), flops


@pytest.mark.unit
@entries
def test_size_of_a_resnet(method, entry):
    cfg = load(entry['Config'])
    backbone = cfg.model.backbone
    if backbone.type not in ('ResNet', 'ResNet_CIFAR'):
        pytest.skip('not a ResNet')
    size = resnet_size(backbone.type, backbone.depth, view_size(cfg))
    assert (entry['Metadata']['Parameters'],
            entry['Metadata']['FLOPs']) == size


@pytest.mark.unit
@entries
def test_readme_shows_the_entry(method, entry):
    text = (ROOT / 'configs' / method / 'README.md').read_text()
    lines = [line for line in text.splitlines()
             if f'/{entry["Name"]}.py)' in line.replace('](', '](/')]
    assert lines, 'the README has no link to the config'
    for result in entry['Results'] or ():
        for value in result['Metrics'].values():
            assert any(f'| {value} |' in line for line in lines)


@pytest.mark.unit
@entries
def test_top_level_keys_are_known(method, entry):
    """A mistyped section would be ignored by the runner."""
    helpers = {'auto_scale_lr', 'data_root', 'checkpoint', 'log_interval',
               'subset', 'train_pipeline', 'test_pipeline',
               'knn_bank_dataloader', 'data_preprocessor', 'frozen_network',
               # of the siamese methods; mmengine reads sync_bn by itself
               'train_set', 'localiser', 'saliency_masks', 'sync_bn',
               # of MMPretrain's files
               'dataset_type', 'vis_backends', 'find_unused_parameters'}
    cfg, runner = load(entry['Config']), Runner
    if 'runner_type' in cfg:
        runner, helpers = RUNNERS.get(cfg.runner_type), helpers | {
            'runner_type'}
    allowed = helpers | inspect.signature(runner.__init__).parameters.keys()
    assert cfg.keys() <= allowed


def depth(path: Path) -> int:
    """Longest chain of _base_ files above a config."""
    bases = Config._get_base_files(str(path))
    # a base of an installed package counts as one, whatever it inherits
    return max((1 if '::' in base else 1 + depth(path.parent / base)
                for base in bases), default=0)


@pytest.mark.unit
@entries
def test_inheritance_is_flat(method, entry):
    assert 1 <= depth(ROOT / entry['Config']) <= 2


@pytest.mark.unit
def test_model_index_lists_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index['Import'] == [
        f'configs/{method}/metafile.yml' for method in METHODS]


@pytest.mark.unit
def test_models_are_found_by_name(monkeypatch):
    """As mim and MMPretrain find them."""
    monkeypatch.setattr(ModelHub, '_models_dict', {})
    ModelHub.register_model_index(ROOT / 'model-index.yml', ROOT)
    assert len(ModelHub._models_dict) == len(ENTRIES)
    for entry in ENTRIES:
        found = ModelHub._models_dict[entry.values[1]['Name']]
        assert Path(found.config).is_file()
