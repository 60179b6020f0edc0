"""Do the masked ConvNets learn? k-NN of three quickstarts, side by side.

MoCo v2, saliency-guided MoCo and MixMask with the same network, images,
epochs and optimiser. The table shows the trained teacher (the key encoder)
and its own step 0, a random network. The claims that must hold: the gain of
each is positive for every seed, and its mean is at least two sample standard
deviations, over both kinds of step 0 (batch norms recalibrated like those of
the end, and as built). Random networks as built differ so much that three
seeds say little about their spread.

    python benchmarks/convnet_quickstart.py --seeds 0 1 2 3 4 5
"""
from __future__ import annotations

from quickstart_table import compare

METHODS = {
    'MoCo v2': 'configs/quickstart/'
               'moco_resnet-quickstart_fashion-mnist.py',
    'saliency-MoCo': 'configs/quickstart/'
                     'saliency-moco_resnet-quickstart_fashion-mnist.py',
    'MixMask': 'configs/quickstart/'
               'mixmask_resnet-quickstart_fashion-mnist.py',
}

if __name__ == '__main__':
    raise SystemExit(compare('convnet_quickstart.py', METHODS,
                             list(METHODS)))
