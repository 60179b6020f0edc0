"""KeyedDataset: any data set, keyed draws, bad images, determinism."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import DistSamplerSeedHook
from mmengine.runner import Runner
from toy_images import ArrayDataset, picture, write_folder

from mimplug.datasets import (
    KeyedDataset,
    LoadView,
    MultiCrop,
    PackViews,
    UnreadableImageError,
)
from mimplug.datasets import samplers as samplers_module
from mimplug.errors import ConfigError

ROOT = Path(__file__).parents[2]


def crops():
    return [LoadView(), MultiCrop(dict(size=24), dict(num=2, size=12)),
            PackViews()]


def same(first, second):
    """Whether two packed samples are equal in every bit."""
    meta = ('sample_key', 'sample_idx', 'ori_shape')
    one, two = first['data_samples'], second['data_samples']
    return (all(torch.equal(a, b) for a, b in
                zip(first['inputs'], second['inputs']))
            and all(getattr(one, key) == getattr(two, key) for key in meta)
            and (one.view_boxes == two.view_boxes).all()
            and (one.view_flips == two.view_flips).all()
            and torch.equal(one.gt_label, two.gt_label))


@pytest.mark.unit
def test_a_sample_is_a_function_of_its_key():
    data = KeyedDataset(ArrayDataset(), crops(), seed=1)
    sample = data[3, 4, 1]
    assert sample['data_samples'].sample_key == (3, 4, 1)
    assert sample['data_samples'].sample_idx == 4
    assert sample['data_samples'].gt_label.item() == 4
    data[0, 2, 0]  # drawing something else in between changes nothing
    assert same(sample, data[3, 4, 1])
    for key in ((2, 4, 1), (3, 4, 0)):
        assert not torch.equal(sample['inputs'][0], data[key]['inputs'][0])
    other = KeyedDataset(ArrayDataset(), crops(), seed=2)
    assert not torch.equal(sample['inputs'][0], other[3, 4, 1]['inputs'][0])


@pytest.mark.unit
def test_plain_indices_and_delegation():
    data = KeyedDataset(ArrayDataset(lazy_init=True), crops())
    assert len(data) == 10
    assert data.metainfo['classes'] == ('a', 'b', 'c')
    assert data.get_data_info(2)['gt_label'] == 2
    assert same(data[3], data[0, 3, 0])
    assert data[-1]['data_samples'].sample_key == (0, 9, 0)
    assert same(data[torch.tensor(3)], data[3])
    with pytest.raises(IndexError, match='10 samples'):
        data[10]


@pytest.mark.unit
def test_the_sampler_gives_the_seed_unless_one_was_set():
    data = KeyedDataset(ArrayDataset(), crops())
    data.bind_seed(7)
    assert same(data[1], KeyedDataset(ArrayDataset(), crops(), seed=7)[1])
    data.bind_seed(8)
    assert data.seed == 7


@pytest.mark.unit
def test_a_stock_sampler_that_freezes_the_crops_is_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr('mimplug.datasets.keyed.print_log',
                        lambda text, **_: said.append(text))
    frozen = KeyedDataset(ArrayDataset(), crops())
    assert same(frozen[3], frozen[3])
    assert len(said) == 1
    assert 'MultiCrop' in said[0]
    assert 'mimplug.KeyedSampler' in said[0]
    keyed = KeyedDataset(ArrayDataset(), crops())
    keyed.bind_seed(7)
    evaluation = KeyedDataset(ArrayDataset(), [LoadView(), PackViews()])
    _ = keyed[3], evaluation[3]
    assert len(said) == 1


def build_loader(workers, batch_size=4, **sampler):
    return Runner.build_dataloader(dict(
        batch_size=batch_size, num_workers=workers, drop_last=True,
        persistent_workers=workers > 0,
        dataset=KeyedDataset(ArrayDataset(14), crops()),
        sampler=dict(type='mimplug.KeyedSampler', **sampler),
        collate_fn=dict(type='mimplug.view_collate')), seed=3)


@pytest.mark.unit
def test_workers_do_not_change_anything_even_over_epochs():
    runs = []
    for workers in (0, 2):
        loader = build_loader(workers)
        runner = SimpleNamespace(
            train_loop=SimpleNamespace(dataloader=loader))
        batches = []
        for epoch in range(2):
            runner.epoch = epoch
            DistSamplerSeedHook().before_train_epoch(runner)
            batches += list(loader)
        runs.append(batches)
    plain, worked = runs
    assert len(plain) == len(worked) == 6
    for one, two in zip(plain, worked):
        assert all(torch.equal(a, b)
                   for a, b in zip(one['inputs'], two['inputs']))
        assert ([s.sample_key for s in one['data_samples']]
                == [s.sample_key for s in two['data_samples']])
    assert not torch.equal(plain[0]['inputs'][0], plain[3]['inputs'][0])


@pytest.mark.property
def test_rank_count_does_not_change_the_samples(monkeypatch):
    def by_key(world):
        found = {}
        for rank in range(world):
            monkeypatch.setattr(samplers_module, 'get_dist_info',
                                lambda rank=rank: (rank, world))
            for batch in build_loader(0, batch_size=12 // world):
                for i, sample in enumerate(batch['data_samples']):
                    found[sample.sample_key] = [
                        view[i] for view in batch['inputs']]
        return found

    one, three = by_key(1), by_key(3)
    assert len(one) == 12
    assert one.keys() == three.keys()
    for key, views in one.items():
        assert all(torch.equal(a, b) for a, b in zip(views, three[key]))


@pytest.mark.unit
def test_resuming_inside_an_epoch_reads_only_the_rest():
    whole = list(build_loader(0))
    read = []
    loader = build_loader(0, start_position=8)
    original = loader.dataset.get_data_info
    loader.dataset.get_data_info = lambda i: (read.append(i), original(i))[1]
    (rest,) = list(loader)
    assert all(torch.equal(a, b)
               for a, b in zip(rest['inputs'], whole[2]['inputs']))
    assert len(read) == 4


@pytest.mark.unit
def test_labelled_and_unlabelled_folders(tmp_path):
    write_folder(tmp_path)
    folder = dict(type='CustomDataset', data_root=str(tmp_path))
    labelled = KeyedDataset(folder, crops())
    assert [labelled[i]['data_samples'].gt_label.item()
            for i in range(6)] == [0, 0, 0, 1, 1, 1]
    plain = KeyedDataset(dict(folder, with_label=False), crops())
    assert len(plain) == 6
    sample = plain[4]['data_samples']
    assert 'gt_label' not in sample
    assert sample.img_path.endswith('class_1/1.png')


@pytest.mark.unit
def test_bad_images_are_replaced_loudly_and_deterministically(
        tmp_path, caplog, monkeypatch):
    write_folder(tmp_path)
    bad = tmp_path / 'class_0' / '1.png'
    bad.write_bytes(b'no picture')
    (tmp_path / 'class_1' / '0.png').write_bytes(b'')
    said = []
    monkeypatch.setattr('mimplug.datasets.keyed.print_log',
                        lambda text, **_: said.append(text))
    folder = dict(type='CustomDataset', data_root=str(tmp_path))
    data = KeyedDataset(folder, crops(), seed=0)
    sample = data[5, 1, 0]
    assert str(bad) in said[0]
    assert '1 bad image' in said[0]
    assert data.num_unreadable == len(said)
    assert sample['data_samples'].sample_key == (5, 1, 0)
    assert sample['data_samples'].sample_idx not in (1, 3)
    again = KeyedDataset(folder, crops(), seed=0)[5, 1, 0]
    assert same(sample, again)
    picks = {data[e, 1, 0]['data_samples'].sample_idx for e in range(20)}
    assert len(picks) > 1
    with pytest.raises(UnreadableImageError, match=r'class_0/1\.png'):
        KeyedDataset(folder, crops(), max_retries=0)[1]


@pytest.mark.unit
def test_a_loader_that_returns_none_counts_as_bad_image(monkeypatch):
    said = []
    monkeypatch.setattr('mimplug.datasets.keyed.print_log',
                        lambda text, **_: said.append(text))
    data = KeyedDataset(ArrayDataset(), [lambda results: None],
                        max_retries=2)
    with pytest.raises(UnreadableImageError, match='after 2 repl'):
        data[0]
    assert len(said) == 2
    assert 'returned None' in said[0]


@pytest.mark.unit
def test_errors_that_are_not_about_an_image_are_not_swallowed():
    def broken(results):
        raise ValueError('a bug')

    with pytest.raises(ValueError, match='a bug'):
        KeyedDataset(ArrayDataset(), [broken])[0]


@pytest.mark.unit
def test_wrong_data_sets_are_refused():
    with pytest.raises(ConfigError, match='pipeline of its own'):
        KeyedDataset(ArrayDataset(pipeline=[LoadView()]), crops())
    with pytest.raises(ConfigError, match='get_data_info'):
        KeyedDataset([picture()], crops())
    with pytest.raises(ConfigError, match='max_retries=-1'):
        KeyedDataset(ArrayDataset(), crops(), max_retries=-1)


@pytest.mark.unit
def test_quickstart_loaders_build_in_a_fresh_process():
    code = (
        'from mmengine.config import Config\n'
        'from mmengine.registry import init_default_scope\n'
        'from mmengine.runner import Runner\n'
        "init_default_scope('mmpretrain')\n"
        'cfg = Config.fromfile('
        "'configs/_base_/datasets/fashion-mnist_quickstart.py')\n"
        'for loader in (cfg.train_dataloader, cfg.val_dataloader,\n'
        '               cfg.knn_bank_dataloader):\n'
        '    batch = next(iter(Runner.build_dataloader(loader, seed=0)))\n'
        "    inputs = batch['inputs']\n"
        '    print([tuple(v.shape) for v in inputs]\n'
        '          if isinstance(inputs, list) else tuple(inputs.shape))\n')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line[:1] in '[(']
    assert lines == [
        '[(32, 3, 32, 32), (32, 3, 32, 32), (32, 3, 16, 16), '
        '(32, 3, 16, 16)]', '(250, 3, 32, 32)', '(250, 3, 32, 32)']
