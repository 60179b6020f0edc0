"""What runs a training: optimisation and hooks."""
from .distributed import FullyShardedStrategy
from .hooks import (
    CheckpointHook,
    ClipHook,
    CompileHook,
    FreezeHook,
    NonFiniteHook,
    ProgressHook,
    RuntimeInfoHook,
    SignalHook,
    TeacherHook,
    ThreadsHook,
)
from .loops import EpochTrainLoop, IterTrainLoop
from .optim import (
    LARS,
    CosineWeightDecay,
    OptimWrapper,
    TwoGroupConstructor,
    WarmupCosine,
    WarmupCosineLR,
    scaled_lr,
)

__all__ = [
    'LARS', 'CheckpointHook', 'ClipHook', 'CompileHook', 'CosineWeightDecay',
    'EpochTrainLoop',
    'FreezeHook', 'FullyShardedStrategy', 'IterTrainLoop', 'NonFiniteHook',
    'OptimWrapper', 'ProgressHook', 'RuntimeInfoHook', 'SignalHook',
    'TeacherHook', 'ThreadsHook', 'TwoGroupConstructor', 'WarmupCosine',
    'WarmupCosineLR', 'scaled_lr'
]
