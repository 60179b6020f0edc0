"""The interface of a score."""
from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import torch

from mimplug.masking.build import build_part
from mimplug.masking.context import MaskContext
from mimplug.masking.needs import Needs


class Score(abc.ABC):
    """One number for each patch of a batch.

    Attributes:
        needs (Needs): What it looks at.
        batch_coupled (bool): Whether the scores of a row depend on the other
            rows of the batch.
    """

    needs: Needs = Needs()
    batch_coupled: bool = False

    @abc.abstractmethod
    def __call__(self, context: MaskContext) -> torch.Tensor:
        """Returns (M, L) scores, float32 or better.

        Args:
            context (MaskContext): The batch.
        """


def build_score(score: Score | Mapping[str, Any]) -> Score:
    """Returns a score from an object or a config.

    Args:
        score (Score | dict): ``type`` is written with or without the scope
            ``mimplug.``.

    Raises:
        ConfigError: If the type or an argument is unknown.
    """
    return build_part(score, Score, 'score')  # type: ignore[type-abstract]


def single_precision(attention: torch.Tensor) -> torch.Tensor:
    """Half precision in float32; float32 and float64 as they are.

    Sums of half-precision numbers round scores that differ to equal ones.
    """
    if attention.dtype in (torch.float16, torch.bfloat16):
        return attention.float()
    return attention
