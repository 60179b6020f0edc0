"""Optimiser wrapper, parameter groups and schedules."""
from .constructor import TwoGroupConstructor, scaled_lr
from .schedulers import CosineWeightDecay, WarmupCosine, WarmupCosineLR
from .wrapper import OptimWrapper, clip_grads_

__all__ = [
    'CosineWeightDecay', 'OptimWrapper', 'TwoGroupConstructor', 'WarmupCosine',
    'WarmupCosineLR', 'clip_grads_', 'scaled_lr'
]
