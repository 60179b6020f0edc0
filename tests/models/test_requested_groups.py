"""Which tokens and views are computed together."""
from __future__ import annotations

import pytest
import torch

from mimplug.models.requested import group_by_size


@pytest.mark.unit
def test_views_of_one_size_are_joined():
    views = [torch.full((2, 3, size, size), float(i))
             for i, size in enumerate((8, 8, 4, 8))]
    joined = group_by_size(views)
    assert [tuple(part.shape) for part in joined] == [
        (4, 3, 8, 8), (2, 3, 4, 4), (2, 3, 8, 8)]
    assert joined[0][:, 0, 0, 0].tolist() == [0, 0, 1, 1]
    assert group_by_size([]) == []
