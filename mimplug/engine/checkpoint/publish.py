"""A small copy of a checkpoint, to give away."""
from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from pathlib import PurePath

import torch
from mmengine.fileio import get_local_path

from .files import save_bytes


def publish(path: str, entries: Collection[str],
            backend_args: dict | None = None) -> str:
    """Writes some entries of a checkpoint beside it.

    Args:
        path (str): The checkpoint, a plain one.
        entries (Collection[str]): What stays, e.g. ``meta``, ``state_dict``.
        backend_args (dict, optional): Arguments of the file back end.

    Returns:
        str: The new file, ``NAME-HASH.pth`` with the first eight digits of
        the SHA-256 of its content.

    Raises:
        OSError: It could not be written.
    """
    with get_local_path(path, backend_args=backend_args) as local:
        content = torch.load(local, map_location='cpu', weights_only=True)
    buffer = io.BytesIO()
    torch.save({name: value for name, value in content.items()
                if name in entries}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    target = f'{path.removesuffix(PurePath(path).suffix)}-{digest}.pth'
    save_bytes(buffer.getvalue(), target, backend_args)
    return target
