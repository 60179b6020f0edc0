"""The masked ViT: masks, attention, depth, sizes, weights, errors."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.models import VisionTransformer
from toy_ibot import VIT, tiny_vit

from mimplug.errors import ConfigError
from mimplug.models.backbones import MaskedViT, resize_pos_embed_by_scale


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16,
                       generator=torch.Generator().manual_seed(5))


@pytest.mark.unit
@pytest.mark.parametrize('out_type', ['cls_token', 'raw', 'featmap',
                                      'avg_featmap'])
@torch.no_grad()
def test_weights_and_output_are_those_of_the_stock_class(images, out_type):
    ours = tiny_vit(out_type=out_type, out_indices=[0, 1],
                    layer_scale_init_value=0.1).eval()
    stock = VisionTransformer(**VIT, out_type=out_type, out_indices=[0, 1],
                              layer_scale_init_value=0.1)
    stock.eval()
    state = ours.state_dict()
    del state['mask_token']
    stock.load_state_dict(state)
    wide = torch.cat((images, images), dim=3)  # a grid that is resized
    for x in (images, wide):
        for mine, theirs in zip(ours(x), stock(x), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.unit
@pytest.mark.parametrize('height, width', [(4, 4), (8, 20), (28, 12)])
@pytest.mark.parametrize('offset', [None, 0.1])
def test_any_image_size(height, width, offset):
    model = tiny_vit(interpolate_offset=offset)
    encoded = model.encode(torch.randn(1, 3, height, width))
    assert encoded.grid == (height // 4, width // 4)
    assert encoded.patches.shape == (1, height * width // 16, 16)
    encoded.tokens.pow(3).sum().backward()
    assert model.pos_embed.grad.abs().sum() > 0


@pytest.mark.unit
def test_offset_changes_the_values_of_resized_positions_only():
    table = torch.randn(1, 17, 8)
    assert resize_pos_embed_by_scale(table, (4, 4), (4, 4)) is table
    exact, shifted = (
        resize_pos_embed_by_scale(table, (4, 4), (6, 6), offset=offset)
        for offset in (0.0, 0.1))
    assert exact.shape == shifted.shape == (1, 37, 8)
    assert torch.equal(exact[:, 0], table[:, 0])
    assert (exact[:, 1:] - shifted[:, 1:]).abs().max() > 1e-2
    # As many patches as before, but not square: resized all the same.
    assert resize_pos_embed_by_scale(table, (4, 4), (2, 8)).shape == (
        1, 17, 8)


@pytest.mark.unit
def test_other_channels():
    model = tiny_vit(in_channels=1)
    assert model(torch.randn(2, 1, 16, 16))[-1].shape == (2, 16)


@pytest.mark.unit
@torch.no_grad()
def test_hidden_patches_do_not_reach_the_output(images):
    model = tiny_vit().eval()
    hidden = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    hidden[0, 0, 1, 2] = hidden[1, 0, 3] = True
    other = images.clone()
    other[0, :, 4:8, 8:12] = 7.0
    other[1, :, 12:] = -3.0
    assert torch.equal(model.encode(images, hidden=hidden).tokens,
                       model.encode(other, hidden=hidden).tokens)
    assert not torch.equal(model.encode(images).tokens,
                           model.encode(other).tokens)


@pytest.mark.unit
def test_mask_token_learns_from_hidden_patches_only(images):
    model = tiny_vit()
    hidden = torch.zeros(3, 16, dtype=torch.bool)
    model.encode(images, hidden=hidden).tokens.square().sum().backward()
    assert torch.equal(model.mask_token.grad, torch.zeros(1, 16))
    hidden[:, 3] = True
    model.encode(images, hidden=hidden).tokens.square().sum().backward()
    assert model.mask_token.grad.abs().sum() > 0


@pytest.mark.unit
@torch.no_grad()
def test_kept_patches_run_alone(images):
    model = tiny_vit().eval()
    tokens, _ = model.embed(images)
    ids = torch.tensor([[0, 5, 9], [15, 2, 3], [7, 7, 1]])
    kept, grid = model.embed(images, keep_ids=ids)
    assert grid == (4, 4)
    for row in range(3):
        assert torch.equal(kept[row, 1:], tokens[row, 1:][ids[row]])
        assert torch.equal(kept[row, 0], tokens[row, 0])
    # All patches in another order: every token computes the same.
    order = torch.stack([torch.randperm(16) for _ in range(3)])
    whole, mixed = model.encode(images), model.encode(images, keep_ids=order)
    torch.testing.assert_close(mixed.cls, whole.cls)
    torch.testing.assert_close(
        mixed.patches, whole.patches.gather(
            1, order.unsqueeze(-1).expand(-1, -1, 16)))


@pytest.mark.unit
@torch.no_grad()
def test_attention_on_demand(images):
    model = tiny_vit().eval()
    rows = model.encode(images, cls_rows=[0, -1])
    full = model.encode(images, full=[-2, 1])
    assert set(rows.attention) == set(full.attention) == {0, 1}
    for i in (0, 1):
        assert full.attention[i].shape == (3, 2, 17, 17)
        torch.testing.assert_close(full.attention[i].sum(-1),
                                   torch.ones(3, 2, 17))
        torch.testing.assert_close(rows.attention[i],
                                   full.attention[i][:, :, 0])
    torch.testing.assert_close(rows.tokens, full.tokens)
    assert not model.encode(images).attention
    mean = model.encode(images, full=[0, 1], head_mean=[-2])
    assert mean.attention[1].shape == (3, 2, 17, 17)
    assert torch.equal(mean.attention[0],
                       full.attention[0].mean(1, keepdim=True))
    assert torch.equal(mean.tokens, full.tokens)
    # A layer asked for in both ways gives the matrix.
    both = model.encode(images, cls_rows=[1], full=[1])
    assert both.attention[1].ndim == 4


@pytest.mark.unit
def test_attention_softmax_is_float32_in_mixed_precision(images):
    model = tiny_vit().eval()
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        half = model.encode(images, cls_rows=[1]).attention[1]
    assert half.dtype == torch.float32
    exact = model.encode(images, cls_rows=[1]).attention[1]
    assert (half - exact).abs().max() < 5e-3


@pytest.mark.unit
def test_checkpointing_changes_no_number(images):
    draws = torch.rand(3, 2, 2)
    results = []
    for with_cp in (False, True):
        model = tiny_vit(with_cp=with_cp, drop_path_rate=0.3).train()
        encoded = model.encode(images, cls_rows=[-1], drop_path=draws)
        encoded.tokens.square().sum().backward()
        results.append([encoded.tokens, encoded.attention[1]]
                       + [p.grad for p in model.parameters()
                          if p.grad is not None])
    assert len(results[0]) == len(results[1]) > 20
    for plain, recomputed in zip(*results):
        assert torch.equal(plain, recomputed)


class TestInitialisation:

    @pytest.mark.unit
    def test_statistics_are_the_reference_s(self):
        torch.manual_seed(0)
        model = MaskedViT(arch=dict(
            embed_dims=128, num_layers=2, num_heads=2,
            feedforward_channels=512), img_size=64)
        conv = model.patch_embed.projection.weight.clone()
        model.init_weights()
        for name, value in model.named_parameters():
            if name.endswith(('ln1.weight', 'ln2.weight')):
                assert torch.equal(value, torch.ones_like(value)), name
            elif name == 'mask_token' or (
                    name.endswith('bias') and 'patch_embed' not in name):
                assert not value.any(), name
            elif 'patch_embed' not in name:
                # Truncated normal; the noise is that of >= 128 numbers.
                assert value.std().item() == pytest.approx(
                    0.02, rel=0.25 if value.numel() < 1000 else 0.05), name
                assert abs(value.mean().item()) < 0.008, name
        # The convolution keeps PyTorch's default.
        assert torch.equal(conv, model.patch_embed.projection.weight)

    @pytest.mark.unit
    def test_weights_of_init_cfg_win(self, tmp_path):
        source = tiny_vit()
        for parameter in source.parameters():
            torch.nn.init.normal_(parameter)
        path = str(tmp_path / 'vit.pth')
        torch.save(source.state_dict(), path)
        for kind in ('mimplug.Pretrained', 'Pretrained'):
            model = tiny_vit(init_cfg=dict(type=kind, checkpoint=path))
            for name, value in model.state_dict().items():
                assert torch.equal(value, source.state_dict()[name]), name

    @pytest.mark.unit
    def test_second_call_keeps_the_weights(self):
        model = tiny_vit()
        before = model.pos_embed.clone()
        model.init_weights()
        assert torch.equal(before, model.pos_embed)


@pytest.mark.unit
def test_published_widths():
    settings = {'deit-tiny': (192, 12, 3), 'deit-small': (384, 12, 6),
                'deit-base': (768, 12, 12), 'large': (1024, 24, 16)}
    for arch, expected in settings.items():
        zoo = MaskedViT.arch_zoo[arch]
        assert (zoo['embed_dims'], zoo['num_layers'],
                zoo['num_heads']) == expected
        assert zoo['feedforward_channels'] == 4 * expected[0]
    assert MaskedViT(img_size=32).embed_dims == 384


class TestErrors:

    @pytest.mark.unit
    @pytest.mark.parametrize('kwargs, message', [
        (dict(drop_path_rate=1.0), r'drop_path_rate=1\.0: allowed'),
        (dict(drop_path_rate=-0.1), 'drop_path_rate=-0.1'),
        (dict(with_cls_token=False, out_type='raw'), 'with_cls_token=False'),
        (dict(layer_cfgs=dict(ffn_type='swiglu_fused')), "ffn_type='origin'"),
        (dict(layer_cfgs=dict(drop_path_rate=0.2)), 'drop_path_rate belongs'),
    ])
    def test_at_construction(self, kwargs, message):
        with pytest.raises(ConfigError, match=message):
            MaskedViT(**VIT, **kwargs)

    @pytest.mark.unit
    @pytest.mark.parametrize('layer', [2, -3])
    def test_layer_that_does_not_exist(self, images, layer):
        with pytest.raises(
                ConfigError, match=f'layer={layer}: a network of 2 layers'):
            tiny_vit().encode(images, cls_rows=[layer])

    @pytest.mark.unit
    def test_mask_of_another_grid(self, images):
        with pytest.raises(ValueError, match=r'\(3, 9\) .*\(4, 4\)'):
            tiny_vit().encode(images, hidden=torch.zeros(3, 1, 3, 3).bool())

    @pytest.mark.unit
    def test_mask_without_mask_token(self, images):
        with pytest.raises(ValueError, match='with_mask_token=False'):
            tiny_vit(with_mask_token=False).encode(
                images, hidden=torch.zeros(3, 16).bool())
