"""The two sides of step_time.py, and what a step is measured by."""
from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import timm
import torch
from mmpretrain.registry import MODELS
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from mimplug.engine import TwoGroupConstructor
from mimplug.engine.hooks.compile import compile_blocks
from mimplug.schedules import Progress

# MMPretrain's and timm's names of one architecture
ARCHS = {'deit-tiny': 'vit_tiny_patch16_224',
         'deit-small': 'vit_small_patch16_224',
         'deit-base': 'vit_base_patch16_224',
         'large': 'vit_large_patch16_224'}

# Dense 16-bit tensor-core peaks of the vendors' data sheets, TFLOP/s; the
# first name that is part of the device's wins.
PEAKS = {'H100 PCIe': 756.0, 'H100 NVL': 835.0, 'H100': 989.4, 'H200': 989.4,
         'GH200': 989.4, 'B200': 2250.0, 'A100': 312.0, 'A800': 312.0,
         'L40S': 362.0, 'L40': 181.0, 'L4': 121.0, 'A40': 149.7,
         'A10': 125.0, 'RTX 4090': 165.2, 'RTX 3090': 71.0, 'V100': 125.0}

# global views of teacher and student together
GLOBALS = dict(attmask=2, mugs=4)

Step = Callable[..., None]


def model_config(args: argparse.Namespace) -> dict[str, Any]:
    """The method with the heads, queues and memories of its publication."""
    backbone = dict(arch=args.arch, interpolate_offset=0.1,
                    drop_path_rate=args.drop_path, with_cp=args.with_cp,
                    skip_dropped=dict(yes=True, no=False).get(args.skip))
    if args.method == 'mugs':
        return dict(
            type='mimplug.Mugs',
            backbone=dict(backbone, type='mimplug.LocalGroupViT'),
            instance=dict(queue=args.rows),
            local_group=dict(queue=args.rows, memory=args.rows),
            group=dict(head=dict(num_prototypes=args.rows,
                                 norm_last_layer=False)))
    return dict(
        type='mimplug.IBOT',
        backbone=dict(backbone, type='mimplug.MaskedViT'),
        head=dict(type='mimplug.PrototypeHead', num_prototypes=8192,
                  norm_last_layer=False),
        mask_generator=dict(
            type='mimplug.AttentionMask', mode='high', apply_prob=0.5,
            ratio=dict(type='UniformRatio', mean=0.3, var=0.2, per='batch')),
        last_block_rule=not args.whole_last_block)


def our_step(args: argparse.Namespace, views: list[Tensor] | None = None
             ) -> tuple[Step, torch.nn.Module]:
    """The step of a training run, without runner and loader.

    Args:
        args (Namespace): Of step_time.py.
        views (list[Tensor], optional): Views that a call without arguments
            works on.

    Returns:
        tuple: The step, called with views and data samples or without, and
        the model.
    """
    model = MODELS.build(model_config(args))
    model.init_weights()
    model.to(args.device).train()
    wrapper = TwoGroupConstructor(dict(
        dtype=args.dtype,
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.04, fused=True),
        clip_grad=dict(max_norm=3.0)))(model)
    count = 0

    def step(inputs: Sequence[Tensor] | None = None,
             samples: Sequence | None = None) -> None:
        nonlocal count
        model.set_progress(Progress(count, 100_000, 0, 10))
        with wrapper.optim_context(model):
            losses = model.loss(inputs or views, samples)
        wrapper.update_params(sum(
            value for name, value in losses.items() if 'loss' in name))
        model.step_end(0.996)
        count += 1

    return step, model


def bare_step(args: argparse.Namespace,
              views: list[Tensor]) -> tuple[Step, torch.nn.Module]:
    """Student forward and backward and teacher forward of timm's ViT.

    The student's views are the last ones: with Mugs the teacher has global
    views of its own. The loss is the mean magnitude: a mean square would be
    constant after the final norm, and its gradients nothing but rounding.
    """
    student, teacher = (
        timm.create_model(ARCHS[args.arch], num_classes=0, global_pool='',
                          dynamic_img_size=True).to(args.device).train()
        for _ in range(2))
    dtype = getattr(torch, args.dtype or 'float32')
    seen = torch.cat(views[:2])
    own = views[GLOBALS[args.method] - 2:]
    crops = [torch.cat(part) for part in (own[:2], own[2:]) if part]

    def step() -> None:
        with torch.autocast(args.device, dtype, enabled=bool(args.dtype)):
            with torch.no_grad():
                teacher(seen)
            loss = sum(student(crop).float().abs().mean() for crop in crops)
        loss.backward()
        student.zero_grad()

    return step, student


def compile_side(name: str, model: torch.nn.Module) -> None:
    """Compiles the blocks of one side, timm's as well as ours."""
    compile_blocks(model, ('*.layers.*', '*head.mlp') if name == 'ours'
                   else ('blocks.*', ))


def _flash_on_cpu(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None,
                  **kwargs: Any) -> int:
    return int(sdpa_flop_count(q, k, v))


def _flash_on_cpu_backward(grad: Any, q: Any, k: Any, v: Any, *args: Any,
                           out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(grad, q, k, v))


def count_flops(step: Step) -> int:
    """Floating-point operations that one call executes.

    Counted by ``torch.utils.flop_counter`` as 2 per multiply-add of matrix
    products, convolutions and attention, forward and backward; elementwise
    operations count nothing, recomputed blocks count twice.
    """
    aten = torch.ops.aten
    fused = '_scaled_dot_product_flash_attention_for_cpu'
    counter = FlopCounterMode(display=False, custom_mapping={
        getattr(aten, fused): _flash_on_cpu,
        getattr(aten, f'{fused}_backward'): _flash_on_cpu_backward})
    with counter:
        step()
    return int(counter.get_total_flops())


def peak_tflops(args: argparse.Namespace) -> float | None:
    """The stated peak: given, or of the table for 16-bit types."""
    if args.peak_tflops or args.device != 'cuda' or not args.dtype:
        return args.peak_tflops
    name = torch.cuda.get_device_name()
    return next((peak for key, peak in PEAKS.items() if key in name), None)


def seconds(step: Step, device: str) -> float:
    """Wall time of one call, on the device, too."""
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(device: str) -> float:
    """MiB: allocated on the GPU, or resident in this process."""
    if device == 'cuda':
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == 'darwin' else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
