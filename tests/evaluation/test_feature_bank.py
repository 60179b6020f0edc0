"""Extraction: order, modes, labels, processes."""
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader
from toy_knn import ToyAlgorithm, ToyImages

from mimplug.errors import ConfigError
from mimplug.evaluation import (
    KNNProtocol,
    assign_prototypes,
    bare_model,
    choose_backbone,
    extract_features,
)
from mimplug.evaluation.feature_bank import batch_labels, pooled_output


def loader(dataset, batch_size=4, sampler=None):
    return DataLoader(dataset, batch_size, sampler=sampler,
                      collate_fn=pseudo_collate)


def expected_features(model, backbone, dataset):
    images = (dataset.images.float() - 128) / 64
    backbone.eval()
    with torch.no_grad():
        features = backbone(images)[-1]
    backbone.train()
    return features


@pytest.mark.unit
@pytest.mark.parametrize('key', ['auto', 'teacher', 'student'])
def test_features_of_the_chosen_network(key):
    model, data = ToyAlgorithm(), ToyImages(10, labelled=7)
    bank = extract_features(model, loader(data), key=key)
    network = model.backbone if key == 'student' else model.teacher.backbone
    assert torch.allclose(
        bank.features, expected_features(model, network, data), atol=1e-6)
    assert bank.labels.tolist() == data.labels[:7].tolist() + [-1] * 3
    assert bank.index.tolist() == list(range(10))
    assert len(bank) == 10
    assert bank.num_labelled == 7


@pytest.mark.unit
def test_wrapped_model_is_unwrapped():
    model = nn.Linear(2, 2)
    assert bare_model(model) is model
    assert bare_model(nn.DataParallel(model)) is model


@pytest.mark.unit
def test_model_without_teacher():
    model = ToyAlgorithm(with_teacher=False)
    assert choose_backbone(model) is model.backbone
    with pytest.raises(ConfigError, match=r'no teacher\.backbone'):
        choose_backbone(model, 'teacher')
    with pytest.raises(ConfigError, match="did you mean 'student'"):
        choose_backbone(model, 'studnet')
    with pytest.raises(ConfigError, match='Linear has no backbone'):
        choose_backbone(nn.Linear(1, 1))


@pytest.mark.property
def test_order_of_the_data_set_and_each_sample_once():
    model, data = ToyAlgorithm(), ToyImages(9)
    plain = extract_features(model, loader(data))
    mixed = [4, 0, 8, 3, 3, 7, 1, 6, 0, 2, 5]  # two of them twice
    found = extract_features(model, loader(data, 3, sampler=mixed))
    assert torch.allclose(found.features, plain.features, atol=1e-6)
    assert found.labels.equal(plain.labels)
    assert found.index.equal(plain.index)


@pytest.mark.unit
def test_keys_of_our_samplers():
    class Keyed(ToyImages):
        def __getitem__(self, key):
            return super().__getitem__(key[1])

    keys = [(0, index, 0) for index in (2, 0, 1)]
    bank = extract_features(
        ToyAlgorithm(), loader(Keyed(3), 2, sampler=keys))
    assert bank.index.tolist() == [0, 1, 2]
    assert bank.labels.tolist() == [0, 1, 2]


@pytest.mark.unit
def test_modes_return_and_nothing_trains():
    model = ToyAlgorithm()
    model.train()
    model.head.eval()
    before = [module.training for module in model.modules()]
    bank = extract_features(model, loader(ToyImages(4)))
    assert [module.training for module in model.modules()] == before
    assert not bank.features.requires_grad


@pytest.mark.unit
def test_modes_return_after_an_error():
    model = ToyAlgorithm().train()
    with pytest.raises(RuntimeError, match='broken'):
        extract_features(model, loader(ToyImages(4)), encoder=_broken)
    assert model.backbone.dropout.training


def _broken(images):
    raise RuntimeError('broken')


@pytest.mark.unit
def test_half_precision():
    model, data = ToyAlgorithm(), ToyImages(6)
    exact = extract_features(model, loader(data))
    stored = extract_features(model, loader(data), storage=torch.float16)
    assert stored.features.dtype == torch.float16
    assert torch.allclose(stored.features.float(), exact.features, atol=1e-2)
    amp = extract_features(model, loader(data), fp16=True)
    assert amp.features.dtype == torch.float32
    assert not amp.features.equal(exact.features)
    assert torch.allclose(amp.features, exact.features, atol=0.1)


@pytest.mark.unit
def test_shuffling_anew_is_refused():
    data = ToyImages(40)
    shuffled = DataLoader(data, 4, shuffle=True, collate_fn=pseudo_collate)
    with pytest.raises(ConfigError, match='RandomSampler gives another'):
        extract_features(ToyAlgorithm(), shuffled)


@pytest.mark.unit
def test_outputs():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    assert pooled_output((maps[:, :, 0, 0], maps)).tolist() == [[5.5, 17.5]]
    assert pooled_output(maps[:, :, 0, 0]).shape == (1, 2)
    with pytest.raises(ConfigError, match=r'\(1, 2, 3\).*cls_token'):
        pooled_output((maps[:, :, :, 0],))
    with pytest.raises(ConfigError, match='dict'):
        pooled_output([{}])


@pytest.mark.unit
def test_several_views_are_refused():
    with pytest.raises(ConfigError, match='gives 2 views'):
        extract_features(ToyAlgorithm(), loader(ToyImages(4, views=2)))
    one = extract_features(ToyAlgorithm(), loader(ToyImages(4, views=1)))
    assert len(one) == 4


@pytest.mark.unit
def test_several_labels_are_refused():
    sample = DataSample().set_gt_label([1, 2])
    with pytest.raises(ConfigError, match='2 labels'):
        batch_labels(dict(inputs=[0], data_samples=[sample]))
    assert batch_labels(dict(inputs=[0, 1])).tolist() == [-1, -1]


@pytest.mark.unit
def test_prototypes_of_the_evaluated_network():
    model = ToyAlgorithm()
    features = torch.randn(7, 6)
    for key, head in (('auto', model.teacher.head), ('student', model.head)):
        expected = head(features).argmax(1)
        assert assign_prototypes(model, features, key).equal(expected)
    del model.teacher.head
    with pytest.raises(ConfigError, match='has no head beside'):
        assign_prototypes(model, features)


@pytest.mark.unit
@pytest.mark.parametrize('changes, text', [
    (dict(bank=ToyImages(20, labelled=0)), 'none of the 20 images of the ban'),
    (dict(queries=ToyImages(8, labelled=0)), 'images of the queries.*val_cfg'),
    (dict(k=(10, 21)), r'k=21: the bank has 20 images'),
    (dict(k=(0,)), 'k='),
    (dict(temperature=0), 'temperature=0'),
    (dict(key='taecher'), "did you mean 'teacher'"),
])
def test_protocol_settings_are_checked_at_build(changes, text):
    parts = dict(bank=ToyImages(20), queries=ToyImages(8)) | changes
    with pytest.raises(ConfigError, match=text):
        KNNProtocol(loader(parts.pop('bank')), loader(parts.pop('queries')),
                    **parts)


class Silent(ToyImages):
    """Cannot be asked for annotations."""
    get_data_info = property()


@pytest.mark.unit
def test_missing_labels_are_found_in_the_first_run_at_latest():
    protocol = KNNProtocol(loader(Silent(20, labelled=0)),
                           loader(Silent(8)), k=(3,))
    with pytest.raises(ConfigError, match='images of the bank'):
        protocol.metrics(ToyAlgorithm())


@pytest.mark.unit
def test_metrics_of_a_protocol():
    protocol = KNNProtocol(loader(ToyImages(64)), loader(ToyImages(
        20, seed=1, labelled=19)), k=(5,), clustering=True)
    metrics = protocol.metrics(ToyAlgorithm())
    assert set(metrics) == {
        'knn/top1_k5', 'knn/top5_k5', 'cluster/nmi', 'cluster/ari',
        'cluster/fowlkes_mallows', 'cluster/matched_accuracy'}
    assert metrics['knn/top1_k5'] > 50  # chance: 25


