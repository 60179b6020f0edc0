"""Pictures of the masks while a run goes on."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor

from mimplug.engine.hooks.progress import run_progress
from mimplug.errors import ConfigError, check_choice
from mimplug.evaluation import bare_model
from mimplug.evaluation.feature_bank import evaluating
from mimplug.registry import HOOKS

from .mask_grid import render_mask_grid
from .networks import unit_range

FOLDER = 'vis'
SPLITS = ('train', 'val')


@HOOKS.register_module()
class MaskPictureHook(Hook):
    """Draws images, the teacher's attention and what is hidden.

    At the end of the run, and every ``interval`` epochs, one PNG goes to
    ``vis`` in the work directory and to the visualiser's back ends. The
    images are always the same, spread over the data set. The model must have
    ``preview_masks(inputs, data_samples)``, which gives ``images``
    (M, C, H, W) as the network gets them, ``attention`` (M, Hp, Wp) or None
    and ``hidden`` (M, Hp, Wp) bool, view-major.

    Args:
        interval (int, optional): Epochs between two pictures; None: only at
            the end. Defaults to None.
        num_images (int): Images to show. Defaults to 4.
        split (str): 'train' for training views, 'val' for the images of the
            validation pipeline. Defaults to 'train'.
        cell (int): Least size of one picture in pixels. Defaults to 160.

    Raises:
        ConfigError: A setting is out of range; at the start of the run also:
            no loader of that split, or a model without ``preview_masks``.
    """
    priority = 'LOW'

    def __init__(self, interval: int | None = None, num_images: int = 4, *,
                 split: str = 'train', cell: int = 160) -> None:
        for name, value in (('interval', interval),
                            ('num_images', num_images), ('cell', cell)):
            if value is not None and value < 1:
                raise ConfigError(f'{name}={value!r}: allowed is >= 1')
        check_choice('split', split, SPLITS)
        self.interval = interval
        self.num_images = num_images
        self.split = split
        self.cell = cell
        self._drawn_at = -1

    def before_run(self, runner: Runner) -> None:
        """Finds out early whether pictures can be drawn.

        Args:
            runner (Runner): The runner.
        """
        model = bare_model(runner.model)
        if not hasattr(model, 'preview_masks'):
            raise ConfigError(
                f'MaskPictureHook: {type(model).__name__} has no '
                'preview_masks, so there are no masks to draw')
        if self.split == 'val' and runner.val_loop is None:
            raise ConfigError(
                "MaskPictureHook: split='val', but the run has no val_cfg")

    def after_train_epoch(self, runner: Runner) -> None:
        """Draws if it is time.

        Args:
            runner (Runner): The runner.
        """
        if self.interval and self.every_n_epochs(runner, self.interval):
            self._draw(runner)

    def after_train(self, runner: Runner) -> None:
        """Draws the last picture.

        Args:
            runner (Runner): The runner.
        """
        self._draw(runner)

    @master_only
    def _draw(self, runner: Runner) -> None:
        """Writes one picture, once an iteration."""
        if self._drawn_at == runner.iter:
            return
        self._drawn_at = runner.iter
        preview = self._preview(runner)
        hidden = _array(preview['hidden'])
        attention = preview.get('attention')
        model = bare_model(runner.model)
        picture = render_mask_grid(
            unit_range(preview['images'], model.data_preprocessor),
            None if attention is None else _array(attention), hidden,
            num_views=len(hidden) // self._count(runner), cell=self.cell,
            title=f'iteration {runner.iter}: {hidden.mean():.0%} hidden')
        path = Path(runner.work_dir, FOLDER, f'masks_iter_{runner.iter}.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        runner.visualizer.add_image('masks', picture, step=runner.iter)
        runner.logger.info(f'Images, attention and masks: {path}')

    def _loader(self, runner: Runner) -> Any:
        """The loader of the split."""
        return (runner.train_dataloader if self.split == 'train'
                else runner.val_dataloader)

    def _count(self, runner: Runner) -> int:
        """Number of images, at most the data set."""
        return min(self.num_images, len(self._loader(runner).dataset))

    def _preview(self, runner: Runner) -> dict[str, Any]:
        """Runs the fixed images through pipeline, teacher and generator."""
        loader, count = self._loader(runner), self._count(runner)
        size = len(loader.dataset)
        samples = [loader.dataset[i * size // count] for i in range(count)]
        model = bare_model(runner.model)
        if hasattr(model, 'set_progress'):
            # a run that is resumed at its end has had no iteration to say so
            model.set_progress(run_progress(runner))
        with evaluating(model):
            batch = model.data_preprocessor(
                loader.collate_fn(samples), training=False)
            inputs = batch['inputs']
            views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
            preview: dict[str, Any] = model.preview_masks(
                views, batch['data_samples'])
        return preview


def _array(values: Tensor) -> np.ndarray:
    """On the host; bfloat16, which numpy lacks, as float32."""
    values = values.detach()
    if values.dtype is torch.bfloat16:
        values = values.float()
    return values.cpu().numpy()
