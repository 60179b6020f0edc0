"""Masked views by config: which views, which pixels, whose draws."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from toy_stock_siamese import FILLS, SIDE, make_batch, masked

from mimplug.errors import ConfigError
from mimplug.models.run_record import make_record
from mimplug.models.targets import HighPass
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit
PLAIN = dict(type='mimplug.MultiViewDataPreprocessor')


def build(step=0, seed=3, **kwargs):
    prepare = MODELS.build(masked(**kwargs))
    prepare.draws_seed = seed
    prepare.set_progress(Progress(step=step, max_steps=9))
    return prepare


def cells_of(image, clean):
    """(B, 4, 4) bool, True where a cell of 8 pixels was changed."""
    changed = (image != clean).any(1).unflatten(2, (4, 8)).unflatten(
        1, (4, 8))
    return changed.any(4).any(2)


@pytest.mark.parametrize('fill', FILLS)
def test_only_cells_of_the_chosen_views_change(fill):
    batch = make_batch()
    clean = MODELS.build(PLAIN)(batch)['inputs']
    got = build(fill=fill)(batch, training=True)
    assert isinstance(got['inputs'], list)
    assert torch.equal(got['inputs'][1], clean[1])
    image = got['inputs'][0]
    assert image.shape == clean[0].shape
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()
    assert got['data_samples'] is batch['data_samples']
    if fill == 'high_pass':  # the whole view is filtered
        assert (image != clean[0]).all(1).float().mean() > 0.9
        return
    cells = cells_of(image, clean[0])
    assert (cells.flatten(1).sum(1) == 4).all()
    # whole cells, and other ones in other images
    pixels = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal((image != clean[0]).any(1) & ~pixels,
                       torch.zeros_like(pixels))
    assert len({tuple(one.flatten().tolist()) for one in cells}) > 1


def test_both_views_get_masks_of_their_own():
    batch = make_batch()
    batch['inputs'][1] = batch['inputs'][0].clone()
    clean = MODELS.build(PLAIN)(batch)['inputs']
    first, second = build(views=(0, 1), fill='constant')(
        batch, training=True)['inputs']
    assert not torch.equal(cells_of(first, clean[0]),
                           cells_of(second, clean[0]))


@pytest.mark.property
def test_draws_follow_the_sample_not_the_batch_or_the_step():
    batch = make_batch(batch=4)
    whole = build(fill='constant')(batch, training=True)['inputs'][0]
    part = dict(inputs=[view[2:] for view in batch['inputs']],
                data_samples=batch['data_samples'][2:])
    # as the second of two processes, and as after a resume
    again = build(fill='constant', step=7)(part, training=True)['inputs'][0]
    assert torch.equal(whole[2:], again)
    other = build(fill='constant', seed=4)(batch, training=True)['inputs'][0]
    assert not torch.equal(whole, other)
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(sample_key=(1, 10, 0)))
    later = build(fill='constant')(batch, training=True)['inputs'][0]
    assert not torch.equal(whole, later)


def test_without_keys_the_position_counts():
    batch = dict(inputs=make_batch()['inputs'])
    images = [build(fill='constant', step=step)(
        batch, training=True)['inputs'][0] for step in (0, 0, 1)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


@pytest.mark.parametrize('views', [1, 2])
def test_evaluation_images_are_untouched_but_for_the_filter(views):
    batch = make_batch(views=views)
    if views == 1:
        batch['inputs'] = batch['inputs'][0]
    clean = MODELS.build(PLAIN)(batch)['inputs']
    prepare = MODELS.build(masked())  # nobody told it the position
    assert same(prepare(batch)['inputs'], clean)
    settings = dict(type='mimplug.HighPass', kernel_size=3, sigma=0.7)
    prepare = MODELS.build(masked(input_filter=settings))
    filtered = [HighPass(3, 0.7)(view) for view in (
        clean if views == 2 else [clean])]
    got = prepare(batch)['inputs']
    assert same(got, filtered if views == 2 else filtered[0])
    assert prepare.run_record() == make_record(HighPass(3, 0.7))


def same(got, wanted) -> bool:
    """Equal tensors, or lists of them."""
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(torch.equal, got, wanted))
    return torch.equal(got, wanted)


def test_the_filter_comes_before_the_mask():
    batch = make_batch()
    prepare = build(fill='constant', input_filter=HighPass(3, 0.7))
    masked_view, other = prepare(batch, training=True)['inputs']
    clean = MODELS.build(PLAIN)(batch)['inputs']
    assert torch.equal(other, HighPass(3, 0.7)(clean[1]))
    hidden = cells_of(masked_view, HighPass(3, 0.7)(clean[0]))
    assert (hidden.flatten(1).sum(1) == 4).all()
    # in the filtered image, where a mask leaves no edge
    assert (masked_view == 0).flatten(2).any(2).all()


def test_saliency_sees_the_views_as_they_are():
    seen = []
    generator = dict(type='SaliencyMask', ratio=(0.3, 0.5))
    prepare = build(
        fill='constant', mask_generator=generator, views=(1, ),
        saliency=dict(type='mimplug.SpectralResidual', size=16),
        input_filter=HighPass(3, 0.7))
    prepare.saliency.register_forward_hook(
        lambda part, args, kwargs, output: seen.append((args, kwargs)),
        with_kwargs=True)
    batch = make_batch()
    prepare(batch, training=True)
    (images, samples), kwargs = seen[0]
    clean = MODELS.build(PLAIN)(batch)['inputs']
    assert len(seen) == 1  # the other view is not looked at
    assert torch.equal(images, clean[1])
    assert samples is batch['data_samples']
    assert kwargs == dict(view=1)
    assert prepare.run_record()['saliency']['supervised'] is False


def test_any_base_and_its_numbers():
    norm = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    batch = make_batch()
    base = dict(type='mimplug.SelfSupDataPreprocessor', to_rgb=True, **norm)
    clean = MODELS.build(base)(batch)['inputs']
    got = build(fill='constant', base=base)(batch, training=True)['inputs']
    assert torch.equal(got[1], clean[1])
    plain = build(fill='constant', **norm)(batch, training=True)['inputs']
    assert torch.equal(plain[1], MODELS.build(
        dict(PLAIN, **norm))(batch)['inputs'][1])


def test_odd_sizes_batch_of_one_and_bfloat16():
    batch = make_batch(batch=1, side=28)
    batch['inputs'] = [view[..., :20] for view in batch['inputs']]
    with torch.autocast('cpu', torch.bfloat16):
        images = build(fill='blur')(batch, training=True)['inputs'][0]
    assert images.shape == (1, 3, 28, 20)
    assert torch.isfinite(images).all()


@pytest.mark.parametrize('change, message', [
    (dict(mask_generator=dict(type='SaliencyMask')), 'needs saliency: give'),
    (dict(saliency=dict(type='mimplug.SpectralResidual')), 'leave it out'),
    (dict(mask_generator=dict(type='SaliencyMask'), saliency=dict(
        type='mimplug.SCDA')), 'give it backbone'),
    (dict(mask_generator=dict(type='AttentionMask', ratio=0.5)),
     'needs attention of a ViT'),
    (dict(image_size=30), r'30 x 30 pixels has no 4 x 4 equal cells'),
    (dict(base=PLAIN, mean=[0.0] * 3), 'write these into it'),
    (dict(views=()), 'needed are views='),
    (dict(views=(-1, )), 'needed are views='),
    (dict(views=(0, 0)), 'view 0 has two entries'),
])
def test_errors_at_build(change, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(masked(**change))


def test_missing_localiser_weights_fail_at_build():
    backbone = dict(type='ResNet', depth=18, init_cfg=dict(
        type='mimplug.Pretrained', checkpoint='nowhere/resnet18.pth'))
    with pytest.raises(ConfigError, match=r'resnet18\.pth: no such file'):
        MODELS.build(masked(
            mask_generator=dict(type='SaliencyMask'),
            saliency=dict(type='mimplug.SCDA', backbone=backbone)))


def test_a_misspelt_entry():
    settings = masked()
    settings['view_masks'][0]['cell'] = 4
    with pytest.raises(ConfigError, match="did you mean 'cells'"):
        MODELS.build(settings)


def test_errors_of_the_first_batch():
    with pytest.raises(RuntimeError, match='ProgressHook'):
        MODELS.build(masked())(make_batch(), training=True)
    with pytest.raises(ConfigError, match=r'names view 2, .* gives 2 view'):
        build(views=(2, ))(make_batch(), training=True)
    with pytest.raises(ConfigError, match='gives 1 view'):
        build()(dict(inputs=make_batch()['inputs'][0]), training=True)
    with pytest.raises(ConfigError, match='no 4 x 4 equal cells'):
        build()(make_batch(side=SIDE + 2), training=True)
