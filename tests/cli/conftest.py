"""A config whose training takes a second."""
from __future__ import annotations

import pytest
from toy import CONFIG


@pytest.fixture
def toy_config(monkeypatch, tmp_path):
    """Path of the config, in an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'toy_config.py'
    path.write_text(CONFIG)
    return path
