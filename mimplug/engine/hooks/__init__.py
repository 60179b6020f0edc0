"""Hooks of the training loop."""
from .checkpoint import CheckpointHook
from .clip import ClipHook
from .compile import CompileHook
from .freeze import FreezeHook
from .input_filter import InputFilterHook
from .non_finite import NonFiniteHook
from .progress import ProgressHook, run_progress
from .runtime_info import RuntimeInfoHook
from .signals import SignalHook
from .teacher import TeacherHook
from .threads import ThreadsHook

__all__ = [
    'CheckpointHook', 'ClipHook', 'CompileHook', 'FreezeHook',
    'InputFilterHook', 'NonFiniteHook', 'ProgressHook', 'RuntimeInfoHook',
    'SignalHook', 'TeacherHook', 'ThreadsHook', 'run_progress'
]
