"""What siamese algorithms see: two views, masks, mixtures, a filter."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mimplug.draws import Draws
from mimplug.errors import ConfigError
from mimplug.masking import Mask, MaskGenerator, Mixed, NoMask, build_mixer

from ..masking_preprocessor import MaskingDataPreprocessor
from ..run_record import make_record, mark_filtered
from ..targets import build_input_filter, build_saliency
from .base import KeyedSelfSupervisor
from .siamese_masks import HardNegative, MaskedView, read_view_masks


class Seen(NamedTuple):
    """The two views of a batch, as each branch sees them.

    Args:
        clean (list[Tensor]): (B, 3, H, W) each: filtered, not masked.
        query (list[Tensor]): For the branch that learns.
        key (list[Tensor]): For the branch that gives targets.
        saliency (list[Tensor | None]): (B, h, w) each, where asked for.
        masks (list[Mask]): Those of the queries.
        draws (Draws): Two views, then one of each hard negative.
    """
    clean: list[Tensor]
    query: list[Tensor]
    key: list[Tensor]
    saliency: list[Tensor | None]
    masks: list[Mask]
    draws: Draws


class SiameseViews(KeyedSelfSupervisor):
    r"""Base of algorithms that compare two views of an image.

    The first two ``inputs`` are the views. A saliency target looks at them as
    they are; then they go through the input filter; then masks hide parts of
    what a branch sees. Mixtures are made of filtered views without masks.

    Args:
        backbone (dict | nn.Module): Any that gives feature maps.
        neck (dict | nn.Module): Projector, a neck of MMPretrain.
        view_masks (Sequence[dict]): Arguments of
            :class:`~.siamese_masks.ViewMask`: which view, generator, fill.
            Defaults to none.
        saliency (dict | SaliencyTarget, optional): What marks the object, for
            generators that ask. Without a network of its own it gets the key
            encoder, if there is one, else the encoder. Defaults to None.
        mixes (Sequence[dict | Mixer]): Mixtures of the query view, each of
            them another pass (in this order, which running statistics of
            batch norms depend on) and another term; see
            :class:`~mimplug.models.losses.MixTargets`. Defaults to none.
        symmetric (bool): Also with the roles of the views exchanged.
        input_filter (dict | nn.Module, optional): What all images go through
            before an encoder, e.g. ``mimplug.HighPass``; evaluation applies
            it, too. Defaults to None.
        hard_negative (HardNegative, optional): Of algorithms that have such.
        **kwargs: Arguments of :class:`KeyedSelfSupervisor`.

    Raises:
        ConfigError: Parts that do not fit together.
    """

    # Of its two branches one gives targets that get no gradient.
    has_key_branch: ClassVar[bool] = True

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module, *,
                 view_masks: Sequence[Mapping[str, Any]] = (),
                 saliency: Mapping[str, Any] | nn.Module | None = None,
                 mixes: Sequence[Any] = (), symmetric: bool = False,
                 input_filter: Mapping[str, Any] | nn.Module | None = None,
                 hard_negative: HardNegative | None = None,
                 **kwargs: Any) -> None:
        super().__init__(backbone=backbone, neck=neck, **kwargs)
        if isinstance(self.data_preprocessor, MaskingDataPreprocessor):
            # its filter would not be recorded, its masks hide targets, too
            raise ConfigError(
                f'{type(self).__name__}: mimplug.MaskingDataPreprocessor is '
                'for algorithms of MMPretrain; give view_masks, saliency and '
                'input_filter to the algorithm itself')
        self.symmetric = symmetric
        self.view_masks = read_view_masks(view_masks, self.branch_views())
        self.mixes = [build_mixer(mixer) for mixer in mixes]
        self.saliency = build_saliency(saliency)
        self.input_filter = build_input_filter(input_filter)
        self.hard_negative = hard_negative
        self._sizes: set[tuple[int, int]] = set()
        self._check_saliency()
        mark_filtered(self, self.input_filter)

    def branch_views(self) -> dict[str, set[int]]:
        """The views that each branch looks at."""
        pairs = self.pairs
        used = dict(query={query for query, _ in pairs})
        if self.has_key_branch:
            used['key'] = {key for _, key in pairs}
        return used

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(query view, target view) of each term."""
        return [(0, 1), (1, 0)] if self.symmetric else [(0, 1)]

    def _check_saliency(self) -> None:
        """Refuses a saliency map that is missing, or that nobody looks at."""
        asking = [part for part in self._masked_views()
                  if part.masker.needs.saliency]
        if asking and self.saliency is None:
            name = type(asking[0].masker.mask_generator).__name__
            raise ConfigError(
                f'{name} needs saliency maps: give '
                "saliency=dict(type='mimplug.SCDA'), or another target")
        if self.saliency is not None and not asking:
            raise ConfigError(
                f'saliency={type(self.saliency).__name__}: no mask generator '
                'looks at it; leave it out')
        if self.saliency is not None:
            self.saliency.check_encoder(self.backbone)

    def run_record(self) -> dict[str, Any]:
        """Input filter and localiser, for every checkpoint."""
        return make_record(self.input_filter, self.saliency)

    def filtered(self, images: Tensor) -> Tensor:
        """Images after the input filter."""
        if self.input_filter is None:
            return images
        result: Tensor = self.input_filter(images)
        return result

    def _masked_views(self) -> list[MaskedView]:
        """Everything with a mask generator."""
        hard = [] if self.hard_negative is None else [self.hard_negative]
        return [*self.view_masks, *hard]

    @torch.no_grad()
    def look(self, inputs: Sequence[Tensor],
             data_samples: Sequence | None = None) -> Seen:
        """Filters and masks the views.

        Args:
            inputs (Sequence[Tensor]): At least two views (B, 3, H, W).
            data_samples (Sequence[DataSample], optional): B samples.

        Raises:
            ValueError: Fewer than two views.
            ConfigError: Images that masks or mixtures cannot work on.
        """
        if len(inputs) < 2:
            raise ValueError(f'{len(inputs)} views; two are compared')
        views = list(inputs[:2])
        self._check_sizes(views)
        extra = self.hard_negative.num if self.hard_negative else 0
        draws = self.draws(data_samples, 2 + len(self.pairs) * extra,
                           len(views[0]))
        maps = self._maps(views, data_samples)
        clean = [self.filtered(view) for view in views]
        seen = Seen(clean, list(clean), list(clean), maps, [], draws)
        for mask in self.view_masks:
            for view in mask.views:
                images, made = self._mask(mask, seen, view, view)
                for branch in mask.branches:
                    getattr(seen, branch)[view] = images
                if 'query' in mask.branches:
                    seen.masks.append(made)
        return seen

    def _mask(self, part: MaskedView, seen: Seen, view: int,
              row: int) -> tuple[Tensor, Mask]:
        """A masked view, drawn as the given view of the draws."""
        return part.masker(
            seen.clean[view], seen.draws.for_view(row), self.progress,
            saliency=seen.saliency[view] if part.masker.needs.saliency
            else None)

    def _check_sizes(self, views: Sequence[Tensor]) -> None:
        """Whether masks and mixtures can work on these images, once a size."""
        for view in views:
            size = (view.shape[2], view.shape[3])
            if size in self._sizes:
                continue
            for part in self._masked_views():
                part.masker.check(size)
            for mixer in self.mixes:
                mixer.check(size)
            self._sizes.add(size)

    def _maps(self, views: Sequence[Tensor],
              data_samples: Sequence | None) -> list[Tensor | None]:
        """Saliency of the views of which somebody asks for it."""
        wanted = {view for mask in self.view_masks
                  if mask.masker.needs.saliency for view in mask.views}
        if self.hard_negative and self.hard_negative.masker.needs.saliency:
            wanted |= {key for _, key in self.pairs}
        if not wanted:
            return [None, None]
        owner: Any = getattr(self, 'teacher', self)
        return [self.saliency(
            images, data_samples, encoder=owner.backbone, view=view)
            if view in wanted else None for view, images in enumerate(views)]

    @torch.no_grad()
    def mixtures(self, seen: Seen, view: int) -> list[Mixed]:
        """Mixed images of a view, in the order of ``mixes``."""
        return [mixer(seen.clean[view], seen.draws.for_view(view),
                      self.progress) for mixer in self.mixes]

    @torch.no_grad()
    def hard_images(self, seen: Seen, pair: int) -> list[Tensor]:
        """Views of which the object is hidden, (B, 3, H, W) each.

        Args:
            seen (Seen): From :meth:`look`.
            pair (int): Place in :attr:`pairs`; its target view is masked.
        """
        part = self.hard_negative
        if part is None:
            return []
        first = 2 + pair * part.num
        return [self._mask(part, seen, self.pairs[pair][1], first + i)[0]
                for i in range(part.num)]

    @property
    def mask_generator(self) -> MaskGenerator:
        """The generator of the first masked view, or else of a mixture."""
        for part in self.view_masks:
            return part.masker.mask_generator
        for mixer in self.mixes:
            if hasattr(mixer, 'mask_generator'):
                made: MaskGenerator = mixer.mask_generator
                return made
        return NoMask()

    @torch.no_grad()
    def preview_masks(self, inputs: Sequence[Tensor],
                      data_samples: Sequence | None = None
                      ) -> dict[str, Tensor | None]:
        """Masks of the queries, or else of the first mixture, for pictures.

        Args:
            inputs (Sequence[Tensor]): Views as in :meth:`loss`; a single one,
                as an evaluation pipeline gives, stands for both.
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: ``images`` (M, 3, H, W) before filter and fill, ``hidden``
            (M, Hp, Wp) bool, True where any channel is hidden or shows the
            partner, ``attention``: None.
        """
        views = list(inputs) if len(inputs) > 1 else [inputs[0]] * 2
        seen = self.look(views, data_samples)
        shown = [view for mask in self.view_masks
                 if 'query' in mask.branches for view in mask.views]
        masks = list(seen.masks)
        if not masks:
            mixed = self.mixtures(seen, 0)
            masks = [mix.mask for mix in mixed if mix.mask is not None][:1]
            masks = masks or [Mask.none(len(views[0]), (1, 1),
                                        views[0].device)]
            shown = [0]
        if len({mask.grid for mask in masks}) > 1:
            masks, shown = masks[:1], shown[:1]
        hidden = torch.cat([mask.hidden.any(1) for mask in masks])
        return dict(images=torch.cat([views[view] for view in shown]),
                    hidden=hidden, attention=None)
