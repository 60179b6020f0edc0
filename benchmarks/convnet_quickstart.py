"""Do the masked ConvNets learn? k-NN of three quickstarts, side by side.

MoCo v2, saliency-guided MoCo and MixMask with the same network, images,
epochs and optimiser. The table shows the trained teacher (the key encoder)
and its own step 0, a random network; batch norms are recalibrated for both.
The claims that must hold: the gain of each is positive for every seed, and its
mean is at least two sample standard deviations; over the same network with
batch norms as built, which do nothing, it is positive for every seed.

    python benchmarks/convnet_quickstart.py --seeds 0 1 2
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
