from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_hpc.models import SmallCNN


def listing(network: SmallCNN, images: Tensor) -> Tensor:
    """The report's listing, written down again: ReLU in each layer, then pooling; flattened as Keras does."""
    x = F.max_pool2d(F.relu(F.conv2d(images, network.conv1.weight, network.conv1.bias)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, network.conv2.weight, network.conv2.bias)), 2)
    x = F.relu(F.conv2d(x, network.conv3.weight, network.conv3.bias))
    x = F.relu(x.permute(0, 2, 3, 1).reshape(len(x), 1024) @ network.hidden.weight.T + network.hidden.bias)
    return x @ network.output.weight.T + network.output.bias


def test_parameters() -> None:
    assert sum(p.numel() for p in SmallCNN().parameters() if p.requires_grad) == 122_570


def test_values_and_gradients_are_the_listings() -> None:
    torch.manual_seed(0)
    network, images, labels = SmallCNN(), torch.rand(16, 3, 32, 32), torch.arange(16) % 10
    exactly = deepcopy(network).double()
    ours, theirs = network(images), listing(exactly, images.double())
    assert torch.allclose(ours.double(), theirs, atol=1e-5)
    F.cross_entropy(ours, labels).backward()
    gradients = [p.grad for p in network.parameters()]
    for gradient, expected in zip(
        gradients,
        torch.autograd.grad(F.cross_entropy(theirs, labels), list(exactly.parameters())),
        strict=True,
    ):
        assert gradient is not None
        assert torch.allclose(gradient.double(), expected, atol=1e-6)


def test_shapes_stage_by_stage() -> None:
    network, shapes = SmallCNN(num_classes=100), []
    for layer in network.children():
        layer.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
    network(torch.zeros(2, 3, 32, 32))
    assert shapes == [(2, 32, 30, 30), (2, 64, 13, 13), (2, 64, 4, 4), (2, 64), (2, 100)]


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "hidden", "output"])
def test_initial_values_are_keras(layer: str) -> None:
    torch.manual_seed(0)
    module = getattr(SmallCNN(), layer)
    area = module.weight[0, 0].numel()
    fan_in, fan_out = module.weight.shape[1] * area, module.weight.shape[0] * area
    limit = (6 / (fan_in + fan_out)) ** 0.5
    assert module.bias.abs().max() == 0
    assert module.weight.abs().max() <= limit
    # The deviation of a uniform law is its half-width over the root of three.
    assert module.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.1)
