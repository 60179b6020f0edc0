"""The sharded ViT-L config trains, saves and goes on, made small."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_run import on_launched, run_config, train_config

pytestmark = [pytest.mark.dist, pytest.mark.full]

VIT_LARGE = (Path(__file__).resolve().parents[2] / 'configs/ibot'
             / 'ibot_vit-large-p16_64xb16-fsdp-amp-coslr-250e_in1k.py')


def config(work_dir, world=2, **changes):
    """In float64, so that the runs differ by rounding only."""
    return run_config(VIT_LARGE, work_dir, world, **{
        'optim_wrapper__dtype': None, 'param_scheduler__0__warmup': 0,
        **changes})


def train_sharded(folder):
    """A whole run, and one that is stopped after an epoch and resumed."""
    whole_run = train_config(config(folder / 'whole'))
    train_config(config(folder / 'parts'), stop_after=1)
    resumed = train_config(config(folder / 'parts', resume=True))
    return whole_run, resumed


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A lone process, which has no shards, each rank of two, the folder."""
    folder = tmp_path_factory.mktemp('sharded-run')
    return (train_config(config(folder / 'one', world=1)),
            on_launched(train_sharded, folder, folder), folder)


def assert_equal_weights(model, expected):
    for name, value in expected.items():
        error = (model[name] - value).abs().max()
        assert error <= 1e-9 * value.abs().max(), f'{name}: {error}'


def test_shards_train_like_one_process(runs):
    one, ranks, _ = runs
    for whole_run, _ in ranks:
        assert_equal_weights(whole_run['model'], one['model'])


def test_resumed_run_ends_like_a_whole_one(runs):
    for whole_run, resumed in runs[1]:
        assert len(resumed['keys']) == len(whole_run['keys']) // 2
        assert resumed['iterations'] == whole_run['iterations']
        assert_equal_weights(resumed['model'], whole_run['model'])


def test_file_is_that_of_an_unsharded_run(runs):
    _, ((whole_run, _), _), folder = runs
    saved = torch.load(folder / 'whole' / 'epoch_2.pth', weights_only=True)
    assert saved['state_dict'].keys() == whole_run['model'].keys()
    assert_equal_weights(saved['state_dict'], whole_run['model'])
    one = torch.load(folder / 'one' / 'epoch_2.pth', weights_only=True)
    assert saved['optimizer'].keys() == one['optimizer'].keys()
    for number, state in one['optimizer']['state'].items():
        for name, value in state.items():
            assert torch.allclose(
                saved['optimizer']['state'][number][name], value)


def train_in_bfloat16(folder):
    """The precision of the config, on the device at hand."""
    cfg = config(folder / 'half', world=1,
                 optim_wrapper__dtype='bfloat16', model__type='mimplug.IBOT',
                 launcher='pytorch')
    return train_config(cfg)


@pytest.mark.parametrize('device', [
    'cpu', pytest.param('gpu', marks=pytest.mark.gpu)])
def test_bfloat16_in_a_group_of_one(tmp_path, device):
    if (device == 'gpu') != torch.cuda.is_available():
        pytest.skip('another device is at hand')
    result, = on_launched(train_in_bfloat16, tmp_path, tmp_path, world=1)
    assert all(value.isfinite().all() for value in result['model'].values())
