"""The photographs inside the package are what their script makes."""
from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimplug.datasets import embedded_root

SCRIPT = (Path(__file__).parents[2]
          / 'tools/dataset_converters/make_demo_photos.py')


@pytest.mark.asset('skimage-photos')
@pytest.mark.unit
def test_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [SCRIPT.name, str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name='__main__')
    kept = sorted(embedded_root('photos').glob('*.jpg'))
    assert [path.name for path in kept] == sorted(
        path.name for path in tmp_path.iterdir())
    for path in kept:
        old, new = (np.asarray(Image.open(one), float)
                    for one in (path, tmp_path / path.name))
        assert min(old.shape[:2]) <= 320
        # libraries of other versions round otherwise
        assert np.abs(old - new).mean() < 1
