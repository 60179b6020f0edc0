"""Names of Mugs <-> ours.

Networks are pure renames. A training checkpoint also holds queues and feature
memories, which the release lays out otherwise: queues (d, K) instead of our
rows (K, d), and each memory three times.

Source: ``src/model.py``, ``src/loss.py`` and the checkpoint of ``main.py`` in
sail-sg/mugs.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mimplug.errors import CheckpointError

from .key_maps import KeyMap, Renames, register_key_map, rename_all
from .keys_ibot import DIRECTION, LENGTH, VIT, Pairs, below
from .reader import Tensors, select_state, under

MUGS_VIT: Pairs = [
    *VIT,
    # of our masked runs; the release has none
    ('mask_token', 'mask_token'),
    *[(theirs.replace('blocks.', 'relation_blocks.'),
       ours.replace('layers.{i}', 'relation_blocks.{i}'))
      for theirs, ours in VIT if theirs.startswith('blocks.')],
]
# The first spelling of weight norm is written, the second one is read, too.
HEADS: Pairs = [
    ('instance_head.{rest}', 'instance_head.{rest}'),
    ('local_group_head.{rest}', 'local_group_head.{rest}'),
    ('group_head.projector.{rest}', 'group_head.mlp.{rest}'),
    *[(f'group_head.last_layer.{theirs}', f'group_head.last_layer.{ours}')
      for theirs, ours in (('weight_g', LENGTH), ('weight_v', DIRECTION),
                           (LENGTH, LENGTH), (DIRECTION, DIRECTION))],
]
QUEUES = {'instance-sup.': 'memories.queues.instance.',
          'local-group-sup.': 'memories.queues.local_group.'}
MEMORIES = {'student_mem': 'memories.student.',
            'teacher_mem': 'memories.teacher.'}
LABELS = 'memories.labels.'
CENTER, NO_CENTER = 'loss_module.cls_center', 'loss_module.patch_center'

_MUGS = Renames([*below('backbone.', MUGS_VIT), *HEADS, *MUGS_VIT])


def read_mugs(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
    """State dict of one network of Mugs in our names.

    Args:
        tensors (dict[str, Tensor]): ``backbone.*`` and heads, or a bare
            backbone; either spelling of weight norm.
        keep_unknown (bool): Leave names without a rule as they are.

    Returns:
        dict[str, Tensor]: The same tensors in our names.

    Raises:
        CheckpointError: Names without a rule, unless kept.
    """
    return rename_all(tensors, _MUGS.to_ours, keep_unknown=keep_unknown)


def write_mugs(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
    """The way back of :func:`read_mugs`.

    Args:
        tensors (dict[str, Tensor]): Our names.
        keep_unknown (bool): Leave names without a rule as they are.

    Returns:
        dict[str, Tensor]: The release's names, with the older spelling of
        weight norm.

    Raises:
        CheckpointError: Names without a rule, unless kept.
    """
    return rename_all(tensors, _MUGS.to_theirs, keep_unknown=keep_unknown)


def _buffer(prefix: str, rows: Tensor, pointer: Tensor,
            written: Tensor) -> Tensors:
    """State of one ring buffer."""
    return {f'{prefix}rows': rows, f'{prefix}pointer': pointer.reshape(1),
            f'{prefix}written': written}


def _read_queue(state: Tensors, prefix: str) -> Tensors:
    """A queue (d, K); which columns are random is not known: none."""
    rows = _part(state, 'queue', prefix).T.contiguous()
    return _buffer(prefix, rows, _part(state, 'queue_ptr', prefix),
                   torch.ones(len(rows), dtype=torch.bool))


def _read_memory(state: Tensors, prefix: str) -> Tensors:
    """A memory; the three copies of a row differ until it is written."""
    state = under(state, 'block.')
    rows = _part(state, 'queue_k', prefix)
    other = _part(state, 'queue_v', prefix)
    return _buffer(prefix, rows, _part(state, 'queue_ptr', prefix),
                   (rows == other).all(dim=1))


def _part(state: Tensors, name: str, ours: str) -> Tensor:
    """One tensor of a queue or memory."""
    if name not in state:
        raise CheckpointError(
            f'{ours}*: {name!r} is missing; the file has: {sorted(state)}')
    return state[name]


def read_mugs_training(content: Mapping[str, Any]) -> Tensors:
    """Whole training checkpoint to the state dict of ``mimplug.Mugs``.

    Args:
        content (Mapping): ``student``, ``teacher`` (names may start with
            ``module.``), ``student_mem``, ``teacher_mem``, ``instance-sup.``,
            ``local-group-sup.`` and ``group-sup.``; optimiser, epoch and
            arguments stay behind.

    Returns:
        dict[str, Tensor]: Networks, queues, memories and centre. Classes of
        stored images are unknown (-1).

    Raises:
        CheckpointError: A part is missing or has unknown names.
    """
    ours = read_mugs(select_state(content, 'student'))
    teacher = read_mugs(select_state(content, 'teacher'))
    ours.update({f'teacher.{name}': value for name, value in teacher.items()})
    for key, prefix in QUEUES.items():
        ours.update(_read_queue(select_state(content, key), prefix))
    for key, prefix in MEMORIES.items():
        ours.update(_read_memory(select_state(content, key), prefix))
    stored = under(ours, MEMORIES['teacher_mem'])
    ours.update(_buffer(
        LABELS, torch.full_like(stored['rows'][:, :1], -1.0),
        stored['pointer'].clone(), stored['written'].clone()))
    center = _part(select_state(content, 'group-sup.'), 'center', CENTER)
    # the loss of iBOT has a second centre, which is empty here
    ours.update({CENTER: center.flatten(), NO_CENTER: center.new_zeros(0)})
    return ours


def write_mugs_training(tensors: Tensors) -> dict[str, Tensors]:
    """The way back of :func:`read_mugs_training`.

    Classes of stored images have no place there. Rows that were never
    written get the opposite sign in ``queue_v``, which the release reads but
    does not use, so that they can be told when the file is read again.

    Args:
        tensors (dict[str, Tensor]): State dict of ``mimplug.Mugs``.

    Returns:
        dict[str, dict]: The parts that :func:`read_mugs_training` reads.

    Raises:
        CheckpointError: Unknown names, or a part is missing, as in a model
            whose student shares the teacher's memory.
    """
    own = ('teacher.', 'memories.', 'loss_module.')
    student = write_mugs({name: value for name, value in tensors.items()
                          if not name.startswith(own)})
    theirs = dict(
        student={f'module.{name}': value for name, value in student.items()},
        teacher=write_mugs(under(tensors, 'teacher.')))
    for key, prefix in QUEUES.items():
        state = under(tensors, prefix)
        theirs[key] = dict(queue=_part(state, 'rows', prefix).T.contiguous(),
                           queue_ptr=_part(state, 'pointer', prefix))
    for key, prefix in MEMORIES.items():
        state = under(tensors, prefix)
        rows = _part(state, 'rows', prefix)
        written = _part(state, 'written', prefix).unsqueeze(1)
        theirs[key] = {
            'block.queue_q': rows, 'block.queue_k': rows.clone(),
            'block.queue_v': torch.where(written, rows, -rows),
            'block.queue_ptr': _part(state, 'pointer', prefix)}
    theirs['group-sup.'] = dict(
        center=_part(tensors, CENTER, 'loss_module').unsqueeze(0))
    return theirs


MUGS = register_key_map(KeyMap(
    'mugs', read_mugs, write_mugs, read_mugs_training, write_mugs_training,
    training_key='student_mem'))
