"""Ring buffer and gathering on two ranks, as the reference has them."""
from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy_memory import filled

from mimplug.models.losses import InfoNCE, multi_view_weights
from mimplug.models.memory import gather_rows


def two_ranks(rank, port, golden, failures):
    """One process of the two-rank golden; failures go to a queue."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', rank=rank, world_size=2)
    memory = filled(golden.tensor('mem_init'), legacy_pointer=True)
    queue = filled(golden.tensor('nce_init').T)
    loss = InfoNCE(temperature=0.2)
    weights = torch.tensor(multi_view_weights(2, 4)).unsqueeze(1)
    try:
        for step in range(3):
            mine, after = f'step{step}/rank{rank}/', f'step{step}/'
            memory.enqueue(golden.tensor(mine + 'features'),
                           golden.tensor(mine + 'flags'))
            torch.testing.assert_close(
                memory.rows, golden.tensor(after + 'mem_after'),
                rtol=0, atol=0)
            assert torch.equal(memory.pointer,
                               golden.tensor(after + 'mem_ptr_after'))
            teacher = golden.tensor(mine + 'teacher_embed').unflatten(
                0, (2, 3))
            student = golden.tensor(mine + 'student_embed').unflatten(
                0, (4, 3))
            value = loss(student, teacher.transpose(0, 1), queue.rows,
                         weights=weights)
            queue.enqueue(teacher)
            assert abs(value.item()
                       - golden.scalar(mine + 'infonce_loss')) < 1e-5
            assert torch.equal(queue.columns,
                               golden.tensor(after + 'nce_queue_after'))
            assert torch.equal(queue.pointer,
                               golden.tensor(after + 'nce_ptr_after'))
        rows, flags = gather_rows(
            torch.full((2, 1, 1), float(rank)), torch.tensor(rank == 1))
        assert rows.flatten().tolist() == [0, 1, 0, 1]
        assert flags.tolist() == [False, True, False, True]
        # samples 0, 2 and 1, 3, as a sampler deals them out, in two views
        own = torch.tensor([[[0.], [2.]], [[4.], [6.]]]) + rank
        rows, flags = gather_rows(own, own[0, :, 0] > 1, interleave=True)
        assert rows.flatten().tolist() == list(range(8))
        assert flags.tolist() == [False, False, True, True] * 2
    except AssertionError as error:
        failures.put(f'rank {rank}: {error}')
    finally:
        dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.golden('mugs', 'gather_two_ranks')
def test_two_ranks(golden, free_port):
    context = mp.get_context('spawn')
    failures = context.SimpleQueue()
    mp.spawn(two_ranks, (free_port, golden, failures), nprocs=2)
    assert failures.empty(), failures.get()


@pytest.fixture
def free_port():
    """A TCP port that is free now."""
    import socket
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]
