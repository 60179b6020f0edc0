"""Whole training steps against the reference's, through public classes."""
from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mimplug.converters import get_key_map
from mimplug.draws import ReplayDraws
from mimplug.engine import FreezeHook, TwoGroupConstructor
from mimplug.masking import Mask, MaskGenerator
from mimplug.models.algorithms import IBOT
from mimplug.schedules import Progress

KEYS = get_key_map('ibot')
FILES = ('train_step_attmask_hint', 'train_step_attmask_high_globalonly',
         'train_step_ibot_separate_head')


class SuppliedMask(MaskGenerator):
    """Hides what a test says."""

    hidden: torch.Tensor

    def __call__(self, context):
        return Mask(self.hidden.reshape(context.rows, 1, *context.grid))


def reveal_table(attention, tokens, pool):
    """Draws whose largest entries are the pool ranks of the given tokens."""
    rank = np.argsort(np.argsort(-attention, axis=1), axis=1)
    table = np.zeros((len(rank), pool))
    np.put_along_axis(
        table, np.take_along_axis(rank, tokens, axis=1), 0.5, axis=1)
    return table


class Replay:
    """A stored training run, replayed step by step.

    Args:
        golden (Golden): The file.
        dtype (torch.dtype): Precision of the replay.
    """

    def __init__(self, golden, dtype):
        self.golden, self.dtype = golden, dtype
        self.hp = {name: golden.scalar(f'hp/{name}')
                   for name in golden.names('hp/')}
        self.model = self.build().to(dtype)
        self.model.train()
        state = KEYS.read(golden.tree('student_init/'))
        self.model.load_state_dict(state, strict=False)
        self.wrapper = TwoGroupConstructor(dict(
            optimizer=dict(
                type='AdamW', lr=1e-3, eps=self.hp['adam_eps'],
                betas=(self.hp['adam_beta1'], self.hp['adam_beta2'])),
            clip_grad=dict(max_norm=self.hp['clip_grad'])))(self.model)
        self.runner = SimpleNamespace(
            model=self.model, optim_wrapper=self.wrapper, iter=0,
            train_dataloader=range(self.hp['iters_per_epoch']))
        self.freeze = FreezeHook(epochs=self.hp['freeze_last_layer'])
        self.freeze.before_train(self.runner)

    def build(self):
        """The algorithm by the file's hyper-parameters."""
        hp = self.hp
        width = hp['embed_dim']
        return IBOT(
            backbone=dict(
                type='mimplug.MaskedViT', img_size=hp['img_size'],
                patch_size=hp['patch_size'], interpolate_offset=0.1,
                arch=dict(
                    embed_dims=width, num_layers=hp['depth'],
                    num_heads=hp['num_heads'],
                    feedforward_channels=int(width * hp['mlp_ratio']))),
            head=dict(
                type='mimplug.PrototypeHead', num_prototypes=hp['out_dim'],
                hidden_channels=hp['head_hidden'],
                bottleneck_channels=hp['head_bottleneck'],
                norm_last_layer=hp['norm_last_layer'],
                shared=hp['student_shared_head']),
            mask_generator=self.generator(),
            teacher_temperature=dict(
                start=hp['warmup_teacher_temp'], final=hp['teacher_temp'],
                warmup_epochs=hp['warmup_teacher_temp_epochs']),
            patch_temperature=dict(
                start=hp['warmup_teacher_patch_temp'],
                final=hp['teacher_patch_temp'],
                warmup_epochs=hp['warmup_teacher_temp_epochs']),
            legacy_shared_teacher_head=hp['teacher_shared_head']
            and not hp['student_shared_head'])

    def generator(self):
        """AttMask as released, or the supplied masks of iBOT."""
        shape = self.hp['pred_shape']
        if not shape.startswith('attmask_'):
            return SuppliedMask()
        return dict(
            type='mimplug.AttentionMask', mode=shape.split('_')[1],
            ratio=dict(type='UniformRatio', mean=0.5, var=0.5, per='rank'),
            apply_prob=self.hp['masking_prob'],
            show_max=self.hp['show_max'])

    def loss(self, step):
        """Forward of a step with the stored views, masks and draws."""
        key = f'step{step}/'
        views = list(self.golden.tensor(key + 'global_images', self.dtype))
        if key + 'local_images' in self.golden:
            views += self.golden.tensor(key + 'local_images', self.dtype)
        if isinstance(self.model.mask_generator, SuppliedMask):
            self.model.mask_generator.hidden = self.golden.tensor(
                key + 'mask')
        else:
            draws = self.draws(step)
            self.model.draws = lambda *args: draws
        epoch = self.golden.scalar(key + 'epoch')
        self.model.set_progress(Progress(
            step, self.golden.scalar('n_steps'), epoch, self.hp['epochs']))
        return self.model.loss(views)

    def draws(self, step):
        """The random numbers of a step by the names of AttentionMask."""
        golden, key = self.golden, f'step{step}/'
        values = dict(ratio=golden.scalar(key + 'masking_ratio'),
                      apply=golden[key + 'bernoulli_uniform'])
        if key + 'reveal_idx' in golden:
            attention = golden[key + 'cls_attention']
            show_max = self.hp['show_max']
            values['show_ratio'] = golden.scalar(
                key + 'show_ratio') / show_max
            values['reveal'] = reveal_table(
                attention, golden[key + 'reveal_idx'],
                int(attention.shape[1] * show_max))
        return ReplayDraws(values)

    def step(self, step):
        """One optimiser step; returns what it computed on the way."""
        self.runner.iter = step
        self.freeze.before_train_iter(self.runner, step)
        for group in self.wrapper.optimizer.param_groups:
            group['lr'] = self.golden.scalar(f'step{step}/lr')
            if group['name'] == 'decay':
                group['weight_decay'] = self.golden.scalar(f'step{step}/wd')
        seen, model = {}, self.model

        def make_mask(images, teacher, samples):
            seen['attention'] = teacher.attention
            seen['mask'] = IBOT.make_mask(model, images, teacher, samples)
            return seen['mask']

        model.make_mask = make_mask
        losses = self.loss(step)
        loss = losses['loss_cls'] + losses['loss_patch']
        self.wrapper.backward(self.wrapper.scale_loss(loss))
        seen['norms'] = {
            theirs(name): parameter.grad.norm()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None}
        self.wrapper.step()
        self.wrapper.zero_grad()
        model.step_end(self.golden.scalar(f'step{step}/momentum'))
        return dict(losses, loss=loss, **seen)


def theirs(name):
    """The reference's name of a parameter."""
    return next(iter(KEYS.write({name: torch.zeros(1)})))


def close(value, expected, *, rtol, atol):
    """Compares two arrays or numbers in float64."""
    value, expected = (
        torch.as_tensor(x, dtype=torch.float64) for x in (value, expected))
    torch.testing.assert_close(
        value.detach(), expected, rtol=rtol, atol=atol)


@pytest.fixture
def replay(golden):
    return Replay(golden, torch.float64)


@pytest.mark.golden('attmask_ibot', *FILES)
@pytest.mark.parametrize('last_block_rule', [True, False])
def test_reference_steps(replay, golden, last_block_rule):
    replay.model.last_block_rule = last_block_rule
    exact = dict(rtol=1e-10, atol=1e-13)
    for step in range(golden.scalar('n_steps')):
        out, key = replay.step(step), f'step{step}/'
        expected = golden.tensor(key + 'mask')
        assert torch.equal(out['mask'].tokens, expected.flatten(1))
        if key + 'cls_attention' in golden:
            rows = out['attention'][replay.hp['depth'] - 1]
            close(rows.mean(1)[:, 1:], golden[key + 'cls_attention'],
                  **exact)
        for name in ('loss', 'loss_cls', 'loss_patch'):
            close(out[name], golden[key + name], **exact)
        loss = replay.model.loss_module
        close(loss.cls_center, golden[key + 'center'].ravel(), **exact)
        close(loss.patch_center, golden[key + 'center2'].ravel(), **exact)
        norms = dict(zip(golden[key + 'grad_norm_names'].tolist(),
                         golden[key + 'grad_norms'].tolist()))
        assert out['norms'].keys() == norms.keys()
        for name, value in norms.items():
            close(out['norms'][name], value, **exact)
        close(replay.wrapper.grad_norm, golden[key + 'global_grad_norm'],
              **exact)
        # States are stored as float32: equal up to one unit in the last
        # place, where a rounding falls to the other side.
        check_states(replay, step, rtol=2**-23, atol=1e-9)


def check_states(replay, step, skip_key_bias=False, **limits):
    """Compares student and teacher where the file has them."""
    golden, model = replay.golden, replay.model
    saved = golden['state_saved_after_steps'].tolist()
    assert (f'step{step}/student_after/backbone.cls_token' in golden) == (
        step in saved)
    for part, own in (('student', model), ('teacher', model.teacher)):
        states = KEYS.read(golden.tree(f'step{step}/{part}_after/'))
        values = own.state_dict()
        for name, expected in states.items():
            value = values[name].float()
            if skip_key_bias and name.endswith('attn.qkv.bias'):
                value, expected = (
                    torch.cat(x.chunk(3)[::2]) for x in (value, expected))
            close(value, expected, **limits)
        if step in saved:  # nothing of ours was left out
            own_names = {name for name in values
                         if name.startswith(('backbone.', 'head.'))}
            assert states.keys() == own_names


@pytest.mark.golden('attmask_ibot', *FILES)
def test_reference_float32_rerun(golden):
    """In float32, with the tolerances of the README.

    The gradient of the key third of a qkv bias is zero (softmax does not see
    a shift of all its inputs), so in float32 it is rounding noise, which
    AdamW scales up to steps of about lr: that third is left out.
    """
    replay = Replay(golden, torch.float32)
    for step in range(golden.scalar('n_steps')):
        out, key = replay.step(step), f'step{step}/'
        for name in ('loss', 'loss_cls', 'loss_patch'):
            close(out[name], golden[key + name], rtol=0, atol=1e-4)
        norms = zip(golden[key + 'grad_norm_names'].tolist(),
                    golden[key + 'grad_norms'].tolist())
        for name, value in norms:
            close(out['norms'][name], value, rtol=1e-3, atol=1e-6)
        check_states(replay, step, skip_key_bias=True, rtol=0, atol=1e-4)


@pytest.mark.golden('attmask_ibot', *FILES)
def test_reference_initial_teacher(replay, golden):
    """The released mix-up of a separate head included."""
    expected = KEYS.read(golden.tree('teacher_init/'))
    state = replay.model.teacher.state_dict()
    assert expected.keys() == state.keys()
    for name, value in expected.items():
        assert torch.equal(state[name].float(), value), name


@pytest.mark.golden('attmask_ibot', *FILES)
def test_reference_parameter_groups(replay, golden):
    trainable = {id(parameter): theirs(name)
                 for name, parameter in replay.model.named_parameters()
                 if parameter.requires_grad}
    groups = replay.wrapper.optimizer.param_groups
    ours = {trainable[id(parameter)]: i for i, group in enumerate(groups)
            for parameter in group['params']}
    assert ours.keys() == set(golden['step0/grad_norm_names'].tolist())
    # The reference lists frozen magnitudes, too.
    expected = dict(zip(golden['param_names'].tolist(),
                        golden['param_group'].tolist()))
    assert ours == {name: expected[name] for name in ours}
    assert [group['weight_decay'] == 0 for group in groups] == [False, True]


@pytest.mark.golden('attmask_ibot', *FILES)
def test_reference_moving_averages(replay, golden):
    """Which of the teacher's parameters follow, by what an update moves."""
    model = copy.deepcopy(replay.model)
    before = {name: value.clone()
              for name, value in model.teacher.named_parameters()}
    with torch.no_grad():
        for part in (model.backbone, model.head):
            for parameter in part.parameters():
                parameter.add_(1)
    model.teacher.update(model, 0.5)
    moved = {theirs(name) for name, value
             in model.teacher.named_parameters()
             if not torch.equal(value, before[name])}
    assert moved == set(golden['ema_names'].tolist())
