"""Random numbers that depend on what they are for, not on who draws them.

A draw of a sample is a hash of (seed, epoch, dataset index, repeat, view,
name), a draw of a batch one of (seed, optimiser step, name). No generator has
a state, so worker count, prefetching, resuming and the number of processes do
not change a result, and the bits agree between Python, NumPy, CPU and CUDA.

:class:`KeyedRandom` serves one sample in a loader's worker, a
:class:`Draws` one batch in a training step. Tests and parity with published
code use :class:`ReplayDraws` and :class:`PythonRandomDraws` instead.
"""
from mimplug.draws.base import Draws, normal_from_uniform, to_device
from mimplug.draws.bits import hash_name
from mimplug.draws.hashed import HashDraws
from mimplug.draws.keyed import KeyedRandom
from mimplug.draws.keys import SampleKeys
from mimplug.draws.picked import PickedDraws
from mimplug.draws.replay import ReplayDraws
from mimplug.draws.sequential import PythonRandomDraws

__all__ = [
    'Draws', 'HashDraws', 'KeyedRandom', 'PickedDraws', 'PythonRandomDraws',
    'ReplayDraws', 'SampleKeys', 'hash_name', 'normal_from_uniform',
    'to_device',
]
