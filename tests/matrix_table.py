"""The matrix as a table of docs/matrix.md.

``python tests/matrix_table.py`` writes it anew.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrix import ALGORITHMS, GENERATORS, Algorithm, Generator

from mimplug.masking import build_generator

PAGE = Path(__file__).resolve().parent.parent / 'docs' / 'matrix.md'
START, END = '<!-- matrix -->\n', '<!-- end of matrix -->\n'
# Names in the head of the table, where they are not those of the matrix.
TITLES = dict(ibot='IBOT', simmim='SimMIM', beit='BEiT', mae='MAE',
              beitv2='BEiT v2', maskfeat='MaskFeat', cae='CAE', mugs='Mugs',
              moco='MoCo', saliencymoco='SaliencyMoCo', simclr='SimCLR',
              byol='BYOL', simsiam='SimSiam')
# Words of Algorithm.refusal, as the page explains them.
WORDS = dict(nothing='empty')


def spell(value: Any) -> str:
    """A setting as it is written in Python, parts without ``dict``."""
    if isinstance(value, Mapping):
        rest = [f'{name}={spell(part)}' for name, part in value.items()
                if name != 'type']
        name = str(value.get('type', 'dict')).removeprefix('mimplug.')
        return f'{name}({", ".join(rest)})'
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(spell, value))}]'
    return repr(value)


def cell(algorithm: Algorithm, generator: Generator) -> str:
    """``yes``, or why not."""
    reason = algorithm.refusal(build_generator(generator.config))
    return 'yes' if reason is None else WORDS.get(reason, reason)


def table() -> str:
    """All pairs, one line a setting of a generator."""
    shown = [generator for generator in GENERATORS
             if isinstance(generator.config, Mapping)]
    titles = [TITLES.get(algorithm.name, algorithm.name)
              for algorithm in ALGORITHMS]
    lines = [['Generator', *titles], [':---', *[':---:'] * len(titles)]]
    lines += [[f'`{spell(generator.config)}`',
               *(cell(algorithm, generator) for algorithm in ALGORITHMS)]
              for generator in shown]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def page_with(new: str) -> str:
    """The page with another table."""
    before, rest = PAGE.read_text().split(START)
    return before + START + new + END + rest.split(END)[1]


if __name__ == '__main__':
    PAGE.write_text(page_with(table()))
