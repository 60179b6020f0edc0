"""One training step with another mask for each crop, as released.

Limits are those of the README beside the file.
"""
from __future__ import annotations

import numpy as np
import pytest
import torch
from thesis import close, generator_of, replayed

from mimplug.converters import get_key_map
from mimplug.masking import (
    LogScore,
    PerView,
    PowerScore,
    RawScore,
    RolloutScore,
)
from mimplug.models.algorithms import IBOT
from mimplug.schedules import Progress

KEYS = get_key_map('ibot')
# What the README says of the configurations: scores of crop 0 and crop 1.
SCORES = {
    'cfg0': (RawScore(11), RawScore(4)),
    'cfg1': (LogScore(7, legacy_running_sum=True), RolloutScore('all_ref')),
    'cfg2': (PowerScore(2, power=0.25, legacy_running_sum=True),
             RolloutScore('last_ref_multi')),
}
CONFIGS = pytest.mark.parametrize('config', SCORES)
PRECISIONS = pytest.mark.parametrize('dtype', [torch.float64, torch.float32])


class Step:
    """The step of one configuration."""

    def __init__(self, golden, config, dtype):
        self.golden, self.dtype = golden, dtype
        self.model = self.build(config).to(dtype).train()
        state = KEYS.read(golden.tree('sd/', dtype))
        self.model.load_state_dict(state, strict=False)
        draws = replayed(golden, f'{config}/')
        self.model.draws = lambda *args: draws
        self.model.set_progress(
            Progress(epoch=golden.scalar('hp/epoch'), max_epochs=100))
        self.views = [golden.tensor(f'img/{view}', dtype)
                      for view in golden.names('img/')]
        self.contexts = []
        make = self.model.mask_context
        self.model.mask_context = lambda *args: self.contexts.append(
            make(*args)) or self.contexts[-1]

    def build(self, config):
        """The algorithm by the file's hyper-parameters."""
        hp = {name: self.golden.scalar(f'hp/{name}')
              for name in self.golden.names('hp/')}
        temperature = dict(start=0.04, final=0.07, warmup_epochs=1)
        return IBOT(
            backbone=dict(
                type='mimplug.MaskedViT', img_size=hp['img_size'],
                patch_size=hp['patch_size'], interpolate_offset=0.1,
                arch=dict(
                    embed_dims=hp['embed_dim'], num_layers=hp['depth'],
                    num_heads=hp['heads'], feedforward_channels=int(
                        hp['embed_dim'] * hp['mlp_ratio']))),
            head=dict(
                type='mimplug.PrototypeHead', num_prototypes=hp['out_dim'],
                hidden_channels=hp['head_hidden'],
                bottleneck_channels=hp['head_bottleneck'],
                norm_last_layer=False),
            mask_generator=PerView([
                generator_of(score) for score in SCORES[config]]),
            teacher_temperature=temperature, patch_temperature=temperature)

    def run(self):
        """Losses and the masks of this step, gradients in the model."""
        losses = self.model.loss(self.views)
        loss = losses['loss_cls'] + losses['loss_patch']
        loss.backward()
        context, = self.contexts
        return dict(losses, loss=loss), self.model.mask_generator(context)


@pytest.fixture
def limit(dtype):
    """What is allowed relative to the largest number."""
    return 1e-9 if dtype == torch.float64 else 1e-4


@pytest.mark.golden('thesis_masks', 'multimask_forward')
@PRECISIONS
@CONFIGS
def test_reference_step(golden, config, dtype, limit):
    step = Step(golden, config, dtype)
    losses, mask = step.run()
    key = f'{config}/'
    np.testing.assert_array_equal(
        mask.hidden[:, 0].numpy(),
        golden[f'{key}masks'].reshape(mask.hidden[:, 0].shape))
    context = step.contexts[0]
    scores = torch.cat([score(context.view(view)) for view, score
                        in enumerate(SCORES[config])])
    close(scores, golden[f'{key}score'], limit)
    for name, loss in (('cls', 'loss_cls'), ('patch', 'loss_patch'),
                       ('loss', 'loss')):
        close(losses[loss].detach(), golden[key + name], limit, name)
    check_gradients(step.model, golden, key, limit)
    step.model.loss_module.step()
    for center, name in (('cls_center', 'center_after'),
                         ('patch_center', 'center2_after')):
        close(getattr(step.model.loss_module, center),
              golden[key + name].ravel(), limit, name)


def check_gradients(model, golden, key, limit):
    """Norms of all gradients, and some in full."""
    grads = {theirs(name): parameter.grad
             for name, parameter in model.named_parameters()
             if parameter.requires_grad}
    for name in golden.names(f'{key}grad/'):
        close(grads[name], golden[f'{key}grad/{name}'], limit, name)
    names = [str(name, 'ascii') for name in golden['param_names']]
    assert grads.keys() == {*names}
    norms = torch.stack([grads[name].norm() for name in names])
    close(norms, golden[f'{key}grad_norm'], limit, 'norms')


def theirs(name):
    """The reference's name of a parameter."""
    return next(iter(KEYS.write({name: torch.zeros(1)})))


@pytest.mark.golden('thesis_masks', 'multimask_forward')
@PRECISIONS
@torch.no_grad()
def test_reference_teacher(golden, dtype, limit):
    model = Step(golden, 'cfg0', dtype).model
    images = torch.cat([golden.tensor(f'img/{view}', dtype)
                        for view in range(2)])
    layers = golden['attn_layers'].tolist()
    depth = golden.scalar('hp/depth')
    teacher = model.teacher.backbone.encode(
        images, full=layers, cls_rows=sorted({*range(depth)} - {*layers}))
    for layer in range(depth):
        rows = teacher.attention[layer]
        rows = rows[:, :, 0] if layer in layers else rows
        close(rows, golden['attn_cls'][layer], limit, f'row {layer}')
    for place, layer in enumerate(layers):
        close(teacher.attention[layer], golden['attn_full'][place], limit,
              f'full {layer}')
    cls, patch = model.teacher.head(teacher.tokens)
    close(cls, golden['teacher_cls'], limit)
    close(patch, golden['teacher_patch'], limit)


@pytest.mark.golden('thesis_masks', 'multimask_forward')
@PRECISIONS
@CONFIGS
@torch.no_grad()
def test_reference_student(golden, config, dtype, limit):
    step = Step(golden, config, dtype)
    model, views = step.model, step.views
    hidden = golden.tensor(f'{config}/masks').flatten(0, 1).flatten(1)
    cls, patch = model.head(
        model.backbone.encode(torch.cat(views[:2]), hidden=hidden).tokens)
    close(cls, golden[f'{config}/student_cls'], limit)
    close(patch, golden[f'{config}/student_patch'], limit)
    local = model.head(model.backbone.encode(torch.cat(views[2:])).cls)
    close(local, golden[f'{config}/student_local_cls'], limit)
