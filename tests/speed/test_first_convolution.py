from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cifar_hpc.data.sample import load_sample
from cifar_hpc.models import SmallCNN
from cifar_hpc.speed.first_convolution import Float32Conv2d, keep_first_convolution_in_float32


def test_only_answers_are_rounded_under_autocast() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 8, 3)
    ours = Float32Conv2d(3, 8, 3)
    ours.load_state_dict(plain.state_dict())
    images = torch.rand(4, 3, 8, 8)
    exact = plain(images)
    assert torch.equal(ours(images), exact)
    with torch.autocast("cpu", torch.bfloat16):
        answers = ours(images)
        autocast = plain(images)
    assert torch.equal(answers, exact.bfloat16())
    assert not torch.equal(autocast, exact.bfloat16())


def test_the_error_that_all_images_share_shrinks() -> None:
    # What training drifts by: the error of a filter's answers that does not average out over real images.
    torch.manual_seed(0)
    network = SmallCNN()
    images = torch.from_numpy(load_sample("cifar10").train_images).permute(0, 3, 1, 2) / 255

    def answers(bf16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            answers: Tensor = network.conv1(images)
            return answers.detach().double()

    exact = answers(bf16=False)
    before = (answers(bf16=True) - exact).mean(dim=(0, 2, 3)).norm()
    keep_first_convolution_in_float32(network)
    after = (answers(bf16=True) - exact).mean(dim=(0, 2, 3)).norm()
    assert after < 0.1 * before


@pytest.mark.parametrize("settings", [{}, {"bias": False, "stride": 2, "padding": 1}, {"padding": "same"}], ids=str)
def test_its_gradients_are_as_near_as_rounded_products_are(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    ours, exact = Float32Conv2d(3, 8, 3, **settings), nn.Conv2d(3, 8, 3, **settings).double()
    exact.load_state_dict(ours.state_dict())
    ours.to(memory_format=torch.channels_last)
    count = 4
    images = torch.from_numpy(load_sample("cifar10").train_images[:count]).permute(0, 3, 1, 2) / 255
    with torch.autocast("cpu", torch.bfloat16):
        answers = ours(images)
    gradient = torch.randn_like(answers)
    answers.backward(gradient)
    exact(images.double()).backward(gradient.double())
    # A bf16 product has 8 bits. The images are rounded to them and so is the sum; where the processor has no
    # instructions for bf16, the sum is rounded after each image. Independent errors add up as the root of their number.
    tolerance = (1 + count) ** 0.5 * 2**-8
    for (name, found), right in zip(ours.named_parameters(), exact.parameters(), strict=True):
        assert found.grad is not None, name
        assert right.grad is not None
        assert (found.grad - right.grad).norm() < tolerance * right.grad.norm(), name
        assert found.grad.stride() == found.stride(), name


def test_images_get_a_gradient_where_one_is_asked_for() -> None:
    torch.manual_seed(0)
    layer = Float32Conv2d(3, 8, 3)
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        answers = layer(images)
    gradient = torch.randn_like(answers)
    (found,) = torch.autograd.grad(answers, images, gradient)
    (right,) = torch.autograd.grad(layer(images), images, gradient.float())
    assert torch.equal(found, right)


def test_a_first_convolution_of_another_class_is_left_alone() -> None:
    class Whitening(nn.Conv2d):
        pass

    network = nn.Sequential(Whitening(3, 4, 3), nn.Conv2d(4, 4, 3))
    keep_first_convolution_in_float32(network)
    assert [type(layer) for layer in network] == [Whitening, nn.Conv2d]
