"""Fully sharded training for MMEngine's flexible runner."""
from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import mmengine
from mmengine._strategy import DDPStrategy, SingleDeviceStrategy
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MessageHub
from torch import nn

from mimplug.registry import STRATEGIES

from ..checkpoint import pack_hub, save_file, to_plain
from .shards import shard_like, shard_model, shard_optimizer_state, whole

# latest values of each logged scalar in a checkpoint
HISTORY = 1000


@STRATEGIES.register_module()
class FullyShardedStrategy(DDPStrategy):
    """Parameters, gradients and optimiser state split over the processes.

    On torch's ``fully_shard``, for models that do not fit into one device
    with their gradients, teacher and optimiser state. MMEngine's own
    ``FSDPStrategy`` flattens the tensors of a block into one vector, which
    gives student and teacher different shards and hides from the optimiser
    which parameters are decayed.

    Checkpoints hold whole tensors under the usual names: a run may go on
    unsharded or with another number of processes, and evaluations read the
    files as any other. Precision is that of the optimiser wrapper.

    Use it by ``runner_type='FlexibleRunner'`` and
    ``strategy=dict(type='mimplug.FullyShardedStrategy')``.

    Args:
        reshard_after_forward (bool): Gather blocks a second time for the
            backward pass instead of keeping them. Defaults to True.
        **kwargs: Arguments of MMEngine's ``DDPStrategy`` (``sync_bn``, …).
    """

    def __init__(self, *, reshard_after_forward: bool = True,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reshard_after_forward = reshard_after_forward

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        """Moves the model, then splits it in place."""
        if not is_distributed():  # a dry run of a config, say
            self.logger.warning('One process without launcher: no shards')
            model = self.convert_model(model)
            return model.to(get_device())
        return shard_model(
            self.convert_model(model.to(get_device())),
            reshard_after_forward=self.reshard_after_forward)

    def convert_model(self, model: nn.Module) -> nn.Module:
        """Batch norms as ``sync_bn`` says; plain ones in a lone process."""
        kind = DDPStrategy if is_distributed() else SingleDeviceStrategy
        converted: nn.Module = kind.convert_model(self, model)
        return converted

    def model_state_dict(self) -> dict:
        """Whole tensors of the model; all ranks must call it."""
        state: dict = whole(self.model.state_dict())
        return state

    def optim_state_dict(self) -> dict:
        """Whole tensors of the optimiser; all ranks must call it."""
        state: dict = whole(self.optim_wrapper.state_dict())
        return state

    def save_checkpoint(self, filename: str, *, save_optimizer: bool = True,
                        save_param_scheduler: bool = True,
                        extra_ckpt: dict | None = None,
                        callback: Callable[[dict], None] | None = None
                        ) -> None:
        """Gathers on all ranks; the first writes a plain, complete file.

        Args:
            filename (str): The file.
            save_optimizer (bool): Whether to add the optimiser.
            save_param_scheduler (bool): Whether to add the schedulers.
            extra_ckpt (dict, optional): ``meta``, ``message_hub``, …
            callback (Callable, optional): May change the content, on the
                first rank.

        Raises:
            OSError: It could not be written; an older file is unchanged.
        """
        content = dict(extra_ckpt or {}, state_dict=self.model_state_dict())
        if save_optimizer and hasattr(self, 'optim_wrapper'):
            content['optimizer'] = self.optim_state_dict()
        if not is_main_process():
            return
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            content['param_schedulers'] = self.scheduler_state_dict()
        content['meta'] = dict(
            content.get('meta', {}), seed=self.seed,
            mmengine_version=mmengine.__version__)
        if 'message_hub' in content:
            content['message_hub'] = pack_hub(
                MessageHub.get_current_instance(), HISTORY)
        if callback is not None:
            callback(content)
        save_file(to_plain(content, []), filename)

    def resume(self, filename: str, **kwargs: Any) -> dict:
        """Takes up a run, the optimiser wrapper's counter included.

        MMEngine's flexible runner sets it only for accumulated gradients,
        but schedules of ours and random numbers go by it.

        Args:
            filename (str): The file.
            **kwargs: As for MMEngine's strategies.

        Returns:
            dict: What the runner still needs of the content.
        """
        checkpoint: dict = super().resume(filename, **kwargs)
        if hasattr(self, 'optim_wrapper'):
            self.optim_wrapper.initialize_count_status(
                self.model, checkpoint['meta']['iter'],
                self.dispatch_kwargs['max_iters'])
        return checkpoint

    def load_model_state_dict(
            self, state_dict: dict, *, strict: bool = False,
            revise_keys: Any = ((r'^module\.', ''), )) -> None:
        """Takes this process's part of whole tensors.

        Args:
            state_dict (dict): Whole tensors, on all ranks.
            strict (bool): Whether names must match. Defaults to False.
            revise_keys (Sequence): Pairs of pattern and replacement.
        """
        own = self.model.state_dict()
        state: dict = OrderedDict()  # takes the attribute _metadata
        for name, value in state_dict.items():
            for pattern, replacement in revise_keys:
                name = re.sub(pattern, replacement, name)
            state[name] = shard_like(value, own.get(name))
        super().load_model_state_dict(state, strict=strict, revise_keys=[])

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Takes this process's part of a whole optimiser state.

        Args:
            state_dict (dict): Whole tensors, on all ranks.
        """
        self.optim_wrapper.load_state_dict(shard_optimizer_state(
            state_dict, self.optim_wrapper.optimizer))
