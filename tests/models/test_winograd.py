"""Winograd's algorithm gives the convolution, its gradients, and in bfloat16 no more than a few roundings' error."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_hpc.models import winograd
from cifar_hpc.models.winograd import WinogradConvolution


def answers_and_gradients(
    function: object, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: Tensor
) -> list[Tensor]:
    inputs = [each.detach().requires_grad_() for each in (x, weight, bias) if each is not None]
    y = function(*inputs, *([None] if bias is None else []))  # type: ignore[operator]
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream.to(y.dtype))]


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=1)


def case(batch: int, channels: int, width: int, height: int, columns: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    images = torch.randn(batch, channels, height, columns).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(width, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(batch, width, height, columns).contiguous(memory_format=torch.channels_last)
    return images, weight / (9 * channels) ** 0.5, torch.randn(width), upstream


@pytest.mark.parametrize(("height", "columns"), [(2, 2), (4, 4), (6, 8)])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("at_once", [1, 600, 2**23])
def test_it_is_the_convolution(
    height: int, columns: int, with_bias: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "_TRANSFORMED_AT_ONCE", at_once)
    x, weight, bias, upstream = case(5, 8, 12, height, columns)
    arguments = (x, weight, bias if with_bias else None, upstream)
    ours = answers_and_gradients(WinogradConvolution.apply, *arguments)
    theirs = answers_and_gradients(convolution, *arguments)
    assert len(ours) == 3 + with_bias
    for found, expected in zip(ours, theirs, strict=True):
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert ours[2].is_contiguous(memory_format=torch.channels_last)  # as fused optimisers need it


def test_in_bfloat16_it_rounds_a_few_times_as_coarsely() -> None:
    x, weight, bias, upstream = case(8, 256, 256, 8, 8)
    exact = answers_and_gradients(convolution, x, weight, bias, upstream)

    def rounded(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = WinogradConvolution.apply(x.bfloat16(), weight, bias)
        return y

    ours = answers_and_gradients(rounded, x, weight, bias, upstream)
    for found, expected in zip(ours, exact, strict=True):
        assert ((found.float() - expected).norm() / expected.norm()).item() < 0.015
    assert ours[2].dtype == torch.float32
