"""The networks, heads and memories of Mugs, and which of them fit."""
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mimplug.draws import to_device
from mimplug.errors import ConfigError
from mimplug.masking import MaskGenerator
from mimplug.schedules import LinearThenConstant

from ..backbones import LocalGroupViT
from ..losses import ClusteringLoss, InfoNCE, multi_view_weights
from ..teacher import Teacher
from .masked import MaskedDistillation
from .mugs_memories import MugsMemories
from .mugs_terms import (
    GroupTerm,
    InstanceTerm,
    LocalGroupTerm,
    build_heads,
    read_term,
    term_factors,
)


class MugsNetworks(MaskedDistillation):
    """What :class:`mimplug.Mugs` consists of; its arguments are described
    there.

    Attributes:
        factors (dict[str, float]): Of ``instance``, ``local_group`` and
            ``group`` those that are in use, and what multiplies the term.
        memories (MugsMemories): Queues and feature memories.
        contrast (nn.ModuleDict): InfoNCE by name of its term.
        loss_module (ClusteringLoss | None): Of the group term.
        teacher (Teacher): ``backbone`` and a head of each term.
    """

    leaves_out = True

    def __init__(self, backbone: dict,
                 mask_generator: dict | MaskGenerator | None = None, *,
                 instance: Mapping[str, Any] | None = None,
                 local_group: Mapping[str, Any] | None = None,
                 group: Mapping[str, Any] | None = None,
                 num_globals: int = 2,
                 share_views: bool = False,
                 legacy_scale: bool = False,
                 draws_seed: int | None = None,
                 data_preprocessor: dict | nn.Module | None = None,
                 init_cfg: dict | None = None) -> None:
        backbone = dict(backbone)
        backbone.setdefault('with_mask_token', mask_generator is not None)
        super().__init__(
            backbone, mask_generator, num_globals=num_globals,
            draws_seed=draws_seed, data_preprocessor=data_preprocessor,
            init_cfg=init_cfg)
        self.masks, self.share_views = mask_generator is not None, share_views
        contrastive: dict[str, InstanceTerm] = dict(
            instance=read_term(InstanceTerm, 'instance', instance),
            local_group=read_term(LocalGroupTerm, 'local_group', local_group))
        clustering = read_term(GroupTerm, 'group', group)
        terms: dict[str, InstanceTerm | GroupTerm] = {
            **contrastive, 'group': clustering}
        self.factors = term_factors(
            {name: term.weight for name, term in terms.items()}, legacy_scale)
        parts = {'backbone': self.build_teacher_backbone(backbone)}
        for name in self.factors:
            head, parts[f'{name}_head'] = build_heads(
                name, terms[name], self.backbone.embed_dims)
            self.add_module(f'{name}_head', head)
        self.teacher = Teacher(**parts)
        self._build_contrast(contrastive)
        self._build_clustering(clustering)
        self._check_parts()
        # tables of pair weights by number of views, type and device
        self._pairs: dict[tuple, Tensor] = {}

    def _build_contrast(self, terms: Mapping[str, InstanceTerm]) -> None:
        """InfoNCE losses, queues and memories of the terms in use."""
        used = {name: term for name, term in terms.items()
                if name in self.factors}
        self.contrast = nn.ModuleDict({
            name: InfoNCE(term.temperature) for name, term in used.items()})
        local = used.get('local_group')
        memory, options = None, {}
        if isinstance(local, LocalGroupTerm):
            self.neighbours = local.neighbours
            memory = (local.memory, self.backbone.embed_dims)
            options = dict(shared=local.shared_memory,
                           legacy_pointer=local.legacy_pointer)
        self.memories = MugsMemories({
            name: (term.queue, self.head_of(name).out_channels)
            for name, term in used.items()}, memory, **options)

    def _build_clustering(self, term: GroupTerm) -> None:
        """Loss of the group term."""
        self.teacher_temperature = LinearThenConstant(
            **term.teacher_temperature)
        self.loss_module: ClusteringLoss | None = None
        if 'group' in self.factors:
            self.loss_module = ClusteringLoss(
                self.head_of('group').num_prototypes, 0,
                student_temperature=term.student_temperature,
                center_momentum=term.center_momentum)

    def _check_parts(self) -> None:
        """Refuses parts that would not be trained."""
        backbone = self.backbone
        if not isinstance(backbone, LocalGroupViT):
            raise ConfigError(
                f'backbone {type(backbone).__name__}: Mugs needs '
                'mimplug.LocalGroupViT')
        if bool(backbone.relation_blocks) != ('local_group' in self.factors):
            raise ConfigError(
                f'num_relation_blocks={len(backbone.relation_blocks)} with '
                'or without local_group.weight=0: a local group needs '
                'relation blocks, and without it none of them is trained')
        if backbone.mask_token is not None and not self.masks:
            raise ConfigError(
                'with_mask_token=True: without a mask_generator the mask '
                'token is never trained')
        if (self.memories.student is not None and
                self.mask_generator.limits(backbone.patch_resolution)[0] > 0):
            warnings.warn(
                f'{type(self.mask_generator).__name__} hides something in '
                'every image, so the memory of the student would keep its '
                'random start: use apply_prob < 1 or '
                'local_group=dict(shared_memory=True)', stacklevel=3)

    def _build_difficulty(self, config: dict | None) -> None:
        """Nothing: no loss of patches says which of them are difficult."""
        if self.needs.difficulty:
            raise ConfigError(
                f'{type(self.mask_generator).__name__} needs the difficulty '
                'of patches; Mugs has no patch loss to learn it from')

    def head_of(self, name: str) -> Any:
        """The student's head of a term."""
        return getattr(self, f'{name}_head')

    def split_views(self, inputs: Sequence[Tensor]
                    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The teacher's views, and the student's with its global ones first.

        Raises:
            ValueError: Too few views, or global views of several sizes.
        """
        globals_ = self.num_globals * (1 if self.share_views else 2)
        sizes = [tuple(view.shape[2:]) for view in inputs[:globals_]]
        if len(sizes) < globals_ or len(set(sizes)) > 1:
            raise ValueError(
                f'views of {[tuple(view.shape[2:]) for view in inputs]} '
                f'pixels; with num_globals={self.num_globals} and share_views='
                f'{self.share_views} the first {globals_} are global ones of '
                'one size')
        start = 0 if self.share_views else self.num_globals
        return inputs[:self.num_globals], inputs[start:]

    def pair_weights(self, count: int, like: Tensor) -> Tensor:
        """Weights (V, G) of the pairs of student and teacher views."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        key = count, dtype, like.device
        if key not in self._pairs:
            table = multi_view_weights(self.num_globals, count,
                                       self.num_globals)
            self._pairs[key] = to_device(
                np.array(table), like.device).to(dtype)
        return self._pairs[key]
