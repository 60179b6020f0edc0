"""Hooks of the training loop."""
from .freeze import FreezeHook
from .grad_norm import GradNormHook
from .teacher import TeacherHook, run_progress
from .threads import ThreadsHook

__all__ = [
    'FreezeHook', 'GradNormHook', 'TeacherHook', 'ThreadsHook', 'run_progress'
]
