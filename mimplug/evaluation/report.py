"""The result of a pre-training run beside what it has to beat."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mimplug.errors import ConfigError, suggest
from mimplug.registry import HOOKS

from .feature_bank import choose_backbone
from .loop import KNNValLoop

FILE_NAME = 'knn_report.json'
# Under this name the report travels in the checkpoint's message hub.
HUB_KEY = 'knn_report'
# Larger images are averaged down before pixels are compared.
PIXEL_SIDE = 32
DEFAULT_K = 20


@HOOKS.register_module()
class KNNReportHook(Hook):
    """Prints the k-NN of the trained teacher beside three baselines.

    Before the first step it measures the same network as it starts (step 0)
    and the pixels of the normalised images; chance is the share of the
    largest class among the queries. Afterwards the table goes to the log and
    to ``knn_report.json`` in the work directory. The baselines are stored in
    the checkpoints, so a resumed run shows those of its own beginning. With
    ``precise_bn`` in the validation loop step 0 is measured with and without:
    an untrained network is often the better one with batch norms that do
    nothing.

    The measurement before training takes as long as one validation.

    Args:
        k (int, optional): Which k of the validation loop the table shows.
            Defaults to 20 if the loop has it, else to its largest.
        max_pixel_images (int): The pixel baseline is left out for banks
            larger than this, because its features are not compressed.
            Defaults to 60,000.

    Raises:
        ConfigError: The run validates with another loop, or ``k`` is not one
            of the loop's.
    """
    priority = 'LOW'

    def __init__(self, k: int | None = None, *,
                 max_pixel_images: int = 60_000) -> None:
        self.k = k
        self.max_pixel_images = max_pixel_images
        self.report: dict[str, Any] = {}
        self._last: tuple[int, dict[str, float]] | None = None

    def before_train(self, runner: Runner) -> None:
        """Measures the baselines, or takes them over from the checkpoint.

        Args:
            runner (Runner): The runner.
        """
        loop = self._loop(runner)
        if loop is None:
            runner.logger.warning(
                'KNNReportHook has nothing to report: the run has no val_cfg')
            return
        self._last = None
        if runner.iter > 0:
            self.report = _recall(runner)
            self.report.update(self._settings(loop))
        else:
            self.report = self._settings(loop)
            self._measure_baselines(runner, loop)
        self._store(runner)

    def after_val_epoch(self, runner: Runner,
                        metrics: Mapping[str, float] | None = None) -> None:
        """Remembers the latest metrics of the loop.

        Args:
            runner (Runner): The runner.
            metrics (dict): What the loop measured.
        """
        if metrics is not None:
            self._last = runner.iter, dict(metrics)

    def after_train(self, runner: Runner) -> None:
        """Measures the trained network and reports.

        Args:
            runner (Runner): The runner.
        """
        loop = self._loop(runner)
        if loop is None:
            return
        if self._last is None or self._last[0] != runner.iter:
            self._last = runner.iter, loop.measure()
        self.report['iterations'] = runner.iter
        self.report['end'] = self._last[1]
        self._store(runner)
        runner.logger.info(format_report(self.report))

    def _loop(self, runner: Runner) -> KNNValLoop | None:
        """The validation loop, if the run has one."""
        loop = runner.val_loop
        if loop is not None and not isinstance(loop, KNNValLoop):
            raise ConfigError(
                'KNNReportHook needs val_cfg.type=mimplug.KNNValLoop, the '
                f'run validates with {type(loop).__name__}')
        return loop

    def _settings(self, loop: KNNValLoop) -> dict[str, Any]:
        """What the numbers of the report mean."""
        protocol = loop.protocol
        k = self.k
        if k is None:
            k = DEFAULT_K if DEFAULT_K in protocol.k else protocol.k[-1]
        if k not in protocol.k:
            raise ConfigError(
                f'KNNReportHook: k={k}; {suggest(k, protocol.k)} '
                '(val_cfg.k)')
        model = loop.runner.model
        is_teacher = choose_backbone(model, protocol.key) is not (
            choose_backbone(model, 'student'))
        return dict(network='teacher' if is_teacher else 'student', k=k,
                    temperature=protocol.temperature)

    def _measure_baselines(self, runner: Runner, loop: KNNValLoop) -> None:
        """Step 0, pixels, chance."""
        protocol, model = loop.protocol, runner.model
        device = next(model.parameters()).device
        bank, queries = protocol.extract(model)
        step0 = protocol.accuracy(bank, queries, device)
        runner.visualizer.add_scalars(step0, step=0)
        labels = queries.labels[queries.labels >= 0]
        if protocol.precise_bn:
            # a random network may be better without, so both are shown
            plain = replace(protocol, precise_bn=0)
            self.report['step0_plain'] = plain.accuracy(
                *plain.extract(model), device)
        self.report.update(
            step0=step0, bank_images=bank.num_labelled,
            query_images=len(labels),
            chance=100.0 * int(labels.bincount().max()) / len(labels))
        if len(bank) > self.max_pixel_images:
            runner.logger.info(
                f'KNNReportHook: no pixel baseline for {len(bank)} images '
                f'(max_pixel_images={self.max_pixel_images})')
            return
        bank, queries = protocol.extract(
            model, encoder=pixels, storage=torch.float16)
        self.report['pixels'] = protocol.accuracy(bank, queries, device)

    def _store(self, runner: Runner) -> None:
        """Into the message hub (for the next checkpoint) and the file."""
        text = json.dumps(self.report, indent=2, sort_keys=True)
        runner.message_hub.update_info(HUB_KEY, text)
        if dist.is_main_process():
            Path(runner.work_dir, FILE_NAME).write_text(text + '\n')


def pixels(images: Tensor) -> Tensor:
    """Returns the pixels of images as features, at most 32 a side.

    Args:
        images (Tensor): (b, C, H, W), normalised as for the network: on
            centred pixels the cosine tells images apart better than on
            positive ones.

    Returns:
        Tensor: (b, C * h * w).
    """
    height, width = images.shape[-2:]
    if max(height, width) > PIXEL_SIDE:
        images = F.adaptive_avg_pool2d(
            images, (min(height, PIXEL_SIDE), min(width, PIXEL_SIDE)))
    return images.flatten(1)


def format_report(report: Mapping[str, Any]) -> str:
    """Returns the table of a report, one line a row.

    Args:
        report (dict): As in ``knn_report.json``.

    Returns:
        str: Title and four rows, five with ``precise_bn``; differences are
        those of the trained network.
    """
    name = f'knn/top1_k{report["k"]}'
    end = report['end'][name]
    title = (f'k-NN top-1 in %, k {report["k"]}, temperature '
             f'{report["temperature"]:g}')
    if 'bank_images' in report:
        title += (f'; {report["bank_images"]} labelled images vote on '
                  f'{report["query_images"]}')
    network = report['network']
    rows = [
        (f'{network} after {report["iterations"]} iterations', end),
        (f'{network} at step 0', report.get('step0', {}).get(name)),
        *([('the same, batch norms not recalibrated',
            report['step0_plain'].get(name))]
          if 'step0_plain' in report else []),
        ('raw pixels, normalised', report.get('pixels', {}).get(name)),
        ('chance: largest class of the queries', report.get('chance')),
    ]
    width = max(len(label) for label, _ in rows)
    lines = [title]
    for label, value in rows:
        number = '  n/a' if value is None else f'{value:5.1f}'
        gain = '' if value is None or label == rows[0][0] else (
            f'   ({end - value:+.1f} over it)')
        lines.append(f'  {label:<{width}}  {number}{gain}')
    return '\n'.join(lines)


def _recall(runner: Runner) -> dict[str, Any]:
    """The report of the run that is resumed, or a warning."""
    text = runner.message_hub.runtime_info.get(HUB_KEY)
    path = Path(runner.work_dir, FILE_NAME)
    if text is None and path.is_file():
        text = path.read_text()
    if text is None:
        runner.logger.warning(
            f'KNNReportHook: resumed at iteration {runner.iter} without the '
            'baselines of the beginning; they cannot be measured now')
        return {}
    report = json.loads(text)
    return {key: value for key, value in report.items()
            if key not in ('end', 'iterations')}
