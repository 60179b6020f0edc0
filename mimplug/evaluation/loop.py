"""Validation loop that measures features by their neighbours."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from mimplug.errors import ConfigError
from mimplug.registry import LOOPS

from .protocol import KNNProtocol

LoaderConfig = DataLoader | dict[str, Any]


@LOOPS.register_module()
class KNNValLoop(BaseLoop):
    """Weighted k-NN classification of the validation set.

    The features are those of the teacher's backbone where the model has one.
    The metrics ``knn/top1_k20``, ``knn/top5_k20``, … reach the hooks as those
    of any validation do: they are logged, go to TensorBoard, and
    ``CheckpointHook(save_best='knn/top1_k20', rule='greater')`` works.

    Args:
        runner (Runner): The runner.
        dataloader (dict | DataLoader): ``val_dataloader``, the queries.
        evaluator (Sequence): ``val_evaluator``. MMEngine wants it set
            whenever a validation loop is; the loop has metrics of its own,
            so write ``val_evaluator = []``.
        bank (dict | DataLoader): Loader of the labelled images that vote,
            written like ``val_dataloader``.
        k (int | Sequence[int]): Numbers of neighbours. Defaults to (10, 20).
        temperature (float): T of the votes exp(similarity / T). Defaults to
            0.07.
        key (str): 'teacher', 'student', or 'auto' for the teacher where
            there is one. Defaults to 'auto'.
        fp16 (bool): Encode under autocast. Defaults to False.
        clustering (bool): Also compare the head's prototypes with the
            classes: ``cluster/nmi``, … Defaults to False.
        precise_bn (int): Batches of the bank from which batch norms get
            their statistics for the measurement; see :class:`KNNProtocol`.
            Defaults to 0: running statistics.

    Raises:
        ConfigError: A setting is out of range, a data set has no labels, or
            ``evaluator`` is not empty.

    Source: ``main_attmask.py`` of gkakogeorgiou/attmask evaluates so while
    training, with the teacher's temperature as T; here T is its own setting.

    Example (config):
        >>> bank = dict(batch_size=64, num_workers=2, dataset=dict(),
        ...             sampler=dict(type='DefaultSampler', shuffle=False))
        >>> val_cfg = dict(type='mimplug.KNNValLoop', bank=bank, k=(10, 20))
        >>> val_evaluator = []
    """

    def __init__(self,
                 runner: Runner,
                 dataloader: LoaderConfig,
                 evaluator: Sequence | None = None,
                 *,
                 bank: LoaderConfig,
                 k: int | Sequence[int] = (10, 20),
                 temperature: float = 0.07,
                 key: str = 'auto',
                 fp16: bool = False,
                 clustering: bool = False,
                 precise_bn: int = 0) -> None:
        if evaluator:
            raise ConfigError(
                f'val_evaluator={evaluator!r} would not run: KNNValLoop has '
                'metrics of its own; write val_evaluator=[]')
        super().__init__(runner, dataloader)
        bank_loader = runner.build_dataloader(bank, seed=runner.seed)
        self.protocol = KNNProtocol(
            bank_loader, self.dataloader,
            k=(k,) if isinstance(k, int) else k, temperature=temperature,
            key=key, fp16=fp16, clustering=clustering,
            precise_bn=precise_bn)

    def run(self) -> dict[str, float]:
        """Measures and tells the hooks.

        Returns:
            dict[str, float]: The metrics.
        """
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        metrics = self.measure(around=self._iteration)
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    def measure(self, **kwargs: Any) -> dict[str, float]:
        """Measures the runner's model as it is, without calling hooks.

        Args:
            **kwargs: Arguments of :meth:`KNNProtocol.metrics`.

        Returns:
            dict[str, float]: The metrics.
        """
        return self.protocol.metrics(self.runner.model, **kwargs)

    @contextmanager
    def _iteration(self, number: int, batch: Any) -> Iterator[None]:
        """Calls the hooks of one iteration around its work."""
        self.runner.call_hook(
            'before_val_iter', batch_idx=number, data_batch=batch)
        yield
        self.runner.call_hook(
            'after_val_iter', batch_idx=number, data_batch=batch,
            outputs=None)
