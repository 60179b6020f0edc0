"""What encoders of masked siamese networks see, as rows of a gallery."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mimplug.evaluation.feature_bank import evaluating
from mimplug.masking import ImageMasker
from mimplug.schedules import Progress

from .gallery import GalleryRow, render_gallery
from .mask_grid import overlay_hidden, to_pictures
from .networks import normalised, unit_range

STEPS, EPOCHS = 1000, 100


class Part(NamedTuple):
    """Images that an encoder sees beside the clean ones.

    Args:
        name (str): In large letters.
        notes (tuple[str, ...]): Below it.
        images (Tensor): (B, 3, H, W), as the encoder gets them.
        hidden (Tensor | None): (B, C, Hp, Wp) bool.
    """
    name: str
    notes: tuple[str, ...]
    images: Tensor
    hidden: Tensor | None = None


def is_siamese(model: Any) -> bool:
    """Whether a model masks or mixes whole images.

    Args:
        model (nn.Module | None): One of ours, or a stock one behind
            ``mimplug.MaskingDataPreprocessor``.
    """
    return hasattr(model, 'view_masks') or hasattr(
        getattr(model, 'data_preprocessor', None), 'maskers')


def siamese_parts(model: Any, views: list[Tensor]
                  ) -> Iterator[Part]:
    """Masked views, hard negatives and mixtures of a batch.

    Args:
        model (nn.Module): See :func:`is_siamese`; it knows its position.
        views (list[Tensor]): Two views (B, 3, H, W), normalised.

    Yields:
        Part: In the order in which the config names them.
    """
    if not hasattr(model, 'view_masks'):
        yield from _stock_parts(model.data_preprocessor, views)
        return
    seen = model.look(views)
    masks = iter(seen.masks)
    for part in model.view_masks:
        for view in part.views:
            query = 'query' in part.branches
            yield Part(f'view {view}, {part.branch}', _words(part.masker),
                       (seen.query if query else seen.key)[view],
                       next(masks).hidden if query else None)
    for images in model.hard_images(seen, 0):
        yield Part('hard negative', _words(model.hard_negative.masker),
                   images)
    for mixer, mixed in zip(model.mixes, model.mixtures(seen, 0)):
        yield Part(type(mixer).__name__,
                   (f'own share {mixed.lam.mean():.0%}', ), mixed.images)


def _stock_parts(prepare: Any, views: list[Tensor]) -> Iterator[Part]:
    """Those of a stock algorithm, by its data preprocessor."""
    for view, masker in sorted(prepare.maskers.items()):
        images = views[view]
        maps = prepare.saliency(images, view=view) if (
            masker.needs.saliency) else None
        if prepare.input_filter is not None:
            images = prepare.input_filter(images)
        images, mask = masker(images, prepare.draws(None, view, len(images)),
                              prepare.progress, maps)
        yield Part(f'view {view}', _words(masker), images, mask.hidden)


def _words(masker: ImageMasker) -> tuple[str, ...]:
    """Generator and fill."""
    return (type(masker.mask_generator).__name__,
            f'filled by {type(masker.fill).__name__}')


def _prepare(model: Any, seed: int, fraction: float) -> Any:
    """Tells the model where it stands; returns what normalises."""
    prepare: Any = model.data_preprocessor
    owner = model if hasattr(model, 'view_masks') else prepare
    owner.draws_seed = seed
    step = round(fraction * STEPS)
    owner.set_progress(
        Progress(step, STEPS, round(fraction * EPOCHS), EPOCHS))
    return getattr(prepare, 'base', prepare)


def siamese_gallery(model: Any, images: Tensor, *,
                    title: str = '', source: str = '', seed: int = 0,
                    fraction: float = 0.5, cell: int = 160) -> np.ndarray:
    """Draws images, what is hidden of them, and what encoders see.

    Args:
        model (nn.Module): See :func:`is_siamese`; its own localiser marks
            the object.
        images (Tensor): (B, 3, H, W) in [0, 1]; both views of an image.
        title (str): A line on top. Defaults to none.
        source (str): What the weights are. Defaults to nothing said.
        seed (int): Of the draws. Defaults to 0.
        fraction (float): Share of the run that is done. Defaults to 0.5.
        cell (int): Least size of a picture in pixels. Defaults to 160.

    Returns:
        ndarray: (height, width, 3) uint8.

    Raises:
        ConfigError: Masks or mixtures cannot work on this size.
    """
    base = _prepare(model, seed, fraction)
    with evaluating(model), torch.no_grad():
        parts = list(siamese_parts(model, [normalised(images, base)] * 2))
    pictures = to_pictures(images.numpy(), cell)
    rows = [GalleryRow('images', (), pictures)]
    filtered = _is_filtered(model)
    for part in parts:
        if part.hidden is not None:
            rows.append(GalleryRow(
                part.name, (*part.notes, f'hidden '
                            f'{part.hidden.float().mean():.0%}'),
                _covered(pictures, part.hidden)))
        seen = '' if part.hidden is None else ', seen'
        rows.append(GalleryRow(
            part.name + seen, () if seen else part.notes, to_pictures(
                _displayed(part.images, base, filtered), cell)))
    notes = [f'{len(images)} images, {fraction:.0%} of the training done.']
    saliency = getattr(model, 'saliency', None)
    if saliency is not None:
        notes.append(f'Saliency: {type(saliency).__name__}; {source}')
    return render_gallery(rows, title=title, notes=notes)


def _is_filtered(model: Any) -> bool:
    """Whether encoders see filtered images."""
    return any(getattr(owner, 'input_filter', None) is not None
               for owner in (model, model.data_preprocessor))


def _covered(pictures: list[np.ndarray], hidden: Tensor) -> list[np.ndarray]:
    """The pictures with their masks, one or three of each."""
    cells = hidden.numpy()
    cells = cells[:, 0] if cells.shape[1] == 1 else cells
    return [overlay_hidden(*pair) for pair in zip(pictures, cells)]


def _displayed(images: Tensor, base: Any, filtered: bool) -> np.ndarray:
    """Images of an encoder in [0, 1]; filtered ones around grey."""
    if filtered:
        return np.asarray((0.5 + images.float() / 4).clamp(0, 1))
    return unit_range(images, base)
