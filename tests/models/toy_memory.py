"""Ring buffers with given content."""
from __future__ import annotations

import torch

from mimplug.models.memory import RingBuffer


def filled(rows, pointer=0, **options) -> RingBuffer:
    """A buffer that holds the given rows."""
    buffer = RingBuffer(*rows.shape, init='zeros', **options)
    buffer.load_state_dict(dict(
        rows=rows, pointer=torch.tensor([pointer]),
        written=torch.zeros(rows.shape[0], dtype=torch.bool)))
    return buffer
