"""docs/masks.md is what its script writes, and lists every generator."""
from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

from mimplug.visualization import generator_classes

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'tools/visualization/make_mask_page.py'
PAGE = ROOT / 'docs/masks.md'
pytestmark = pytest.mark.unit
AGAIN = f'run python {SCRIPT.relative_to(ROOT)}'


@pytest.fixture(scope='module')
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_page_is_up_to_date(script):
    assert PAGE.read_text() == script['page'](), AGAIN


@pytest.mark.parametrize('name', generator_classes())
def test_every_generator_has_its_place(name):
    text = PAGE.read_text()
    line, = re.findall(rf'^\| \[`{name}`\].*$', text, re.M)
    assert 'not measured' not in line, (
        'run python benchmarks/generator_cost.py')
    assert f'| {generator_classes()[name].provenance} |' in line
    section, = re.findall(rf'^### {name}\n(.*?)(?=^##)', text, re.M | re.S)
    assert re.search(r'\*Certainty:\* \w+.* \*Source:\* \S+', section)
    with Image.open(ROOT / 'docs' / f'images/masks/{name}.png') as picture:
        assert picture.width > 500, AGAIN
    # nothing of reStructuredText is left
    assert not re.search(r':\w+:`|\.\. math|====|``(?!`)(?<!```)',
                         section.replace('```', ''))


def test_pictures_of_nothing_are_not_kept():
    found = {path.stem for path in (ROOT / 'docs/images/masks').iterdir()}
    assert found == set(generator_classes()), AGAIN


def test_costs_are_those_of_the_settings_on_the_page():
    costs = json.loads(
        (ROOT / 'benchmarks/results/generator_cost.json').read_text())
    assert set(costs['generators']) == set(generator_classes())


def test_the_example_runs():
    code, = re.findall(r'```python\n(import torch.*?)```', PAGE.read_text(),
                       re.S)
    exec(compile(code, str(PAGE), 'exec'), {})


@pytest.mark.parametrize('text, want', [
    ('a :math:`x +\n  y` b', 'a $x + y$ b'),
    (':class:`mimplug.X` and ``y``', '`mimplug.X` and `y`'),
    ('see\n\n.. math::\n    a\n\n    b\n\nend',
     'see\n\n```math\na\n\nb\n```\n\nend'),
    ('.. math:: a = b\n    + c\n\nend', '```math\na = b\n+ c\n```\n\nend'),
    ('====  ==\nred   a b\nblue  c\n====  ==',
     '| | |\n| :--- | :--- |\n| red | a b |\n| blue | c |'),
])
def test_markdown(script, text, want):
    assert script['markdown'](text) == want
