"""Composites of synthetic sources."""
from __future__ import annotations

import pytest
from toy_sources import write_sources

from mimplug.datasets import Composites


@pytest.fixture(scope='session')
def sources(tmp_path_factory):
    """Folders of cut-outs and of backgrounds."""
    return write_sources(tmp_path_factory.mktemp('sources'))


@pytest.fixture
def make(sources):
    """Builds a small data set."""

    def build(**kwargs):
        return Composites(*sources, **{
            'num_samples': 6, 'size': (40, 64), 'object_size': (12, 30),
            **kwargs})

    return build
