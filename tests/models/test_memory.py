"""Ring buffer: traces of three references, any batch."""
from __future__ import annotations

import pytest
import torch
from toy_memory import filled

from mimplug.errors import ConfigError
from mimplug.models.memory import RingBuffer


def ring(rows, pointer, new):
    """What a ring holds after ``new``, one row at a time."""
    rows = rows.clone()
    for row in new:
        rows[pointer % len(rows)] = row
        pointer += 1
    return rows, pointer % len(rows)


@pytest.mark.golden('saliency_moco', 'queue_trace')
def test_saliency_moco_queue(golden):
    check_moco_trace(golden)


@pytest.mark.golden('mixmask', 'queue_trace')
def test_mixmask_queue(golden):
    check_moco_trace(golden)


def check_moco_trace(golden):
    buffer = filled(golden.tensor('queue0').T)
    for keys, queue, pointer in zip(
            golden.tensor('keys'), golden.tensor('queues'),
            golden.tensor('ptr'), strict=True):
        buffer.enqueue(keys)
        assert torch.equal(buffer.columns, queue)
        assert buffer.pointer.tolist() == [pointer.item()]


@pytest.mark.golden('mugs', 'memory_queue')
@pytest.mark.parametrize('legacy', [True, False])
@pytest.mark.parametrize('keep_norms', [True, False])
def test_mugs_memory(golden, legacy, keep_norms):
    buffer = filled(golden.tensor('queue_init'), legacy_pointer=legacy,
                    keep_norms=keep_norms)
    name = ('queue_q_after', 'ptr_after') if legacy else (
        'ring_queue_after', 'ring_ptr_after')
    for step in range(golden.scalar('n_steps')):
        at = f'step{step}/'
        flags = None
        if golden.scalar(at + 'has_flags'):
            flags = golden.tensor(at + 'flags')
        buffer.enqueue(golden.tensor(at + 'features'), flags)
        assert torch.equal(buffer.rows, golden.tensor(at + name[0]))
        assert torch.equal(buffer.pointer, golden.tensor(at + name[1]))
        if legacy:
            index, _ = buffer.search(golden.tensor(at + 'search_query'),
                                     golden.scalar('hyper/top_n'))
            assert torch.equal(index, golden.tensor(at + 'topk_index'))
            assert torch.equal(buffer.rows[index],
                               golden.tensor(at + 'neighbours_k'))


@pytest.mark.property
@pytest.mark.parametrize('flagged', [False, True])
def test_any_batch_is_a_ring(flagged):
    torch.manual_seed(0)
    buffer = RingBuffer(7, 3, init='normal', keep_norms=True)
    rows, pointer = buffer.snapshot(), 0
    total = 0
    for size in (0, 1, 3, 7, 8, 20, 2, 0, 15, 6):
        new = torch.randn(size, 3)
        flags = torch.rand(size) < 0.5 if flagged else None
        buffer.enqueue(new, flags)
        kept = new if flags is None else new[flags]
        rows, pointer = ring(rows, pointer, kept)
        total += len(kept)
        assert torch.equal(buffer.rows, rows)
        assert buffer.pointer.item() == pointer
        assert buffer.num_written.item() == min(total, 7)
        torch.testing.assert_close(
            buffer.inverse_norms, 1 / rows.norm(dim=1))
    assert buffer.fill_fraction.item() == 1


@pytest.mark.property
def test_legacy_pointer_leaves_half_of_the_slots_unwritten():
    buffer = RingBuffer(64, 2, legacy_pointer=True)
    for _ in range(50):
        buffer.enqueue(torch.ones(8, 2))
    assert buffer.fill_fraction.item() == 0.5
    correct = RingBuffer(64, 2)
    for _ in range(8):
        correct.enqueue(torch.ones(8, 2))
    assert correct.fill_fraction.item() == 1


@pytest.mark.unit
def test_one_flag_rejects_a_whole_batch():
    buffer = RingBuffer(4, 2)
    before = buffer.snapshot()
    buffer.enqueue(torch.full((3, 2), torch.nan), torch.tensor(False))
    assert torch.equal(buffer.rows, before)
    assert buffer.pointer.item() == 0
    buffer.enqueue(torch.ones(3, 2), torch.tensor(True))
    assert buffer.num_written.item() == 3


@pytest.mark.unit
def test_leading_axes_are_written_one_after_another():
    views = torch.randn(2, 3, 4)
    once = RingBuffer(8, 4, init='zeros')
    twice = RingBuffer(8, 4, init='zeros')
    once.enqueue(views)
    twice.enqueue(views[0])
    twice.enqueue(views[1], gather=False)
    assert torch.equal(once.rows, twice.rows)
    flags = torch.tensor([True, False, True])
    once.enqueue(views, flags)
    for view in views:
        twice.enqueue(view, flags, gather=False)
    assert torch.equal(once.rows, twice.rows)


@pytest.mark.unit
def test_initial_content():
    torch.manual_seed(0)
    unit = RingBuffer(500, 16)
    torch.testing.assert_close(unit.rows.norm(dim=1), torch.ones(500))
    assert unit.rows.mean().abs() < 0.02
    normal = RingBuffer(500, 16, init='normal')
    assert abs(normal.rows.std().item() - 1) < 0.05
    assert not RingBuffer(5, 2, init='zeros').rows.any()
    assert unit.fill_fraction.item() == 0


@pytest.mark.unit
def test_normalize_scales_what_is_stored():
    buffer = RingBuffer(4, 3, init='zeros', normalize=True, keep_norms=True)
    rows = torch.randn(3, 3) * 5
    buffer.enqueue(rows)
    torch.testing.assert_close(
        buffer.rows[:3], torch.nn.functional.normalize(rows, dim=1))
    torch.testing.assert_close(buffer.inverse_norms[:3], torch.ones(3))


@pytest.mark.unit
def test_search_is_the_cosine_order():
    torch.manual_seed(1)
    buffer = RingBuffer(30, 6, init='normal', keep_norms=True)
    query = torch.randn(2, 5, 6) * 3
    index, cosine = buffer.search(query, 4)
    expected = torch.nn.functional.cosine_similarity(
        query[:, :, None], buffer.rows, dim=-1).topk(4)
    assert torch.equal(index, expected.indices)
    torch.testing.assert_close(cosine, expected.values)
    with pytest.raises(ValueError, match=r'k=31.*\[1, 30\]'):
        buffer.search(query, 31)


@pytest.mark.unit
def test_search_can_rank_unwritten_slots_last():
    buffer = RingBuffer(10, 2, init='normal')
    buffer.enqueue(torch.tensor([[1., 0.], [0., 1.]]))
    index, cosine = buffer.search(
        torch.tensor([-1., -1.]), 3, written_only=True)
    assert set(index[:2].tolist()) == {0, 1}
    assert cosine[2] == -torch.inf


@pytest.mark.unit
def test_bf16_rows_are_stored_as_float32():
    buffer = RingBuffer(6, 4, keep_norms=True)
    rows = torch.randn(3, 4).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        buffer.enqueue(rows, torch.tensor([True, True, False]))
        _, cosine = buffer.search(rows, 2)
    assert buffer.rows.dtype == cosine.dtype == torch.float32
    assert torch.equal(buffer.rows[:2], rows[:2].float())


@pytest.mark.unit
def test_state_round_trip_restores_the_lengths():
    first = RingBuffer(5, 3, init='normal', keep_norms=True)
    first.enqueue(torch.randn(3, 3))
    state = first.state_dict()
    assert set(state) == {'rows', 'pointer', 'written'}
    second = RingBuffer(5, 3, keep_norms=True)
    second.load_state_dict(state)
    torch.testing.assert_close(second.inverse_norms, first.inverse_norms)
    for buffer in (first, second):
        buffer.enqueue(torch.ones(4, 3))
    assert torch.equal(first.rows, second.rows)


@pytest.mark.unit
def test_repr_names_sizes_and_options():
    text = repr(RingBuffer(4, 2, legacy_pointer=True))
    assert 'capacity=4, dim=2' in text
    assert 'legacy_pointer=True' in text


@pytest.mark.unit
def test_double_model_keeps_double_rows():
    buffer = RingBuffer(4, 2).double()
    row = torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64)
    buffer.enqueue(row)
    assert torch.equal(buffer.rows[:1], row)


@pytest.mark.unit
@pytest.mark.parametrize('options, words', [
    (dict(capacity=0, dim=2), 'capacity=0'),
    (dict(capacity=2, dim=0), 'dim=0'),
    (dict(capacity=2, dim=2, init='unitt'), "did you mean 'unit'"),
])
def test_bad_options(options, words):
    with pytest.raises(ConfigError, match=words):
        RingBuffer(**options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_no_host_sync():
    buffer = RingBuffer(64, 8, keep_norms=True, legacy_pointer=True).cuda()
    rows = torch.randn(10, 8, device='cuda')
    flags = torch.rand(10, device='cuda') < 0.5
    buffer.enqueue(rows, flags)
    torch.cuda.set_sync_debug_mode('error')
    try:
        buffer.enqueue(rows)
        buffer.enqueue(rows, flags)
        buffer.search(rows, 3)
    finally:
        torch.cuda.set_sync_debug_mode('default')
