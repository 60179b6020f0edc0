"""Loads the checkpoint that is to be evaluated, whole or not at all."""
from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mimplug.converters import load_strict, read_file, select_state


class StrictLoadHook(Hook):
    """Reads a file without running its pickles; every tensor must fit.

    MMEngine's own loading only warns about tensors that do not.

    Args:
        path (str): Checkpoint of a run.

    Raises:
        CheckpointError: The file cannot be read.
    """

    priority = 'VERY_LOW'  # after the hooks that add models, such as EMAHook

    def __init__(self, path: str) -> None:
        self.path = path
        self.content: Any = read_file(path)

    def before_run(self, runner: Runner) -> None:
        """Loads.

        Args:
            runner (Runner): Its model receives the weights.

        Raises:
            CheckpointError: The file belongs to another model.
        """
        runner.call_hook('after_load_checkpoint', checkpoint=self.content)
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        load_strict(model, select_state(self.content, source=self.path),
                    resizable=('*pos_embed', ), source=self.path)
        runner.logger.info(f'Loaded {self.path}')
