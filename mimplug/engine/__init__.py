"""What runs a training: optimisation and hooks."""
from .hooks import FreezeHook, GradNormHook, TeacherHook
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
    'TeacherHook', 'TwoGroupConstructor', 'WarmupCosine', 'WarmupCosineLR',
    'scaled_lr'
]
