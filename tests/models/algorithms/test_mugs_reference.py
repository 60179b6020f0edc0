"""Whole training steps of Mugs against the reference's.

A run is spread over many files; each test opens the others beside the one
that its marker names.
"""
from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from golden_file import Golden
from mmpretrain.structures import DataSample
from toy_mugs import KEYS, theirs

from mimplug.engine import FreezeHook, TwoGroupConstructor
from mimplug.models.algorithms import Mugs
from mimplug.schedules import Progress

STEPS = 3
TERMS = ('instance', 'local_group', 'group')


class Replay:
    """The stored training run, replayed step by step.

    Args:
        init (Golden): ``train_init``; the other files lie beside it.
        dtype (torch.dtype): Precision; feature memories are float32.
    """

    def __init__(self, init, dtype=torch.float64, **options):
        self.init, self.dtype = init, dtype
        self.hp = {name: init.scalar(f'hyper/{name}')
                   for name in init.names('hyper/')}
        self.model = self.build(options).to(dtype).train()
        self.load()
        self.wrapper = TwoGroupConstructor(dict(
            optimizer=dict(type='AdamW', lr=1e-3),
            clip_grad=dict(max_norm=self.hp['clip_grad'])), dict(
                lr_mult=dict(patch_embed=self.hp['patch_embed_lr_mult']))
        )(self.model)
        self.runner = SimpleNamespace(
            model=self.model, optim_wrapper=self.wrapper, iter=0,
            train_dataloader=range(self.hp['niter_per_epoch']))
        self.freeze = FreezeHook(epochs=self.hp['freeze_last_layer'])
        self.freeze.before_train(self.runner)

    def file(self, name):
        """Another file of the run."""
        return Golden(self.init.path.with_name(f'{name}.npz'))

    def build(self, options):
        """The algorithm by the file's hyper-parameters."""
        hp = self.hp
        head = dict(hidden_channels=hp['head_hidden'],
                    out_channels=hp['head_out'],
                    predictor_channels=hp['head_pred_hidden'])
        local = dict(
            head=head, queue=hp['local_group_queue_size'],
            temperature=hp['local_group_temp'], memory=hp['mem_K'],
            neighbours=hp['top_n'], legacy_pointer=True)
        return Mugs(
            backbone=dict(
                type='mimplug.LocalGroupViT', img_size=hp['img'],
                patch_size=hp['patch'], interpolate_offset=0.1,
                norm_cfg=dict(type='LN', eps=1e-6),
                arch=dict(embed_dims=hp['D'], num_layers=hp['depth'],
                          num_heads=hp['heads'],
                          feedforward_channels=4 * hp['D'])),
            instance=dict(head=head, queue=hp['instance_queue_size'],
                          temperature=hp['instance_temp']),
            local_group={**local, **options},
            group=dict(
                head=dict(num_prototypes=hp['head_group_out'],
                          hidden_channels=hp['head_hidden'],
                          bottleneck_channels=hp['head_bottleneck'],
                          norm_last_layer=False),
                student_temperature=hp['group_student_temp'],
                teacher_temperature=dict(
                    start=hp['group_warmup_teacher_temp'],
                    final=hp['group_teacher_temp'],
                    warmup_epochs=hp['group_warmup_teacher_temp_epochs'])))

    def load(self):
        """Weights, queues, memories and centre of the file."""
        model, init = self.model, self.init
        state = KEYS.read(init.tree('student_init/'))
        teacher = KEYS.read(init.tree('teacher_init/'))
        state.update({f'teacher.{key}': value
                      for key, value in teacher.items()})
        own = {name for name in model.state_dict() if not name.startswith(
            ('memories.', 'loss_module.'))}
        assert state.keys() == own  # nothing of ours was left out
        model.load_state_dict(state, strict=False)
        memories = model.memories
        memories.float()
        memories.queues.to(self.dtype)
        for name in ('instance', 'local_group'):
            memories.negatives(name).copy_(init.tensor(f'{name}_queue_init').T)
        for name in ('student', 'teacher'):
            buffer = getattr(memories, name)
            buffer.rows.copy_(init.tensor(f'{name}_mem_init/queue'))
            buffer.refresh_norms()
        model.loss_module.cls_center.copy_(init.tensor('center_init')[0])

    def inputs(self, step):
        """Views and data samples of a step."""
        crops = self.file('train_crops')
        names = crops.names(f'step{step}/')
        views = [crops.tensor(f'step{step}/crop{i}', self.dtype)
                 for i in range(len(names))]
        weak = self.init[f'step{step}/weak_flags']
        return views, [DataSample(metainfo=dict(weak=bool(flag)))
                       for flag in weak]

    def step(self, step):
        """One optimiser step; returns losses and clipped gradients."""
        model, init = self.model, self.init
        epoch = step // self.hp['niter_per_epoch']
        model.set_progress(Progress(step, 8, epoch, self.hp['epochs']))
        self.runner.iter = step
        self.freeze.before_train_iter(self.runner, step)
        for group in self.wrapper.optimizer.param_groups:
            group['lr'] = init['lr_schedule'][step] * group['lr_mult']
            if group['name'] == 'decay':
                group['weight_decay'] = init['wd_schedule'][step]
        losses = model.loss(*self.inputs(step))
        total, _ = model.parse_losses(losses)
        self.wrapper.backward(self.wrapper.scale_loss(total))
        self.wrapper.step()
        grads = {theirs(name): parameter.grad.clone()
                 for name, parameter in model.named_parameters()
                 if parameter.grad is not None}
        self.wrapper.zero_grad()
        model.step_end(init['momentum_schedule'][step])
        return losses, total, grads


def close(value, expected, tolerance=1e-9):
    """Compares two arrays in float64, relative to the largest entry."""
    value, expected = (
        torch.as_tensor(x).detach().double() for x in (value, expected))
    scale = max(1e-30, expected.abs().max().item())
    torch.testing.assert_close(value.reshape(expected.shape), expected,
                               rtol=0, atol=tolerance * max(scale, 1e-3))


@pytest.mark.golden('mugs', 'train_init')
def test_reference_steps(golden):
    replay = Replay(golden)
    check_steps(replay)
    for name in ('student', 'teacher'):
        memory = getattr(replay.model.memories, name)
        assert memory.rows.dtype == torch.float32


def check_steps(replay):
    """Losses, gradients, weights, queues, memories, centre."""
    model = replay.model
    for step in range(STEPS):
        losses, total, grads = replay.step(step)
        after = replay.file(f'train_step{step}')
        close(total, after['total_loss'])
        for name in TERMS:
            close(losses[f'raw/{name}'], after[f'{name}_loss'])
        expected = replay.file(f'train_step{step}_grads').tree('clipped_grad/')
        assert grads.keys() == expected.keys()
        for name, value in expected.items():
            # gradients that are exactly zero are rounding noise in both
            torch.testing.assert_close(grads[name], value, rtol=1e-9,
                                       atol=1e-11)
        check_memories(model.memories, after)
        close(model.loss_module.cls_center, after['center'])
        if step:
            check_weights(replay, step)


def check_memories(memories, after):
    """Queues and feature memories with their pointers."""
    for name in ('instance', 'local_group'):
        queue = memories.queues[name]
        close(queue.columns, after[f'{name}_queue'])
        assert queue.pointer.tolist() == after[f'{name}_queue_ptr'].tolist()
    for name in ('student', 'teacher'):
        memory = getattr(memories, name)
        assert memory.pointer.tolist() == after[f'{name}_mem_ptr'].tolist()
        # float32 on both sides: one unit in the last place
        torch.testing.assert_close(
            memory.rows, after.tensor(f'{name}_mem_queue'), rtol=2**-22,
            atol=1e-7)


def check_weights(replay, step):
    """Student and teacher after a step."""
    for name, own in (('student', replay.model),
                      ('teacher', replay.model.teacher)):
        stored = replay.file(f'train_step{step}_{name}')
        state = own.state_dict()
        for key, value in KEYS.read(stored.tree('sd/')).items():
            close(state[key], value, 1e-8)


@pytest.mark.golden('mugs', 'train_init')
def test_reference_float32_rerun(golden):
    """In float32, with the tolerances of the README."""
    replay = Replay(golden, torch.float32)
    for step in range(STEPS):
        losses, total, grads = replay.step(step)
        after = replay.file(f'train_step{step}')
        close(total, after['total_loss'], 1e-4)
        for name in TERMS:
            close(losses[f'raw/{name}'], after[f'{name}_loss'], 1e-4)
        expected = replay.file(f'train_step{step}_grads').tree('clipped_grad/')
        for name, value in expected.items():
            if name.endswith('qkv.bias'):
                # the gradient of the key part is exactly 0
                grads[name], value = (torch.cat(x.chunk(3)[::2])
                                      for x in (grads[name], value))
            close(grads[name], value, 1e-4)


@pytest.mark.golden('mugs', 'train_init')
@pytest.mark.parametrize('legacy', [True, False])
def test_both_traces_of_the_memory(golden, legacy):
    """The correct pointer puts the reference's rows behind one another.

    What the reference's double step leaves out are rows of the random start,
    and which of them are gone is first seen by the third step.
    """
    replay = Replay(golden, legacy_pointer=legacy)
    size, released = replay.hp['mem_K'], dict(student=0, teacher=0)
    correct = dict(released)
    for step in range(STEPS):
        losses, _, _ = replay.step(step)
        after = replay.file(f'train_step{step}')
        for name in TERMS if legacy or step < 2 else ():
            close(losses[f'raw/{name}'], after[f'{name}_loss'])
        stored = dict(student=int(golden[f'step{step}/weak_flags'].sum()),
                      teacher=replay.hp['B'])
        for name, count in stored.items():
            memory = getattr(replay.model.memories, name)
            rows = after.tensor(f'{name}_mem_queue')
            if step < 2:
                begin = released[name] if legacy else correct[name]
                torch.testing.assert_close(
                    memory.rows[begin:begin + count],
                    rows[released[name]:released[name] + count],
                    rtol=2**-22, atol=1e-7)
            double = released[name] + count <= size
            released[name] = (released[name] + count * (1 + double)) % size
            correct[name] = (correct[name] + count) % size
            assert after[f'{name}_mem_ptr'].tolist() == [released[name]]
            assert memory.pointer.tolist() == [
                released[name] if legacy else correct[name]]
