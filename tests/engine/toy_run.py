"""A whole run from a config, on one process or on two."""
from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from mmengine.config import Config
from mmengine.registry import MODELS

from mimplug.models.algorithms import IBOT

# 11 images: neither a multiple of the batch nor of the processes
SIZE, GLOBAL_BATCH, EPOCHS = 11, 4, 2


@MODELS.register_module(force=True)
class DoubleIBOT(IBOT):
    """iBOT in float64, so that only rounding of 1e-16 separates two runs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.double()


def run_config(path: Path, work_dir: Path, world: int,
               **changes: Any) -> Config:
    """A config, made tiny, on embedded images, for ``world`` processes.

    Args:
        path (Path): The config.
        work_dir (Path): Where the run may write.
        world (int): Processes that share the batch of four.
        **changes: What ``merge_from_dict`` takes, ``__`` for a dot.

    Returns:
        Config: Ready for :func:`train_config`.
    """
    from shrink import shrink_config
    cfg = shrink_config(path, work_dir, work_dir)
    cfg.train_dataloader.dataset.dataset = dict(
        type='mimplug.EmbeddedFashionMNIST', indices=SIZE)
    cfg.merge_from_dict({
        'model.type': 'DoubleIBOT',
        'model.backbone.drop_path_rate': 0.1,
        'train_dataloader.batch_size': GLOBAL_BATCH // world,
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_interval': EPOCHS + 1,
        'launcher': 'none' if world == 1 else 'pytorch',
        **{key.replace('__', '.'): value for key, value in changes.items()},
    })
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type in (
        'mimplug.TeacherHook', 'mimplug.FreezeHook')]
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def train_config(cfg: Config, stop_after: int | None = None,
                 kept: str | None = None
                 ) -> dict[str, Any]:
    """Trains; returns the state dict, the iterations and the images seen.

    Args:
        cfg (Config): From :func:`run_config`.
        stop_after (int, optional): Epochs after which the run is stopped.
        kept (str, optional): Attribute of the model to return as ``kept``.
    """
    from mmengine.hooks import Hook

    from mimplug.cli._build import build_runner
    from mimplug.cli._launch import prepare_launch
    from mimplug.engine.distributed import whole
    from mimplug.evaluation import bare_model

    class Keys(Hook):

        def before_train(self, runner):
            self.seen = []

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            self.seen.append([
                sample.sample_key for sample in data_batch['data_samples']])

        def after_train_epoch(self, runner):
            if runner.epoch + 1 == stop_after:
                runner.train_loop.stop_training = True

    keys = Keys()
    prepare_launch(cfg)
    runner = build_runner(cfg)
    runner.register_hook(keys)
    runner.train()
    model = bare_model(runner.model)
    return dict(model=whole(model.state_dict()), iterations=runner.iter,
                keys=keys.seen, kept=getattr(model, kept) if kept else None)


def on_launched(function: Callable, argument: Any, folder: Path,
                world: int = 2) -> list[Any]:
    """What a function returns on processes as torchrun starts them."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    torch.multiprocessing.spawn(
        _launched, (world, port, function, argument, str(folder)),
        nprocs=world)
    return [torch.load(folder / f'{rank}.pt', weights_only=False)
            for rank in range(world)]


def _launched(rank: int, world: int, port: int, function: Callable,
              argument: Any, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.save(function(argument), f'{folder}/{rank}.pt')
    # a wrapped model would keep the threads of the group beyond its end
    gc.collect()
    torch.distributed.destroy_process_group()
