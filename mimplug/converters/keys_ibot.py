"""Names of iBOT, AttMask, DINO and timm's ViT <-> ours (MMPretrain's).

Pure renames; the layout of every tensor is the same on both sides. Ours:
student ``backbone.*`` and ``head.*``, teacher ``teacher.*``, centres
``loss_module.cls_center`` (K,) and ``loss_module.patch_center`` (K',).

Source: ``models/vision_transformer.py``, ``models/head.py`` and the
checkpoint of ``main_attmask.py`` in gkakogeorgiou/attmask; timm's
``VisionTransformer``; MMPretrain's ``VisionTransformer``.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mimplug.errors import CheckpointError

from .key_maps import KeyMap, Renames, register_key_map, rename_all
from .reader import Tensors, select_state, under

Pairs = list[tuple[str, str]]

VIT: Pairs = [
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
    ('norm_pre.{p}', 'pre_norm.{p}'),
    ('blocks.{i}.norm1.{p}', 'layers.{i}.ln1.{p}'),
    ('blocks.{i}.attn.qkv.{p}', 'layers.{i}.attn.qkv.{p}'),
    ('blocks.{i}.attn.proj.{p}', 'layers.{i}.attn.proj.{p}'),
    ('blocks.{i}.norm2.{p}', 'layers.{i}.ln2.{p}'),
    ('blocks.{i}.mlp.fc1.{p}', 'layers.{i}.ffn.layers.0.0.{p}'),
    ('blocks.{i}.mlp.fc2.{p}', 'layers.{i}.ffn.layers.1.{p}'),
    ('norm.{p}', 'ln1.{p}'),
    ('fc_norm.{p}', 'ln2.{p}'),
]
TIMM_VIT: Pairs = [
    *VIT,
    ('blocks.{i}.ls1.gamma', 'layers.{i}.attn.gamma1.weight'),
    ('blocks.{i}.ls2.gamma', 'layers.{i}.ffn.gamma2.weight'),
]
IBOT_VIT: Pairs = [
    *VIT,
    ('masked_embed', 'mask_token'),
    ('blocks.{i}.gamma_1', 'layers.{i}.attn.gamma1.weight'),
    ('blocks.{i}.gamma_2', 'layers.{i}.ffn.gamma2.weight'),
]
LENGTH, DIRECTION = (
    f'parametrizations.weight.original{n}' for n in (0, 1))
# The first spelling is the one that is written, the second one is read, too.
HEAD: Pairs = [('mlp.{rest}', 'mlp.{rest}')] + [
    (f'{layer}.{theirs}', f'{layer}.{ours}')
    for layer in ('last_layer', 'last_layer2')
    for theirs, ours in (
        ('weight_g', LENGTH), ('weight_v', DIRECTION),
        (LENGTH, LENGTH), (DIRECTION, DIRECTION))
]
CENTERS = {'center': 'loss_module.cls_center',
           'center2': 'loss_module.patch_center'}


def below(prefix: str, pairs: Pairs) -> Pairs:
    """The table with a prefix on both sides."""
    return [(prefix + theirs, prefix + ours) for theirs, ours in pairs]


_TIMM = Renames([*TIMM_VIT, *below('backbone.', TIMM_VIT)])
_IBOT = Renames([*IBOT_VIT, *below('backbone.', IBOT_VIT),
                 *below('head.', HEAD)])


def _plain(names: Renames) -> tuple[Callable[..., Tensors],
                                    Callable[..., Tensors]]:
    """Reader and writer of a table that needs nothing else."""

    def read(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
        """Their names to ours."""
        return rename_all(tensors, names.to_ours, keep_unknown=keep_unknown)

    def write(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
        """Our names to theirs."""
        return rename_all(tensors, names.to_theirs, keep_unknown=keep_unknown)

    return read, write


def read_ibot(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
    """State dict of one iBOT, AttMask or DINO network in our names.

    A shared head stores its one prototype layer twice; ours once. So a
    ``last_layer2`` that equals ``last_layer`` bit by bit is left out.

    Args:
        tensors (dict[str, Tensor]): ``backbone.*`` and ``head.*``, or a bare
            backbone; either spelling of weight norm.
        keep_unknown (bool): Leave names without a rule as they are.

    Returns:
        dict[str, Tensor]: The same tensors in our names.

    Raises:
        CheckpointError: Names without a rule, unless kept.
    """
    ours = rename_all(tensors, _IBOT.to_ours, keep_unknown=keep_unknown)
    second = under(ours, 'head.last_layer2.')
    first = under(ours, 'head.last_layer.')
    if second and second.keys() == first.keys() and all(
            torch.equal(second[name], first[name]) for name in first):
        for name in second:
            del ours[f'head.last_layer2.{name}']
    return ours


def write_ibot(tensors: Tensors, keep_unknown: bool = False) -> Tensors:
    """The way back of :func:`read_ibot`, a shared head's copies included.

    Args:
        tensors (dict[str, Tensor]): Our names, ``backbone.*`` and ``head.*``,
            or a bare backbone.
        keep_unknown (bool): Leave names without a rule as they are.

    Returns:
        dict[str, Tensor]: Names as in ``models/head.py`` with the older
        spelling of weight norm, which every version of torch reads.

    Raises:
        CheckpointError: Names without a rule, unless kept.
    """
    theirs = rename_all(tensors, _IBOT.to_theirs, keep_unknown=keep_unknown)
    if not under(theirs, 'head.last_layer2.'):
        for name, value in under(theirs, 'head.last_layer.').items():
            theirs[f'head.last_layer2.{name}'] = value
    return theirs


def read_ibot_training(content: Mapping[str, Any]) -> Tensors:
    """Whole training checkpoint to the state dict of ``mimplug.IBOT``.

    Args:
        content (Mapping): ``student`` (names start with ``module.``),
            ``teacher`` and ``ibot_loss`` with ``center`` (1, K) and
            ``center2`` (1, 1, K'); optimiser, epoch and arguments are not
            the model's and stay behind.

    Returns:
        dict[str, Tensor]: Student, teacher and centres in our names.

    Raises:
        CheckpointError: A part is missing or has unknown names.
    """
    ours = read_ibot(select_state(content, 'student'))
    teacher = read_ibot(select_state(content, 'teacher'))
    ours.update({f'teacher.{name}': value for name, value in teacher.items()})
    for name, value in select_state(content, 'ibot_loss').items():
        if name not in CENTERS:
            raise CheckpointError(
                f'ibot_loss holds {name!r}; allowed: {", ".join(CENTERS)}')
        ours[CENTERS[name]] = value.flatten()
    return ours


def write_ibot_training(tensors: Tensors) -> dict[str, Tensors]:
    """The way back of :func:`read_ibot_training`.

    Args:
        tensors (dict[str, Tensor]): State dict of ``mimplug.IBOT``.

    Returns:
        dict[str, dict]: ``student``, ``teacher``, ``ibot_loss``.

    Raises:
        CheckpointError: Unknown names.
    """
    ranks = {'center': 2, 'center2': 3}
    loss: Tensors = {}
    for name, ours in CENTERS.items():
        if ours in tensors:
            center = tensors[ours]
            loss[name] = center.reshape(*[1] * (ranks[name] - 1), -1)
    student = write_ibot({
        name: value for name, value in tensors.items()
        if not name.startswith('teacher.') and name not in CENTERS.values()})
    return dict(
        student={f'module.{name}': value for name, value in student.items()},
        teacher=write_ibot(under(tensors, 'teacher.')), ibot_loss=loss)


IBOT = register_key_map(KeyMap(
    'ibot', read_ibot, write_ibot, read_ibot_training, write_ibot_training,
    training_key='student'))
TIMM = register_key_map(KeyMap('timm', *_plain(_TIMM)))
