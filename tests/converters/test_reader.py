"""Strict reader: formats, foreign objects, malicious files, messages."""
from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
)

from mimplug.converters import (
    read_file,
    select_state,
    strip_ddp,
    take_prefix,
)
from mimplug.errors import CheckpointError

STATE = {'a.weight': torch.arange(6.).view(2, 3), 'a.bias': torch.ones(3)}


class Payload:
    """Runs a callable when it is unpickled by an ordinary reader."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Built:
    """Its state is handed to code of this class when unpickled."""

    calls = 0

    def __init__(self):
        self.value = 1

    def __setstate__(self, state):
        type(self).calls += 1


def same(left, right):
    """Equal names, order and bits."""
    assert list(left) == list(right)
    for name in left:
        assert torch.equal(left[name], right[name])


@pytest.mark.unit
@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('wrap', [None, 'state_dict', 'model'])
def test_torch_files(tmp_path, legacy, wrap):
    path = tmp_path / 'weights.pth.tar'
    content = STATE if wrap is None else {wrap: STATE, 'epoch': 3}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    same(select_state(read_file(path)), STATE)


@pytest.mark.unit
def test_npz(tmp_path):
    path = tmp_path / 'weights.npz'
    np.savez(path, **{name: value.numpy() for name, value in STATE.items()})
    same(select_state(read_file(path)), STATE)
    np.savez(path, text=np.array('words'), n=np.ones(2))
    with pytest.raises(CheckpointError, match='no tensor: text'):
        select_state(read_file(path))


@pytest.mark.unit
def test_safetensors(tmp_path, monkeypatch):
    path = tmp_path / 'weights.safetensors'
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file(STATE, path)
    read = select_state(read_file(path))
    same({name: read[name] for name in STATE}, STATE)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(CheckpointError, match='pip install safetensors'):
        read_file(path)


@pytest.mark.unit
def test_foreign_objects_become_inert(tmp_path):
    path = tmp_path / 'checkpoint.pth'
    before = Built.calls
    torch.save(dict(
        student=STATE, args=argparse.Namespace(lr=0.1, nested=[Built()]),
        scalar=np.float64(3), array=np.arange(3), epoch=4), path)
    content = read_file(path)
    same(select_state(content, 'student'), STATE)
    assert content['epoch'] == 4
    assert not isinstance(content['args'], argparse.Namespace)
    assert not hasattr(content['args'], 'lr')
    assert Built.calls == before
    torch.load(path, weights_only=False)
    assert Built.calls == before + 1  # an ordinary reader does run it


def payloads(marker):
    """Calls that would create the marker file."""
    line = f'open({str(marker)!r}, "w").close()'
    return dict(
        system=Payload(__import__('os').system, f'touch {marker}'),
        popen=Payload(subprocess.check_call, ['touch', str(marker)]),
        builtin_exec=Payload(exec, line),
        builtin_eval=Payload(eval, line),
        opened=Payload(open, str(marker), 'w'),
        by_torch=Payload(torch.save, 1, str(marker)),
        by_pickle=Payload(pickle.loads, pickle.dumps(Payload(exec, line))))


@pytest.mark.property
@pytest.mark.parametrize('form', ['zip', 'legacy', 'bare pickle'])
@pytest.mark.parametrize('kind', list(payloads('')))
def test_malicious_files_run_nothing(tmp_path, form, kind):
    marker, path = tmp_path / 'marker', tmp_path / 'evil.pth'
    content = dict(state_dict=STATE, extra=payloads(marker)[kind])
    if form == 'bare pickle':
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path,
                   _use_new_zipfile_serialization=form == 'zip')
    with suppress(CheckpointError):  # refused, or read with inert objects
        same(select_state(read_file(path)), STATE)
    assert not marker.exists()
    if form == 'zip':  # the same file does harm an ordinary reader
        torch.load(path, weights_only=False)
        assert marker.exists()


@pytest.mark.unit
def test_allow_list_of_others_is_neither_used_nor_changed(tmp_path):
    path, marker = tmp_path / 'evil.pth', tmp_path / 'marker'
    torch.save([payloads(marker)['builtin_exec']], path)
    before = get_safe_globals()
    add_safe_globals([exec, Built])
    try:
        allowed = set(get_safe_globals())
        read_file(path)
        assert not marker.exists()
        assert set(get_safe_globals()) == allowed
    finally:
        clear_safe_globals()
        add_safe_globals(before)


@pytest.mark.unit
def test_missing_and_damaged_files(tmp_path):
    torch.save(STATE, tmp_path / 'teacher.pth')
    with pytest.raises(CheckpointError, match=r"did you mean 'teacher\.pth'"):
        read_file(tmp_path / 'teachr.pth')
    with pytest.raises(CheckpointError, match='no such file'):
        read_file(tmp_path / 'nowhere' / 'x.pth')
    whole = (tmp_path / 'teacher.pth').read_bytes()
    for name in ('cut.pth', 'cut.npz', 'cut.safetensors'):
        (tmp_path / name).write_bytes(whole[:len(whole) // 2])
        with pytest.raises(CheckpointError, match='cannot be read'):
            read_file(tmp_path / name)
    torch.save(argparse.Namespace(x=1), tmp_path / 'old.pth',
               _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match='GLOBAL argparse') as caught:
        read_file(tmp_path / 'old.pth')
    assert 'weights_only' not in str(caught.value)
    assert 'safe_globals' not in str(caught.value)
    (tmp_path / 'text.pth').write_text('version https://git-lfs')
    with pytest.raises(CheckpointError, match='cannot be read'):
        read_file(tmp_path / 'text.pth')


@pytest.mark.unit
def test_choice_of_the_network():
    content = dict(student=STATE, teacher=STATE, epoch=1)
    same(select_state(content, 'teacher'), STATE)
    with pytest.raises(CheckpointError, match=r'choose one by key=.*student'):
        select_state(content)
    with pytest.raises(CheckpointError, match="did you mean 'teacher'"):
        select_state(content, 'techer')
    with pytest.raises(CheckpointError, match=r"'epoch' holds no state"):
        select_state(content, 'epoch')
    with pytest.raises(CheckpointError, match='holds a list'):
        select_state([1])
    with pytest.raises(CheckpointError, match='it is empty'):
        select_state(dict(model={}))
    with pytest.raises(CheckpointError, match='no tensor: epoch'):
        select_state(dict(w=torch.ones(1), epoch=2))


@pytest.mark.unit
def test_prefixes_are_cut_at_the_front_only():
    names = ('module.a.module.w', 'module.b.backbone.w')
    state = {name: torch.ones(1) for name in names}
    assert list(strip_ddp(state)) == ['a.module.w', 'b.backbone.w']
    mixed = {**state, 'c': torch.ones(1)}
    assert list(strip_ddp(mixed)) == list(mixed)
    part = take_prefix({'backbone.x.backbone.w': torch.ones(1),
                        'head.w': torch.ones(1)}, 'backbone.')
    assert list(part) == ['x.backbone.w']
    assert take_prefix(mixed, None) == mixed
    with pytest.raises(CheckpointError, match=r"did you mean 'module\.'"):
        take_prefix(mixed, 'modul.')
