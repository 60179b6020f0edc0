"""Two processes measure what one measures."""
import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing
from mmengine.runner import Runner
from toy_knn import ToyAlgorithm, ToyImages, loader_config

from mimplug.evaluation import KNNProtocol


def measure(bank_size, query_size, round_up):
    """Metrics and bank of a fixed model on this process's share."""
    torch.manual_seed(0)
    model = ToyAlgorithm()
    loaders = []
    for seed, size in enumerate((bank_size, query_size)):
        config = loader_config(ToyImages(size, seed=seed), batch_size=2)
        config['sampler']['round_up'] = round_up
        loaders.append(Runner.build_dataloader(config, seed=0))
    protocol = KNNProtocol(*loaders, k=(1, 3), clustering=True)
    bank, queries = protocol.extract(model)
    return protocol.metrics(model), bank, queries


def worker(rank, store, folder, cases):
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    torch.save([measure(*case) for case in cases], f'{folder}/{rank}.pt')
    torch_dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one(tmp_path):
    # sizes that two does not divide, and a query set smaller than the world
    cases = [(21, 9, True), (21, 9, False), (8, 1, True), (8, 1, False)]
    torch.multiprocessing.spawn(
        worker, (tmp_path / 'store', tmp_path, cases), nprocs=2)
    both = [torch.load(tmp_path / f'{rank}.pt', weights_only=False)
            for rank in (0, 1)]
    for case, first, second in zip(cases, *both):
        metrics, bank, queries = measure(*case)
        for other, other_bank, other_queries in (first, second):
            assert other == metrics
            for ours, theirs in ((bank, other_bank), (queries, other_queries)):
                assert theirs.index.equal(ours.index)
                assert theirs.labels.equal(ours.labels)
                assert torch.allclose(theirs.features, ours.features,
                                      atol=1e-6)
