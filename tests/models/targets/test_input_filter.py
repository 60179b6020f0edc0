"""The high-pass filter as a part of models."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from mimplug.errors import ConfigError
from mimplug.filters import high_pass
from mimplug.models.targets import HighPass, build_input_filter

pytestmark = pytest.mark.unit


def test_it_is_the_filter_and_its_record_builds_it_again():
    images = torch.randn(2, 3, 20, 24)
    part = HighPass(kernel_size=5, sigma=2)
    assert torch.equal(part(images), high_pass(images, 5, 2.0))
    again = build_input_filter(part.record)
    assert torch.equal(again(images), part(images))
    assert again.record == part.record == dict(
        type='mimplug.HighPass', kernel_size=5, sigma=2.0)
    assert build_input_filter(None) is None
    assert not part.state_dict()


@pytest.mark.parametrize('kwargs', [
    dict(kernel_size=4), dict(kernel_size=1), dict(sigma=0),
    dict(kernel_size=2.5)])
def test_wrong_numbers(kwargs):
    with pytest.raises(ConfigError):
        HighPass(**kwargs)


def test_a_module_without_record():
    with pytest.raises(ConfigError, match='has no record'):
        build_input_filter(nn.Identity())
