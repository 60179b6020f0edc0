"""The masked ViT against stored arrays of the reference."""
from __future__ import annotations

import pytest
import torch

from mimplug.converters import get_key_map
from mimplug.models.backbones import MaskedViT, resize_pos_embed_by_scale

IBOT = get_key_map('ibot')
# fp32 forward, max|Δ| / max|ref|; the float64 file allows 1e-9.
LIMIT = {torch.float32: 2e-6, torch.float64: 1e-9}


def reference_vit(golden, dtype=torch.float32, **kwargs):
    """The network that a golden file was made with, its weights loaded."""
    width = golden.scalar('hp/embed_dim')
    vit = MaskedViT(
        arch=dict(
            embed_dims=width, num_layers=golden.scalar('hp/depth'),
            num_heads=golden.scalar('hp/num_heads'),
            feedforward_channels=int(width * golden.scalar('hp/mlp_ratio'))),
        img_size=golden.scalar('hp/img_size'),
        patch_size=golden.scalar('hp/patch_size'),
        norm_cfg=dict(type='LN', eps=golden.scalar('hp/ln_eps')),
        interpolate_offset=0.1, **kwargs)
    vit.load_state_dict(IBOT.read(golden.tree('sd/')))
    return vit.to(dtype).eval()


def close(value, expected, what=''):
    """Asserts the accepted relative deviation of a forward pass."""
    expected = expected.to(value.dtype)
    assert value.shape == expected.shape, what
    error = (value - expected).abs().max() / expected.abs().max()
    assert error <= LIMIT[value.dtype], f'{what}: {error:.1e}'


@pytest.mark.golden('attmask_ibot', 'vit_forward')
@torch.no_grad()
def test_reference_forward(golden):
    vit = reference_vit(golden)
    x, depth = golden.tensor('x'), vit.num_layers
    masked = vit.encode(x, hidden=golden.tensor('mask').unsqueeze(1),
                        full=[-1])
    close(masked.tokens, golden.tensor('masked/tokens'))
    close(masked.attention[depth - 1],
          golden.tensor('masked/last_attention'))
    full = vit.encode(x, full=[-1], intermediates=range(depth))
    close(full.tokens, golden.tensor('full/tokens'))
    for key in ('full/last_attention', 'full/last_selfattention_fn'):
        close(full.attention[depth - 1], golden.tensor(key), key)
    for i in range(depth):
        close(full.intermediates[i],
              golden.tensor(f'full/intermediate_{i}'), i)
    rows = vit.encode(x, cls_rows=[-1])
    close(rows.tokens, golden.tensor('full/tokens'))
    close(rows.attention[depth - 1].mean(1)[:, 1:],
          golden.tensor('full/cls_attention_mean'))
    close(vit(x)[-1], golden.tensor('full/cls'))
    close(vit.embed(x)[0], golden.tensor('full/prepared_tokens'))


@pytest.mark.golden('attmask_ibot', 'vit_forward')
@torch.no_grad()
def test_reference_other_image_sizes(golden):
    vit = reference_vit(golden)
    sizes = [name for name in golden.names('') if f'{name}/x' in golden]
    assert sizes
    for name in sizes:
        encoded = vit.encode(golden.tensor(f'{name}/x'), cls_rows=[-1])
        close(encoded.tokens, golden.tensor(f'{name}/tokens'), name)
        close(encoded.attention[vit.num_layers - 1].mean(1)[:, 1:],
              golden.tensor(f'{name}/cls_attention_mean'), name)
        torch.testing.assert_close(
            resize_pos_embed_by_scale(
                vit.pos_embed, vit.patch_resolution, encoded.grid),
            golden.tensor(f'{name}/pos_embed'), rtol=0, atol=1e-6)


@pytest.mark.golden('attmask_ibot', 'vit_layerscale_meanpool')
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@torch.no_grad()
def test_reference_layer_scale_and_mean_pooling(golden, dtype):
    vit = reference_vit(
        golden, dtype, with_mask_token=False, out_type='avg_featmap',
        final_norm=False, layer_scale_init_value=golden.scalar(
            'hp/init_values'))
    encoded = vit.encode(golden.tensor('x', dtype), full=[-1],
                         intermediates=range(vit.num_layers))
    close(encoded.tokens, golden.tensor('tokens_f64'))
    close(encoded.cls, vit(golden.tensor('x', dtype))[-1])
    close(encoded.attention[vit.num_layers - 1],
          golden.tensor('last_attention_f64'))
    for i in range(vit.num_layers):
        close(encoded.intermediates[i],
              golden.tensor(f'intermediate_{i}_f64'), i)
