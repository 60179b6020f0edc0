"""The same place of another image of the batch."""
from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mimplug.draws import Draws, to_device
from mimplug.errors import check_choice
from mimplug.masking.fills.base import Fill
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS

PARTNERS = ('reverse', 'permutation')


def partner_index(partner: str, batch: int, draws: Draws,
                  device: torch.device) -> Tensor:
    """Returns (B,) int64, the partner of each image of a batch.

    Args:
        partner (str): 'reverse': image B - 1 - i; the middle one of an odd
            batch, or the only one of a batch of 1, is its own partner.
            'permutation': a random permutation ('mix/partner': ranks of B
            numbers of the batch), which may have fixed points.
        batch (int): B.
        draws (Draws): Random numbers of the batch.
        device (torch.device): Where the index is needed.
    """
    if partner == 'reverse':
        return torch.arange(batch - 1, -1, -1, device=device)
    table = draws.host_batch_table('mix/partner', batch)
    return to_device(np.argsort(table, kind='stable'), device)


@TASK_UTILS.register_module()
class MixFill(Fill):
    """Another image of the batch (MixMask without its loss).

    Args:
        partner (str): 'reverse' or 'permutation'; see
            :func:`partner_index`. Defaults to 'reverse'.

    Raises:
        ConfigError: If the partner is unknown.

    Source: ``main_moco_mixmask.py`` of kirill-vish/MixMask.
    """

    batch_coupled = True
    examples: ClassVar = ({}, {'partner': 'permutation'})

    def __init__(self, partner: str = 'reverse') -> None:
        check_choice('partner', partner, PARTNERS)
        self.partner = partner

    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        return images[partner_index(
            self.partner, len(images), draws, images.device)]
