"""A small AttMask run with all default hooks, and what hurts it."""
from __future__ import annotations

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy_ibot import make_samples, make_views, tiny_ibot

from mimplug.utils import register_all_modules

NUM_IMAGES, BATCH = 12, 2


def data():
    """Samples of two global and two local views, with their keys."""
    views = make_views(batch=NUM_IMAGES, num_locals=2)
    return [dict(inputs=[view[i] for view in views], data_samples=sample)
            for i, sample in enumerate(make_samples(NUM_IMAGES))]


def guard_runner(root, work_dir, *, name, epochs=2, interval=50,
                 accumulation=1, dtype=None, hooks=(), clip=0.5,
                 default_hooks=(), optimizer=(), **kwargs):
    """A runner: 6 iterations an epoch on one process.

    Args:
        root (Path): Of the project.
        work_dir (Path): Where the run may write.
        name (str): Of the run; runners of one name share their message hub.
        epochs (int): Of the run.
        interval (int): Iterations between two log points.
        accumulation (int): Iterations of an optimiser step.
        dtype (str, optional): Of the optimiser wrapper.
        hooks (Sequence): More hooks.
        clip (float): Limit of a tensor's gradient norm.
        default_hooks (dict): Changes to the default hooks.
        optimizer (dict): Changes to AdamW.
        **kwargs: Arguments of the runner.
    """
    register_all_modules()
    base = Config.fromfile(str(root / 'configs/_base_/default_runtime.py'))
    base = base.to_dict()
    base['default_hooks']['logger']['interval'] = interval
    base['default_hooks'].update(default_hooks)
    scheduler = dict(convert_to_iter_based=True, warmup=0.2)
    return Runner(
        model=tiny_ibot(backbone=dict(drop_path_rate=0.2)),
        work_dir=str(work_dir),
        train_cfg=dict(type='mimplug.EpochTrainLoop', max_epochs=epochs),
        train_dataloader=dict(
            dataset=data(), sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='mimplug.view_collate'), batch_size=BATCH,
            num_workers=0),
        optim_wrapper=dict(
            type='mimplug.OptimWrapper', dtype=dtype, loss_scale=8.0,
            constructor='mimplug.TwoGroupConstructor',
            clip_grad=dict(max_norm=clip), accumulative_counts=accumulation,
            optimizer={**dict(type='AdamW', lr=1e-2, weight_decay=0.04),
                       **dict(optimizer)}),
        param_scheduler=[
            dict(scheduler, type='mimplug.WarmupCosineLR', final=1e-6),
            dict(scheduler, type='mimplug.CosineWeightDecay', final=0.4)],
        custom_hooks=[dict(type='mimplug.TeacherHook', momentum=0.9),
                      dict(type='mimplug.FreezeHook', epochs=1), *hooks],
        experiment_name=f'{work_dir.name}-{name}', randomness=dict(seed=3),
        default_hooks=base['default_hooks'], default_scope='mmpretrain',
        **kwargs)


class Break(Hook):
    """Makes iterations non-finite, from 0.

    Args:
        iterations (Sequence[int]): Which.
        where (str): ``'loss'`` adds infinity to a term, ``'gradient'`` to
            one tensor's gradient, ``'images'`` to an image.
    """

    def __init__(self, iterations, where):
        self.iterations, self.where = tuple(iterations), where

    def before_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        forward = model.loss

        def loss(inputs, data_samples=None):
            if self.active and self.where == 'images':
                inputs[0][0, 0, 0, 0] = float('inf')
            losses = forward(inputs, data_samples)
            if self.active and self.where == 'loss':
                losses['loss_cls'] = losses['loss_cls'] + float('inf')
            return losses

        model.loss = loss
        model.backbone.cls_token.register_hook(
            lambda grad: grad + float('inf')
            if self.active and self.where == 'gradient' else grad)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.active = runner.iter in self.iterations


class Snapshots(Hook):
    """Everything that a step may move, after each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.taken = []

    def before_train(self, runner):
        self.after_train_iter(runner, 0)

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        model = getattr(runner.model, 'module', runner.model)
        values = {name: value.clone()
                  for name, value in model.state_dict().items()}
        optimizer = runner.optim_wrapper.optimizer
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                values[f'optimizer/{name}/{key}'] = value.clone()
        self.taken.append(values)
        self.groups = [{key: group[key] for key in ('lr', 'weight_decay')}
                       for group in optimizer.param_groups]
