"""Who may know whom: an import never goes up the layers."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mimplug

ROOT = Path(mimplug.__file__).parent
pytestmark = pytest.mark.unit

GROUND = {'version', 'errors', 'registry', 'schedules', 'draws', 'filters'}
PARTS = GROUND | {'masking', 'models'}
RUN = PARTS | {'models.algorithms', 'datasets', 'evaluation', 'engine'}
# Layer: the layers below it. A layer is a path below mimplug/; the longest
# one that fits a module counts, so models.heads belongs to models. The face
# of the whole package models counts as models.algorithms.
MAY_KNOW = {
    '': {'version'},
    '__main__': {'cli'},
    'version': set(),
    'errors': set(),
    'registry': {'errors'},
    'schedules': {'errors'},
    'draws': {'errors', 'schedules'},
    'filters': {'errors'},
    'masking': GROUND,
    'models': GROUND | {'masking'},
    'models.algorithms': PARTS,
    'datasets': GROUND,
    'evaluation': PARTS | {'datasets'},
    'engine': RUN,
    'downstream': RUN,
    'converters': RUN,
    'visualization': RUN,
    'utils': {'registry'},
    # pytest loads it before anything else
    'pytest_goldens': set(),
    'cli': RUN | {'downstream', 'converters', 'visualization', 'utils'},
}


def layer_of(module: str) -> str:
    """``'mimplug.models.heads.x'`` → ``'models'``."""
    path = module.removeprefix('mimplug').removeprefix('.')
    if path == 'models':
        return 'models.algorithms'
    parts = path.split('.')
    for length in range(len(parts), 0, -1):
        name = '.'.join(parts[:length])
        if name in MAY_KNOW:
            return name
    raise AssertionError(f'{module}: give its folder a place in MAY_KNOW')


def imported(tree: ast.AST, package: str, modules: set[str]) -> set[str]:
    """Absolute names of all modules that the code imports, anywhere in it.

    Args:
        tree (ast.AST): The parsed file.
        package (str): The package that relative imports start from.
        modules (set[str]): All modules of mimplug; tells ``from a import b``
            with a module b from one with an object b.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package.split('.')
            up = up[:len(up) - node.level + 1] if node.level else []
            base = '.'.join([*up, *filter(None, [node.module])])
            for alias in node.names:
                full = f'{base}.{alias.name}'
                found.add(full if full in modules else base)
    return found


def sources() -> dict[str, Path]:
    """Module name → file of the whole package."""
    files = {}
    for path in ROOT.rglob('*.py'):
        parts = path.relative_to(ROOT.parent).with_suffix('').parts
        if '.mim' not in parts:
            files['.'.join(parts).removesuffix('.__init__')] = path
    return files


def violations(module: str, code: str, *, is_package: bool,
               modules: set[str]) -> list[str]:
    """Imports of this module that go up."""
    package = module if is_package else module.rpartition('.')[0]
    # A package's face gathers its own children; that is no knowledge.
    own = f'{package}.' if is_package else None
    layer = '' if module == 'mimplug' else layer_of(module)
    if module == 'mimplug.models':
        layer = 'models.algorithms'
    wrong = []
    for target in imported(ast.parse(code), package, modules):
        if target.split('.')[0] in ('mmdet', 'mmseg'):
            if layer != 'downstream':
                wrong.append(target)
        elif target.split('.')[0] == 'mimplug':
            if target == 'mimplug' or (own and target.startswith(own)):
                continue
            known = layer_of(target)
            if known != layer and known not in MAY_KNOW[layer]:
                wrong.append(target)
    return wrong


@pytest.mark.parametrize('module,path', sorted(sources().items()),
                         ids=sorted(sources()))
def test_no_import_goes_up(module, path):
    assert violations(module, path.read_text(),
                      is_package=path.name == '__init__.py',
                      modules=set(sources())) == []


@pytest.mark.parametrize('module,code', [
    ('mimplug.masking.mask', 'from mimplug.models.heads import PrototypeHead'),
    ('mimplug.models.heads.x', 'from mimplug.models import IBOT'),
    ('mimplug.models.heads.x', 'from ..algorithms.ibot import IBOT'),
    ('mimplug.datasets.x', 'def f():\n    import mimplug.models.teacher'),
    ('mimplug.evaluation.knn', 'from mimplug.models.algorithms import IBOT'),
    ('mimplug.engine.x', 'from mimplug.converters import reader'),
    ('mimplug.draws.x', 'from mimplug.masking import Mask'),
    ('mimplug.engine.x', 'import mmdet.models'),
])
def test_the_rule_sees_upward_imports(module, code):
    assert violations(module, code, is_package=False, modules=set(sources()))


@pytest.mark.parametrize('module,code', [
    ('mimplug.masking.mask', 'from mimplug.draws import Draws'),
    ('mimplug.models.algorithms.x', 'from ..teacher import Teacher'),
    ('mimplug.engine.x', 'from mimplug.models import IBOT'),
    ('mimplug.downstream.x', 'import mmdet'),
    ('mimplug.cli.x', 'from mimplug.converters import reader'),
])
def test_the_rule_allows_downward_imports(module, code):
    assert not violations(module, code, is_package=False,
                          modules=set(sources()))


def test_requirements_are_what_the_package_imports():
    modules = {'onedl-mmengine': 'mmengine', 'onedl-mmcv': 'mmcv',
               'onedl-mmpretrain': 'mmpretrain', 'pillow': 'PIL'}
    # TensorBoard and matplotlib are used by MMEngine's visualisers, timm
    # brings safetensors and the networks of benchmarks/.
    indirect = {'tensorboard', 'matplotlib', 'timm'}
    lines = (ROOT.parent / 'requirements.txt').read_text().splitlines()
    names = {re.split('[<>=]', line)[0] for line in lines
             if line and line[0] != '#'}
    found = {target.split('.')[0] for module, path in sources().items()
             if module != 'mimplug.pytest_goldens'
             for target in imported(ast.parse(path.read_text()), module,
                                    set(sources()))}
    # OpenCV comes with MMCV, as one of several packages of other names
    found -= {'mimplug', 'safetensors', 'cv2', *sys.stdlib_module_names}
    assert {modules.get(name, name) for name in names - indirect} == found


def loaded_by(statement: str) -> set[str]:
    """Names in ``sys.modules`` after a statement in a fresh process."""
    code = f'import sys\n{statement}\nprint(*sys.modules)'
    return set(subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], text=True, check=True,
        capture_output=True).stdout.split())


def test_importing_the_package_is_light():
    heavy = {'torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'timm',
             'sklearn', 'scipy', 'matplotlib', 'mmdet', 'mmseg'}
    assert not heavy & loaded_by('import mimplug')


def test_nothing_pulls_in_the_downstream_toolboxes():
    loaded = loaded_by('from mimplug.utils import register_all_modules\n'
                       'register_all_modules()')
    assert 'mimplug.models' in loaded
    assert not {'mmdet', 'mmseg'} & loaded
