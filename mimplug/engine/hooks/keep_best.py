"""Weights of the best validation, without a moment that has none."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import Runner

from mimplug.errors import ConfigError, suggest


class KeepBest(_CheckpointHook):
    """The part of :class:`mimplug.CheckpointHook` behind ``save_best``.

    MMEngine's hook removes the old best file and then writes the new one;
    here it is the other way round.
    """
    last_ckpt: str | None
    saved_at: int | None

    def _write(self, runner: Runner, name: str, epoch: int, iterations: int,
               **parts: bool) -> bool:
        """Writes a file; False if that failed."""
        raise NotImplementedError

    def _remove(self, runner: Runner, path: str) -> None:
        """Removes a file."""
        raise NotImplementedError

    def _save_named(self, runner: Runner, name: str, epoch: int,
                    iterations: int) -> None:
        """Saves everything of a run."""
        raise NotImplementedError

    def _save_best_checkpoint(self, runner: Runner,
                              metrics: Mapping[str, Any]) -> None:
        """Saves the weights for each metric that is better than ever."""
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        better = [self._save_if_best(runner, name, rule, metrics)
                  for name, rule in zip(self.key_indicators, self.rules)]
        # the latest file would not know the new best value
        if any(better) and self.saved_at == runner.iter:
            self._save_named(runner, Path(str(self.last_ckpt)).name,
                             runner.epoch, runner.iter)

    def _save_if_best(self, runner: Runner, metric: str, rule: str,
                      metrics: Mapping[str, Any]) -> bool:
        """Writes the new file, then removes the old one."""
        if metric not in metrics:
            raise ConfigError(f'CheckpointHook: save_best={metric!r}: '
                              f'{suggest(metric, metrics)}')
        known = runner.message_hub.runtime_info
        tail = '' if len(self.key_indicators) == 1 else f'_{metric}'
        score, before = metrics[metric], known.get(f'best_score{tail}')
        if score is None or not self.is_better_than[metric](
                score, self.init_value_map[rule] if before is None
                else before):
            return False
        old = known.get(f'best_ckpt{tail}')
        number = runner.epoch if self.by_epoch else runner.iter
        name = f'best_{metric}_{self.filename_tmpl.format(number)}'.replace(
            '/', '_')
        path = self.file_backend.join_path(self.out_dir, name)
        notes = {f'best_score{tail}': score, f'best_ckpt{tail}': path}
        for key, value in notes.items():
            runner.message_hub.update_info(key, value)
        if not self._write(runner, name, runner.epoch, runner.iter,
                           save_optimizer=False, save_param_scheduler=False):
            known.update({f'best_score{tail}': before,
                          f'best_ckpt{tail}': old})
            return False
        if old and old != path:
            self._remove(runner, old)
        if tail:
            self.best_ckpt_path_dict[metric] = path
        else:
            self.best_ckpt_path = path
        runner.logger.info(f'Best {metric} so far: {score:0.4f}, in {name}')
        return True
