"""The released draws of saliency masks as draws of ours."""
from __future__ import annotations

import numpy as np

# what `mixed` has to give for a focal, a spatial or a channel-wise row
STRATEGIES = np.array([0.1, 0.3, 0.8])
PROBS = (0.2, 0.24, 0.56)


def chances(foreground, front, back):
    """(M, L) numbers: the first of a permutation has the smallest.

    Args:
        foreground (ndarray): (M, L) of 0 and 1.
        front (ndarray): (M, L) permutations of the foreground cells, by
            position in their ascending list, then -1.
        back (ndarray): As ``front``, of the background cells; or None.
    """
    length = foreground.shape[1]
    table = np.tile(np.arange(length) / length, (len(foreground), 1))
    for row, cells in enumerate(foreground):
        for state, orders in ((1, front), (0, back)):
            if orders is None:
                continue
            listed = np.flatnonzero(cells == state)
            order = orders[row][orders[row] >= 0]
            table[row, listed[order]] = np.arange(len(order)) / length
    return table


def saliency_of(foreground, grid):
    """(M, h, w) maps that num_stds=0 turns into this foreground."""
    import torch
    assert foreground.any(1).all(), 'no map has an empty foreground'
    return torch.from_numpy(foreground.astype(np.float32)).view(-1, *grid)


def normalise(images):
    """uint8 (M, 3, H, W) as the encoders see it."""
    import torch
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def cell_statistics(images, cells):
    """Mean and root mean square of each cell, (M, 3, h, w) float64."""
    tall, wide = images.shape[2] // cells, images.shape[3] // cells
    parts = images.double().unfold(2, tall, tall).unfold(
        3, wide, wide).flatten(4)
    return parts.mean(4), parts.square().mean(4).sqrt()
