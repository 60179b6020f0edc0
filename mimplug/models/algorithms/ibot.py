"""iBOT with any mask generator; with an attention generator it is AttMask."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from mimplug.errors import ConfigError
from mimplug.masking import MaskGenerator
from mimplug.registry import MODELS
from mimplug.schedules import LinearThenConstant

from ..backbones import DepthDraws, Encoded, encode_requested
from ..losses import ClusteringLoss
from ..requested import group_by_size, token_weights
from ..teacher import Teacher
from .masked import MaskedDistillation
from .pair_term import Pairs, build_pair_term

DEFAULT_TEMPERATURE = dict(start=0.04, final=0.07, warmup_epochs=30)


@MODELS.register_module()
class IBOT(MaskedDistillation):
    r"""Image BERT pre-training with an online tokeniser; AttMask.

    .. math::
        L = \lambda_1 L_{[CLS]}(P_t(u), P_s(\hat v))
          + \lambda_2 L_{MIM}(P_t(u), P_s(\hat u))

    One step: the teacher sees the full global views and says where it looks;
    the mask generator hides patches; the student sees the masked global views
    and the local ones; CLS tokens of different views and hidden patches of
    the same view must agree with the teacher. Heads and losses run only on
    the tokens that a loss asks for.

    Args:
        backbone (dict): ``mimplug.MaskedViT`` with a mask token. The teacher
            gets the same without stochastic depth and mask token.
        head (dict): ``mimplug.PrototypeHead``; ``in_channels`` defaults to
            the backbone's width.
        mask_generator (dict | MaskGenerator): Any generator of
            :mod:`mimplug.masking`; ``mimplug.AttentionMask`` is AttMask,
            ``mimplug.BlockMask`` is iBOT.
        loss (dict, optional): Arguments of ``mimplug.ClusteringLoss`` but
            the numbers of prototypes, which the head knows.
        teacher_temperature (dict): Arguments of
            :class:`~mimplug.schedules.LinearThenConstant`, by epoch.
        patch_temperature (dict): The same for patches.
        num_globals (int): G, leading views that the teacher sees.
            Defaults to 2.
        pair_term (dict, optional): Arguments of
            :class:`~mimplug.models.algorithms.PairTerm`, the contrastive
            third term ``loss_pair``. Defaults to none.
        patch_difficulty (dict, optional): Arguments of
            ``mimplug.PatchDifficulty`` for a generator that hides what is
            hard, with a term ``loss_difficulty``. Defaults to none.
        legacy_shared_teacher_head (bool): The release's default flags: the
            teacher owns one prototype layer, which starts as the student's
            patch layer and then follows its CLS layer. Defaults to False:
            the teacher mirrors the student.
        last_block_rule (bool): Compute the student's last block on requested
            tokens only; the numbers are the same. Defaults to True.
        draws_seed (int, optional): Seed of masks and stochastic depth.
            None: the seed of the run.
        data_preprocessor (dict, optional): Defaults to
            ``mimplug.MultiViewDataPreprocessor`` with ImageNet statistics.
        init_cfg (dict, optional): MMEngine's initialisation config. To start
            from public weights put it on the backbone; the teacher copies
            the student afterwards.

    Raises:
        ConfigError: Parts that do not fit together.

    Source: Zhou et al., iBOT, ICLR 2022; Kakogeorgiou et al., What to Hide
    from Your Students, ECCV 2022 (``train_one_epoch`` of
    gkakogeorgiou/attmask). The EMA and the centres move in :meth:`step_end`,
    after the optimiser step; both are next read in the following step, so the
    numbers are the reference's.
    """

    leaves_out = True

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 mask_generator: dict | MaskGenerator,
                 loss: dict | None = None,
                 *,
                 teacher_temperature: dict | None = None,
                 patch_temperature: dict | None = None,
                 num_globals: int = 2,
                 pair_term: dict | None = None,
                 patch_difficulty: dict | None = None,
                 legacy_shared_teacher_head: bool = False,
                 last_block_rule: bool = True,
                 draws_seed: int | None = None,
                 data_preprocessor: dict | nn.Module | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(
            backbone, mask_generator, num_globals=num_globals,
            patch_difficulty=patch_difficulty, draws_seed=draws_seed,
            data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.legacy_shared_teacher_head = legacy_shared_teacher_head
        self.last_block_rule = last_block_rule
        head = dict(head)
        head.setdefault('in_channels', self.backbone.embed_dims)
        self.head = BUILD.build(head)
        self._check_head()
        head.pop('init_cfg', None)  # the teacher copies the student
        if legacy_shared_teacher_head:
            head['shared'] = True
        self.teacher = Teacher(
            backbone=self.build_teacher_backbone(backbone),
            head=BUILD.build(head))
        self.loss_module = ClusteringLoss(
            self.head.num_prototypes, self.head.patch_prototypes,
            **(loss or {}))
        self.teacher_temperature = LinearThenConstant(
            **(teacher_temperature or DEFAULT_TEMPERATURE))
        self.patch_temperature = LinearThenConstant(
            **(patch_temperature or DEFAULT_TEMPERATURE))
        self.pair_term = build_pair_term(pair_term, self)

    def _check_head(self) -> None:
        """Refuses heads whose numbers would not be the paper's."""
        head = self.head
        if head.has_batch_norm:
            raise ConfigError(
                f'head.norm={head.norm!r}: a batch norm would see only '
                "the requested tokens; use 'ln' or None")
        if self.legacy_shared_teacher_head and (
                head.shared or head.num_prototypes != head.patch_prototypes):
            raise ConfigError(
                'legacy_shared_teacher_head=True is about a student with two '
                f'prototype layers of one size; got shared={head.shared}, '
                f'{head.num_prototypes} and {head.patch_prototypes} '
                'prototypes')

    @torch.no_grad()
    def reset_teacher(self) -> None:
        """Copies the student into the teacher, after init or loading."""
        super().reset_teacher()
        if self.legacy_shared_teacher_head:
            # The release loads last_layer2 over the one layer it aliases
            self.teacher.head.last_layer.load_state_dict(
                self.head.last_layer2.state_dict())

    def step_end(self, momentum: float,
                 finite: Tensor | None = None) -> None:
        """Moves teacher and centres; called after each optimiser step.

        Args:
            momentum (float): Share kept from the teacher, in [0, 1].
            finite (Tensor, optional): Bool scalar on the device; where it
                is False nothing moves. None: as True.
        """
        self.teacher.update(self, momentum, finite)
        self.loss_module.step(finite)

    def loss(self, inputs: Sequence[Tensor],
             data_samples: Sequence | None = None) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs (Sequence[Tensor]): V views (B, 3, h_v, w_v), the G global
                ones first; these of one size.
            data_samples (Sequence[DataSample], optional): B samples with
                their ``sample_key``.

        Returns:
            dict: ``loss_cls``, ``loss_patch`` (weighted), ``loss_pair`` and
            ``loss_difficulty`` if there are such terms and, for the log,
            ``raw/agreement`` (share of images whose strongest prototype is
            the same in teacher view 0 and student view 1) and
            ``raw/hidden`` (share of hidden patches).

        Raises:
            RuntimeError: ``set_progress`` was never called.
        """
        if len(inputs) < self.num_globals:
            raise ValueError(
                f'{len(inputs)} views for num_globals={self.num_globals}')
        images = torch.cat(list(inputs[:self.num_globals]))
        local_views = group_by_size(inputs[self.num_globals:])
        drops = self.drop_path_draws(
            inputs, data_samples, [len(images), *map(len, local_views)])
        with torch.no_grad():
            teacher = self.teacher.backbone.encode(
                images, cls_rows=self.needs.cls_rows, full=self.needs.full,
                head_mean=self.needs.head_mean)
        mask = self.make_mask(images, teacher, data_samples)
        index, valid = mask.hidden_rows()
        pairs = self._pairs(images, teacher, data_samples)
        cls, patches = self._student(
            images, drops.pop(0), hidden=mask.tokens,
            patches=mask.kept_index(index if pairs is None else torch.cat(
                (index, pairs.student))), keep_ids=mask.keep_ids())
        hidden, paired = patches.tensor_split([len(index)])
        cls = torch.cat([cls] + [
            self._student(views, drop)[0]
            for views, drop in zip(local_views, drops)
        ])
        with cached():  # weight-normed prototypes are computed once
            target_cls, target_patch = self._targets(teacher, index)
            weight = token_weights(mask, index, valid, dtype=cls.dtype)
            losses, terms = self._losses(
                cls, hidden, target_cls, target_patch, weight)
            if self.patch_difficulty is not None:
                losses['loss_difficulty'] = self.patch_difficulty.loss(
                    teacher.patches, mask, (index, valid), terms)
            if self.pair_term is not None and pairs is not None:
                losses['loss_pair'] = self.pair_term(
                    pairs, paired, teacher.patches,
                    heads=(self.head, self.teacher.head),
                    clustering=self.loss_module,
                    temperature=self.patch_temperature(self.progress.epoch))
        losses['raw/hidden'] = mask.tokens.float().mean()
        return losses

    def _student(self, images: Tensor, drop_path: DepthDraws,
                 **requested: Tensor | None) -> tuple[Tensor, Tensor]:
        """CLS tokens (rows, D) and requested patches (R, D)."""
        return encode_requested(
            self.backbone, images, drop_path=drop_path,
            last_block_rule=self.last_block_rule, **requested)

    def _pairs(self, images: Tensor, teacher: Encoded,
               data_samples: Sequence | None) -> Pairs | None:
        """Patches of the third term, if there is one."""
        if self.pair_term is None:
            return None
        return self.pair_term.select(self.mask_context(
            images, teacher, data_samples, self.num_globals))

    @torch.no_grad()
    def _targets(self, teacher: Encoded,
                 index: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher logits (G, B, K) of CLS and (R, K') of hidden patches."""
        head = self.teacher.head
        z = head.project(teacher.tokens)
        z_patch = z[:, 1:].flatten(0, 1)
        self._observe(z[:, 0], z_patch)
        cls = head.cls_logits(z[:, 0]).unflatten(0, (self.num_globals, -1))
        return cls, head.patch_logits(z_patch[index])

    def _losses(self, cls: Tensor, hidden: Tensor, target_cls: Tensor,
                target_patch: Tensor, weight: Tensor
                ) -> tuple[dict[str, Tensor], Tensor]:
        """CLS term over views, patch term over hidden tokens; its parts."""
        epoch, head = self.progress.epoch, self.head
        logits = head.cls_logits(head.project(cls)).unflatten(
            0, (-1, target_cls.shape[1]))
        terms = self.loss_module.patch_terms(
            head.patch_logits(head.project(hidden)), target_patch,
            self.patch_temperature(epoch))
        losses = dict(
            loss_cls=self.loss_module.cls_loss(
                logits, target_cls, self.teacher_temperature(epoch)),
            loss_patch=self.loss_module.weigh_patches(terms, weight))
        with torch.no_grad():
            same = target_cls[0].argmax(-1) == logits[
                min(1, len(logits) - 1)].argmax(-1)
            losses['raw/agreement'] = same.float().mean()
        return losses, terms

    def _observe(self, z_cls: Tensor, z_patch: Tensor) -> None:
        """Mean logits for the centres: prototypes are linear in z."""
        head = self.teacher.head
        with torch.autocast(z_cls.device.type, enabled=False):
            dtype = torch.promote_types(z_cls.dtype, torch.float32)
            self.loss_module.observe(
                head.cls_logits(z_cls.to(dtype).mean(0)),
                head.patch_logits(z_patch.to(dtype).mean(0)))
