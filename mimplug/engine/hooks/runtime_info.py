"""What happened in each iteration, read from the device at log points."""
from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine import dist
from mmengine.device import is_cuda_available, is_musa_available
from mmengine.hooks import Hook, LoggerHook
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.logging import MessageHub
from torch import Tensor

from mimplug.errors import ConfigError
from mimplug.registry import HOOKS


def is_log_point(runner: Any, batch_idx: int) -> bool:
    """Whether the numbers are read after this iteration.

    These are the iterations after which ``LoggerHook`` writes (every
    ``interval``-th of an epoch, or of an iteration-based run), and the last
    one of every epoch and of the run. They depend on nothing but the
    position, so a resumed run has the same ones.

    Args:
        runner (Runner): Inside ``after_train_iter``.
        batch_idx (int): What the loop gave to the hook.

    Returns:
        bool: True at a log point.
    """
    intervals = [hook.interval for hook in runner.hooks
                 if isinstance(hook, LoggerHook)] or [10]
    return (any((batch_idx + 1) % interval == 0 for interval in intervals)
            or batch_idx + 1 == len(runner.train_dataloader)
            or runner.iter + 1 == runner.max_iters)


def peak_resident() -> int | None:
    """Largest resident set of this process so far in MiB, if known."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) // (2**20 if sys.platform == 'darwin' else 2**10)


class ScalarBuffer:
    """Named scalars of many iterations, on the device until they are read."""

    def __init__(self) -> None:
        self.rows: list[tuple[tuple[str, ...], dict[str, float]]] = []
        self.vectors: list[Tensor] = []

    @torch.no_grad()
    def add(self, values: Mapping[str, Any]) -> None:
        """Keeps one iteration's values; copied, so neither a graph nor a
        larger tensor stays alive, and nobody can change them.

        Args:
            values (Mapping): Numbers and tensors of one element, by name.
        """
        tensors = {name: value.detach().reshape(())
                   for name, value in values.items()
                   if isinstance(value, Tensor)}
        if not all(value.is_cpu for value in tensors.values()):
            # beside a GPU: reading what is on the host waits for nobody
            tensors = {name: value for name, value in tensors.items()
                       if not value.is_cpu}
        self.rows.append((tuple(tensors), {
            name: float(value) for name, value in values.items()
            if name not in tensors}))
        if tensors:
            dtype = functools.reduce(torch.promote_types, {
                value.dtype for value in tensors.values()}, torch.float32)
            self.vectors.append(torch.stack([
                value.to(dtype) for value in tensors.values()]))

    @torch.no_grad()
    def read(self, *extra: Tensor) -> tuple[list[dict[str, float]],
                                            list[float]]:
        """Empties the buffer with one copy from the device.

        Args:
            *extra (Tensor): Scalars that travel along.

        Returns:
            tuple: The iterations' values by name, and those of ``extra``.
        """
        # float64 holds every counter exactly
        parts = [part.reshape(-1).double() for part in (*self.vectors, *extra)]
        flat = iter(torch.cat(parts).tolist() if parts else [])
        rows = [{**{name: next(flat) for name in names}, **numbers}
                for names, numbers in self.rows]
        self.rows, self.vectors = [], []
        return rows, list(flat)


class IterationClock(Hook):
    """Times of the loop: waiting for data, and everything.

    It marks the end of an iteration after all other hooks, so that writing a
    log or a checkpoint does not count as waiting for data; validation counts
    as neither.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.mark = time.perf_counter()
        self.reset()

    def reset(self) -> None:
        """Begins a new interval."""
        self.images, self.waited, self.total = 0, 0.0, 0.0
        self.started = self.mark

    def arrived(self, images: int) -> None:
        """A batch of this many images is there."""
        self.images += images
        self.waited += time.perf_counter() - self.mark

    def figures(self) -> dict[str, float]:
        """``images/s`` and ``data_wait`` of the interval; starts the next."""
        now = time.perf_counter()
        total = self.total + now - self.started
        images, waited = self.images, self.waited
        self.mark = now
        self.reset()
        if total <= 0:
            return {}
        return {'images/s': images / total,
                'data_wait': min(1.0, waited / total)}

    def restart(self) -> None:
        """Whatever happened since the mark is not training."""
        self.total += self.mark - self.started
        self.mark = self.started = time.perf_counter()

    def before_train_epoch(self, runner: Any) -> None:
        """Leaves out what came between two epochs."""
        self.restart()

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """From here on the loop waits for data."""
        self.mark = time.perf_counter()

    def after_val(self, runner: Any) -> None:
        """Leaves out a validation within an epoch."""
        self.restart()


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """MMEngine's hook without its wait for the device at every value.

    Losses stay on the device and are read together, with one copy, right
    before ``LoggerHook`` writes (:func:`is_log_point`); smoothing over past
    iterations is as before. Works with any algorithm; with
    :class:`mimplug.OptimWrapper` it also tells the host how many steps were
    skipped, which schedules and ``mimplug.NonFiniteHook`` follow. Logged
    beside what the algorithm returns:

    - ``grad_norm``: before clipping; that of skipped steps is left out;
    - ``skipped``: steps so far whose loss or gradient was not finite, if any;
    - ``images/s``: of all processes, since the last log point;
    - ``data_wait``: share of that time spent waiting for the loader, [0, 1];
    - ``memory``: peak in MiB, of the process; on a GPU MMEngine's own figure,
      the largest allocated amount since the last log point.

    Args:
        history (int): Values kept a name, >= 1; more where ``log_processor``
            averages over more. Defaults to 1000.

    Raises:
        ConfigError: ``history`` < 1.
    """

    def __init__(self, history: int = 1000) -> None:
        if history < 1:
            raise ConfigError(f'history={history}: must be >= 1')
        self.history = history
        self.buffer = ScalarBuffer()
        self.clock = IterationClock()

    def before_run(self, runner: Any) -> None:
        """Hooks the clock in."""
        super().before_run(runner)
        if self.clock not in runner.hooks:
            runner.register_hook(self.clock)

    def before_train(self, runner: Any) -> None:
        """Finds out how much history the log wants."""
        super().before_train(runner)
        windows = dict(epoch=len(runner.train_dataloader),
                       **{'global': runner.max_iters})
        wanted = [runner.log_processor.window_size, *(
            cfg.get('window_size') for cfg in runner.log_processor.custom_cfg)]
        self.limit = max(self.history, *(
            int(windows.get(size, size)) for size in wanted if size))
        self.clock.restart()
        self.clock.reset()

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Iteration, learning rates, and the clock."""
        self.clock.arrived(self._images(runner, data_batch))
        super().before_train_iter(runner, batch_idx, data_batch)

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Keeps the values; at a log point reads them all."""
        self.buffer.add({**(outputs or {}), **self._norm(runner)})
        if is_log_point(runner, batch_idx):
            self.flush(runner)

    def flush(self, runner: Any) -> None:
        """Moves everything to the message hub, with one copy.

        Args:
            runner (Runner): Inside a training loop.
        """
        wrapper, hub = runner.optim_wrapper, runner.message_hub
        guarded = hasattr(wrapper, 'note_counts')
        counters = (wrapper.skipped, wrapper.consecutive) if guarded else ()
        counts = self._settle(hub, *counters)
        if guarded:
            skipped, consecutive = map(int, counts)
            wrapper.note_counts(skipped, consecutive)
            if skipped:
                hub.update_scalar('train/skipped', skipped)
        for name, value in self._figures():
            hub.update_scalar(f'train/{name}', value)
        for buffer in hub.log_scalars.values():
            buffer.max_length = self.limit  # it cuts at its next value

    def settle(self, runner: Any) -> None:
        """Moves what is kept to the message hub, for a checkpoint.

        Unlike :meth:`flush` nothing else changes: skipped steps become known
        at log points only, wherever a run was saved.

        Args:
            runner (Runner): Inside a training loop.
        """
        self._settle(runner.message_hub)

    def _settle(self, hub: MessageHub, *extra: Tensor) -> list[float]:
        """Empties the buffer into the hub; values of ``extra``."""
        rows, counts = self.buffer.read(*extra)
        for row in rows:
            for name, value in row.items():
                if name != 'grad_norm' or value - value == 0:
                    hub.update_scalar(f'train/{name}', value)
        return counts

    def _norm(self, runner: Any) -> dict[str, Tensor]:
        """The norm of this iteration's step, if it made one."""
        wrapper = runner.optim_wrapper
        norm = getattr(wrapper, 'grad_norm', None)
        if norm is None or not wrapper.should_update():
            return {}
        return dict(grad_norm=norm)

    def _figures(self) -> Iterator[tuple[str, float]]:
        """Throughput and memory of this interval."""
        yield from self.clock.figures().items()
        peak = peak_resident()
        # LogProcessor adds its own "memory" where there is a GPU
        if peak and not (is_cuda_available() or is_musa_available()):
            yield 'memory', peak

    @staticmethod
    def _images(runner: Any, data_batch: Any) -> int:
        """Images of an iteration, on all processes."""
        samples = data_batch.get('data_samples') if isinstance(
            data_batch, Mapping) else None
        images = len(samples) if samples is not None else (
            runner.train_dataloader.batch_size or 0)
        return int(images * dist.get_world_size())
