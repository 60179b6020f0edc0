"""Scores from the CLS row of one layer: three ways to fuse its heads."""
from __future__ import annotations

import torch

from mimplug.errors import ConfigError, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.needs import Needs
from mimplug.masking.scores.base import Score, single_precision
from mimplug.registry import TASK_UTILS


def fuse_heads(attention: torch.Tensor) -> torch.Tensor:
    """Returns the mean over heads, (M, H, L) -> (M, L).

    Half precision is averaged in float32, which keeps apart scores that
    would become equal otherwise; float64 stays.
    """
    return single_precision(attention).mean(1)


class HeadScore(Score):
    r"""Mean over heads of a function f of the CLS attention of a layer.

    .. math:: s = \frac1H \sum_h f(c_h)

    c_h is the CLS row without the CLS column, not normalised again. With one
    head every increasing f gives the same ranking: log and power differ from
    raw only in how much the heads must agree.

    Args:
        layer (int): Layer of the teacher; negative ones count from the end.
        legacy_running_sum (bool): As released: row j gets the sum of the
            scores of rows 0, …, j of the call, so that all masks of a batch
            drift to its average.
    """

    def __init__(self, layer: int, legacy_running_sum: bool = False) -> None:
        if isinstance(layer, bool) or not isinstance(layer, int):
            raise ConfigError(f'layer={layer!r}: must be an integer')
        self.layer = layer
        self.needs = Needs(cls_rows=(layer,))
        self.legacy_running_sum = legacy_running_sum
        self.batch_coupled = legacy_running_sum

    def transform(self, attention: torch.Tensor) -> torch.Tensor:
        """f, (M, H, L) -> the same, float32 or better."""
        return attention

    def __call__(self, context: MaskContext) -> torch.Tensor:
        rows = context.cls_rows(self.layer)
        scores = self.transform(single_precision(rows)).mean(1)
        return scores.cumsum(0) if self.legacy_running_sum else scores


@TASK_UTILS.register_module()
class RawScore(HeadScore):
    r"""Mean over heads of the CLS attention, :math:`s = mean_h\, c_h`.

    Args:
        layer (int): Layer of the teacher; negative ones count from the end.
            Defaults to -1.

    Source: ``masking_mechanism`` (``raw``) in ``util/masking/choose_mask.py``
    of DimitrisReppas/MIM_on_self-supervision; AttMask for the last layer.
    """

    def __init__(self, layer: int = -1) -> None:
        super().__init__(layer)


@TASK_UTILS.register_module()
class LogScore(HeadScore):
    r"""Mean over heads of the logarithm, :math:`s = mean_h \ln c_h`.

    The logarithm of the geometric mean: all heads must agree, where one very
    peaked head can dominate the arithmetic mean.

    Args:
        layer (int): As in :class:`RawScore`. Defaults to -1.
        eps (float): Attention below it counts as this much (the release has
            no limit and could take the logarithm of 0). Defaults to 1e-12.
        legacy_running_sum (bool): The released defect: each row gets the sum
            over itself and the rows before it. Defaults to False.

    Raises:
        ConfigError: If ``eps`` is out of range.

    Source: ``avg_log`` in ``util/masking/choose_mask.py`` of
    DimitrisReppas/MIM_on_self-supervision.
    """

    def __init__(self, layer: int = -1, *, eps: float = 1e-12,
                 legacy_running_sum: bool = False) -> None:
        # float32 holds 1e-45 and more.
        check_range('eps', eps, 1e-45, 1.0)
        super().__init__(layer, legacy_running_sum)
        self.eps = eps

    def transform(self, attention: torch.Tensor) -> torch.Tensor:
        return attention.clamp(min=self.eps).log()


@TASK_UTILS.register_module()
class PowerScore(HeadScore):
    r"""Mean over heads of a power, :math:`s = mean_h\, c_h^p`.

    p < 1 lies between raw (p = 1) and log (the ranking for p -> 0).

    Args:
        layer (int): As in :class:`RawScore`. Defaults to -1.
        power (float): p > 0. Defaults to 0.5.
        legacy_running_sum (bool): As in :class:`LogScore`. Defaults to False.

    Raises:
        ConfigError: If ``power`` is out of range.

    Source: ``avg_pow`` in ``util/masking/choose_mask.py`` of
    DimitrisReppas/MIM_on_self-supervision.
    """

    def __init__(self, layer: int = -1, *, power: float = 0.5,
                 legacy_running_sum: bool = False) -> None:
        check_range('power', power, 1e-6, 1e3)
        super().__init__(layer, legacy_running_sum)
        self.power = power

    def transform(self, attention: torch.Tensor) -> torch.Tensor:
        return attention.pow(self.power)
