from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cifar_hpc.models import ResNet18
from cifar_hpc.models.small_images import SmallImageConv2d, use_matrix_products_on_small_images

CASES = [
    # channels, width, kernel, stride, padding, image, the way in fp32, the way in bf16
    (4, 6, 3, 1, 1, (1, 1), "WholeImage", "WholeImage"),
    (4, 6, 3, 1, 1, (2, 2), "WholeImage", "WholeImage"),
    (4, 6, 3, 2, 1, (2, 2), "WholeImage", "WholeImage"),
    (4, 6, 3, 1, 1, (1, 2), "WholeImage", "WholeImage"),
    (4, 6, 1, 1, 0, (1, 1), "WholeImage", "WholeImage"),
    (4, 6, 5, 1, 2, (3, 3), "WholeImage", "WholeImage"),
    (4, 6, 3, 1, 0, (3, 3), "WholeImage", "WholeImage"),
    (4, 6, 1, 2, 0, (2, 2), "View", "View"),
    (4, 6, 1, 2, 0, (8, 8), "Convolution", "Permute"),
    (4, 6, 1, 1, 0, (8, 8), "Convolution", "Permute"),
    (4, 6, 1, (1, 2), 0, (5, 3), "Convolution", "Permute"),
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


def results(layer: nn.Conv2d, images: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Output, and gradients of images, weights and biases of a function that weighs every output differently."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = layer(images)
    (y.float() * torch.arange(y.numel()).view(y.shape).sin()).sum().backward()
    assert y.dtype == dtype
    assert images.grad is not None
    gradients = [p.grad for p in layer.parameters()]
    return [y.detach().float(), images.grad, *(g for g in gradients if g is not None)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "width", "kernel", "stride", "padding", "image", "in_fp32", "in_bf16"), CASES)
def test_the_short_way_gives_the_same_values_and_gradients(
    channels: int,
    width: int,
    kernel: int,
    stride: int,
    padding: int,
    image: tuple[int, int],
    in_fp32: str,
    in_bf16: str,
    dtype: torch.dtype,
    bias: bool,
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, width, kernel, stride, padding, bias=bias).to(memory_format=torch.channels_last)
    ours = SmallImageConv2d(channels, width, kernel, stride, padding, bias=bias)
    ours.load_state_dict(plain.state_dict())
    ours.to(memory_format=torch.channels_last)
    images = torch.randn(5, channels, *image)
    bf16 = dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        way = ours(images).grad_fn.name()
    assert (in_bf16 if bf16 else in_fp32) in way
    found, expected = results(ours, images, dtype), results(plain, images, dtype)
    assert len(found) == 3 + bias
    tolerance = 0.03 if bf16 else 1e-5
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance)


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
    before, names = network(images), list(network.state_dict())
    use_matrix_products_on_small_images(network)
    assert any(isinstance(layer, SmallImageConv2d) for layer in network.modules())
    assert list(network.state_dict()) == names
    assert torch.allclose(network(images), before, atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"padding": "same"}, {"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}], ids=str
)
def test_convolutions_of_other_kinds_are_left_alone(settings: dict[str, Any]) -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, **{"padding": 1, **settings}))
    use_matrix_products_on_small_images(network)
    assert type(network[0]) is nn.Conv2d
    assert network(torch.rand(2, 4, 4, 4)).shape[1] == 4
