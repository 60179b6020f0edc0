"""What runs a training: optimisation and hooks."""
from .hooks import FreezeHook, GradNormHook, TeacherHook, ThreadsHook
from .optim import (
    CosineWeightDecay,
    OptimWrapper,
    TwoGroupConstructor,
    WarmupCosine,
    WarmupCosineLR,
    scaled_lr,
)

__all__ = [
    'CosineWeightDecay', 'FreezeHook', 'GradNormHook', 'OptimWrapper',
    'TeacherHook', 'ThreadsHook', 'TwoGroupConstructor', 'WarmupCosine',
    'WarmupCosineLR', 'scaled_lr'
]
