"""Ends a run in good order when the system or the user asks for it."""
from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mmengine import dist
from mmengine.hooks import Hook

from mimplug.errors import Interrupted, check_choice
from mimplug.registry import HOOKS

from ..checkpoint import at_boundary
from .agreement import Agreement
from .checkpoint import CheckpointHook

REQUEUE_CODE = 75  # EX_TEMPFAIL of sysexits.h: try again
INTERRUPT_CODE = 130  # what shells give for Ctrl-C
CODES = (0, REQUEUE_CODE, INTERRUPT_CODE)
# Launchers pass a signal on that the terminal has sent to everybody.
ECHO_SECONDS = 1.0


@HOOKS.register_module()
class SignalHook(Hook):
    """Saves and stops at the end of an optimiser step after a signal.

    A cluster announces the end of a job, a user presses Ctrl-C: the run goes
    on to the end of the optimiser step on which all ranks agree (one or two
    steps later), saves by :class:`mimplug.CheckpointHook`, and raises
    :class:`mimplug.errors.Interrupted`. The command line turns that into the
    exit code: 75 asks for being started again with ``--resume``, 130 does not.
    The same signal once more, a second or more later, acts at once, as it
    would without this hook. Loader workers are shielded. During a validation
    the run first finishes it.

    Nothing is read from the device, and a step waits for no other rank than
    before: the ranks' answers travel while the next step is computed.

    Args:
        requeue (Sequence[str]): Signals for exit code 75. Defaults to
            ``('SIGTERM', 'SIGUSR1')``.
        stop (Sequence[str]): Signals for exit code 130. Defaults to
            ``('SIGINT', )``. With both empty the hook does nothing.

    Raises:
        ConfigError: There is no signal of this name.
    """

    priority = 'LOWEST'  # what other hooks do after a step is part of it

    def __init__(self, requeue: Sequence[str] = ('SIGTERM', 'SIGUSR1'),
                 stop: Sequence[str] = ('SIGINT', )) -> None:
        known = [number.name for number in signal.Signals
                 if number not in (signal.SIGKILL, signal.SIGSTOP)]
        self.meaning: dict[int, int] = {}
        for level, names in enumerate((requeue, stop), 1):
            for name in names:
                check_choice('signal', name, known)
                self.meaning[signal.Signals[name]] = level
        self.asked = 0
        self.pid = os.getpid()
        self._first: dict[int, float] = {}
        self._former: dict[int, Any] = {}
        self._agreement: Agreement | None = None

    def before_train(self, runner: Any) -> None:
        """Takes over the signals, and shields loader workers from them."""
        self.pid, self.asked = os.getpid(), 0
        self._first.clear()
        if not self.meaning:
            return
        if threading.current_thread() is threading.main_thread():
            for number in self.meaning:
                self._former[number] = signal.signal(number, self._note)
        else:
            runner.logger.info('SignalHook: not in the main thread of the '
                               'process, which alone receives signals')
        self._agreement = Agreement()
        loaders: list[Any] = [getattr(loop, 'dataloader', None) for loop in (
            runner.train_loop, runner.val_loop)]
        for loader in loaders:
            if getattr(loader, 'num_workers', 0):
                loader.worker_init_fn = WorkerShield(
                    tuple(self.meaning), loader.worker_init_fn)

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Stops if the ranks have agreed to.

        Raises:
            Interrupted: They have, and the run is saved.
        """
        if self._agreement is None or not at_boundary(runner):
            return
        agreed = self._agreement.exchange(self.asked)
        # a run that is done ends by itself
        if agreed and not self.is_last_train_iter(runner):
            self._stop(runner, agreed)

    def after_train(self, runner: Any) -> None:
        """Gives the signals back."""
        if self._agreement is not None:
            self._agreement.close()
        self.release()

    def release(self) -> None:
        """Puts back the handlers that were there before the run."""
        former, self._former = self._former, {}
        for number, handler in former.items():
            # None: somebody set it from outside Python
            signal.signal(number, handler or signal.SIG_DFL)

    def _note(self, number: int, frame: Any) -> None:
        """The handler: remembers; of a repeated signal: lets it act."""
        now = time.monotonic()
        first = self._first.setdefault(number, now)
        if os.getpid() != self.pid or now - first >= ECHO_SECONDS:
            act_at_once(number)
            return
        if now == first:
            name = signal.Signals(number).name
            # no logger: its locks may be held where the signal hit
            os.write(2, f'{name}: the run saves and stops after this step; '
                        f'once more: at once\n'.encode())
        self.asked = max(self.asked, self.meaning[number])

    def _stop(self, runner: Any, level: int) -> NoReturn:
        """Saves, which all ranks wait for, and leaves the loop."""
        hooks = [hook for hook in runner.hooks
                 if isinstance(hook, CheckpointHook)]
        # the last one is the main one: milestones come first
        path = hooks[-1].save_now(runner) if hooks else None
        self.release()
        state = (f'checkpoint {path}; the same command with --resume goes on'
                 if path else 'there is no checkpoint of it')
        message = f'stopped by a signal after {runner.iter + 1} ' \
                  f'iterations; {state}'
        runner.logger.info(message)
        raise Interrupted(message if dist.is_main_process() else '',
                          CODES[level])


def act_at_once(number: int) -> None:
    """Lets a signal do what it does to a program that does not handle it.

    Args:
        number (int): The signal; Ctrl-C raises ``KeyboardInterrupt``.
    """
    signal.signal(number, signal.default_int_handler
                  if number == signal.SIGINT else signal.SIG_DFL)
    os.kill(os.getpid(), number)


class WorkerShield:
    """Start of a loader worker: signals to all processes do not end it.

    Its parent still needs batches to reach the end of the step. A SIGTERM of
    the parent itself ends it at once: so Python ends workers that are left
    when the program is over, and it waits for them. Of others the second one
    does.

    Args:
        numbers (tuple[int, ...]): Signals that the parent handles.
        inner (Callable, optional): The ``worker_init_fn`` of before.
    """

    def __init__(self, numbers: tuple[int, ...],
                 inner: Callable[[int], Any] | None) -> None:
        self.numbers = numbers
        self.inner = inner

    def __call__(self, worker_id: int) -> None:
        """Runs in the worker."""
        for number in self.numbers:
            if number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
        # macOS cannot ask for the sender; there the first one ends it
        if signal.SIGTERM in self.numbers and hasattr(signal, 'sigwaitinfo'):
            # a handler would not learn who sent it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_await_end, daemon=True).start()
        if self.inner is not None:
            self.inner(worker_id)


def _await_end() -> None:
    """Ends the worker by a SIGTERM of its parent, or the second of others."""
    for _ in range(2):
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == os.getppid():
            # as torch's own handler: no error that a worker was killed
            os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
