"""Rows that know of each other: only where it is said, and only so much."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from registered import (
    coupled,
    every_generator,
    keys_of,
    part_of,
    states,
)

from mimplug.masking import (
    MultiBlockMask,
    RatioSampler,
    build_generator,
)


class GivenRatio(RatioSampler):
    """Ratios that were drawn before."""

    def __init__(self, values, bounds):
        self.values, self.ends = values, bounds

    @property
    def bounds(self):
        return self.ends

    def __call__(self, context, name='ratio'):
        return self.values


def couplings(generator):
    """Parts of a generator through which rows may know of each other."""
    parts = getattr(generator, 'generators', None) or [generator]
    found = set()
    for part in parts:
        for name in ('ratio', 'score'):
            if getattr(getattr(part, name, None), 'batch_coupled', False):
                found.add(name)
        if isinstance(part, MultiBlockMask) and part.keep is None:
            found.add('dropped')
    return found


@pytest.mark.property
@every_generator
def test_coupling_is_declared_and_known(config):
    generator = build_generator(config)
    assert generator.batch_coupled == bool(couplings(generator))


@pytest.mark.property
@coupled
def test_coupling_is_only_the_documented_one(config, make):
    """With the coupled part given, a row is what it is in any batch."""
    generator = build_generator(config)
    known = couplings(generator)
    index = np.array([5, 2, 9, 14, 0, 3])
    # the released running sum knows the rows before, none of those behind
    part, views = (slice(0, 3), 1) if 'score' in known else (slice(1, 3), 2)
    whole = make(keys=keys_of(index), views=views)
    expected = states(generator(whole), views)
    if 'ratio' in known:
        drawn, bounds = generator.ratio(whole), generator.ratio.bounds
        generator.ratio = GivenRatio(
            drawn.reshape(views, 6)[:, part].ravel(), bounds)
    found = states(generator(part_of(make, whole, part, index)), views)
    if 'dropped' in known:
        expected, found = expected[:, :, :1], found[:, :, :1]
    assert torch.equal(found, expected[:, part])
