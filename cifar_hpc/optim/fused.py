"""Fused optimisers on the CPU without the copies of gradients that they make and do not use."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def spare_copies_of_gradients(optimizer: Optimizer) -> None:
    """Hands fused kernels each channels_last gradient as a contiguous view of the same memory.

    torch's fused SGD and Adam on the CPU go by address through weights, gradients and momenta, but first make a
    contiguous copy of every gradient in channels_last order, which nothing reads (torch 2.14.1, `docs/performance.md`).
    The view, whose axes are in the order of the memory, needs none. Weights, momenta and results stay what they were.

    Args:
        optimizer: any; those that are not fused are left alone.
    """
    gather = getattr(optimizer, "_init_group", None)
    if gather is None or not optimizer.defaults.get("fused"):
        return

    def gather_views(group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], *others: Any) -> Any:
        found = gather(group, parameters, gradients, *others)
        momenta = others[0]
        if all(momentum is not None for momentum in momenta):  # SGD's first step makes them like the gradients
            gradients[:] = [_contiguous_view(gradient) for gradient in gradients]
        return found

    optimizer._init_group = gather_views  # type: ignore[attr-defined]


def _contiguous_view(gradient: Tensor) -> Tensor:
    if gradient.device.type != "cpu" or gradient.dim() != 4:
        return gradient
    in_order = gradient.is_contiguous(memory_format=torch.channels_last)
    return gradient.permute(0, 2, 3, 1) if in_order else gradient
