"""Tiny configs of MMPretrain's masked image modelling with our masks."""
from __future__ import annotations

import torch
from mmpretrain.registry import MODELS
from torch import nn

from mimplug.masking import build_generator

ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
TOKENS = 16


def network(patch_size=8, img_size=32, **kwargs) -> dict:
    """A frozen network that gives attention."""
    return dict(type='mimplug.MaskedViT', arch=ARCH, img_size=img_size,
                patch_size=patch_size, **kwargs)


def dalle() -> dict:
    """BEiT's tokeniser with random weights; one token for 8 x 8 pixels."""
    return dict(type='DALL-E', n_hid=8, n_blk_per_group=1, vocab_size=TOKENS)


def simmim(img_size=32) -> dict:
    """Swin on patches of 4 pixels."""
    return dict(
        type='mimplug.SimMIM',
        backbone=dict(
            type='SimMIMSwinTransformer', img_size=img_size,
            arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 2]),
            out_indices=(1, ), drop_path_rate=0.0,
            stage_cfgs=dict(block_cfgs=dict(window_size=4))),
        neck=dict(type='SimMIMLinearDecoder', in_channels=16,
                  encoder_stride=8),
        head=dict(type='SimMIMHead', patch_size=4, loss=dict(
            type='PixelReconstructionLoss', criterion='L1', channel=3)))


def beit() -> dict:
    """BEiT v1; its second picture has the size of the first."""
    return dict(
        type='mimplug.BEiT',
        backbone=dict(type='BEiTPretrainViT', arch=ARCH, img_size=32,
                      patch_size=8, out_type='raw'),
        head=dict(type='BEiTV1Head', embed_dims=32, num_embed=TOKENS,
                  loss=dict(type='CrossEntropyLoss')),
        target_generator=dalle())


def beitv2() -> dict:
    """BEiT v2 with its tokeniser."""
    encoder = dict(arch=ARCH, img_size=32, patch_size=8, out_type='featmap',
                   layer_scale_init_value=0.0, use_shared_rel_pos_bias=False,
                   use_abs_pos_emb=True)
    return dict(
        type='mimplug.BEiT',
        backbone=dict(
            type='BEiTPretrainViT', arch=ARCH, img_size=32, patch_size=8,
            out_indices=[0, 1], final_norm=False, out_type='raw'),
        neck=dict(type='BEiTV2Neck', num_layers=1, early_layers=1,
                  backbone_arch=dict(ARCH, depth=2)),
        head=dict(type='BEiTV2Head', embed_dims=32, num_embed=TOKENS,
                  loss=dict(type='CrossEntropyLoss')),
        target_generator=dict(
            type='VQKD', encoder_config=encoder, num_embed=TOKENS,
            embed_dims=8, quantize_kmeans_init=False))


def mae() -> dict:
    """MAE with 16 patches."""
    return dict(
        type='mimplug.MAE',
        backbone=dict(type='mimplug.MAEViT', arch=ARCH, img_size=32,
                      patch_size=8),
        neck=dict(
            type='MAEPretrainDecoder', num_patches=16, patch_size=8,
            embed_dim=32, decoder_embed_dim=32, decoder_depth=1,
            decoder_num_heads=2, mlp_ratio=2),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=8,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2')))


def maskfeat() -> dict:
    """MaskFeat, whose HOG targets want 14 x 14 patches."""
    return dict(
        type='mimplug.MaskFeat',
        backbone=dict(type='MaskFeatViT', arch=ARCH, img_size=112,
                      patch_size=8),
        neck=dict(type='LinearNeck', in_channels=32, out_channels=108,
                  norm_cfg=None),
        head=dict(type='MIMHead', loss=dict(
            type='PixelReconstructionLoss', criterion='L2')),
        target_generator=dict(type='HOGGenerator', nbins=9, pool=4,
                              gaussian_window=16))


def cae(tokens=8) -> dict:
    """CAE that hides ``tokens`` of 16 patches."""
    return dict(
        type='mimplug.CAE',
        backbone=dict(type='CAEPretrainViT', arch=ARCH, img_size=32,
                      patch_size=8, layer_scale_init_value=0.1),
        neck=dict(type='CAENeck', num_classes=TOKENS, embed_dims=32,
                  num_heads=2, regressor_depth=1, decoder_depth=1,
                  mlp_ratio=2, layer_scale_init_value=0.1,
                  mask_tokens_num=tokens),
        head=dict(type='CAEHead', loss=dict(type='CAELoss', lambd=2)),
        target_generator=dalle())


STOCK = dict(simmim=simmim, beit=beit, beitv2=beitv2, mae=mae,
             maskfeat=maskfeat, cae=cae)
# Images that an algorithm takes: one, or one for the tokeniser as well.
TWO_PICTURES = ('beit', 'beitv2', 'cae')


def looks(generator) -> bool:
    """Whether it wants attention or features."""
    needs = build_generator(generator).needs
    return needs.attention or needs.features


def build_stock(name: str, mask_generator, seed=0, **kwargs) -> nn.Module:
    """A tiny algorithm with initial weights and a frozen tokeniser."""
    torch.manual_seed(seed)
    config = STOCK[name]()
    if name == 'cae':
        # as many tokens to be guessed as are hidden
        hidden = build_generator(mask_generator).limits((4, 4))[1]
        config['neck']['mask_tokens_num'] = hidden
    if 'attention_from' not in kwargs and looks(mask_generator):
        backbone = config['backbone']
        kwargs['attention_from'] = network(
            backbone.get('patch_size', 4), backbone['img_size'])
    model = MODELS.build(dict(
        config, mask_generator=mask_generator, draws_seed=1, **kwargs))
    model.init_weights()
    if name == 'maskfeat':
        # two blocks hardly see the small token that it starts with
        nn.init.normal_(model.backbone.mask_token)
    if model.target_generator is not None:
        # BEiT v2's would go on learning its code book
        model.target_generator.requires_grad_(False).eval()
        model.target_generator.train = lambda mode=True: None
    return model


def make_images(name: str, batch=2, seed=0):
    """Normalised images as the algorithm takes them."""
    generator = torch.Generator().manual_seed(seed)
    size = STOCK[name]()['backbone']['img_size']
    images = torch.randn(batch, 3, size, size, generator=generator)
    return [images, images + 0.5] if name in TWO_PICTURES else images
