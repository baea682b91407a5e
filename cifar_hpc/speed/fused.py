"""Fused optimisers on the CPU without what they do beside their kernel: copies of gradients, and look-ups."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def prefer_fused(optimizer: Any) -> None:
    """Takes torch's fused kernel for the steps, where the configuration leaves the choice to torch.

    Args:
        optimizer: any optimiser, before its first step; DeepSpeed's hold torch's.
    """
    optimizer = getattr(optimizer, "optimizer", optimizer)
    if type(optimizer) in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        for group in (optimizer.defaults, *optimizer.param_groups):
            if group["fused"] is None and not (group["foreach"] or group["differentiable"]):
                group["fused"] = True


def spare_copies_of_gradients(optimizer: Optimizer) -> None:
    """Hands fused kernels each channels_last gradient as a contiguous view of the same memory.

    torch's fused SGD and Adam on the CPU go by address through weights, gradients and momenta, but first make a
    contiguous copy of every gradient in channels_last order, which nothing reads (`docs/performance_log.md`).
    The view, whose axes are in the order of the memory, needs none. Weights, momenta and results stay what they were.

    Args:
        optimizer: any optimiser; those that are not fused are left alone.
    """
    gather = getattr(optimizer, "_init_group", None)
    if gather is None or not optimizer.defaults.get("fused"):
        return

    def gather_views(group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], *others: Any) -> Any:
        found = gather(group, parameters, gradients, *others)
        momenta = others[0]
        if group["fused"] and all(
            momentum is not None for momentum in momenta
        ):  # SGD's first step makes them like the gradients
            gradients[:] = [_contiguous_view(gradient) for gradient in gradients]
        return found

    optimizer._init_group = gather_views  # type: ignore[attr-defined]


def _contiguous_view(gradient: Tensor) -> Tensor:
    if gradient.device.type != "cpu" or gradient.dim() != 4:
        return gradient
    in_order = gradient.is_contiguous(memory_format=torch.channels_last)
    return gradient.permute(0, 2, 3, 1) if in_order else gradient


class DirectAdam:
    """Steps of a fused Adam or AdamW on the CPU that go straight to torch's kernel, with the same bits.

    `Optimizer.step` gathers states and asks for hooks, profiler and devices at every step, which takes far longer than
    the kernel itself on a small network (`docs/performance_log.md`). Here all that is settled once. Learning rates and
    other settings are read at each step, as schedules change them.

    Args:
        optimizer: an optimiser that `direct` accepts.
    """

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        self._optimizer = optimizer
        self._groups = [_AdamGroup(optimizer, group) for group in optimizer.param_groups]

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for group in self._groups:
            for weight in group.weights:
                weight.grad = None

    def step(self, closure: Callable[[], Any]) -> Any:
        """Takes one step after `closure`, which leaves gradients behind; returns what it returns."""
        found = closure()
        if any(weight.grad is None for group in self._groups for weight in group.weights):
            self._optimizer.step()
        else:
            with torch.no_grad():
                for group in self._groups:
                    group.step()
        return found


def direct(optimizer: Optimizer) -> "Optimizer | DirectAdam":
    """Finds the quick way to take an optimiser's steps, where there is one; else returns the optimiser itself.

    It holds until somebody loads a state into the optimiser, or gives it hooks or parameters.

    Args:
        optimizer: any optimiser, after its first step, which makes its state.
    """
    # Here and not above: without these names nothing of this room may break (private_names.py).
    from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
        return optimizer
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
    )
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
    plain = all(group["fused"] and not group["amsgrad"] for group in optimizer.param_groups)
    settled = all(weight.device.type == "cpu" and weight in optimizer.state for weight in weights)
    return DirectAdam(optimizer) if plain and settled and not any(hooks) else optimizer  # type: ignore[arg-type]


class _AdamGroup:
    """The weights of a parameter group with their state."""

    def __init__(self, optimizer: torch.optim.Adam, group: dict[str, Any]) -> None:
        self.settings = group
        self.weights: list[Tensor] = [weight for weight in group["params"] if weight.requires_grad]
        states = [optimizer.state[weight] for weight in self.weights]
        self.means, self.squares, self.steps = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        self.kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_

    def step(self) -> None:
        settings = self.settings
        torch._foreach_add_(self.steps, 1)
        beta1, beta2 = settings["betas"]
        self.kernel(
            self.weights,
            [_contiguous_view(weight.grad) for weight in self.weights],  # type: ignore[arg-type]
            self.means,
            self.squares,
            [],
            self.steps,
            lr=settings["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            amsgrad=False,
            maximize=settings["maximize"],
        )
