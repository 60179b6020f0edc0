"""Registries of mimplug: direct children of the MMEngine roots.

A type written ``mimplug.X`` is found from any default scope with nothing
imported: MMEngine imports this module and then the ``locations`` of the
registry it searches. A location must therefore name every module (package)
whose import registers a class of that kind; ``tests/test_registry.py`` checks
each class in a fresh process.
"""
from __future__ import annotations

from mmengine import registry as root
from mmengine.registry import Registry

SCOPE = 'mimplug'


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE,
                    locations=[f'mimplug.{place}' for place in locations])


MODELS = _child('model', root.MODELS, 'models', 'masking', 'datasets')
DATASETS = _child('dataset', root.DATASETS, 'datasets')
DATA_SAMPLERS = _child('data sampler', root.DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'datasets')
FUNCTIONS = _child('function', root.FUNCTIONS, 'datasets')
HOOKS = _child('hook', root.HOOKS, 'engine', 'evaluation', 'visualization')
LOOPS = _child('loop', root.LOOPS, 'engine', 'evaluation')
METRICS = _child('metric', root.METRICS, 'evaluation')
OPTIM_WRAPPERS = _child('optimizer wrapper', root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS,
    'engine')
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'engine')
STRATEGIES = _child('strategy', root.STRATEGIES, 'engine')
PARAM_SCHEDULERS = _child(
    'parameter scheduler', root.PARAM_SCHEDULERS, 'engine')
WEIGHT_INITIALIZERS = _child(
    'weight initializer', root.WEIGHT_INITIALIZERS, 'converters')
TASK_UTILS = _child('task util', root.TASK_UTILS, 'masking')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'visualization')
VISBACKENDS = _child('vis_backend', root.VISBACKENDS, 'visualization')
