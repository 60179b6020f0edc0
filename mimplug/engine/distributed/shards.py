"""Parameters that lie in shards: which together, and whole again."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mimplug.models.backbones import MaskedViT
from mimplug.models.heads import PrototypeHead


def shard_groups(model: nn.Module) -> Iterator[list[nn.Module]]:
    """What is gathered together, just before it computes.

    A group is all modules with parameters of a transformer block, or of a
    head's MLP. The rest stays with the whole model, which keeps it gathered
    from the start of a forward pass to the end of the backward pass: the
    embeddings, the prototypes, which are read and not called, and the last
    block, of which the requested tokens decide which parts are called.

    Args:
        model (nn.Module): Any; student and teacher give equal groups.

    Returns:
        Iterator[list[nn.Module]]: Groups without common modules.
    """
    for part in model.modules():
        if isinstance(part, MaskedViT):
            for layer in part.layers[:-1]:
                yield [module for module in layer.modules()
                       if next(module.parameters(recurse=False), None)
                       is not None]
        elif isinstance(part, PrototypeHead):
            yield [part.mlp]


def shard_model(model: nn.Module, *,
                reshard_after_forward: bool = True) -> nn.Module:
    """Splits every parameter over the processes, in place.

    Each tensor is cut along its first axis, so the teacher's shards are those
    of the student and the moving average needs no communication; a shard
    keeps its tensor's number of axes, by which weight decay is decided.

    Args:
        model (nn.Module): On the device, with equal weights on all ranks.
        reshard_after_forward (bool): Give the memory of a group back after
            the forward pass and gather it once more for the backward pass.
            Defaults to True.

    Returns:
        nn.Module: The model.
    """
    for group in shard_groups(model):
        fully_shard(group, reshard_after_forward=reshard_after_forward)
    fully_shard(model)
    return model


def whole(state: Any) -> Any:
    """A nested state whose shards are put together; all ranks must call.

    Args:
        state (Any): Mappings and lists of tensors and plain values.

    Returns:
        Any: The same with whole tensors on the CPU.
    """
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(whole(value) for value in state)
    if isinstance(state, DTensor):
        return state.full_tensor().detach().cpu()
    return state.detach().cpu() if isinstance(state, Tensor) else state


def shard_like(value: Any, own: Tensor) -> Any:
    """This process's part of a whole tensor.

    Args:
        value (Any): A whole tensor, equal on all ranks; other things (a step
            counter, say) come back as they are.
        own (Tensor): The sharded or whole tensor of the same shape that
            ``value`` is meant for.

    Returns:
        Any: A shard if ``own`` is one.
    """
    if (not isinstance(own, DTensor) or not isinstance(value, Tensor)
            or isinstance(value, DTensor) or value.shape != own.shape):
        return value
    return distribute_tensor(
        value.to(own.device), own.device_mesh, own.placements,
        src_data_rank=None)


@torch.no_grad()
def shard_optimizer_state(state: dict,
                          optimizer: torch.optim.Optimizer) -> dict:
    """A whole optimiser state, cut like the parameters it is about.

    Args:
        state (dict): ``state_dict`` of an optimiser, tensors whole.
        optimizer (Optimizer): Whose parameters may be shards.

    Returns:
        dict: For ``load_state_dict`` of this optimiser.
    """
    parameters = [parameter for group in optimizer.param_groups
                  for parameter in group['params']]
    numbers = [number for group in state['param_groups']
               for number in group['params']]
    owners = dict(zip(numbers, parameters))
    return dict(state, state={
        number: {name: shard_like(value, owners[number])
                 for name, value in values.items()}
        for number, values in state['state'].items()})
