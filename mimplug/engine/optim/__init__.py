"""Optimiser wrapper, parameter groups and schedules."""
from .constructor import TwoGroupConstructor, scaled_lr
from .gradients import clip_grads_
from .guard import guarded_step
from .lars import LARS
from .norm_statistics import NormStatistics
from .schedulers import CosineWeightDecay, WarmupCosine, WarmupCosineLR
from .wrapper import OptimWrapper

__all__ = [
    'LARS', 'CosineWeightDecay', 'NormStatistics', 'OptimWrapper',
    'TwoGroupConstructor', 'WarmupCosine', 'WarmupCosineLR',
    'clip_grads_', 'guarded_step', 'scaled_lr'
]
