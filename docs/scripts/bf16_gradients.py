"""Which part of bf16 autocast moves the gradients of ghugre's network: the table in docs/performance_log.md.

python docs/scripts/bf16_gradients.py CHECKPOINT, of a run of ghugre_sequential in fp32, such as
runs/ghugre_sequential/seed1/checkpoints/epoch0006.ckpt.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_hpc.data import arrays
from cifar_hpc.models import SmallCNN
from cifar_hpc.speed.first_convolution import Float32Conv2d

BATCHES, BATCH_SIZE = 150, 32
LAYERS = ("conv1", "conv2", "conv3", "hidden", "output")


def exempt(
    layer: nn.Module, images: bool = True, weights: bool = True, gradient: bool = True
) -> Callable[[Tensor], Tensor]:
    """The layer's product in fp32, of what is not rounded; its answers are rounded as under autocast.

    Without `gradient` the gradient of its weights is a product in bf16, as in the overlay.
    """
    if not gradient:
        overlay = Float32Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size)
        overlay.weight, overlay.bias = layer.weight, layer.bias
        return overlay.forward
    forward, exact = layer.forward, layer.weight.detach().clone()

    def product(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            if not weights:
                layer.weight.data = exact.bfloat16().float()
            answers = forward(x.float() if images else x.bfloat16().float()).bfloat16()
            layer.weight.data = exact
        return answers

    return product


@contextmanager
def exempted(network: SmallCNN, layers: dict[str, dict[str, bool]]) -> Iterator[None]:
    """Some layers exempt from autocast, for a while."""
    for name, kept in layers.items():
        layer = getattr(network, name)
        layer.forward = exempt(layer, **kept)
    yield
    for name in layers:
        del getattr(network, name).forward


def gradients(network: SmallCNN, images: Tensor, labels: Tensor, bf16: bool) -> list[Tensor]:
    """The gradient of each layer's weights."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        F.cross_entropy(network(images), labels).backward()
    return [getattr(network, name).weight.grad.clone() for name in LAYERS]


def main(checkpoint: str) -> None:
    """Prints for each variant and layer the error of a batch's gradient, and of the mean gradient, in percent."""
    network = SmallCNN()
    network.load_state_dict(torch.load(checkpoint, weights_only=False)["state_dict"])
    network.to(memory_format=torch.channels_last)
    content = arrays.load("cifar10", check=False)
    chosen = torch.randperm(50_000, generator=torch.Generator().manual_seed(99))[: BATCHES * BATCH_SIZE]
    pixels, labels = torch.from_numpy(content.train_images)[chosen], torch.from_numpy(content.train_labels)[chosen]
    batches = list(
        zip((pixels / 255).permute(0, 3, 1, 2).split(BATCH_SIZE), labels.long().split(BATCH_SIZE), strict=True)
    )
    exact = [gradients(network, x, y, bf16=False) for x, y in batches]
    variants: dict[str, dict[str, dict[str, bool]]] = {
        "bf16": {},
        "fp32 hidden, output": {"hidden": {}, "output": {}},
        "fp32 conv2": {"conv2": {}},
        "fp32 conv1": {"conv1": {}},
        "conv1, gradient bf16": {"conv1": {"gradient": False}},
        "conv1: fp32 weights": {"conv1": {"images": False}},
        "conv1: fp32 images": {"conv1": {"weights": False}},
        "fp32 convolutions": {"conv1": {}, "conv2": {}, "conv3": {}},
    }
    print("variant".ljust(22), *(name.rjust(11) for name in LAYERS))
    for variant, layers in variants.items():
        with exempted(network, layers):
            found = [gradients(network, x, y, bf16=True) for x, y in batches]
        columns = []
        for of_exact, of_found in zip(zip(*exact, strict=True), zip(*found, strict=True), strict=True):
            right, wrong = torch.stack(of_exact), torch.stack(of_found) - torch.stack(of_exact)
            batch, mean = wrong.norm() / right.norm(), wrong.mean(0).norm() / right.mean(0).norm()
            columns.append(f"{100 * batch:.1f} / {100 * mean:.1f}".rjust(11))
        print(variant.ljust(22), *columns, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
