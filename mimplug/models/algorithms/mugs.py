"""Mugs: instance, local-group and group supervision at once."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.parametrize import cached

from mimplug.masking import Mask, Needs
from mimplug.registry import MODELS

from ..backbones import Encoded, LocalGroupViT, RawTokens
from ..losses import ClusteringLoss, at_least_float32
from ..requested import group_by_size
from .mugs_base import MugsNetworks
from .mugs_memories import MicroBatch, Neighbours
from .mugs_terms import labels_of, weak_flags


class Features(NamedTuple):
    """What heads and memories take from a network.

    Args:
        cls (Tensor): Normed CLS tokens (M, D), view-major.
        group (Tensor): Local-group features (M, D), or (M, 0).
        stored (Tensor): Mean patch features (B, D) of the first view, or
            (B, 0); without gradient.
        found (Neighbours, optional): Of the M images.
    """
    cls: Tensor
    group: Tensor
    stored: Tensor
    found: Neighbours | None


@MODELS.register_module()
class Mugs(MugsNetworks):
    r"""Multi-granular self-supervised learning, optionally with masks.

    .. math::
        L = \frac{w_1 L_{instance} + w_2 L_{local\,group} + w_3 L_{group}}
        {w_1 + w_2 + w_3}

    One step: the teacher sees G global views of an image, the student G other
    ones and the local views. Each network finds the neighbours of its views
    in a memory of its own and relates view and neighbours. Student and
    teacher must agree on the image among others (InfoNCE over CLS tokens), on
    the image among its neighbours (InfoNCE over local-group features) and on
    its group (clustering over prototypes). Queues and memories then take in
    the teacher's embeddings, the mean patch features of the teacher's first
    view, and those of the student's first view where it was weakly augmented.

    **Views.** ``inputs`` are, in this order, G global views of the teacher,
    G global views of the student of the same size, and any number of local
    views of the student, also none. With ``share_views`` the student's are
    the teacher's: G global views, then the local ones. A data sample may
    carry as meta information ``sample_key`` and ``weak``, a bool: the
    student's global views were augmented weakly (without it: always), and
    ``gt_label``, which is used for nothing but ``raw/neighbour_purity``.

    **Masks.** A ``mask_generator`` hides patches of the student's global
    views; the losses are the same. Images of which something was hidden in
    the student's first view do not enter its memory. If the generator looks
    at attention or features, the teacher runs once more, on the student's
    global views, without gradient: 15 % more products in the backbones at
    2 x 224 and 10 x 96 pixels. With ``share_views`` it need not.

    Args:
        backbone (dict): ``mimplug.LocalGroupViT``; its mask token exists if
            there is a ``mask_generator``. The teacher gets the same without
            stochastic depth and mask token.
        mask_generator (dict | MaskGenerator, optional): Any generator of
            :mod:`mimplug.masking` that needs no patch loss. Defaults to none.
        instance (dict, optional): Arguments of :class:`InstanceTerm`.
        local_group (dict, optional): Those of :class:`LocalGroupTerm`.
        group (dict, optional): Those of :class:`GroupTerm`.
        num_globals (int): G. Defaults to 2.
        share_views (bool): Teacher and student see the same global views.
            Defaults to False.
        legacy_scale (bool): As released, weights divide the sum of the terms
            but do not multiply the terms. Defaults to False.
        draws_seed (int, optional): Seed of masks and stochastic depth.
            None: the seed of the run.
        data_preprocessor (dict, optional): Defaults to
            ``mimplug.MultiViewDataPreprocessor`` with ImageNet statistics.
        init_cfg (dict, optional): MMEngine's initialisation config.

    Raises:
        ConfigError: Parts that do not fit together.

    Source: Zhou et al., Mugs, arXiv 2203.14415 (``train_one_epoch`` in
    ``main.py`` of sail-sg/mugs). EMA and centre move in :meth:`step_end`;
    both are next read in the following step, so the numbers are the
    reference's. Masks are ours.
    """

    def loss(self, inputs: Sequence[Tensor],
             data_samples: Sequence | None = None) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs (Sequence[Tensor]): Views (B, 3, h, w) in the order that
                the class describes.
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: ``loss_instance``, ``loss_local_group`` and ``loss_group``
            (their sum is the loss) and, for the log, the unweighted terms
            ``raw/instance``, ``raw/local_group``, ``raw/group``;
            ``raw/agreement`` (share of images whose strongest prototype is
            the same in teacher view 0 and student view 1), what
            :meth:`MugsMemories.figures` says and, with a generator,
            ``raw/hidden`` (share of hidden patches).

        Raises:
            ValueError: Views that do not fit.
            RuntimeError: ``set_progress`` was never called.
        """
        seen, views = self.split_views(inputs)
        images = torch.cat(list(views[:self.num_globals]))
        local_views = group_by_size(views[self.num_globals:])
        drops = self.drop_path_draws(
            views, data_samples, [len(images), *map(len, local_views)])
        with torch.no_grad():
            raw = self._look(seen)
            target = self._features([raw.tokens], len(seen[0]))
            mask = self._mask(images, raw, data_samples)
        network: LocalGroupViT = self.backbone
        tokens = [network.raw_tokens(
            images, hidden=None if mask is None else mask.tokens,
            keep_ids=None if mask is None else mask.keep_ids(),
            drop_path=drops.pop(0)).tokens]
        tokens += [network.raw_tokens(part, drop_path=drop).tokens
                   for part, drop in zip(local_views, drops)]
        answer = self._features(tokens, len(seen[0]), student=True)
        with cached():  # weight-normed prototypes are computed once
            terms, embeddings, logged = self._terms(answer, target)
        losses = {f'loss_{name}': term * self.factors[name]
                  for name, term in terms.items()}
        logged.update({f'raw/{name}': term.detach()
                       for name, term in terms.items()})
        if mask is not None:
            logged['raw/hidden'] = mask.tokens.float().mean()
        logged.update(self._remember(
            embeddings, answer, target, mask, data_samples,
            finite=sum(losses.values(), images.new_zeros(())).isfinite()))
        return {**losses, **logged}

    def _look(self, views: Sequence[Tensor]) -> RawTokens:
        """The teacher's tokens, with attention if that serves the masks."""
        network: LocalGroupViT = self.teacher.backbone
        asked = self.needs if self.share_views else Needs()
        return network.raw_tokens(
            torch.cat(list(views)), cls_rows=asked.cls_rows, full=asked.full)

    def _mask(self, images: Tensor, raw: RawTokens,
              data_samples: Sequence | None) -> Mask | None:
        """Masks of the student's global views (G B, 3, H, W)."""
        if not self.masks:
            return None
        network: LocalGroupViT = self.teacher.backbone
        looks = None
        if self.needs.attention or self.needs.features:
            looks = Encoded(
                network.final_norm_of(raw.tokens), raw.grid, raw.attention
            ) if self.share_views else network.encode(
                images, cls_rows=self.needs.cls_rows, full=self.needs.full)
        return self.make_mask(images, looks, data_samples)

    def _features(self, tokens: Sequence[Tensor], batch: int, *,
                  student: bool = False) -> Features:
        """From raw tokens (M_i, T_i, D) of each size to features.

        All views search at once, so a step multiplies with a memory once.
        """
        network = self.backbone if student else self.teacher.backbone
        cls = network.final_norm_of(torch.cat([part[:, 0] for part in tokens]))
        if 'local_group' not in self.factors:
            return Features(cls, cls[:, :0], cls.detach()[:batch, :0], None)
        query = torch.cat([part.mean(1) for part in tokens])
        found = self.memories.search(query, self.neighbours, student=student)
        group = network.relate(query, found.rows)
        with torch.no_grad():
            stored = network.patch_mean(tokens[0].detach()[:batch])
        return Features(cls, group, stored, found)

    def _terms(self, answer: Features, target: Features
               ) -> tuple[dict[str, Tensor], dict[str, Tensor],
                          dict[str, Tensor]]:
        """The terms, the embeddings for the queues, and what is logged."""
        count = len(answer.cls) * self.num_globals // len(target.cls)
        weights = self.pair_weights(count, answer.cls)
        terms, embeddings, logged = {}, {}, {}
        features = dict(instance=(answer.cls, target.cls),
                        local_group=(answer.group, target.group))
        for name, info_nce in self.contrast.items():
            mine, theirs = features[name]
            query = self.head_of(name)(mine).unflatten(0, (count, -1))
            with torch.no_grad():
                keys = getattr(self.teacher, f'{name}_head')(theirs)
                embeddings[name] = keys.unflatten(0, (self.num_globals, -1))
            terms[name] = info_nce(
                query, embeddings[name].transpose(0, 1),
                self.memories.negatives(name), weights=weights.unsqueeze(1))
        if self.loss_module is not None:
            z = self.group_head.project(answer.cls)
            logits = self.group_head.cls_logits(z).unflatten(0, (count, -1))
            with torch.no_grad():
                expected = self._expect(self.loss_module, target.cls)
                same = (expected[0].argmax(-1)
                        == logits[min(1, count - 1)].argmax(-1))
                logged['raw/agreement'] = same.float().mean()
            terms['group'] = self.loss_module.cls_loss(
                logits, expected, self.teacher_temperature(
                    self.progress.epoch), weights)
        return terms, embeddings, logged

    def _expect(self, clustering: ClusteringLoss, cls: Tensor) -> Tensor:
        """Teacher logits (G, B, K); their mean goes to the centre."""
        head = self.teacher.group_head
        z = head.project(cls)
        with torch.autocast(z.device.type, enabled=False):
            clustering.observe(
                head.cls_logits(at_least_float32(z).mean(0)))
        logits: Tensor = head.cls_logits(z).unflatten(
            0, (self.num_globals, -1))
        return logits

    @torch.no_grad()
    def _remember(self, embeddings: dict[str, Tensor], answer: Features,
                  target: Features, mask: Mask | None,
                  data_samples: Sequence | None, *,
                  finite: Tensor) -> dict[str, Tensor]:
        """Moves queues and memories; what they say for the log."""
        batch, device = len(target.stored), answer.cls.device
        store = weak_flags(data_samples, batch, device)
        if mask is not None:
            gone = mask.hidden if mask.dropped is None else (
                mask.hidden | mask.dropped)
            store = store & ~gone[:batch].flatten(1).any(1)
        labels = labels_of(data_samples, device)
        logged = {} if target.found is None else self.memories.figures(
            target.found, labels)
        if labels is None:
            labels = torch.full((batch, ), -1.0, device=device)
        student = answer.stored
        if self.memories.student is None:
            student = student[:, :0]
        self.memories.store(MicroBatch(
            embeddings, target.stored, student, store, labels, finite))
        return logged

    def step_end(self, momentum: float,
                 finite: Tensor | None = None) -> None:
        """Moves teacher and centre; called after each optimiser step.

        Args:
            momentum (float): Share kept from the teacher, in [0, 1].
            finite (Tensor, optional): Bool scalar on the device; where it
                is False nothing moves. None: as True.
        """
        self.teacher.update(self, momentum, finite)
        if self.loss_module is not None:
            self.loss_module.step(finite)

    @torch.no_grad()
    def preview_masks(self, inputs: Sequence[Tensor],
                      data_samples: Sequence | None = None
                      ) -> dict[str, Tensor | None]:
        """Masks of the student's global views, for pictures.

        Args:
            inputs (Sequence[Tensor]): Views as in :meth:`loss`, or fewer, as
                an evaluation pipeline gives, which then are those to mask.
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: ``images`` (M, 3, H, W), ``attention`` (M, Hp, Wp) of the
            teacher's last layer (heads averaged) and ``hidden``
            (M, Hp, Wp) bool, M = min(V, G) * B.
        """
        if not self.share_views and len(inputs) >= 2 * self.num_globals:
            inputs = inputs[self.num_globals:]
        return super().preview_masks(inputs, data_samples)
