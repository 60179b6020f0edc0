"""``mimplug.X`` is found from default scope mmpretrain, nothing imported."""
from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import Registry

import mimplug
from mimplug import registry as registries

ROOT = Path(mimplug.__file__).parent
NAMES = sorted(name for name, value in vars(registries).items()
               if isinstance(value, Registry))

# Looks classes up as a runner does. Each registry has a process of its own in
# which no module of mimplug was imported before; torch and MMPretrain were,
# else this would take minutes.
LOOK_UP = """
import json, os, sys
import mmengine.registry.root as root
import mmpretrain.models, mmpretrain.datasets, mmpretrain.engine
from mmengine.registry import DefaultScope

DefaultScope.get_instance('test', scope_name='mmpretrain')
for name, classes in json.load(sys.stdin).items():
    read, write = os.pipe()
    if os.fork() == 0:
        assert not [m for m in sys.modules if m.startswith('mimplug')]
        tree = getattr(root, name)
        with tree.switch_scope_and_registry(None) as place:
            found = {c: getattr(place.get(f'mimplug.{c}'), '__module__', None)
                     for c in classes}
        os.write(write, json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    print(json.dumps([name, os.fdopen(read).read()]), flush=True)
"""


def declared() -> dict[str, dict[str, str]]:
    """Registry → class → module, of every decorator in the source."""
    found: dict[str, dict[str, str]] = {name: {} for name in NAMES}
    for path in ROOT.rglob('*.py'):
        if '.mim' in path.parts:
            continue
        module = '.'.join(
            path.relative_to(ROOT.parent).with_suffix('').parts)
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, 'decorator_list', []):
                text = ast.unparse(decorator)
                owner, dot, rest = text.partition('.register_module(')
                if dot:
                    assert rest == ')', f'{path}: plain register_module()'
                    found[owner.split('.')[-1]][node.name] = (
                        module.removesuffix('.__init__'))
    return found


DECLARED = declared()
USED = [name for name in NAMES if DECLARED[name]]


@pytest.fixture(scope='module')
def looked_up():
    """Registry → class → module of what the look-up gave."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', LOOK_UP], text=True,
        input=json.dumps({name: list(DECLARED[name]) for name in USED}),
        stdout=subprocess.PIPE, check=True, timeout=200)
    lines = [json.loads(line) for line in result.stdout.splitlines()
             if line.startswith('[')]
    return {name: json.loads(text or '{}') for name, text in lines}


@pytest.mark.unit
@pytest.mark.parametrize('name', USED)
def test_every_class_is_found(name, looked_up):
    assert looked_up[name] == DECLARED[name]


@pytest.mark.unit
def test_children_of_the_roots_in_our_scope():
    for name in NAMES:
        child = getattr(registries, name)
        assert child.scope == 'mimplug'
        assert child.parent is getattr(registries.root, name)


@pytest.mark.unit
@pytest.mark.parametrize('name,cls', [
    ('MODELS', 'IBOT'), ('OPTIM_WRAPPERS', 'OptimWrapper')])
def test_in_a_really_fresh_process(name, cls):
    code = (f'from mmengine.registry import {name} as place, DefaultScope\n'
            "DefaultScope.get_instance('x', scope_name='mmpretrain')\n"
            'with place.switch_scope_and_registry(None) as child:\n'
            f"    print(child.get('mimplug.{cls}').__name__)")
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                            text=True, check=True, capture_output=True)
    assert result.stdout.split()[-1] == cls
