"""A step of Mugs, with masks, flags and labels, waits for no device."""
from __future__ import annotations

import pytest
import torch
from sync_detector import SyncDetector
from toy_mugs import mugs_samples, mugs_views, tiny_mugs

from mimplug.engine import TwoGroupConstructor

GENERATORS = {
    'none': None,
    'random': dict(type='mimplug.RandomMask', ratio=0.5, apply_prob=0.5),
    'attention': dict(type='mimplug.AttentionMask', ratio=0.4),
}


def steps(generator, device, dtype, watch):
    """Three optimiser steps; the first one builds what is kept."""
    model = tiny_mugs(mask_generator=GENERATORS[generator],
                      backbone=dict(drop_path_rate=0.2),
                      local_group=dict(legacy_pointer=True)).to(device)
    wrapper = TwoGroupConstructor(dict(
        optimizer=dict(type='AdamW', lr=1e-3, fused=True), dtype=dtype,
        clip_grad=dict(max_norm=3.0)))(model)
    views = [view.to(device) for view in mugs_views(4)]
    samples = mugs_samples(4, weak=[True, False, True, True])
    for step in range(3):
        watch(step > 0)
        with wrapper.optim_context(model):
            loss, _ = model.parse_losses(model.loss(views, samples))
        wrapper.update_params(loss)
        model.step_end(0.9, finite=wrapper.finite)
        watch(False)
    return model


@pytest.mark.unit
@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_no_call_that_waits(generator, dtype):
    with SyncDetector() as detector:
        steps(generator, 'cpu', dtype,
              lambda on: setattr(detector, 'on', on))
    # labels are joined on the host, where the data samples are
    assert detector.found == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.parametrize('dtype', [None, 'bfloat16', 'float16'])
def test_no_call_that_waits_on_cuda(generator, dtype):
    """Torch itself raises where the host would wait."""
    try:
        model = steps(generator, 'cuda', dtype,
                      lambda on: torch.cuda.set_sync_debug_mode(
                          'error' if on else 'default'))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert model.memories.teacher.num_written.item() > 0
    assert all(value.isfinite().all() for value in model.parameters())
