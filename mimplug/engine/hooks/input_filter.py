"""The filter of pre-training, in front of any fine-tuned backbone."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor
from torch import nn

from mimplug.errors import ConfigError
from mimplug.evaluation import bare_model
from mimplug.models.run_record import (
    META_KEY,
    mark_filtered,
    run_record,
    saved_record,
)
from mimplug.models.targets import build_input_filter
from mimplug.registry import HOOKS

from ..checkpoint import read_header


@HOOKS.register_module()
class InputFilterHook(Hook):
    """Filters what ``model.backbone`` gets: classifiers, detectors, others.

    For linear probes, fine-tuning and evaluation of an encoder that was
    pre-trained on filtered images, without a change of the model. It acts in
    training, validation and test, and is recorded in the checkpoints that the
    run writes. Pre-training algorithms filter by themselves: use their
    ``input_filter``, or that of ``mimplug.MaskingDataPreprocessor``.

    A detector pads images after normalisation; the filter sees the step at
    the border of the padding.

    Args:
        input_filter (dict | nn.Module, optional): For example
            ``dict(type='mimplug.HighPass')``.
        checkpoint (str, optional): File of the pre-training run on this
            machine, whose recorded filter is taken, or none if it had none.
            One of the two is needed.

    Raises:
        ConfigError: Both or neither is given, the file has no record, or the
            model has a filter of its own.

    Example (config):
        >>> custom_hooks = [dict(
        ...     type='mimplug.InputFilterHook',
        ...     input_filter=dict(type='mimplug.HighPass'))]
    """

    priority = 'VERY_HIGH'  # weights are initialised and loaded behind it

    def __init__(self,
                 input_filter: Mapping[str, Any] | nn.Module | None = None,
                 checkpoint: str | Path | None = None) -> None:
        if (input_filter is None) == (checkpoint is None):
            raise ConfigError(
                'InputFilterHook: give input_filter=dict(...) or '
                'checkpoint=PATH, one of the two')
        if checkpoint is not None:
            input_filter = _recorded(checkpoint)
        self.input_filter = build_input_filter(input_filter)
        self._backbone: nn.Module | None = None

    def before_run(self, runner: Runner) -> None:
        """Puts the filter in its place, once a model.

        Args:
            runner (Runner): Owns the model.

        Raises:
            ConfigError: The model has no backbone, or a filter of its own.
        """
        model = bare_model(runner.model)
        backbone = getattr(model, 'backbone', None)
        if self.input_filter is None or (
                backbone is not None and backbone is self._backbone):
            return
        if not isinstance(backbone, nn.Module):
            raise ConfigError(
                f'InputFilterHook: {type(model).__name__} has no backbone')
        own = run_record(model)['input_filter']
        if isinstance(model, BaseSelfSupervisor) or own is not None:
            raise ConfigError(
                f'InputFilterHook: {type(model).__name__} '
                + ('has an input filter already' if own is not None else
                   'is a pre-training algorithm: its other encoders would '
                   'see unfiltered images')
                + '; use input_filter of the algorithm or of '
                'mimplug.MaskingDataPreprocessor')
        backbone.register_forward_pre_hook(self._before_forward)
        mark_filtered(model, self.input_filter)
        self._backbone = backbone
        runner.logger.info(f'Input filter: {self.input_filter}')

    def _before_forward(self, module: nn.Module, inputs: tuple) -> tuple:
        """The images, filtered, and what else the backbone gets."""
        return self.input_filter(inputs[0]), *inputs[1:]

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Records the filter also where MMEngine's own hook saves.

        Args:
            runner (Runner): Owns the model.
            checkpoint (dict): What will be saved.
        """
        checkpoint.setdefault('meta', {}).setdefault(
            META_KEY, run_record(bare_model(runner.model)))


def _recorded(checkpoint: str | Path) -> Any:
    """Settings of the filter that a file names, or None."""
    record = saved_record(read_header(checkpoint))
    if record is None:
        raise ConfigError(
            f'InputFilterHook: {checkpoint} does not say whether its images '
            "were filtered; give input_filter=dict(type='mimplug.HighPass') "
            'if they were, or leave the hook out')
    return record['input_filter']
