"""``mimplug show``."""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_ibot import VIT, tiny_ibot
from toy_stock import network, simmim

from mimplug.cli import main
from mimplug.cli.show import topics
from mimplug.visualization.mask_grid import HIDDEN

pytestmark = pytest.mark.unit

QUICKSTART = str(Path(__file__).parents[2] / 'configs' / 'quickstart'
                 / '{}_resnet-quickstart_fashion-mnist.py')

CONFIG = f"""
default_scope = 'mmpretrain'
model = dict(
    type='mimplug.IBOT',
    backbone=dict({VIT!r}, type='mimplug.MaskedViT', interpolate_offset=0.1),
    head=dict(type='mimplug.PrototypeHead', num_prototypes=12,
              hidden_channels=24, bottleneck_channels=8,
              norm_last_layer=False),
    mask_generator=dict(type='mimplug.AttentionMask', ratio=0.4))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Config, weights and one photograph, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path('toy.py').write_text(CONFIG)
    Path('plain.py').write_text(
        "model = dict(type='mmpretrain.ImageClassifier',\n"
        "             backbone=dict(type='mmpretrain.LeNet5'))\n")
    torch.save(dict(state_dict=tiny_ibot().state_dict()), 'weights.pth')
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3))
    Image.fromarray(noise.astype(np.uint8)).save('photo.png')
    return tmp_path


def show(capsys, *args):
    """Exit status, the picture's size if there is one, and what was said."""
    status = main(['show', 'masks', *args])
    said = capsys.readouterr()
    path = Path(said.out.strip().splitlines()[-1]) if status == 0 else None
    if path is None:
        return status, said.err
    with Image.open(path) as image:
        return path, image.size


def test_a_generator_by_name(folder, capsys):
    path, small = show(capsys, 'CheckerboardMask', '--images', 'photo.png',
                       '--size', '24', '48', '--cell', '48')
    assert path == Path('work_dirs/show/masks_CheckerboardMask.png')
    path, large = show(capsys, 'CheckerboardMask', '--images', 'photo.png',
                       'photo.png', '--size', '24', '48', '--cell', '96',
                       '--out', 'sub/x.png')
    assert path == Path('sub/x.png')
    assert large[0] - small[0] == 2 * 96 + 6 - 48


def test_a_config_with_and_without_weights(folder, capsys):
    _, size = show(capsys, 'toy.py', '--images', 'photo.png')
    pictures = []
    for weights in ([], ['--checkpoint', 'weights.pth']):
        path, again = show(capsys, 'toy.py', '--images', 'photo.png',
                           *weights)
        assert again == size
        pictures.append(np.asarray(Image.open(path)))
    # other words at the left
    assert (pictures[0][:, :250] != pictures[1][:, :250]).any()
    _, size_32 = show(capsys, 'toy.py', '--images', 'photo.png', '--size',
                      '16', '32', '--checkpoint', 'weights.pth')
    assert size_32[1] < size[1]


@pytest.mark.parametrize('masks', [
    dict(mask_generator=dict(type='mimplug.RandomMask', ratio=0.5), cell=2),
    dict(mask_generator=dict(type='mimplug.AttentionMask', ratio=0.5),
         attention_from=network()),
])
def test_stock_algorithms(folder, capsys, masks):
    Path('stock.py').write_text(f'model = {dict(simmim(), **masks)!r}\n')
    path, _ = show(capsys, 'stock.py', '--images', 'photo.png', '--cell',
                   '128')
    picture = np.asarray(Image.open(path))
    # 128 pixels of 4 x 4 cells, with white lines between them
    column = picture[-150:-22, -138:-10].astype(int)
    hidden = np.abs(column - HIDDEN).max(-1) < 21
    cells = hidden.reshape(4, 32, 4, 32).mean((1, 3))
    assert (cells > 0.9).sum() == (cells < 0.1).sum() == 8
    assert show(capsys, 'stock.py', '--patch', '16')[0] == 2


@pytest.mark.parametrize('name', ['saliency-moco', 'mixmask'])
def test_siamese_networks(folder, capsys, name):
    config = QUICKSTART.format(name)
    path, size = show(capsys, config, '--images', 'photo.png', 'photo.png')
    _, larger = show(capsys, config, '--images', 'photo.png', 'photo.png',
                     '--size', '64', '--cell', '192')
    assert path.is_file()
    assert larger[0] - size[0] == 2 * (192 - 160)
    status, said = show(capsys, config, '--patch', '8')
    assert (status, 'those of the config' in said) == (2, True)
    status, said = show(capsys, config, '--size', '30')
    assert '30 x 30' in said


def test_generators_with_the_attention_of_a_network(folder, capsys):
    path, _ = show(capsys, 'RolloutMask', '--images', 'photo.png',
                   '--network', 'toy.py', '--checkpoint', 'weights.pth')
    assert path.is_file()


@pytest.mark.parametrize('args, message', [
    (['RandmMask'], "did you mean 'RandomMask'"),
    (['none.py'], 'config none.py: no such file'),
    (['plain.py'], 'has no mask_generator'),
    (['RandomMask', '--network', 'plain.py'], r'mimplug\.MaskedViT'),
    (['toy.py', '--network', 'toy.py'], 'has a network of its own'),
    (['RandomMask', '--checkpoint', 'weights.pth'], 'needs --network'),
    (['RandomMask', '--cfg-options', 'a=1'],
     '--cfg-options needs --network'),
    (['toy.py', '--patch', '8'], 'cells of 4 x 4'),
    (['RandomMask', '--size', '50'], 'multiples of the patch size 12'),
    (['RandomMask', '--size', '12', '12', '12'], 'one number'),
    (['RandomMask', '--images', 'nowhere'], '--images nowhere'),
    (['RandomMask', '--progress', '2'], '--progress'),
    (['toy.py', '--checkpoint', 'photo.png'], 'photo.png'),
])
def test_what_cannot_be_drawn(folder, capsys, args, message):
    status, said = show(capsys, *args)
    assert status in (1, 2)
    assert re.search(message, said)


def test_topics_and_help(capsys):
    assert 'masks' in topics()
    with pytest.raises(SystemExit) as ended:
        main(['show', '--help'])
    assert ended.value.code == 0
    assert 'Draw the masks of a generator' in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(['show'])
    assert ended.value.code == 2
    assert 'TOPIC' in capsys.readouterr().err


@pytest.mark.parametrize('before, after', [
    (['--traceback'], []), ([], ['--traceback'])])
def test_traceback_on_request(folder, before, after):
    with pytest.raises(ValueError, match='no such file'):
        main(['show', *before, 'masks', 'none.py', *after])
