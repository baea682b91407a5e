"""The first convolution in float32 where the rest of a network runs in bfloat16.

Of all that autocast rounds, this layer's weights do most harm: pixels are no small numbers around zero, so what a
filter answers is a small difference of large products, and the rounding of a weight to eight bits moves it by as
much for every image. On a half-trained `SmallCNN` the mean gradient is off by 2.9 % under plain autocast and by
0.6 % with this layer in float32, and three input channels cost little (`docs/performance.md`).
"""

import torch
from torch import Tensor, nn

from cifar_hpc.models.small_images import SmallImageConv2d


def keep_first_convolution_in_float32(network: nn.Module) -> None:
    """Exempts the convolution that meets the images from autocast; its answers are still rounded.

    A network whose first convolution is of a class of its own decides for itself.
    """
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if type(first) in (nn.Conv2d, SmallImageConv2d):
        first.__class__ = Float32Conv2d


class Float32Conv2d(nn.Conv2d):
    """A convolution that multiplies in float32 under autocast too, and gives its answers in autocast's type."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H', W'), as any convolution."""
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return super().forward(x)
        with torch.autocast(device, enabled=False):
            answers = super().forward(x.float())
        return answers.to(torch.get_autocast_dtype(device))
