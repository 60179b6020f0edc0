"""The k-NN protocol: bank, queries, and what is measured on them.

The validation loop, the report and the command line all evaluate through
:class:`KNNProtocol`.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine import dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mimplug.errors import ConfigError, check_choice, check_range

from .clustering import clustering_metrics
from .feature_bank import (
    KEYS,
    Around,
    Encoder,
    FeatureBank,
    bare_model,
    choose_backbone,
    evaluating,
    extract_features,
    preprocess,
)
from .knn import check_k, knn_correct, percent
from .precise_bn import recalibrated, spread_loader

_HEAD_ROWS = 1024


@dataclass(frozen=True)
class KNNProtocol:
    """Classifies one data set by its neighbours in another.

    Args:
        bank_loader (DataLoader): Labelled images that vote.
        query_loader (DataLoader): Labelled images that are classified.
        k (Sequence[int]): Numbers of neighbours. Defaults to (10, 20).
        temperature (float): T of the votes exp(similarity / T). Defaults to
            0.07.
        key (str): 'teacher', 'student', or 'auto' for the teacher where
            there is one. Defaults to 'auto'.
        fp16 (bool): Encode under autocast. Defaults to False.
        clustering (bool): Also take the prototype that the head gives each
            query for a cluster and compare clusters with classes. Defaults
            to False.
        precise_bn (int): Batches of the bank, spread over it, from which
            batch norms get their statistics while the features are measured
            (:func:`mimplug.evaluation.recalibrate_bn`); for encoders that are
            trained on masked, mixed or filtered images. 0: their running
            statistics. Defaults to 0.

    Raises:
        ConfigError: A setting is out of range, no image of a data set has a
            label, or a k is larger than the bank. When measuring: with
            ``precise_bn`` a network without batch norms.
    """
    bank_loader: DataLoader
    query_loader: DataLoader
    k: Sequence[int] = (10, 20)
    temperature: float = 0.07
    key: str = 'auto'
    fp16: bool = False
    clustering: bool = False
    precise_bn: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'k', check_k(self.k))
        check_choice('key', self.key, KEYS)
        check_range('precise_bn', self.precise_bn, 0, 10**9)
        if not self.temperature > 0:
            raise ConfigError(
                f'temperature={self.temperature!r}: allowed is > 0')
        check_has_labels(self.bank_loader.dataset, 'bank')
        check_has_labels(self.query_loader.dataset, 'queries')
        size = len(self.bank_loader.dataset)  # type: ignore[arg-type]
        if self.k[-1] > size:
            raise ConfigError(
                f'k={self.k[-1]}: the bank has {size} images; allowed is '
                f'[1, {size}]')

    def extract(self, model: nn.Module, *, encoder: Encoder | None = None,
                storage: torch.dtype = torch.float32,
                around: Around | None = None
                ) -> tuple[FeatureBank, FeatureBank]:
        """Encodes both data sets.

        Args:
            model (nn.Module): As for :func:`extract_features`.
            encoder (Callable, optional): Takes the place of the backbone.
            storage (torch.dtype): Type of the stored features.
            around (Callable, optional): Context of every batch of queries.

        Returns:
            tuple[FeatureBank, FeatureBank]: Bank and queries.

        Raises:
            ConfigError: One of them turns out to hold no label.
        """
        statistics: AbstractContextManager = nullcontext()
        if self.precise_bn and encoder is None:
            statistics = recalibrated(
                choose_backbone(model, self.key), self._spread(model))
        with statistics:
            bank = extract_features(
                model, self.bank_loader, key=self.key, encoder=encoder,
                fp16=self.fp16, storage=storage)
            queries = extract_features(
                model, self.query_loader, key=self.key, encoder=encoder,
                fp16=self.fp16, storage=storage, around=around)
        for name, part in (('bank', bank), ('queries', queries)):
            if part.num_labelled == 0:
                raise _no_labels(name, len(part))
        return bank, queries

    def _spread(self, model: nn.Module) -> Iterator[Tensor]:
        """Images from all of the bank, as the network gets them."""
        bare = bare_model(model)
        for batch in spread_loader(self.bank_loader, self.precise_bn):
            yield preprocess(bare, batch)

    def accuracy(self, bank: FeatureBank, queries: FeatureBank,
                 device: torch.device) -> dict[str, float]:
        """Classifies the queries; each process its share.

        Args:
            bank (FeatureBank): All rows, equal on all processes.
            queries (FeatureBank): The same.
            device (torch.device): Where the work is done.

        Returns:
            dict[str, float]: ``knn/top1_k…`` and ``knn/top5_k…`` in percent,
            equal on all processes.

        Raises:
            ConfigError: Fewer labelled bank rows than a k.
        """
        share = slice(dist.get_rank(), None, dist.get_world_size())
        correct, total = knn_correct(
            queries.features[share].to(device), queries.labels[share],
            bank.features, bank.labels, k=self.k,
            temperature=self.temperature,
            num_classes=1 + int(max(bank.labels.max(), queries.labels.max())))
        counts = torch.cat([correct.flatten(), correct.new_tensor([total])])
        dist.all_reduce(counts)
        shares = percent(
            counts[:-1].view(-1, 2), int(counts[-1]), self.k)
        return {f'knn/{name}': value for name, value in shares.items()}

    def metrics(self, model: nn.Module, *, around: Around | None = None
                ) -> dict[str, float]:
        """Evaluates a model.

        Args:
            model (nn.Module): As for :func:`extract_features`.
            around (Callable, optional): Context of every batch of queries.

        Returns:
            dict[str, float]: ``knn/top1_k…``, ``knn/top5_k…`` in percent; with
            ``clustering`` also ``cluster/nmi``, ``cluster/ari``,
            ``cluster/fowlkes_mallows`` and ``cluster/matched_accuracy``.
        """
        bank, queries = self.extract(model, around=around)
        device = next(model.parameters()).device
        metrics = self.accuracy(bank, queries, device)
        if self.clustering:
            clusters = assign_prototypes(model, queries.features, self.key)
            metrics.update({
                f'cluster/{name}': value for name, value in
                clustering_metrics(queries.labels, clusters).items()})
        return metrics


def assign_prototypes(model: nn.Module, features: Tensor,
                      key: str = 'auto') -> Tensor:
    """Returns the index of the largest output of the head for each feature.

    Args:
        model (nn.Module): Owns ``head`` beside the evaluated backbone: a
            module from (b, D) features to (b, K) logits, or to a tuple that
            starts with them.
        features (Tensor): (N, D).
        key (str): As for :func:`choose_backbone`.

    Returns:
        Tensor: (N,) int64 on the device of ``features``.

    Raises:
        ConfigError: There is no such head.
    """
    model = bare_model(model)
    backbone = choose_backbone(model, key)
    owner = model if backbone is getattr(model, 'backbone', None) else (
        model.teacher)
    head = getattr(owner, 'head', None)
    if not isinstance(head, nn.Module):
        raise ConfigError(
            f'clustering=True: {type(model).__name__} has no head beside the '
            'backbone whose outputs could be clusters')
    weight = next(head.parameters())
    found = []
    with evaluating(head):
        for part in features.split(_HEAD_ROWS):
            logits = head(part.to(weight.device, weight.dtype))
            logits = logits if isinstance(logits, Tensor) else logits[0]
            found.append(logits.argmax(1).to(features.device))
    return torch.cat(found)


def check_has_labels(dataset: Any, name: str) -> None:
    """Raises unless an annotation of the data set carries a label.

    Annotations are read up to the first labelled one. A data set without
    ``get_data_info`` cannot be asked and passes.

    Args:
        dataset (Dataset): Of MMEngine's kind, or a wrapper of one.
        name (str): What it is used for, for the message.

    Raises:
        ConfigError: It has no label, or no images.
    """
    if not hasattr(dataset, 'get_data_info'):
        return
    size = len(dataset)
    for index in range(size):
        label = dataset.get_data_info(index).get('gt_label')
        if label is not None and np.size(label) == 1 and np.max(label) >= 0:
            return
    raise _no_labels(name, size)


def _no_labels(name: str, size: int) -> ConfigError:
    """The error for a data set that cannot vote or be judged."""
    return ConfigError(
        f'k-NN needs labels: none of the {size} images of the {name} has one '
        '(gt_label >= 0). Give labelled data, or set val_cfg, val_dataloader '
        'and val_evaluator to None to pre-train without k-NN')
