"""Hooks of the training loop."""
from .checkpoint import CheckpointHook
from .compile import CompileHook
from .freeze import FreezeHook
from .non_finite import NonFiniteHook
from .progress import ProgressHook
from .runtime_info import RuntimeInfoHook
from .signals import SignalHook
from .teacher import TeacherHook, run_progress
from .threads import ThreadsHook

__all__ = [
    'CheckpointHook', 'CompileHook', 'FreezeHook', 'NonFiniteHook',
    'ProgressHook', 'RuntimeInfoHook', 'SignalHook', 'TeacherHook',
    'ThreadsHook', 'run_progress'
]
