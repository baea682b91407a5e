import pytest
import torch
from torch import Tensor, nn

from cifar_hpc.models import ResNet18
from cifar_hpc.models.small_images import SmallImageConv2d, use_matrix_products_on_small_images

CASES = [
    # channels, width, kernel, stride, padding, image, whether every window covers the image
    (4, 6, 3, 1, 1, (1, 1), True),
    (4, 6, 3, 1, 1, (2, 2), True),
    (4, 6, 3, 2, 1, (2, 2), True),
    (4, 6, 3, 1, 1, (1, 2), True),
    (4, 6, 1, 1, 0, (1, 1), True),
    (4, 6, 1, 2, 0, (2, 2), False),
    (4, 6, 5, 1, 2, (3, 3), True),
    (4, 6, 3, 1, 1, (3, 3), False),
    (4, 6, 3, 1, 0, (3, 3), True),
    (4, 6, 3, 1, 1, (8, 8), False),
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
@pytest.mark.parametrize(("channels", "width", "kernel", "stride", "padding", "image", "short"), CASES)
def test_the_short_way_gives_the_same_values_and_gradients(
    channels: int,
    width: int,
    kernel: int,
    stride: int,
    padding: int,
    image: tuple[int, int],
    short: bool,
    dtype: torch.dtype,
    bias: bool,
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, width, kernel, stride, padding, bias=bias).to(memory_format=torch.channels_last)
    ours = SmallImageConv2d(channels, width, kernel, stride, padding, bias=bias)
    ours.load_state_dict(plain.state_dict())
    ours.to(memory_format=torch.channels_last)
    images = torch.randn(5, channels, *image)
    ours_names = ours(images).grad_fn.name()
    assert ("WholeImage" in ours_names) == short
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    found, expected = results(ours, images, dtype), results(plain, images, dtype)
    assert len(found) == 3 + bias
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance)


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
