from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_hpc.models import ResNet18
from cifar_hpc.speed import small_images
from cifar_hpc.speed.small_images import SmallImageConv2d, use_matrix_products_on_small_images

CASES = [
    # channels, width, kernel, stride, padding, image, the way in fp32, the way in bf16
    (4, 6, 3, 1, 1, (1, 1), "WholeImage", "WholeImage"),
    (4, 6, 3, 1, 1, (2, 2), "WholeImage", "WholeImage"),
    (4, 6, 3, 2, 1, (2, 2), "WholeImage", "WholeImage"),
    (4, 6, 3, 1, 1, (1, 2), "WholeImage", "WholeImage"),
    (4, 6, 1, 1, 0, (1, 1), "WholeImage", "WholeImage"),
    (4, 6, 5, 1, 2, (3, 3), "WholeImage", "WholeImage"),
    (4, 6, 3, 1, 0, (3, 3), "WholeImage", "WholeImage"),
    # 8 channels where a 1 × 1 kernel strides: with fewer, oneDNN on AVX2 (jit_1x1:avx2, channels_last) reads and
    # writes beyond its buffers for the weights' gradient.
    (8, 16, 1, 2, 0, (2, 2), "View", "View"),
    (8, 16, 1, 2, 0, (8, 8), "Convolution", "Permute"),
    (4, 6, 1, 1, 0, (8, 8), "Convolution", "Permute"),
    (8, 16, 1, (1, 2), 0, (5, 3), "Convolution", "Permute"),
    (4, 6, 1, 1, 0, (9, 9), "Convolution", "Convolution"),
    (4, 6, 1, 1, 1, (4, 4), "Convolution", "Convolution"),
    (4, 6, 3, 1, 1, (3, 3), "Convolution", "Convolution"),
    (512, 256, 3, 1, 1, (4, 4), "Convolution", "Gathered"),
    (512, 256, 3, 1, 1, (5, 5), "Convolution", "Convolution"),
    (4, 6, 3, 2, 1, (8, 8), "Convolution", "Gathered"),
    (4, 6, (3, 2), 2, (1, 0), (7, 8), "Convolution", "Gathered"),
    (4, 6, 3, (2, 1), (0, 1), (8, 4), "Convolution", "Gathered"),
    (4, 6, 3, 2, 1, (10, 10), "Convolution", "Convolution"),
]

TOLERANCES = {
    # A sum of up to 512 · 9 products of 24 bits: the roundings of its partial sums add up as the root of their
    # number, 68 · 2⁻²⁴ = 4e-6.
    torch.float32: 1e-5,
    # A bf16 product has 8 bits. Where the processor has no instructions for it, torch adds up nine taps (or five
    # images) one after the other and rounds each of these sums.
    torch.bfloat16: 9 * 2**-8,
}
"""How far results may lie from the exact ones, as a share of their size."""


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def ways(layer: SmallImageConv2d, image: tuple[int, int]) -> list[str]:
    """The ways that a layer can take on images of a size, whether they pay or not, by what their gradients name."""
    found = ["Convolution", "Gathered"]
    if layer.kernel_size == (1, 1) and layer.padding == (0, 0):
        found.append("View" if image in ((1, 1), (2, 2)) else "Permute")
    if small_images._windows(layer.kernel_size, layer.stride, pair(layer.padding), *image) is not None:
        found.append("WholeImage")
    return found


def force(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the decision from the layer: which way pays may depend on the processor, what it gives may not."""
    monkeypatch.setattr(small_images, "_pays_as_pointwise", lambda *_: way in ("View", "Permute"))
    monkeypatch.setattr(small_images, "_pays_to_gather", lambda *_: way == "Gathered")
    if way != "WholeImage":
        monkeypatch.setattr(small_images, "_windows", lambda *_: None)


def results(layer: nn.Conv2d, images: Tensor, gradient: Tensor) -> tuple[str, list[Tensor]]:
    """The way taken; output, and gradients of images, weights and biases, in float64."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=gradient.dtype == torch.bfloat16):
        y = layer(images)
    assert y.dtype == gradient.dtype
    y.backward(gradient)
    gradients = [images.grad, *(p.grad for p in layer.parameters())]
    return y.grad_fn.name(), [y.detach().double(), *(g.double() for g in gradients if g is not None)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "width", "kernel", "stride", "padding", "image"), [case[:6] for case in CASES])
def test_every_way_gives_the_values_and_gradients_of_a_convolution(
    channels: int,
    width: int,
    kernel: int,
    stride: int,
    padding: int,
    image: tuple[int, int],
    dtype: torch.dtype,
    bias: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    ours = SmallImageConv2d(channels, width, kernel, stride, padding, bias=bias)
    ours.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in ours.parameters():  # numbers that bf16 has, so that only results are rounded
            parameter.copy_(parameter.to(dtype))
    images = torch.randn(5, channels, *image).to(dtype).float()
    exactly = nn.Conv2d(channels, width, kernel, stride, padding, bias=bias).double()
    exactly.load_state_dict(ours.state_dict())
    gradient = torch.randn_like(exactly(images.double())).to(dtype)
    _, expected = results(exactly, images.double(), gradient.double())
    for way in ways(ours, image):
        with monkeypatch.context() as patch:
            force(way, patch)
            taken, found = results(ours, images, gradient)
        assert way in taken
        assert len(found) == len(expected) == 3 + bias
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            size = b.abs() + b.square().mean().sqrt()
            assert ((a - b).abs() / size).max() < TOLERANCES[dtype], way


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_an_activation_in_place_may_follow_on_every_way(
    case: tuple[Any, ...], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    *shape, image = case[:6]
    torch.manual_seed(0)
    layer = SmallImageConv2d(*shape).to(memory_format=torch.channels_last)
    images = torch.randn(5, layer.in_channels, *image)
    for way in ways(layer, image):
        found = []
        for inplace in (False, True):
            layer.zero_grad()
            with monkeypatch.context() as patch, torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
                force(way, patch)
                y = F.relu(layer(images), inplace=inplace)
            y.float().square().sum().backward()
            found.append([y.detach(), *(p.grad for p in layer.parameters())])
        assert all(map(torch.equal, *found)), way


@pytest.mark.parametrize(("channels", "width", "kernel", "stride", "padding", "image", "in_fp32", "in_bf16"), CASES)
def test_the_way_that_pays_is_taken(
    channels: int,
    width: int,
    kernel: int,
    stride: int,
    padding: int,
    image: tuple[int, int],
    in_fp32: str,
    in_bf16: str,
) -> None:
    ours = SmallImageConv2d(channels, width, kernel, stride, padding).to(memory_format=torch.channels_last)
    for bf16, way in ((False, in_fp32), (True, in_bf16)):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            assert way in ours(torch.randn(5, channels, *image)).grad_fn.name()


def test_a_single_pixel_has_the_strides_of_torchs_own_operations() -> None:
    # Batch norm's backward pass is many times slower where those of its input and its gradient differ.
    for layer in (SmallImageConv2d(4, 6, 3, padding=1), SmallImageConv2d(4, 6, 1)):
        x = torch.randn(5, 4, 1, 1, requires_grad=True)
        gradients: list[Tensor] = []
        x.register_hook(gradients.append)
        y = layer(x)
        assert y.stride() == nn.BatchNorm2d(6)(y).stride() == (6, 1, 1, 1)
        y.square().sum().backward()
        assert gradients[0].stride() == (4, 1, 1, 1)


def test_eight_of_nine_taps_never_get_a_gradient_on_one_pixel() -> None:
    # The finding about ResNet with ImageNet's stem on CIFAR, by torch's own convolution.
    torch.manual_seed(0)
    network = ResNet18()
    network(torch.rand(4, 3, 32, 32)).sum().backward()
    gradient = network.network.layer4[1].conv2.weight.grad
    assert gradient[:, :, 1, 1].any()
    gradient[:, :, 1, 1] = 0
    assert not gradient.any()


def test_a_network_keeps_its_parameters_and_its_logits() -> None:
    torch.manual_seed(0)
    network = ResNet18().eval()
    images = torch.rand(4, 3, 32, 32)
    before, names = deepcopy(network).double()(images.double()), list(network.state_dict())
    use_matrix_products_on_small_images(network)
    assert any(isinstance(layer, SmallImageConv2d) for layer in network.modules())
    assert list(network.state_dict()) == names
    assert torch.allclose(network(images).double(), before, atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"padding": "same"}, {"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}], ids=str
)
def test_convolutions_of_other_kinds_are_left_alone(settings: dict[str, Any]) -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, **{"padding": 1, **settings}))
    use_matrix_products_on_small_images(network)
    assert type(network[0]) is nn.Conv2d
    assert network(torch.rand(2, 4, 4, 4)).shape[1] == 4
