"""Saves a run so that it can be taken up again, and finds where to start."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.dist import master_only
from mmengine.runner import Runner

from mimplug.errors import ConfigError, check_range
from mimplug.evaluation import bare_model
from mimplug.models.run_record import META_KEY, run_record
from mimplug.registry import HOOKS

from ..checkpoint import (
    at_boundary,
    choose_start,
    collect,
    gather_rng,
    position_of,
    publish,
    remove_leftovers,
    restore_rng,
    run_meta,
    save_bytes,
    save_file,
    take_up,
)
from .keep_best import KeepBest


@HOOKS.register_module()
class CheckpointHook(KeepBest):
    """Checkpoints that are whole, plain and exact.

    Differs from MMEngine's hook of this name, whose arguments it takes:

    - A file is written beside its place, forced to the disk and renamed; the
      old ones are removed afterwards. Whenever the process dies, a complete
      file is there. Without space on the disk the run goes on with a warning,
      keeps its older files and tries again at the next interval.
    - ``torch.load(weights_only=True)`` reads it: no pickled objects.
    - It holds the position in samples and the random generators of all ranks.
    - A save that falls inside an accumulation group waits for its end, that
      of an epoch, too: ``epoch_1.pth`` may be one or two iterations into the
      second epoch (with samplers of others; epochs of
      ``mimplug.KeyedSampler`` end with a step). MMEngine's own epoch loop
      cannot go on from there; with it such a file is saved at once.
    - A resumed run starts from the complete file that is furthest ahead,
      not from the one that was written last
      (:func:`mimplug.engine.checkpoint.find_latest`).

    Args:
        interval (int): Epochs or iterations between two saves; -1: only what
            the other arguments ask for. Defaults to -1.
        by_epoch (bool): Unit of ``interval``. Defaults to True.
        save_optimizer (bool): Whether to save the optimiser; without it a run
            cannot be resumed exactly. Defaults to True.
        save_param_scheduler (bool): Whether to save the schedulers.
            Defaults to True.
        out_dir (str, optional): Parent of the folder of the checkpoints,
            which is named as the work directory. Defaults to None: the work
            directory itself.
        max_keep_ckpts (int): Files to keep; -1: all. Defaults to -1.
        save_last (bool): Whether to save at the end of the run.
            Defaults to True.
        save_best (str | list[str], optional): Metrics whose best value is
            saved; ``'auto'``: the first one. Such a file has no optimiser.
        rule (str | list[str], optional): ``'greater'`` or ``'less'``.
            Defaults to None: by the name of the metric.
        greater_keys (list[str], optional): Names for which greater is better.
        less_keys (list[str], optional): Names for which less is better.
        filename_tmpl (str, optional): With one ``{}``. Defaults to None:
            ``epoch_{}.pth`` or ``iter_{}.pth``.
        backend_args (dict, optional): Arguments of a remote file back end.
        published_keys (str | list[str], optional): Entries of a small copy
            that is written after the training.
        save_begin (int): First epoch or iteration to save. Defaults to 0.
        history (int): Latest values kept of each logged scalar, >= 1.
            Defaults to 1000.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, interval: int = -1, by_epoch: bool = True, *,
                 save_optimizer: bool = True,
                 save_param_scheduler: bool = True,
                 out_dir: str | Path | None = None,
                 max_keep_ckpts: int = -1,
                 save_last: bool = True,
                 save_best: str | list[str] | None = None,
                 rule: str | list[str] | None = None,
                 greater_keys: list[str] | None = None,
                 less_keys: list[str] | None = None,
                 filename_tmpl: str | None = None,
                 backend_args: dict | None = None,
                 published_keys: str | list[str] | None = None,
                 save_begin: int = 0,
                 history: int = 1000) -> None:
        check_range('history', history, 1, 10**6)
        try:
            super().__init__(
                interval, by_epoch, save_optimizer, save_param_scheduler,
                None if out_dir is None else str(out_dir), max_keep_ckpts,
                save_last, save_best, rule, greater_keys, less_keys,
                filename_tmpl=filename_tmpl, backend_args=backend_args,
                published_keys=published_keys, save_begin=save_begin)
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f'CheckpointHook: {error}') from error
        if self.filename_tmpl.count('{}') != 1:
            raise ConfigError(f'filename_tmpl={filename_tmpl!r}: must hold '
                              "one '{}', the place of the number")
        self.history = history
        self.last_ckpt: str | None = None
        self.kept: list[str] = []
        self.saved_at: int | None = None
        self._waiting = False
        self._rng: tuple[Any, int] | None = None

    def before_run(self, runner: Runner) -> None:
        """Chooses the file to go on from."""
        choose_start(runner)

    def after_load_checkpoint(self, runner: Runner,
                              checkpoint: dict) -> None:
        """Unpacks what MMEngine will read; keeps the random generators."""
        rng = take_up(runner, checkpoint)
        if rng is not None:
            self._rng = rng, checkpoint['meta']['iter']

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder.

        Args:
            runner (Runner): The runner.
        """
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            self.kept = runner.message_hub.runtime_info.get(
                self._kept_key, [self.filename_tmpl.format(number)
                                 for number in self.keep_ckpt_ids])
            self._prune(runner)
        if dist.is_main_process():
            for name in remove_leftovers(self.out_dir):
                runner.logger.info(f'Removed {name}, left by a run that died')

    def before_train_epoch(self, runner: Runner) -> None:
        """Sets the random generators of a resumed run."""
        self._restore_rng(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """The same, where a validation comes first."""
        self._restore_rng(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Saves if it is time and an optimiser step has just ended."""
        last = not self.by_epoch and (
            self.save_last and self.is_last_train_iter(runner))
        self._waiting |= not self.by_epoch and self.every_n_train_iters(
            runner, self.interval, self.save_begin)
        if last or (self._waiting and at_boundary(runner)):
            self._save_due(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Saves if it is time and an optimiser step has just ended."""
        if not self.by_epoch:
            return
        last = self.save_last and self.is_last_train_epoch(runner)
        self._waiting |= self.every_n_epochs(
            runner, self.interval, self.save_begin)
        can_wait = hasattr(runner.train_loop, 'position_at')
        if last or (self._waiting and (at_boundary(runner) or not can_wait)):
            self._save_due(runner, runner.epoch + 1, runner.iter)

    def _save_due(self, runner: Runner, epoch: int, iterations: int) -> None:
        """Saves under the number of what is done."""
        self._waiting = False
        number, unit = (epoch, 'epochs') if self.by_epoch else (
            iterations, 'iterations')
        runner.logger.info(f'Saving checkpoint at {number} {unit}')
        self._save_named(runner, self.filename_tmpl.format(number), epoch,
                         iterations)

    def save_now(self, runner: Runner) -> str | None:
        """Saves in ``after_train_iter``, whatever the interval.

        Args:
            runner (Runner): The runner; all ranks must call it.

        Returns:
            str | None: The latest checkpoint, this one unless it failed.
        """
        if self.saved_at != runner.iter + 1:
            self._save_named(runner, f'iter_{runner.iter + 1}.pth',
                             runner.epoch, runner.iter + 1)
        return self.last_ckpt

    @property
    def _kept_key(self) -> str:
        """Where the message hub notes the files of this hook."""
        return f'checkpoints/{self.filename_tmpl}'

    def _restore_rng(self, runner: Runner) -> None:
        """Once, at the first moment after the loop has started."""
        if self._rng is None:
            return
        saved, iterations = self._rng
        self._rng = None
        if not restore_rng(saved, runner.seed, iterations):
            runner.logger.info(
                f'{len(saved["ranks"])} process(es) wrote the checkpoint, '
                f'{dist.get_world_size()} read it: global random generators '
                'start anew')

    def _save_named(self, runner: Runner, name: str, epoch: int,
                    iterations: int) -> None:
        """Saves everything, notes the file, removes old ones."""
        hub, before = runner.message_hub, (self.last_ckpt, self.kept)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        # what will be removed is still there while the file is written
        self.kept = [old for old in self.kept if old != name] + [name]
        hub.update_info('last_ckpt', self.last_ckpt)
        if self.max_keep_ckpts > 0:
            hub.update_info(self._kept_key, self.kept)
        if not self._write(runner, name, epoch, iterations,
                           save_optimizer=self.save_optimizer,
                           save_param_scheduler=self.save_param_scheduler):
            self.last_ckpt, self.kept = before
            return
        self.saved_at = iterations
        self._note_latest(runner)
        self._prune(runner)

    def _write(self, runner: Runner, name: str, epoch: int, iterations: int,
               **parts: bool) -> bool:
        """Gathers and writes; False if there was no room for it."""
        path = self.file_backend.join_path(self.out_dir, name)
        done = [True]
        try:
            if isinstance(runner, Runner):
                rng = gather_rng()
                if dist.is_main_process():
                    save_file(collect(
                        runner, run_meta(runner, epoch, iterations), rng=rng,
                        history=self.history, **parts), path,
                        self.backend_args)
            else:  # the strategy of a FlexibleRunner can gather shards
                runner.save_checkpoint(
                    self.out_dir, name, by_epoch=iterations == runner.iter,
                    meta={**position_of(runner, iterations), META_KEY:
                          run_record(bare_model(runner.model))},
                    backend_args=self.backend_args, **parts)
        except OSError as error:
            done = [False]
            runner.logger.warning(
                f'{path} could not be saved: {error}. The run goes on, older '
                'checkpoints stay; next attempt at the next interval')
        dist.broadcast_object_list(done)  # what follows is alike on all
        return done[0]

    @master_only
    def _note_latest(self, runner: Runner) -> None:
        """The note that MMEngine's tools read."""
        try:
            save_bytes(str(self.last_ckpt).encode(),
                       str(Path(runner.work_dir) / 'last_checkpoint'))
        except OSError as error:
            runner.logger.warning(f'last_checkpoint: {error}')

    def _prune(self, runner: Runner) -> None:
        """Removes the oldest files beyond ``max_keep_ckpts``."""
        if self.max_keep_ckpts > 0:
            surplus = self.kept[:-self.max_keep_ckpts]
            self.kept = self.kept[-self.max_keep_ckpts:]
            for name in surplus:
                self._remove(runner, self.file_backend.join_path(
                    self.out_dir, name))

    @master_only
    def _remove(self, runner: Runner, path: str) -> None:
        """Removes a file; a run does not die of one that stays."""
        try:
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # shards
                self.file_backend.rmtree(path)
        except OSError as error:
            runner.logger.warning(f'{path} could not be removed: {error}')

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """What MMEngine's hook calls after the training."""
        target = publish(ckpt_path, self.published_keys, self.backend_args)
        runner.logger.info(f'{ckpt_path} is published as {target}')
