"""Random masks: exact counts, even cells."""
from __future__ import annotations

import pytest

from mimplug.masking import NoMask, RandomMask


@pytest.mark.property
@pytest.mark.parametrize('ratio, count', [
    (0.0, 0), (1.0, 30), (0.3, 9), (0.33, 9), (0.02, 0)])
def test_exact_count(ratio, count, make_context):
    mask = RandomMask(ratio)(make_context())
    assert mask.tokens.sum(1).tolist() == [count] * 8
    assert mask.capacity == 8 * count


@pytest.mark.unit
def test_no_mask(make_context):
    mask = NoMask()(make_context(batch=3))
    assert (mask.batch, mask.grid, mask.capacity) == (6, (6, 5), 0)
    assert not mask.hidden.any()
