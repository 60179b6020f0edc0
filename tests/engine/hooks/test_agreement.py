"""A number that ranks agree on beside the device."""
from __future__ import annotations

import pytest
import torch

from mimplug.engine.hooks.agreement import Agreement


@pytest.mark.unit
def test_alone_the_answer_is_there_at_once():
    agreement = Agreement()
    assert [agreement.exchange(x) for x in (0, 2, 1)] == [0, 2, 1]
    assert agreement.finish() == 0


@pytest.mark.unit
def test_the_step_reads_no_tensor(monkeypatch):
    class Later:
        """Work of gloo that another rank answers with 2."""

        def __init__(self, tensor):
            self.tensor = tensor

        def wait(self):
            self.tensor.fill_(2)

    agreement = Agreement()
    agreement.group = 'gloo'
    monkeypatch.setattr(
        'mimplug.engine.hooks.agreement.torch_dist.all_reduce',
        lambda tensor, op, group, async_op: Later(tensor))
    for name in ('item', 'tolist', 'cpu', 'numpy', '__int__', '__bool__',
                 '__float__'):
        monkeypatch.setattr(torch.Tensor, name, None)
    assert [agreement.exchange(0), agreement.exchange(0)] == [0, 2]
