"""Does Mugs learn? k-NN of its quickstart, next to AttMask-iBOT's.

Both have the same network, images, epochs and optimiser; Mugs looks at two
more global views of an image in each step. For each method the table shows
the trained teacher and its own step 0. The claim that must hold is Mugs': the
gain over step 0 is positive for every seed, and its mean is at least two
sample standard deviations.

    python benchmarks/mugs_quickstart.py --seeds 0 1 2
    python benchmarks/mugs_quickstart.py --seeds 0 1 2 \\
        --earlier benchmarks/results/quickstart_seeds.json

The second one takes AttMask-iBOT's runs from the table of its own script.
"""
from __future__ import annotations

from quickstart_seeds import CONFIG as ATTMASK
from quickstart_table import compare

METHODS = {
    'Mugs': 'configs/quickstart/mugs_vit-quickstart-p8_fashion-mnist.py',
    'AttMask-iBOT': ATTMASK,
}

if __name__ == '__main__':
    raise SystemExit(compare('mugs_quickstart.py', METHODS, ['Mugs']))
