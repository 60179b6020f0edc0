"""The contrastive third term: attended against unattended patches."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking import (
    MaskContext,
    MaskGenerator,
    Needs,
    RawScore,
    Score,
    build_score,
)
from mimplug.registry import MODELS

from ..heads import PrototypeHead
from ..losses import (
    ClusteringLoss,
    PairContrast,
    at_least_float32,
    select_pairs,
    sharpen,
)
from .masked import MaskedDistillation

SOURCES = ('student_anchor', 'student_all', 'teacher')
FEATURES = ('prototype_probs', 'bottleneck', 'backbone')


class Pairs(NamedTuple):
    """Chosen patches of B images, and which of them the student computes.

    All are int64 indices into the flattened (M * L) patches: ``positive``
    and ``negative`` (B, A) with A = crops * num_pairs, crop by crop;
    ``student`` (R,).
    """
    positive: Tensor
    negative: Tensor
    student: Tensor


@MODELS.register_module()
class PairTerm(nn.Module):
    r"""Chooses pairs of patches by a score and contrasts their features.

    Of each of the crops of an image the k patches with the largest score are
    positives, the k with the smallest are negatives; every positive is an
    anchor that shall be nearer to the other positives than to the negatives
    (:class:`mimplug.PairContrast`). With the default source the anchors are
    the student's, mostly of hidden patches: what it predicts there shall
    resemble the other salient patches and not the background.

    Args:
        num_pairs (int): k >= 1, 2 k <= L. Defaults to 3.
        score (Score | dict, optional): Which patches are attended to.
            Defaults to the score of the mask generator, if it has one, else
            to :class:`mimplug.masking.RawScore` of the last layer.
        source (str): Whose features: 'student_anchor' (anchors of the
            student, all else of the teacher), 'student_all', or 'teacher'
            (as released; a value without gradient). Defaults to
            'student_anchor'.
        features (str): 'prototype_probs' (softmax over prototypes; the
            teacher's is centred and sharpened as for the patch term),
            'bottleneck' (what the head compares with prototypes) or
            'backbone'. Defaults to 'prototype_probs'.
        crops (Sequence[int]): Global views that take part; the release's
            term uses the first two, however many there are. Defaults to
            (0, 1).
        temperature (float): :math:`\tau` > 0. Defaults to 0.2.
        weight (float): :math:`\lambda_3` >= 0. Defaults to 1.
        formula (str): 'infonce' or 'reference' (bare cosine inside the
            logarithm; only for 'prototype_probs', whose cosines are not
            negative). Defaults to 'infonce'.
        normalise_pairs (bool): Divide by the positives of an anchor, too.
            Defaults to False.

    Raises:
        ConfigError: A value that is unknown or out of range.

    Source: ``contrastive_3rd_term_main_ibot.py`` of
    DimitrisReppas/MIM_on_self-supervision, which is ``source='teacher',
    formula='reference'``; the defaults are ours.
    """

    def __init__(self, num_pairs: int = 3, *,
                 score: Score | Mapping[str, Any] | None = None,
                 source: str = 'student_anchor',
                 features: str = 'prototype_probs',
                 crops: Sequence[int] = (0, 1), temperature: float = 0.2,
                 weight: float = 1.0, formula: str = 'infonce',
                 normalise_pairs: bool = False) -> None:
        super().__init__()
        if type(num_pairs) is not int or num_pairs < 1:
            raise ConfigError(
                f'num_pairs={num_pairs!r}: must be an integer >= 1')
        check_choice('source', source, SOURCES)
        check_choice('features', features, FEATURES)
        if len(set(crops)) != len(crops) or not crops or min(crops) < 0:
            raise ConfigError(
                f'crops={crops!r}: needs different positions of global '
                'views, such as (0, 1)')
        if num_pairs * len(crops) < 2:
            raise ConfigError(
                f'num_pairs={num_pairs} with crops={crops!r}: a single patch '
                'has no other one to be near to')
        if formula == 'reference' and features != 'prototype_probs':
            raise ConfigError(
                f"formula='reference' takes the logarithm of cosines, which "
                f'can be negative for features={features!r}; use '
                "'prototype_probs'")
        self.loss = PairContrast(temperature, weight=weight, formula=formula,
                                 normalise_pairs=normalise_pairs)
        self.score = build_score(RawScore() if score is None else score)
        self.num_pairs, self.crops = num_pairs, tuple(crops)
        self.source, self.features = source, features

    @property
    def needs(self) -> Needs:
        """What the score looks at."""
        return self.score.needs

    def check(self, generator: MaskGenerator, head: PrototypeHead, *,
              num_globals: int, grid: tuple[int, int]) -> None:
        """Raises if the term cannot work; called when a model is built.

        Args:
            generator (MaskGenerator): Of the model.
            head (PrototypeHead): Of the model.
            num_globals (int): G, views of the teacher.
            grid (tuple[int, int]): (Hp, Wp) of these views.

        Raises:
            ConfigError: Too few views or patches, dropped patches, or no
                bottleneck.
        """
        if max(self.crops) >= num_globals:
            raise ConfigError(
                f'pair_term: crops={self.crops} with '
                f'num_globals={num_globals}')
        check_range('pair_term: num_pairs', self.num_pairs, 1,
                    grid[0] * grid[1] // 2)
        if generator.drops and self.source != 'teacher':
            raise ConfigError(
                f'pair_term: {type(generator).__name__} drops patches, whose '
                'features the student then does not have')
        if self.features == 'bottleneck' and head.last_layer is None:
            raise ConfigError(
                "pair_term: features='bottleneck' with a head that has none")

    @torch.no_grad()
    def select(self, context: MaskContext) -> Pairs:
        """Chooses the patches of this batch.

        Args:
            context (MaskContext): All global views, with the attention that
                the score needs.

        Returns:
            Pairs: Of the B images.
        """
        high, low = select_pairs(self.score(context), self.num_pairs)
        start = torch.arange(context.rows, device=high.device)[:, None]
        positive, negative = (
            self._by_image(start * context.length + part, context.num_views)
            for part in (high, low))
        wanted = {'student_anchor': [positive], 'teacher': [],
                  'student_all': [positive, negative]}[self.source]
        student = torch.cat(
            [positive.new_empty(0), *(part.flatten() for part in wanted)])
        return Pairs(positive, negative, student)

    def _by_image(self, index: Tensor, num_views: int) -> Tensor:
        """(V * B, k) of all views to (B, A) of the crops."""
        views = index.unflatten(0, (num_views, -1)).unbind(0)
        return torch.cat([views[crop] for crop in self.crops], dim=1)

    def forward(self, pairs: Pairs, student: Tensor, teacher: Tensor, *,
                heads: tuple[PrototypeHead, PrototypeHead],
                clustering: ClusteringLoss, temperature: float) -> Tensor:
        """The weighted term.

        Args:
            pairs (Pairs): Of :meth:`select`.
            student (Tensor): (R, D), the student's patches of
                ``pairs.student``.
            teacher (Tensor): (M, L, D), the teacher's patches.
            heads (tuple[PrototypeHead, PrototypeHead]): The student's, the
                teacher's.
            clustering (ClusteringLoss): Knows the patch centre and the
                student's temperature.
            temperature (float): Of the teacher's patches, > 0.

        Returns:
            Tensor: Scalar.
        """
        both = torch.stack((pairs.positive, pairs.negative))
        with torch.no_grad():
            tokens = teacher.flatten(0, 1)[both]
            positive, negative = self._features(
                tokens, heads[1], clustering.patch_center, temperature)
        anchor = positive
        if self.source != 'teacher':
            parts = student.unflatten(0, (-1, *pairs.positive.shape))
            own = self._features(
                parts, heads[0], None, clustering.student_temperature)
            anchor = own[0]
            if self.source == 'student_all':
                positive, negative = own
        loss: Tensor = self.loss(anchor, positive, negative)
        return loss

    def _features(self, tokens: Tensor, head: PrototypeHead,
                  center: Tensor | None, temperature: float) -> Tensor:
        """Tokens (…, D) to what is compared (…, D')."""
        if self.features == 'backbone':
            return tokens
        z = head.project(tokens)
        if self.features == 'bottleneck':
            return z
        logits = at_least_float32(head.patch_logits(z))
        if center is None:
            center = logits.new_zeros(())
        return sharpen(logits, center, temperature)


def build_pair_term(config: Mapping[str, Any] | None,
                    model: MaskedDistillation) -> PairTerm | None:
    """Builds the term of a model, which then gives the attention it needs.

    Args:
        config (dict, optional): Arguments of :class:`PairTerm`.
        model (MaskedDistillation): With its head.

    Raises:
        ConfigError: The term does not fit the model.
    """
    if config is None:
        return None
    generator, backbone = model.mask_generator, model.backbone
    config = dict(config)
    score = getattr(generator, 'score', None)
    if isinstance(score, Score):
        config.setdefault('score', score)
    term: PairTerm = MODELS.build({'type': PairTerm, **config})
    term.check(generator, model.head, num_globals=model.num_globals,
               grid=tuple(backbone.patch_resolution))
    model.needs = (model.needs | term.needs).resolve(backbone.num_layers)
    return term
