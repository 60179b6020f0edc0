"""Where a run stands, counted so that any number of processes can go on."""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mimplug.errors import CheckpointError


@dataclass(frozen=True)
class Position:
    """A place in the data of a run; what a checkpoint keeps of its loop.

    Samples are those of all ranks. They, and not iterations, say where to go
    on, because an iteration of another world size or batch is another number
    of samples.

    Args:
        epoch (int): Epochs that are finished, their hooks included.
        iter (int): Iterations (micro-batches of each rank) that are done.
        epoch_samples (int): Samples of the running epoch that are done.
        samples (int): Samples that were trained on since the start.
        global_batch (int): Samples of an iteration.
        accumulation (int): Iterations of an optimiser step.
        epoch_length (int): Iterations of an epoch.
        seed (int): Seed of the sampler's order; -1: it has none.
        validated (int): 1 if the validation that follows this iteration was
            run (or was running), else 0.
    """
    epoch: int = 0
    iter: int = 0
    epoch_samples: int = 0
    samples: int = 0
    global_batch: int = 1
    accumulation: int = 1
    epoch_length: int = 1
    seed: int = -1
    validated: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain integers by name, for a checkpoint."""
        return asdict(self)

    @classmethod
    def parse(cls, saved: Mapping[str, Any]) -> Position:
        """The position that :meth:`as_dict` gave.

        Args:
            saved (Mapping): Integers by name; ``seed`` and ``validated`` may
                be missing, other names are ignored.

        Returns:
            Position: The same place.

        Raises:
            CheckpointError: A name is missing or has no natural number.
        """
        names = {field.name for field in fields(cls)}
        known = {name: saved[name] for name in names if name in saved}
        missing = names - set(known) - {'seed', 'validated'}
        if missing:
            raise CheckpointError(
                'the position in the checkpoint lacks '
                f'{", ".join(sorted(missing))}; it holds {dict(saved)}')
        for name, value in known.items():
            if not isinstance(value, int) or value < -(name == 'seed'):
                raise CheckpointError(
                    f'the position in the checkpoint has {name}={value!r}; '
                    'a natural number is needed')
        return cls(**known)

    def same_units(self, other: Position) -> bool:
        """Whether iterations of both are equal numbers of samples."""
        return (self.global_batch, self.accumulation) == (
            other.global_batch, other.accumulation)


def accumulation_of(wrapper: Any) -> int:
    """Iterations of an optimiser step.

    Args:
        wrapper (OptimWrapper | OptimWrapperDict | dict | None): The runner's
            optimiser wrapper, built or still its settings.

    Returns:
        int: Its ``accumulative_counts``; of several optimisers the least
        common multiple, after which all of them have stepped.
    """
    if isinstance(wrapper, Mapping):
        own = int(wrapper.get('accumulative_counts', 1))
        nested = [part for part in wrapper.values()
                  if isinstance(part, Mapping) and 'optimizer' in part]
    else:
        own = int(getattr(wrapper, '_accumulative_counts', 1))
        nested = list(getattr(wrapper, 'optim_wrappers', {}).values())
    return math.lcm(own, *(accumulation_of(part) for part in nested))


def data_epoch(runner: Any) -> int:
    """The epoch that a run is in, by the data it has seen.

    Args:
        runner (Runner): A runner with a built training loop.

    Returns:
        int: 0-based epoch of the running (or next) iteration;
        iteration-based loops count the passes over the data, too.
    """
    epoch = getattr(_loop(runner), 'data_epoch', None)
    return runner.iter // _length(runner) if epoch is None else int(epoch)


def data_epochs(runner: Any) -> int:
    """The number of epochs of the whole run.

    Args:
        runner (Runner): A runner with a built training loop.

    Returns:
        int: At least 1; iteration-based loops count passes over the data.
    """
    epochs = getattr(_loop(runner), 'data_epochs', None)
    if epochs is None:
        epochs = math.ceil(runner.max_iters / _length(runner))
    return max(1, int(epochs))


def _loop(runner: Any) -> Any:
    """The training loop."""
    return getattr(runner, 'train_loop', None)


def _length(runner: Any) -> int:
    """Iterations of an epoch of a loop that does not say where it is."""
    return max(1, len(runner.train_dataloader))
