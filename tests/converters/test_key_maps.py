"""Tables of names and their directory."""
from __future__ import annotations

import pytest
import torch

from mimplug.converters import (
    IBOT,
    Renames,
    get_key_map,
    key_map_names,
    register_key_map,
    rename_all,
)
from mimplug.errors import CheckpointError, ConfigError

TABLE = Renames([('a.{i}.{p}', 'x.{i}.y.{p}'), ('mlp.{rest}', 'fc.{rest}'),
                 ('old.g', 'new.g'), ('older.g', 'new.g')])


@pytest.mark.property
@pytest.mark.parametrize('theirs, ours', [
    ('a.0.weight', 'x.0.y.weight'), ('a.11.bias', 'x.11.y.bias'),
    ('mlp.3.running_mean', 'fc.3.running_mean'), ('old.g', 'new.g')])
def test_both_ways(theirs, ours):
    assert TABLE.to_ours(theirs) == ours
    assert TABLE.to_theirs(ours) == theirs


@pytest.mark.unit
def test_only_whole_names_fit_and_the_first_row_counts():
    for name in ('a.0.weight.x', 'z.a.0.weight', 'a.b.weight', 'aX0.weight'):
        assert TABLE.to_ours(name) is None
    assert TABLE.to_ours('older.g') == 'new.g'
    assert TABLE.to_theirs('new.g') == 'old.g'


@pytest.mark.unit
def test_unknown_and_colliding_names():
    one = torch.ones(1)
    with pytest.raises(CheckpointError, match=r'1 names are not .*: extra'):
        rename_all({'old.g': one, 'extra': one}, TABLE.to_ours)
    kept = rename_all({'old.g': one, 'extra': one}, TABLE.to_ours,
                      keep_unknown=True)
    assert list(kept) == ['new.g', 'extra']
    assert kept['new.g'] is one
    with pytest.raises(CheckpointError, match=r'both become new\.g'):
        rename_all({'old.g': one, 'older.g': one}, TABLE.to_ours)


@pytest.mark.unit
def test_directory():
    assert {'ibot', 'timm'} <= set(key_map_names())
    assert get_key_map('ibot') is IBOT
    with pytest.raises(ConfigError, match="did you mean 'ibot'"):
        get_key_map('ibott')
    with pytest.raises(ConfigError, match='exists already'):
        register_key_map(IBOT)
