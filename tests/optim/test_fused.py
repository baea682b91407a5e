from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.profiler import profile

from cifar_hpc.optim.fused import spare_copies_of_gradients


def make(kind: type[Optimizer], network: nn.Module, fused: bool) -> Optimizer:
    settings: dict[str, Any] = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    return kind(network.parameters(), lr=0.05, weight_decay=0.01, fused=fused, **settings)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_steps_copy_no_gradient_and_are_those_of_the_other_implementations(kind: type[Optimizer]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(8 * 4, 3))
    network.to(memory_format=torch.channels_last)
    networks = [network, deepcopy(network), deepcopy(network)]
    plain, fused, spared = (make(kind, each, fused=i > 0) for i, each in enumerate(networks))
    spare_copies_of_gradients(spared)
    for step in range(3):
        images = torch.randn(5, 4, 4, 4).contiguous(memory_format=torch.channels_last)
        for each, optimizer in zip(networks, (plain, fused, spared), strict=True):
            optimizer.zero_grad()
            each(images).square().sum().backward()
            with profile() as seen:
                optimizer.step()
            copies = sum(event.name == "aten::clone" for event in seen.events() or [])
            if optimizer is spared and step > 0:
                assert copies == 0
    for a, b, c in zip(*(each.parameters() for each in networks), strict=True):
        assert torch.equal(b, c)
        assert torch.allclose(a, c, atol=1e-6)
        assert c.grad is not None
        assert c.grad.shape == c.shape
    for state, other in zip(fused.state.values(), spared.state.values(), strict=True):
        for name, value in state.items():
            assert torch.equal(value, other[name])
            assert value.stride() == other[name].stride()


def test_optimisers_that_are_not_fused_are_left_alone() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters())
    spare_copies_of_gradients(optimizer)
    assert "_init_group" not in vars(optimizer)
