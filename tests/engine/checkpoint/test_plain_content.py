"""Whatever goes in, a file without code comes out."""
from __future__ import annotations

import io
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MessageHub

from mimplug.engine.checkpoint import pack_hub, to_plain, unpack_hub

pytestmark = pytest.mark.unit
Pair = namedtuple('Pair', 'a b')


def through_a_file(content):
    """Saves and reads it without unpickling anything."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize('value, expected', [
    (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True),
    (np.array(['x', 'y']), ['x', 'y']), (Path('a/b'), 'a/b'),
    (ConfigDict(a=[1, ConfigDict(b=2)]), {'a': [1, {'b': 2}]}),
    (Pair(1, np.float64(2)), (1, 2.0)), (torch.Size([2, 3]), (2, 3)),
    ({1: None, 'x': {3, 4}}, {1: None, 'x': {3, 4}}),
    (frozenset({1}), {1}), (float('inf'), float('inf')),
    (torch.float16, torch.float16), (b'raw', b'raw')])
def test_plain_forms(value, expected):
    dropped = []
    plain = through_a_file(to_plain(value, dropped))
    assert plain == expected
    assert type(plain) is type(expected)
    assert dropped == []


def test_arrays_become_tensors():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1]
    array.flags.writeable = False
    plain = through_a_file(to_plain({'a': array}, []))['a']
    assert plain.dtype == torch.int16
    assert plain.tolist() == array.tolist()


def test_what_has_no_plain_form_is_named_and_left_out():
    dropped = []
    plain = to_plain({'good': 1, 'run': {'f': print, 'x': 2},
                      'list': [1, object()]}, dropped, 'hub')
    assert plain == {'good': 1, 'run': {'x': 2}, 'list': [1, None]}
    assert dropped == ['hub.run.f (builtin_function_or_method)',
                       'hub.list[1] (object)']


def test_state_dicts_keep_their_version_notes():
    state = torch.nn.BatchNorm1d(3).state_dict()
    plain = through_a_file(to_plain(state, []))
    assert type(plain) is OrderedDict
    assert plain._metadata == state._metadata
    assert plain._metadata['']['version'] == 2


def test_message_hub_keeps_a_bounded_history():
    hub = MessageHub('plain-hub')
    for i in range(7):
        hub.update_scalar('train/loss', float(i), count=2)
    hub.update_scalar('train/none', 1.0, resumed=False)
    hub.update_info('iter', 7)
    packed = through_a_file(to_plain(pack_hub(hub, history=3), []))
    assert packed['log_scalars']['train/loss']['values'].tolist() == [4, 5, 6]
    assert set(packed['log_scalars']) == {'train/loss'}
    assert unpack_hub(packed) == []
    other = MessageHub('plain-hub-2')
    other.load_state_dict(packed)
    assert other.get_scalar('train/loss').mean(2) == (5 + 6) / 4
    assert other.get_scalar('train/loss').max_length == 1000000
    assert other.get_info('iter') == 7
    other.update_scalar('train/loss', 9.0)  # its memory may grow again
    assert unpack_hub(packed) == []  # a second hook finds it done


def test_foreign_history_is_left_out():
    state = dict(log_scalars=dict(a=object(), b=HistoryBuffer([1], [1])),
                 runtime_info=dict(x=object(), y=2),
                 resumed_keys=dict(a=True, b=True))
    assert unpack_hub(state) == ['x (object)', 'a']
    assert set(state['log_scalars']) == {'b'}
    assert state['runtime_info'] == {'y': 2}
    assert state['resumed_keys'] == {'b': True}
