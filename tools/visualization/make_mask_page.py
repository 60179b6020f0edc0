"""Writes docs/masks.md and its pictures from the registered generators.

    python tools/visualization/make_mask_page.py
    python tools/visualization/make_mask_page.py --text-only

Words come from the docstrings, settings from ``examples``, costs from
benchmarks/results/generator_cost.json, pictures from the photographs inside
the package. A test fails when the page is not what this script writes.
"""
from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mimplug.masking import PROVENANCE, MaskGenerator, Needs, Score, Selector
from mimplug.masking.ratios import RatioSampler
from mimplug.registry import TASK_UTILS
from mimplug.visualization import example_generators, generator_classes

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/masks.md'
HEAD = Path(__file__).with_name('mask_page_head.md')
TAIL = Path(__file__).with_name('mask_page_tail.md')
PICTURES = Path('images/masks')
COSTS = ROOT / 'benchmarks/results/generator_cost.json'
POINTING = ROOT / 'benchmarks/results/pointing_game.json'
SECTIONS = re.compile(r'^(Args|Returns|Raises|Example|Attributes):\s*$', re.M)
# 14 x 14 patches
SIDE, PATCH, COLOURS, PHOTOS = 98, 7, 64, 3
PARTS = {'Ratios': RatioSampler, 'Scores': Score, 'Selectors': Selector}


def group_of(generator: MaskGenerator) -> str:
    """Heading under which a generator stands."""
    needs = generator.needs
    if hasattr(generator, 'generators'):
        return 'Combinations'
    if needs.attention:
        return 'Where the teacher looks'
    if needs != Needs():
        return 'Features, losses, saliency'
    return 'Without a look at the image'


GROUPS = ('Without a look at the image', 'Where the teacher looks',
          'Features, losses, saliency', 'Combinations')


def needs_text(needs: Needs) -> str:
    """What a generator looks at, in words."""
    words = []
    if needs.full or needs.spans:
        words.append('whole attention')
    elif needs.cls_rows:
        words.append('CLS attention')
    words += [name for name in ('features', 'difficulty', 'saliency',
                                'images') if getattr(needs, name)]
    return ', '.join(words) or 'nothing'


def prose(cls: type[MaskGenerator]) -> tuple[str, str, str]:
    """Description, certainty and source of a class, as Markdown."""
    text = inspect.cleandoc(cls.__doc__ or '')
    description = SECTIONS.split(text)[0]
    known = re.search(r'^Provenance: (.*?)\.\s+Source:', text, re.S | re.M)
    source = re.search(r'Source: (.*?)(?=\n\n|\Z)', text, re.S)
    return (markdown(description).strip(),
            ' '.join(known[1].split()) if known else cls.provenance,
            markdown(' '.join(source[1].split())) if source else 'ours.')


def markdown(text: str) -> str:
    """reStructuredText of our docstrings as Markdown."""
    text = re.sub(r'``([^`]*)``', r'`\1`', text)
    text = re.sub(r':math:`([^`]*)`', _inline, text)
    text = re.sub(r':\w+:`~?([^`]*)`', r'`\1`', text)
    text = re.sub(r'^=+ +=[= ]*\n(.*?)\n=+ +=[= ]*$', _table, text,
                  flags=re.S | re.M)
    return re.sub(r'\.\. math::[ \t]*((?:.*\n?)(?:\n?[ \t]+\S.*\n?)*)',
                  _formula, text)


def _inline(match: re.Match) -> str:
    """A formula inside a line."""
    return f'${" ".join(match[1].split())}$'


def _formula(match: re.Match) -> str:
    """A formula on lines of its own."""
    return f'```math\n{inspect.cleandoc(match[1])}\n```\n'


def _table(match: re.Match) -> str:
    """A simple table of two columns without a head."""
    rows = [re.split(r'\s{2,}', line, maxsplit=1)
            for line in match[1].splitlines()]
    return '\n'.join(['| | |', '| :--- | :--- |',
                      *(f'| {" | ".join(row)} |' for row in rows)])


def table(costs: dict) -> Iterator[str]:
    """One line a generator."""
    yield ('| Generator | Looks at | Exact count | Drops tokens | Certainty '
           f'| ms for {costs["rows"]} views | of a ViT-S step |')
    yield '| :--- | :--- | :--- | :--- | :--- | ---: | ---: |'
    for name, cls in generator_classes().items():
        generator = example_generators(name)[0][1]
        cost = costs['generators'].get(name)
        numbers = 'not measured | ' if cost is None else (
            f'{cost["milliseconds"]:.2f} | {cost["percent_of_step"]:.3f} %')
        yield (f'| [`{name}`](#{name.lower()}) | '
               f'{needs_text(generator.needs)} | '
               f'{"yes" if generator.exact_count else "no"} | '
               f'{"yes" if generator.drops else ""} | {cls.provenance} | '
               f'{numbers} |')


def sections() -> Iterator[str]:
    """One section a generator, by group."""
    classes = generator_classes()
    for group in GROUPS:
        yield f'## {group}\n'
        for name, cls in classes.items():
            examples = example_generators(name)
            if group_of(examples[0][1]) != group:
                continue
            description, certainty, source = prose(cls)
            yield f'### {name}\n\n{description}\n'
            yield f'*Certainty:* {certainty}. *Source:* {source}\n'
            yield f'![Masks of {name}]({PICTURES}/{name}.png)\n'


def parts() -> Iterator[str]:
    """The objects that generators are put together from."""
    for title, base in PARTS.items():
        names = sorted(name for name, part in TASK_UTILS.module_dict.items()
                       if inspect.isclass(part) and issubclass(part, base))
        yield f'**{title}.** ' + '; '.join(
            f'`{name}`: {_first_line(TASK_UTILS.module_dict[name])}'
            for name in names) + '.\n'


def _first_line(cls: type) -> str:
    """The summary of a docstring without its full stop."""
    first = markdown(inspect.cleandoc(cls.__doc__ or '')).split('\n\n')[0]
    first = ' '.join(first.split()).rstrip('.')
    return first[0].lower() + first[1:]


def pointing() -> Iterator[str]:
    """Results of the pointing game."""
    result = json.loads(POINTING.read_text())
    yield (f'{result["images"]} images of the test side; objects cover '
           f'{result["area"]} % of the area, which is what a map that knows '
           'nothing would reach in the first two columns. In %, with standard '
           f'errors (`{result["command"]}`):\n')
    yield '| Score | hit | mass | IoU | AUC |'
    yield '| :--- | ---: | ---: | ---: | ---: |'
    for name, columns in result['methods'].items():
        cells = (f'{mean} ± {error}' for mean, error in columns.values())
        yield f'| {name} | {" | ".join(cells)} |'


def page() -> str:
    """The whole page."""
    costs = json.loads(COSTS.read_text())
    tags = '\n'.join(f'- *{tag}*: {meaning};'
                     for tag, meaning in PROVENANCE.items())
    text = HEAD.read_text().format(
        table='\n'.join(table(costs)), tags=tags.rstrip(';') + '.',
        step=costs['step_milliseconds'], rows=costs['rows'],
        command=costs['command'])
    body = '\n'.join([*sections(), '## Parts\n', *parts()])
    tail = TAIL.read_text().replace('{pointing}', '\n'.join(pointing()))
    return f'{text}\n{body}\n{tail}'


def draw() -> None:
    """One picture a generator."""
    import torch
    from PIL import Image

    from mimplug.visualization import (
        StandInInputs,
        find_photos,
        load_photos,
        render_masks,
    )

    photos = load_photos(find_photos(limit=PHOTOS), (SIDE, SIDE))
    inputs = StandInInputs(torch.from_numpy(photos),
                           (SIDE // PATCH, SIDE // PATCH))
    folder = PAGE.parent / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for name in generator_classes():
        picture = render_masks(
            [(name, *one) for one in example_generators(name)], inputs,
            cell=SIDE)
        # few colours: the file is a third of the size
        Image.fromarray(picture).quantize(COLOURS).save(
            folder / f'{name}.png', optimize=True)


def main() -> None:
    """Writes page and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--text-only', action='store_true')
    args = parser.parse_args()
    PAGE.write_text(page())
    if not args.text_only:
        draw()


if __name__ == '__main__':
    main()
