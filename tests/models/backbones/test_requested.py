"""The last block on requested tokens gives what the whole block gives."""
from __future__ import annotations

import pytest
import torch
from toy_ibot import tiny_vit

from mimplug.models.backbones import encode_requested

pytestmark = pytest.mark.property

ROWS, LENGTH = 3, 16
PATCHES = {
    'only CLS': None,
    'nothing hidden': [],
    'some, one twice': [0, 15, 16, 47, 47],
    'all': list(range(ROWS * LENGTH)),
}


def both(patches, **kwargs):
    """Outputs and parameter gradients with the rule and without."""
    results = []
    for rule in (True, False):
        vit = tiny_vit(**kwargs).double().train()
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(ROWS, 3, 16, 16, dtype=torch.float64,
                             generator=generator)
        index = None if patches is None else torch.tensor(
            patches, dtype=torch.int64)
        hidden = torch.rand(ROWS, LENGTH, generator=generator) < 0.5
        out = encode_requested(
            vit, images, patches=index, hidden=hidden,
            drop_path=torch.rand(ROWS, 2, 2, generator=generator),
            last_block_rule=rule)
        torch.cat(out).pow(2).sum().backward()
        results.append((out, {name: p.grad
                              for name, p in vit.named_parameters()}))
    return results


@pytest.mark.parametrize('patches', PATCHES.values(), ids=PATCHES.keys())
@pytest.mark.parametrize('kwargs', [
    {}, dict(drop_path_rate=0.5), dict(with_cp=True, drop_path_rate=0.5),
    dict(layer_scale_init_value=0.3), dict(qkv_bias=False),
    dict(final_norm=False), dict(out_type='avg_featmap', final_norm=False),
], ids=str)
def test_rule_changes_no_number(patches, kwargs):
    (ours, gradients), (whole, expected) = both(patches, **kwargs)
    for part, reference in zip(ours, whole):
        torch.testing.assert_close(part, reference, rtol=1e-12, atol=1e-12)
    assert len(ours[0]) == ROWS
    assert len(ours[1]) == len(patches or [])
    for name, gradient in gradients.items():
        reference = expected[name]
        assert (gradient is None) == (reference is None), name
        if gradient is not None:
            torch.testing.assert_close(
                gradient, reference, rtol=1e-10, atol=1e-12, msg=name)


def test_last_block_does_less_work():
    """With CLS alone its MLP sees one token a row."""
    vit, seen = tiny_vit(), []
    vit.layers[-1].ffn.layers.register_forward_hook(
        lambda module, args, out: seen.append(args[0].shape[:-1].numel()))
    images = torch.zeros(ROWS, 3, 16, 16)
    encode_requested(vit, images)
    encode_requested(vit, images, patches=torch.tensor([1, 2]))
    encode_requested(vit, images, last_block_rule=False)
    assert seen == [ROWS, ROWS + 2, ROWS * (LENGTH + 1)]
