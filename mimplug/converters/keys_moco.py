"""Names of MoCo and its descendants <-> ours.

Two spellings: ``moco``, that of facebookresearch/moco, which the
saliency-guided masking and MixMask share (both of its methods), and
``mmpretrain-moco``, that of MMPretrain's ``MoCo``. Backbones are residual
networks of torchvision's names, which are MMPretrain's and MMDetection's as
well; so ``prefix='backbone.'`` of what is read here fits all of them. The
queue is (D, K) there and rows (K, D) here.

Source: ``moco/builder.py`` of facebookresearch/moco,
joycenerd/Saliency-Guided-Masking-for-ConvNets and kirill-vish/MixMask;
``MoCo`` of MMPretrain.
"""
from __future__ import annotations

from collections.abc import Callable

import torch

from mimplug.errors import CheckpointError

from .key_maps import KeyMap, Renames, register_key_map, rename_all
from .reader import Tensors

_MOCO = Renames([
    ('encoder_q.fc.{i}.{p}', 'neck.mlp.{i}.{p}'),
    # MoCo v1 has a linear projector
    ('encoder_q.fc.{p}', 'neck.fc.{p}'),
    ('encoder_q.{rest}', 'backbone.{rest}'),
    ('encoder_k.fc.{i}.{p}', 'teacher.neck.mlp.{i}.{p}'),
    ('encoder_k.fc.{p}', 'teacher.neck.fc.{p}'),
    ('encoder_k.{rest}', 'teacher.backbone.{rest}'),
])
_MMPRETRAIN = Renames([
    ('encoder_k.module.0.{rest}', 'teacher.backbone.{rest}'),
    ('encoder_k.module.1.{rest}', 'teacher.neck.{rest}'),
    ('backbone.{rest}', 'backbone.{rest}'),
    ('neck.{rest}', 'neck.{rest}'),
])
QUEUE, POINTER, STEPS = 'queue', 'queue_ptr', 'encoder_k.steps'
ROWS, PLACE, WRITTEN = 'queue.rows', 'queue.pointer', 'queue.written'


def _reader(names: Renames) -> Callable[..., Tensors]:
    """Their whole state to ours, or any part of it."""

    def read(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
        """Their names to ours; which keys are random is not known: none."""
        rest = {name: value for name, value in tensors.items()
                if name not in (QUEUE, POINTER, STEPS)}
        ours = rename_all(rest, names.to_ours, keep_unknown=keep_unknown)
        if (QUEUE in tensors) != (POINTER in tensors):
            raise CheckpointError(
                f'{QUEUE!r} and {POINTER!r} belong together, and one of them '
                'is missing')
        if QUEUE in tensors:
            rows = tensors[QUEUE].T.contiguous()
            ours.update({
                ROWS: rows, PLACE: tensors[POINTER].reshape(1),
                WRITTEN: torch.ones(len(rows), dtype=torch.bool)})
        return ours

    return read


def _writer(names: Renames, steps: bool) -> Callable[..., Tensors]:
    """The way back; with ``steps`` MMPretrain's counter of updates."""

    def write(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
        """Our names to theirs."""
        rest = {name: value for name, value in tensors.items()
                if name not in (ROWS, PLACE, WRITTEN)}
        theirs = rename_all(rest, names.to_theirs, keep_unknown=keep_unknown)
        if ROWS in tensors:
            theirs.update({QUEUE: tensors[ROWS].T.contiguous(),
                           POINTER: tensors[PLACE]})
        if steps and any(name.startswith('encoder_k.') for name in theirs):
            # at 0 its first update would copy the encoder over the keys'
            theirs[STEPS] = torch.tensor(1)
        return theirs

    return write


MOCO = register_key_map(KeyMap(
    'moco', _reader(_MOCO), _writer(_MOCO, steps=False)))
MMPRETRAIN_MOCO = register_key_map(KeyMap(
    'mmpretrain-moco', _reader(_MMPRETRAIN),
    _writer(_MMPRETRAIN, steps=True)))
