"""Everything of a run that goes into its checkpoint."""
from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import mmengine
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from mimplug.errors import ConfigError
from mimplug.evaluation import bare_model
from mimplug.models.run_record import META_KEY, run_record
from mimplug.version import __version__

from .history import pack_hub
from .plain import to_plain


def at_boundary(runner: Any) -> bool:
    """Tells whether the iteration just done ended an optimiser step.

    Args:
        runner (Runner): Asked in ``after_train_iter``.

    Returns:
        bool: The loop's own word where it has one.
    """
    known = getattr(runner.train_loop, 'at_boundary', None)
    if known is not None:
        return bool(known)
    ask = getattr(runner.optim_wrapper, 'should_update', None)
    return ask is None or bool(ask())


def position_of(runner: Any, iterations: int) -> dict[str, Any]:
    """The place of a run in samples.

    Args:
        runner (Runner): The runner.
        iterations (int): Iterations done.

    Returns:
        dict: ``position``, or nothing with a loop that does not know it.
    """
    position_at = getattr(runner.train_loop, 'position_at', None)
    return {} if position_at is None else dict(
        position=dict(position_at(iterations)))


def run_meta(runner: Runner, epoch: int, iterations: int) -> dict[str, Any]:
    """Position and description of a run.

    Args:
        runner (Runner): The runner.
        epoch (int): Epochs done.
        iterations (int): Iterations done.

    Returns:
        dict: MMEngine's fields, ``mimplug_version``, under ``mimplug`` what
        evaluation must know (:mod:`mimplug.models.run_record`), and
        ``position`` where the training loop knows it in samples.
    """
    meta: dict[str, Any] = dict(
        epoch=epoch, iter=iterations, cfg=runner.cfg.pretty_text,
        seed=runner.seed, experiment_name=runner.experiment_name,
        time=time.strftime('%Y%m%d_%H%M%S', time.localtime()),
        mmengine_version=mmengine.__version__, mimplug_version=__version__)
    meta[META_KEY] = run_record(bare_model(runner.model))
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None)
    if metainfo is not None:
        meta['dataset_meta'] = metainfo
    meta.update(position_of(runner, iterations))
    return meta


def collect(runner: Runner, meta: Mapping[str, Any], *,
            rng: Mapping[str, Any], history: int,
            save_optimizer: bool = True,
            save_param_scheduler: bool = True) -> dict[str, Any]:
    """The content of a checkpoint, in MMEngine's layout, plain.

    Calls ``before_save_checkpoint`` of all hooks on the way.

    Args:
        runner (Runner): The runner.
        meta (dict): From :func:`run_meta`.
        rng (dict): From :func:`gather_rng`.
        history (int): Latest values kept of each logged scalar.
        save_optimizer (bool): Whether to add the optimiser.
        save_param_scheduler (bool): Whether to add the schedulers.

    Returns:
        dict: ``meta``, ``state_dict``, ``message_hub``, ``rng``,
        ``optimizer``, ``param_schedulers``: tensors on the CPU, containers,
        numbers and text.

    Raises:
        ConfigError: The runner has no optimiser wrapper to save.
    """
    for hook in runner.hooks:
        if hasattr(hook, 'settle'):  # losses that wait for the log point
            hook.settle(runner)
    content: dict[str, Any] = dict(
        meta=dict(meta), rng=rng,
        state_dict=bare_model(runner.model).state_dict(),
        message_hub=pack_hub(runner.message_hub, history))
    if save_optimizer:
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper | OptimWrapperDict):
            raise ConfigError(
                'save_optimizer=True needs an optimizer wrapper, got '
                f'{type(wrapper).__name__}')
        content['optimizer'] = wrapper.state_dict()
    schedulers = runner.param_schedulers
    if save_param_scheduler and schedulers is not None:
        content['param_schedulers'] = _states(schedulers)
    # hooks expect tensors where they will be saved: EMAHook swaps entries
    dropped: list[str] = []
    content = to_plain(content, dropped)
    runner.call_hook('before_save_checkpoint', checkpoint=content)
    content = to_plain(content, dropped)
    if dropped:
        runner.logger.warning(
            'Not in the checkpoint, because it has no form without code: '
            + ', '.join(sorted(set(dropped))))
    return content


def _states(schedulers: Any) -> Any:
    """States of a list of schedulers, or of one list an optimiser."""
    if isinstance(schedulers, Mapping):
        return {name: _states(part) for name, part in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]
