"""What evaluation must know of a run: its input filter, its localiser.

An encoder that was trained on filtered images has never seen others, and a
localiser that was trained with labels hands labels on. Both are plain values,
stored in every checkpoint under ``meta['mimplug']``.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from mimplug.errors import CheckpointError

# Entry of a checkpoint's meta.
META_KEY = 'mimplug'
# Attribute of all modules behind a filter, see mark_filtered.
MARK = 'input_filter_record'

Record = dict[str, Any]


class Recorded(Protocol):
    """A part that says in plain values how it was built."""

    @property
    def record(self) -> Record:
        """Settings, of which the first is ``type``."""


def make_record(input_filter: Recorded | None = None,
                saliency: Recorded | None = None) -> Record:
    """The record of a run; what ``model.run_record()`` returns.

    An algorithm with these parts implements::

        def run_record(self):
            return make_record(self.input_filter, self.saliency)

    and ends its ``__init__`` with ``mark_filtered(self, self.input_filter)``.

    Args:
        input_filter (mimplug.HighPass, optional): What images go through
            before any encoder. Defaults to None.
        saliency (SaliencyTarget, optional): What marks the object. Defaults
            to None.

    Returns:
        dict: ``input_filter`` and ``saliency``: None, or a dict of plain
        values (``type``, …; for saliency also ``supervised``).
    """
    return dict(
        input_filter=None if input_filter is None else input_filter.record,
        saliency=None if saliency is None else saliency.record)


def run_record(model: nn.Module) -> Record:
    """The record of any model.

    Args:
        model (nn.Module): Not wrapped. Its own ``run_record()`` counts, else
            that of its data preprocessor, else the filter that
            :class:`mimplug.InputFilterHook` has put in front of it.

    Returns:
        dict: As of :func:`make_record`.
    """
    for owner in (model, getattr(model, 'data_preprocessor', None)):
        own = getattr(owner, 'run_record', None)
        if own is not None:
            return dict(own())
    return dict(make_record(), input_filter=getattr(model, MARK, None))


def mark_filtered(model: nn.Module, input_filter: Recorded | None) -> None:
    """Notes on every sub-module which filter the images go through.

    Weights reach a backbone by its ``init_cfg``, where nothing else is known
    of the model around it: :class:`mimplug.Pretrained` compares this mark
    with the record of the file.

    Args:
        model (nn.Module): All of it is marked.
        input_filter (mimplug.HighPass, optional): None: nothing to note.
    """
    if input_filter is not None:
        for part in model.modules():
            setattr(part, MARK, input_filter.record)


def saved_record(content: Any) -> Record | None:
    """The record in the content of a checkpoint file.

    Args:
        content (Any): From :func:`mimplug.converters.read_file`.

    Returns:
        dict | None: None for a file that does not say, such as a foreign one.
    """
    meta = content.get('meta') if isinstance(content, Mapping) else None
    record = meta.get(META_KEY) if isinstance(meta, Mapping) else None
    return dict(record) if isinstance(record, Mapping) else None


def check_filter(saved: Record | None, present: Mapping[str, Any] | None,
                 source: str) -> None:
    """Raises unless a model filters images as its weights are used to.

    Args:
        saved (dict, optional): Record of the weights; None: unknown, passes.
        present (Mapping, optional): Record of the model's filter, or None.
        source (str): Name of the file.

    Raises:
        CheckpointError: The two differ; names the config line to add.
    """
    if saved is None:
        return
    wanted = saved.get('input_filter')
    have = None if present is None else dict(present)
    if wanted is not None and have is None:
        line = _as_config(wanted)
        raise CheckpointError(
            f'{source} was trained on filtered images, {line}, and this '
            f'model has no input filter; add input_filter={line} to the '
            'model where its class takes it (mimplug.SaliencyMoCo …), else '
            "custom_hooks=[dict(type='mimplug.InputFilterHook', "
            f'input_filter={line})]')
    if wanted != have:
        got = 'unfiltered images' if wanted is None else _as_config(wanted)
        raise CheckpointError(
            f'{source} was trained on {got}, but this model has '
            f'input_filter={_as_config(have or {})}; the two must be equal')


def _as_config(record: Mapping[str, Any]) -> str:
    """``dict(type='…', a=1)``."""
    return 'dict(' + ', '.join(
        f'{name}={value!r}' for name, value in record.items()) + ')'
