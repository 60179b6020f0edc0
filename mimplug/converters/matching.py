"""Loads tensors into a module, all or nothing, and says what fitted."""
from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from mimplug.errors import CheckpointError, check_range

from .reader import Tensors

SHOWN = 8


@dataclass(frozen=True)
class LoadReport:
    """How the names and shapes of a file meet those of a module.

    Args:
        loaded (tuple[str, ...]): Names in both, of one shape.
        missing (tuple[str, ...]): Only in the module.
        unexpected (tuple[str, ...]): Only in the file.
        misshaped (tuple): (name, shape in the file, shape in the module).
        excused (int): How many more missing tensors a pattern allowed.
            Defaults to 0.
    """
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    excused: int = 0

    @property
    def share(self) -> float:
        """Loaded share of the module's tensors that are not excused."""
        wanted = len(self.loaded) + len(self.missing) + len(self.misshaped)
        return len(self.loaded) / wanted if wanted else 0.0

    def describe(self) -> str:
        """Counts, then the first names of each kind with the nearest one."""
        total = len(self.loaded) + len(self.missing) + len(self.misshaped)
        lines = [f'{len(self.loaded)} of {total} tensors fit']
        lines += _listing('missing in the file', [
            f'{name}{_nearest(name, self.unexpected)}'
            for name in self.missing[:SHOWN]], len(self.missing))
        lines += _listing('unexpected in the file', [
            f'{name}{_nearest(name, self.missing)}'
            for name in self.unexpected[:SHOWN]], len(self.unexpected))
        lines += _listing('of another shape', [
            f'{name}: file {file}, module {module}'
            for name, file, module in self.misshaped[:SHOWN]],
            len(self.misshaped))
        return '\n'.join(lines)


def _nearest(name: str, others: Iterable[str]) -> str:
    """`` (nearest: …)`` or nothing."""
    near = difflib.get_close_matches(name, list(others), n=1)
    return f' (nearest: {near[0]})' if near else ''


def _listing(title: str, shown: list[str], count: int) -> list[str]:
    """One heading and its lines, cut after SHOWN."""
    if not count:
        return []
    rest = [f'    … and {count - SHOWN} more'] if count > SHOWN else []
    return [f'  {title} ({count}):', *(f'    {line}' for line in shown), *rest]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a shell pattern (``head.*``) fits the whole name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def compare(module: nn.Module, tensors: Tensors, *,
            allow_missing: Sequence[str] = (),
            allow_unexpected: Sequence[str] = (),
            resizable: Sequence[str] = ()) -> LoadReport:
    """Compares names and shapes; changes nothing.

    Args:
        module (nn.Module): Receives the weights.
        tensors (dict[str, Tensor]): What a file offers.
        allow_missing (Sequence[str]): Patterns of names that the file need
            not have.
        allow_unexpected (Sequence[str]): Patterns of names to leave out.
        resizable (Sequence[str]): Patterns of names whose shape may differ
            because the module resizes them on load.

    Returns:
        LoadReport: What fits and what does not.
    """
    own = module.state_dict()
    common = [name for name in own if name in tensors]
    misshaped = tuple(
        (name, tuple(tensors[name].shape), tuple(own[name].shape))
        for name in common if tensors[name].shape != own[name].shape
        and not matches(name, resizable))
    wrong = {name for name, _, _ in misshaped}
    absent = [name for name in own if name not in tensors]
    missing = tuple(n for n in absent if not matches(n, allow_missing))
    return LoadReport(
        loaded=tuple(name for name in common if name not in wrong),
        missing=missing,
        unexpected=tuple(n for n in tensors if n not in own
                         and not matches(n, allow_unexpected)),
        misshaped=misshaped,
        excused=len(absent) - len(missing))


def load_strict(module: nn.Module, tensors: Tensors, *,
                min_share: float = 1.0, allow_missing: Sequence[str] = (),
                allow_unexpected: Sequence[str] = (),
                resizable: Sequence[str] = (),
                source: str | Path = 'checkpoint') -> LoadReport:
    """Loads if the file fits well enough; otherwise changes nothing.

    Args:
        module (nn.Module): Receives the weights.
        tensors (dict[str, Tensor]): What a file offers.
        min_share (float): Share of the module's tensors that must be loaded,
            in (0, 1]; names allowed to be missing do not count. Unexpected
            and misshaped tensors are errors at any share. Defaults to 1.
        allow_missing (Sequence[str]): As in :func:`compare`.
        allow_unexpected (Sequence[str]): As in :func:`compare`.
        resizable (Sequence[str]): As in :func:`compare`.
        source (str | Path): Name of the file, for messages.

    Returns:
        LoadReport: What was loaded.

    Raises:
        CheckpointError: Too few tensors fit, or some have no place.
    """
    check_range('min_share', min_share, 1e-9, 1.0)
    report = compare(
        module, tensors, allow_missing=allow_missing,
        allow_unexpected=allow_unexpected, resizable=resizable)
    if (report.share < min_share or report.unexpected or report.misshaped
            or not report.loaded):
        raise CheckpointError(
            f'{source} does not fit {type(module).__name__} '
            f'(min_share={min_share}): {report.describe()}')
    try:
        module.load_state_dict(
            {name: tensors[name] for name in report.loaded}, strict=False)
    except RuntimeError as error:  # a resize hook that could not resize
        raise CheckpointError(f'{source}: {error}') from error
    return report
