"""The local-group transformer: the reference's numbers, and refusals."""
from __future__ import annotations

import pytest
import torch
from toy_mugs import KEYS, tiny_local_group_vit

from mimplug.errors import ConfigError
from mimplug.models.backbones import LocalGroupViT, MaskedViT
from mimplug.models.memory import RingBuffer

VIEWS = ('global', 'local')
# float64 runs; some arrays are stored as float32
LIMIT = {torch.float64: 1e-9, torch.float32: 2e-7}


def reference_vit(golden, kind=LocalGroupViT, dtype=torch.float64, **kwargs):
    """The network that a golden file was made with, its weights loaded."""
    width = golden.scalar('hyper/D')
    vit = kind(
        arch=dict(embed_dims=width, num_layers=golden.scalar('hyper/depth'),
                  num_heads=golden.scalar('hyper/heads'),
                  feedforward_channels=4 * width),
        img_size=golden.scalar('hyper/img'),
        patch_size=golden.scalar('hyper/patch'),
        norm_cfg=dict(type='LN', eps=golden.scalar('hyper/ln_eps')),
        interpolate_offset=0.1, with_mask_token=False, **kwargs)
    vit.load_state_dict(KEYS.read(golden.tree('sd/')))
    return vit.to(dtype).eval()


def close(value, expected, limit=None):
    """Relative to the largest entry."""
    limit = limit or LIMIT[expected.dtype]
    error = (value.detach().double() - expected.double()).abs().max()
    assert value.shape == expected.shape
    assert error <= limit * expected.abs().max()


@pytest.mark.golden('mugs', 'vit_forward')
@pytest.mark.parametrize('kind, options', [
    (LocalGroupViT, dict(num_relation_blocks=0)), (MaskedViT, {})])
@torch.no_grad()
def test_reference_forward(golden, kind, options):
    vit = reference_vit(golden, kind, **options)
    depth = vit.num_layers
    for view in ('global', 'local', 'rect'):
        x = golden.tensor(f'{view}/x').double()
        out = vit.encode(x, full=[-1], intermediates=range(depth))
        embedded, grid = vit.embed(x)
        close(vit._position(grid), golden.tensor(f'{view}/pos_embed_used'))
        close(embedded, golden.tensor(f'{view}/embedded_tokens'))
        for i in range(depth):
            close(out.intermediates[i],
                  golden.tensor(f'{view}/normed_tokens_block{i}'))
        close(out.cls, golden.tensor(f'{view}/cls_feature'))
        close(vit(x)[-1], golden.tensor(f'{view}/cls_feature'))
        close(out.attention[depth - 1],
              golden.tensor(f'{view}/last_attention'))


@pytest.mark.golden('mugs', 'vit_forward')
def test_reference_gradient(golden):
    vit = reference_vit(golden, num_relation_blocks=0)
    x = golden.tensor('global/x').double().requires_grad_()
    vit.encode(x).cls.square().sum().backward()
    close(x.grad, golden.tensor('global/grad_x_of_sum_sq_cls'))


def reference_memory(golden):
    """The stored memory; its three queues are equal."""
    rows = golden.tensor('mem/block.queue_q')
    for name in ('k', 'v'):
        assert torch.equal(rows, golden.tensor(f'mem/block.queue_{name}'))
    memory = RingBuffer(*rows.shape, keep_norms=True)
    memory.rows.copy_(rows)
    memory.refresh_norms()
    return memory


@pytest.mark.golden('mugs', 'local_group_module')
@pytest.mark.parametrize('view', VIEWS)
def test_reference_local_group(golden, view):
    vit, memory = reference_vit(golden), reference_memory(golden)
    x = golden.tensor(f'{view}/x').double().requires_grad_()
    raw = vit.raw_tokens(x)
    close(raw.tokens, golden.tensor(f'{view}/prenorm_tokens'))
    query = raw.tokens.mean(1)
    close(query, golden.tensor(f'{view}/query_mean_all_prenorm'))
    index, cosine = memory.search(query, golden.scalar('hyper/top_n'))
    assert torch.equal(index, golden.tensor(f'{view}/topk_index'))
    close(cosine, golden.tensor(f'{view}/cosine').gather(1, index), 1e-5)
    neighbours = memory.rows[index]
    assert torch.equal(neighbours, golden.tensor(f'{view}/neighbours'))
    related = vit.relation_blocks[0](
        torch.cat((query.unsqueeze(1), neighbours), 1))[0]
    close(related, golden.tensor(f'{view}/relation_block_out'))
    group = vit.relate(query, neighbours)
    close(group, golden.tensor(f'{view}/relation_out'))
    close(vit.final_norm_of(raw.tokens), golden.tensor(f'{view}/tokens_out'))
    close(vit.patch_mean(raw.tokens),
          golden.tensor(f'{view}/mean_patch_tokens_to_store'))
    close(vit.relate(raw.tokens[:, 0], raw.tokens[:, 1:]),
          golden.tensor(f'{view}/relation_out_without_memory'))
    (group * golden.tensor('w_for_grad')).sum().backward()
    close(x.grad, golden.tensor(f'{view}/grad_x'))


@pytest.mark.golden('mugs', 'local_group_module')
def test_reference_in_float32(golden):
    vit, memory = (reference_vit(golden, dtype=torch.float32),
                   reference_memory(golden))
    for view in VIEWS:
        raw = vit.raw_tokens(golden.tensor(f'{view}/x'))
        query = raw.tokens.mean(1)
        index, _ = memory.search(query, golden.scalar('hyper/top_n'))
        assert torch.equal(index, golden.tensor(f'{view}/topk_index'))
        close(vit.relate(query, memory.rows[index]),
              golden.tensor(f'{view}/relation_out'), 2e-5)


@pytest.mark.unit
def test_raw_tokens_are_those_of_encode():
    vit = tiny_local_group_vit(with_mask_token=True, drop_path_rate=0.4)
    torch.nn.init.normal_(vit.mask_token)
    x = torch.randn(3, 3, 16, 16)
    asked = dict(hidden=torch.rand(3, 16) < 0.5,
                 keep_ids=torch.rand(3, 16).argsort(1)[:, :9],
                 cls_rows=(0, ), full=(-1, ),
                 drop_path=torch.rand(3, 2, 2).numpy())
    raw, encoded = vit.raw_tokens(x, **asked), vit.encode(x, **asked)
    assert torch.equal(vit.final_norm_of(raw.tokens), encoded.tokens)
    assert raw.grid == encoded.grid == (4, 4)
    assert raw.attention.keys() == encoded.attention.keys() == {0, 1}
    for layer, weights in raw.attention.items():
        assert torch.equal(weights, encoded.attention[layer])


@pytest.mark.unit
def test_several_relation_blocks():
    vit = tiny_local_group_vit(num_relation_blocks=2).double()
    query = torch.randn(2, 16).double()
    near = torch.randn(2, 5, 16).double()
    x = torch.cat((query.unsqueeze(1), near), 1)
    for block in vit.relation_blocks:
        x = block(x)[0]
    torch.testing.assert_close(vit.relate(query, near),
                               vit.final_norm_of(x)[:, 0])
    first, second = vit.relation_blocks
    assert not torch.equal(first.attn.qkv.weight, second.attn.qkv.weight)
    assert not torch.equal(first.attn.qkv.weight,
                           vit.layers[0].attn.qkv.weight)
    assert abs(first.attn.qkv.weight.std().item() - 0.02) < 0.002
    assert not second.attn.qkv.bias.any()


@pytest.mark.unit
def test_group_features_look_at_neighbours_and_train_the_query():
    vit = tiny_local_group_vit()
    query = torch.randn(2, 16, requires_grad=True)
    near = torch.randn(2, 3, 16)
    group = vit.relate(query, near)
    other = vit.relate(query, near.roll(1, 2))
    assert not torch.allclose(group, other, atol=1e-3)
    # there is no position: the order of the neighbours is nothing to it
    torch.testing.assert_close(group, vit.relate(query, near.flip(1)))
    group[:, 0].sum().backward()
    assert query.grad.abs().max() > 0
    assert vit.ln1.weight.grad.abs().max() > 0


@pytest.mark.unit
@pytest.mark.parametrize('options, words', [
    (dict(num_relation_blocks=-1), 'num_relation_blocks=-1'),
    (dict(out_type='avg_featmap', final_norm=False), 'out_type')])
def test_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        tiny_local_group_vit(**options)


@pytest.mark.unit
def test_nothing_to_relate_with():
    vit = tiny_local_group_vit(num_relation_blocks=0)
    with pytest.raises(ConfigError, match='num_relation_blocks=0'):
        vit.relate(torch.zeros(1, 16), torch.zeros(1, 2, 16))
