"""Saliency maps on the grid of a mask; the rules: models/targets/test_scda."""
from __future__ import annotations

import pytest
import torch

from mimplug.masking import fit_saliency

GRID = (7, 7)


@pytest.mark.unit
def test_maps_of_any_size_fit_the_grid():
    saliency = torch.rand(3, 14, 21)
    fitted = fit_saliency(saliency, GRID)
    torch.testing.assert_close(
        fitted, saliency.unflatten(2, (7, 3)).unflatten(1, (7, 2)).mean(
            (2, 4)))
    assert fit_saliency(fitted, GRID) is fitted
    assert fit_saliency(saliency.bfloat16(), (20, 7)).shape == (3, 20, 7)
    flat = torch.full((1, 2, 2), 0.3)
    torch.testing.assert_close(
        fit_saliency(flat, (5, 3)), torch.full((1, 5, 3), 0.3))
    for wrong in (torch.rand(3, 1, 7, 7), torch.ones(3, 7, 7).bool()):
        with pytest.raises(ValueError, match=r'must be \(M, h, w\) floats'):
            fit_saliency(wrong, GRID)
