"""The first convolution in float32 where the rest of a network runs in bfloat16.

Of all that autocast rounds, this layer's weights do most harm: pixels are no small numbers around zero, so what a
filter answers is a small difference of large products, and the rounding of a weight to eight bits moves it by as
much for every image. On a half-trained `SmallCNN` the mean gradient is off by 2.9 % under plain autocast and by
0.6 % with this layer in float32, and three input channels cost little (`docs/performance_log.md`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_hpc.speed.small_images import SmallImageConv2d


def keep_first_convolution_in_float32(network: nn.Module) -> None:
    """Exempts the convolution that meets the images from autocast; its answers are still rounded.

    A network whose first convolution is of a class of its own decides for itself.
    """
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if type(first) in (nn.Conv2d, SmallImageConv2d):
        first.__class__ = Float32Conv2d


class Float32Conv2d(nn.Conv2d):
    """A convolution that multiplies in float32 under autocast too, and gives its answers in autocast's type.

    Its weights' gradient is a product in autocast's type, as everywhere: a sum over all pixels of a batch, in which
    their rounding averages out.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H', W'), as any convolution."""
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return super().forward(x)
        dtype = torch.get_autocast_dtype(device)
        how = (self.stride, self.padding, self.dilation, self.groups)
        padded_by_hand = self.padding_mode != "zeros" or isinstance(self.padding, str)
        with torch.autocast(device, enabled=False):
            if x.requires_grad or padded_by_hand or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
                return super().forward(x.float()).to(dtype)
            answers: Tensor = _RoundedAnswers.apply(x.float(), self.weight, self.bias, dtype, how)
        return answers


class _RoundedAnswers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, how: tuple[Any, ...]
    ) -> Tensor:
        """Convolves images that need no gradient."""
        ctx.save_for_backward(images, weight)
        ctx.has_bias, ctx.how = bias is not None, how
        return F.conv2d(images, weight, bias, *how).to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor | None, None, None]:
        """Computes the gradients of weight and bias, from images rounded as the gradient of the answers is."""
        images, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient,
            images.to(gradient.dtype),
            weight.to(gradient.dtype),
            [len(weight)],
            stride,
            padding,
            dilation,
            False,  # not transposed
            [0, 0],
            groups,
            [False, True, ctx.has_bias],
        )
        return None, of_weight.to(weight.dtype), of_bias.to(weight.dtype) if ctx.has_bias else None, None, None
