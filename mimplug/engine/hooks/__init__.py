"""Hooks of the training loop."""
from .freeze import FreezeHook
from .grad_norm import GradNormHook
from .teacher import TeacherHook, bare_model, run_progress

__all__ = [
    'FreezeHook', 'GradNormHook', 'TeacherHook', 'bare_model', 'run_progress'
]
