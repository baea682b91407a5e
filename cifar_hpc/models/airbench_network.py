"""The network of airbench94: whitening, three groups of two 3×3 convolutions, a global maximum, a linear layer.

K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, after D. Page, "How to Train Your
ResNet" (2018), and T. Swan's hlb-CIFAR10 (2022). SiLU, and the global maximum that lets images of any size in, are
those of hiverge/cifar10-speedrun (2025) and fulcrumresearch/cifar-10-speedrun (2026).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PATCH = 2
"""Height and width of the patches that are whitened."""

_LEAST_VARIANCE = 5e-4
"""Added to each variance before its root is taken, so that directions without contrast are not blown up."""


class Whitening(nn.Conv2d):
    """A 2×2 convolution that decorrelates patches, each direction with both signs; only its bias is trained."""

    def __init__(self) -> None:
        super().__init__(3, 2 * 3 * _PATCH**2, _PATCH)
        self.weight.requires_grad = False

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Sets the filters to the scaled eigenvectors of the patches' covariance.

        That is a sum over all patches, taken in float64: in float32 it would change with the number of threads.

        Args:
            images: shape (N, 3, H, W), normalised.
        """
        patches = F.unfold(images.double(), _PATCH).transpose(0, 1).flatten(1)  # (12, N × places)
        variances, directions = torch.linalg.eigh(torch.cov(patches))
        filters = (directions / (variances + _LEAST_VARIANCE).sqrt()).T.reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))

    def whiten(self, images: Tensor, train_bias: bool) -> Tensor:
        """Maps images (B, 3, H, W) to (B, 24, H - 1, W - 1); without a gradient unless the bias is trained.

        Without one, the gradient of the first 3×3 convolution's input is not computed either.
        """
        assert self.bias is not None
        return F.conv2d(images, self.weight, self.bias if train_bias else self.bias.detach())


class Conv3x3(nn.Module):
    """A 3×3 convolution without bias that at first passes its input through.

    The filters are the rows of a matrix, as `torch.optim.Muon` takes them; its memory is that of a convolution's
    weight in channels_last order, so that nothing is copied.

    Args:
        channels: channels of the input.
        width: channels of the output, at least as many.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        weight = nn.Conv2d(channels, width, 3, bias=False).weight.detach()
        nn.init.dirac_(weight[:channels])
        self.filters = nn.Parameter(weight.permute(0, 2, 3, 1).flatten(1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to (B, width, H, W)."""
        weight = self.filters.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, padding=1)

    @torch.no_grad()
    def normalise(self) -> None:
        """Scales the filters to length 1 in the root mean square."""
        self.filters.mul_(len(self.filters) ** 0.5 / self.filters.norm())


def _batch_norm(width: int) -> nn.BatchNorm2d:
    """Makes batch norm without a trained scale, whose running statistics forget fast, as the run is short."""
    norm = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4434)
    norm.weight.requires_grad = False
    return norm


def _group(channels: int, width: int) -> nn.Sequential:
    """Builds layers that halve height and width; pooling comes before batch norm, to leave it a quarter of the work."""
    return nn.Sequential(
        Conv3x3(channels, width),
        nn.MaxPool2d(2),
        _batch_norm(width),
        nn.SiLU(),
        Conv3x3(width, width),
        _batch_norm(width),
        nn.SiLU(),
    )


class AirbenchNetwork(nn.Module):
    """The whole network; with the default widths and ten classes 1,971,352 parameters that are trained.

    Args:
        num_classes: number of classes.
        widths: channels of the three groups.
    """

    def __init__(self, num_classes: int = 10, widths: tuple[int, int, int] = (64, 256, 256)) -> None:
        super().__init__()
        self.whitening = Whitening()
        channels = (self.whitening.out_channels, *widths)
        self.groups = nn.Sequential(*(_group(channels[i], channels[i + 1]) for i in range(3)))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std())

    def forward(self, images: Tensor, train_whitening_bias: bool = False) -> Tensor:
        """Maps images (B, 3, H, W) of at least 16 × 16 pixels to logits (B, num_classes)."""
        x = F.gelu(self.whitening.whiten(images, train_whitening_bias))
        x = F.adaptive_max_pool2d(self.groups(x), 1).flatten(1)
        logits: Tensor = self.head(x) / x.shape[1]
        return logits
