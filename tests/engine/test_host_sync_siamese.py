"""A step of siamese algorithms, masked and mixed, waits for no device."""
from __future__ import annotations

import pytest
import torch
from sync_detector import SyncDetector
from toy_siamese import HARD, MIXES, samples, tiny_siamese, two_views

from mimplug.engine import TwoGroupConstructor
from mimplug.schedules import Progress

SALIENT = dict(type='mimplug.SaliencyMask')
NEGATIVE = dict(SALIENT, mode='foreground', ratio=(0.4, 0.7))
NOISE = dict(type='mimplug.NoiseFill')
BLUR = dict(type='mimplug.BlurFill', kernel_size=5, sigma=1.5)
GRID_MIXES = [MIXES[0], dict(
    type='mimplug.MaskMix', grid=4, partner='permutation')]


def guided(fill, **kwargs):
    """Saliency-guided masks of one view."""
    return dict(
        view_masks=[dict(mask_generator=SALIENT, fill=fill, cells=4)],
        saliency=dict(type='mimplug.SCDA', stage=2), **kwargs)


CASES = {
    'hp': ('SaliencyMoCo', guided(
        NOISE, input_filter=dict(type='mimplug.HighPass', kernel_size=3),
        hard_negative=dict(mask_generator=NEGATIVE, fill=NOISE, cells=4))),
    'blur': ('SaliencyMoCo', guided(BLUR, hard_negative=dict(
        mask_generator=NEGATIVE, fill=BLUR, cells=4, num=2))),
    'mixmask': ('MoCo', dict(mixes=GRID_MIXES, split_bn=2, symmetric=True)),
    'simclr': ('SimCLR', guided(BLUR, hard_negative=HARD, mixes=MIXES,
                                drop_partner=True)),
    'byol': ('BYOL', guided(BLUR, mixes=GRID_MIXES)),
    'simsiam': ('SimSiam', guided(BLUR, mixes=MIXES)),
}
FAST = {'hp', 'mixmask', 'simclr'}


def steps(case, device, dtype, watch):
    """Three optimiser steps; the first one builds what is kept."""
    name, settings = CASES[case]
    model = tiny_siamese(name, **settings).to(device).train()
    wrapper = TwoGroupConstructor(dict(optimizer=dict(
        type='SGD', lr=1e-2, momentum=0.9), dtype=dtype))(model)
    views = [view.to(device) for view in two_views()]
    for step in range(3):
        model.set_progress(Progress(step, 3))
        watch(step > 0)
        with wrapper.optim_context(model):
            loss, _ = model.parse_losses(model.loss(views, samples()))
        wrapper.update_params(loss)
        model.step_end(0.9, finite=wrapper.finite)
        watch(False)
    return model


@pytest.mark.unit
@pytest.mark.parametrize('case,dtype', [
    pytest.param(case, dtype, marks=() if case in FAST and dtype is None
                 else pytest.mark.full)
    for case in CASES for dtype in (None, 'bfloat16')])
def test_no_call_that_waits(case, dtype):
    with SyncDetector() as detector:
        steps(case, 'cpu', dtype, lambda on: setattr(detector, 'on', on))
    assert detector.found == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('dtype', [None, 'bfloat16', 'float16'])
def test_no_call_that_waits_on_cuda(case, dtype):
    """Torch itself raises where the host would wait."""
    try:
        model = steps(case, 'cuda', dtype,
                      lambda on: torch.cuda.set_sync_debug_mode(
                          'error' if on else 'default'))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert all(value.isfinite().all() for value in model.parameters())
