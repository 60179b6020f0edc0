"""The step benchmark counts, divides and runs; its times are not tested."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

FOLDER = Path(__file__).parents[2] / 'benchmarks'
SCRIPT = FOLDER / 'step_time.py'


@pytest.fixture
def scripts(monkeypatch):
    """The scripts as modules: (step_time, step_sides)."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import step_sides
    import step_time
    return step_time, step_sides


@pytest.mark.unit
def test_operations_of_products_and_attention(scripts):
    _, sides = scripts
    layer = nn.Linear(8, 24, bias=False)
    x = torch.randn(3, 5, 8)

    def step():
        q, k, v = layer(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()

    linear = 2 * 15 * 8 * 24
    # q k^T and weights v forward; both again and four gradients backward,
    # of which the fused kernel computes q k^T anew and not the output
    attention = 2 * (3 * 2 * 5 * 5 * 4)
    assert sides.count_flops(step) == 2 * linear + attention * (2 + 5)


@pytest.mark.unit
def test_share_of_the_peak(scripts):
    script, _ = scripts
    args = script.parse(['--device', 'cpu', '--batch', '4',
                         '--peak-tflops', '2'])
    found = script.speed(args, 8 * 10**11, 0.5)
    assert found['images_per_second'] == 8
    assert found['gflop_per_image'] == 200
    assert found['tflops'] == 1.6
    assert found['mfu'] == 0.8
    args.peak_tflops = None
    assert script.speed(args, 1, 1.0)['mfu'] is None


@pytest.mark.unit
def test_the_bare_side_of_mugs(scripts, monkeypatch):
    """The teacher's own two views, then the student's two and locals."""
    script, sides = scripts
    seen = []

    class Network(nn.Linear):

        def forward(self, views):
            seen.append((views.mean().item(), len(views),
                         torch.is_grad_enabled()))
            return super().forward(views)

    monkeypatch.setattr(sides.timm, 'create_model',
                        lambda *args, **kwargs: Network(1, 1))
    args = script.parse(['--device', 'cpu', '--method', 'mugs'])
    views = [torch.full((3, 1), float(i)) for i in range(7)]
    step, _ = sides.bare_step(args, views)
    step()
    assert seen == [(0.5, 6, False), (2.5, 6, True), (5.0, 9, True)]
    for option in (['--whole-last-block'], ['--augment', 'device']):
        with pytest.raises(SystemExit):
            script.parse(['--method', 'mugs', *option])


@pytest.mark.unit
def test_peaks_by_name(scripts, monkeypatch):
    script, sides = scripts
    args = script.parse(['--device', 'cuda', '--dtype', 'bfloat16'])
    for name, peak in [('NVIDIA H100 80GB HBM3', 989.4),
                       ('NVIDIA H100 PCIe', 756.0), ('NVIDIA L40S', 362.0),
                       ('NVIDIA Unheard Of', None)]:
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda n=name: n)
        assert sides.peak_tflops(args) == peak


def run(*args):
    """What the script prints for a small network."""
    out = subprocess.run(
        [sys.executable, SCRIPT, '--device', 'cpu', '--arch', 'deit-tiny',
         '--batch', '2', '--locals', '1', '--pairs', '2', '--sizes', '32',
         '16', '--threads', '1', *args], check=True, capture_output=True,
        text=True).stdout
    return json.loads(out[out.index('{'):])


@pytest.mark.full
@pytest.mark.parametrize('extra', [
    ['--dtype', 'bfloat16', '--with-cp'],
    ['--whole-last-block', '--skip', 'no'],
    ['--method', 'mugs', '--rows', '64']], ids=str)
def test_both_sides_in_turn(extra):
    result = run(*extra)
    assert len(result['ratios']) == 2
    for side in ('ours', 'bare'):
        assert result[side]['images_per_second'] > 0
        assert result[side]['gflop_per_image'] > 0.1
        assert result['peak_memory_mib'][side] > 100


@pytest.mark.full
@pytest.mark.parametrize('extra', [
    ['--augment', 'cpu'], ['--augment', 'device'],
    ['--method', 'mugs', '--rows', '64']], ids=str)
def test_end_to_end(extra):
    result = run('--loader', '--images', '4', '--workers', '1', '--steps',
                 '2', *extra)['end_to_end']
    assert result['images_per_second'] > 0
    assert 0 <= result['data_wait_share'] < 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('extra', [[], ['--compile']], ids=str)
def test_on_a_gpu(extra):
    result = run('--device', 'cuda', '--dtype', 'bfloat16', *extra)
    assert result['ours']['tflops'] > 0
    assert result['peak_memory_mib']['ours'] > 0
