"""Which patches come first: attention of the teacher in, one number out.

A *score* is a callable without state, context -> (M, L). Masks are made of
it (`generators/attention.py`, `generators/rollout.py`), and the pairs of the
contrastive term of iBOT.
"""
from mimplug.masking.scores.base import Score, build_score
from mimplug.masking.scores.heads import (
    LogScore,
    PowerScore,
    RawScore,
    fuse_heads,
)
from mimplug.masking.scores.rollout import RolloutScore, roll_out

__all__ = [
    'LogScore', 'PowerScore', 'RawScore', 'RolloutScore', 'Score',
    'build_score', 'fuse_heads', 'roll_out',
]
