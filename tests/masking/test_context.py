"""What generators see, what they ask for, and clear errors between."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, PythonRandomDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import LayerSpan, MaskContext, Needs


class TestNeeds:

    @pytest.mark.unit
    def test_union_and_absolute_layers(self):
        both = Needs(cls_rows=(-1, 3)) | Needs(full=(3,), saliency=True)
        assert both == Needs((-1, 3), (3,), saliency=True)
        assert both.attention
        assert not Needs(features=True).attention
        # Layer 3 is there in full, so its CLS row is not asked for again.
        assert both.resolve(12) == Needs((11,), (3,), saliency=True)

    @pytest.mark.unit
    def test_heads_are_averaged_only_where_all_agree(self):
        means = Needs(full=(2, 3), head_mean=(2, 3))
        assert (means | means).resolve(12) == means
        for other in (Needs(full=(3,)), Needs(cls_rows=(3,)),
                      Needs(full=(-9,)), Needs(cls_rows=(-9,))):
            for both in (means | other, other | means):
                needs = both.resolve(12)
                assert (needs.full, needs.head_mean) == ((2, 3), (2,))
        spans = [Needs(spans=(LayerSpan(0, 3, 'end', mean),))
                 for mean in (True, False)]
        assert spans[0].resolve(12).head_mean == (0, 1, 2)
        assert spans[1].resolve(12).head_mean == ()
        assert (spans[0] | spans[1]).resolve(12).head_mean == ()
        # resolved needs can be joined with others that are not
        joined = (spans[0].resolve(12) | means).resolve(12)
        assert (joined.full, joined.head_mean) == ((0, 1, 2, 3), (0, 1, 2))

    @pytest.mark.unit
    @pytest.mark.parametrize('layer', [12, -13])
    def test_layer_out_of_range(self, layer):
        with pytest.raises(ConfigError, match='network of 12 layers'):
            Needs(cls_rows=(layer,)).resolve(12)


class TestAttention:

    @pytest.mark.unit
    def test_rows_and_matrices(self, make_context):
        full = torch.rand(8, 2, 31, 31)
        context = replace(
            make_context(), num_layers=12,
            attention={11: full[:, :, 0], 4: full})
        rows = full[:, :, 0, 1:]
        assert torch.equal(context.cls_rows(-1), rows)
        assert torch.equal(context.cls_rows(11), rows)
        assert torch.equal(context.cls_rows(4), rows)
        assert torch.equal(context.full_attention(-8), full)
        with pytest.raises(ConfigError, match='only CLS rows'):
            context.full_attention(11)
        with pytest.raises(ConfigError, match=r'only of layers \[4, 11\]'):
            context.cls_rows(3)
        with pytest.raises(ConfigError, match='network of 12 layers'):
            context.cls_rows(-13)

    @pytest.mark.unit
    def test_missing(self, make_context):
        with pytest.raises(ConfigError, match='attention of layer -1'):
            make_context().cls_rows(-1)
        context = make_context(attention=True)
        with pytest.raises(ConfigError, match='num_layers'):
            replace(context, num_layers=None).cls_rows(-1)
        with pytest.raises(ConfigError, match='needs saliency'):
            context.require('saliency')


@pytest.mark.unit
def test_view_is_a_part_of_everything(make_context):
    saliency = torch.rand(8, 6, 5)
    context = make_context(attention=True, saliency=saliency)
    second = context.view(1)
    assert (second.rows, second.num_views, second.length) == (4, 1, 30)
    assert torch.equal(second.require('saliency'), saliency[4:])
    assert torch.equal(second.cls_rows(-1), context.cls_rows(-1)[4:])
    np.testing.assert_array_equal(
        second.draws.row_uniform('a'), context.draws.row_uniform('a')[4:])
    assert second.images is None


@pytest.mark.unit
def test_parts_are_single_rows_only_for_sequential_draws(make_context):
    context = make_context(attention=True)
    assert list(context.parts()) == [context]
    rows = list(make_context(
        attention=True, draws=PythonRandomDraws(0)).parts())
    assert [part.rows for part in rows] == [1] * 8
    assert torch.equal(rows[5].cls_rows(2), context.cls_rows(2)[5:6])


@pytest.mark.unit
@pytest.mark.parametrize('change, message', [
    (dict(batch_size=3), '2 views of 4 images'),
    (dict(num_views=0), 'at least 1'),
    (dict(grid=(0, 5)), 'at least 1'),
    (dict(images=torch.zeros(4, 3, 8, 8)), 'images has shape'),
    (dict(attention={0: torch.zeros(8, 2, 30)}), 'attention of layer 0'),
    (dict(attention={0: torch.zeros(8, 31)}), 'attention of layer 0'),
    (dict(attention={0: torch.zeros(4, 2, 31)}), 'attention of layer 0'),
    (dict(attention={0: torch.zeros(8, 2, 1, 31)}), 'attention of layer 0'),
])
def test_wrong_input(change, message):
    draws = HashDraws(0, 0, SampleKeys.arange(4), (0, 1))
    good = dict(grid=(6, 5), draws=draws, num_views=2, batch_size=4)
    MaskContext(**good)
    with pytest.raises(ValueError, match=message):
        MaskContext(**{**good, **change})
