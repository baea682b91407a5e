from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.profiler import profile

from cifar_hpc.speed.fused import DirectAdam, direct, spare_copies_of_gradients


def make(kind: type[Optimizer], network: nn.Module, fused: bool) -> Optimizer:
    settings: dict[str, Any] = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    return kind(network.parameters(), lr=0.05, weight_decay=0.01, fused=fused, **settings)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_steps_copy_no_gradient_and_are_those_of_the_other_implementations(kind: type[Optimizer]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(8 * 4, 3))
    network.to(memory_format=torch.channels_last)
    networks = [network, deepcopy(network), deepcopy(network)]
    networks[0].double()
    plain, fused, spared = (make(kind, each, fused=i > 0) for i, each in enumerate(networks))
    spare_copies_of_gradients(spared)
    for step in range(3):
        images = torch.randn(5, 4, 4, 4).contiguous(memory_format=torch.channels_last)
        for each, optimizer in zip(networks[1:], (fused, spared), strict=True):
            optimizer.zero_grad()
            each(images).square().sum().backward()
            with profile() as seen:
                optimizer.step()
            copies = sum(event.name == "aten::clone" for event in seen.events() or [])
            if optimizer is spared and step > 0:
                assert copies == 0
        for exact, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
            assert other.grad is not None
            exact.grad = other.grad.double()  # Adam would make whole steps of what two backward passes round apart
        plain.step()
    for a, b, c in zip(*(each.parameters() for each in networks), strict=True):
        assert torch.equal(b, c)
        assert torch.allclose(a, c.double(), atol=1e-6)
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


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_direct_steps_are_the_optimisers_own(kind: type[Optimizer]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 8), nn.Linear(8, 3))
    network.to(memory_format=torch.channels_last)
    network[2].bias.requires_grad = False
    networks = [network, deepcopy(network)]

    def in_two_groups(layers: nn.Sequential) -> Optimizer:
        groups: list[dict[str, Any]] = [
            {"params": layers[0].parameters(), "lr": 0.1},
            {"params": layers[2:].parameters()},
        ]
        return kind(groups, weight_decay=0.01, fused=True)  # type: ignore[call-arg]

    optimizers = [in_two_groups(each) for each in networks]
    steps: list[Any] = list(optimizers)

    def take_step(layers: nn.Module, images: torch.Tensor, step: Any) -> float:
        def closure() -> float:
            loss = layers(images).square().sum()
            step.zero_grad()
            loss.backward()
            return float(loss)

        return float(step.step(closure))

    for number in range(5):
        images = torch.randn(5, 4, 4, 4).contiguous(memory_format=torch.channels_last)
        if number == 1:
            steps[1] = direct(optimizers[1])
            assert isinstance(steps[1], DirectAdam)
        used = 3 if number == 3 else 4  # the last layer once without gradients
        losses = [take_step(each[:used], images, step) for each, step in zip(networks, steps, strict=True)]
        assert losses[0] == losses[1] > 0
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] /= 2  # as a schedule does
    for one, other in zip(*(each.parameters() for each in networks), strict=True):
        assert torch.equal(one, other)
    first, second = (optimizer.state_dict()["state"] for optimizer in optimizers)
    assert first.keys() == second.keys()
    for index, state in first.items():
        for name, value in state.items():
            assert torch.equal(value, second[index][name])


def test_direct_steps_are_for_plain_fused_adam_that_has_stepped() -> None:
    def stepped(kind: type[Optimizer], **settings: Any) -> Optimizer:
        layer = nn.Linear(2, 2)
        optimizer = kind(layer.parameters(), lr=0.1, **settings)  # type: ignore[call-arg]
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        return optimizer

    assert isinstance(direct(stepped(torch.optim.Adam, fused=True)), DirectAdam)
    hooked = stepped(torch.optim.Adam, fused=True)
    hooked.register_step_post_hook(lambda *arguments: None)
    fresh = torch.optim.Adam(nn.Linear(2, 2).parameters(), fused=True)
    others = (
        stepped(torch.optim.Adam),
        stepped(torch.optim.SGD, fused=True),
        stepped(torch.optim.Adam, fused=True, amsgrad=True),
    )
    for optimizer in (hooked, fresh, *others):
        assert direct(optimizer) is optimizer
