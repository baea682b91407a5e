"""GoogLeNet for 32 × 32 images.

C. Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, table 1. 6,166,250 parameters with ten
classes and without auxiliary heads.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_hpc.data.loaders import Batch
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.pooling import GlobalAveragePooling

# Input channels, then the paper's columns: 1×1; 3×3 reduce, 3×3; 5×5 reduce, 5×5; pool projection.
_INCEPTION_3 = ((192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64))
_INCEPTION_4 = (
    (480, 192, 96, 208, 16, 48, 64),
    (512, 160, 112, 224, 24, 64, 64),
    (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64),
    (528, 256, 160, 320, 32, 128, 128),
)
_INCEPTION_5 = ((832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128))
_AUXILIARY_WEIGHT = 0.3
"""Weight of each auxiliary loss in training (section 5 of the paper)."""


def _convolution(channels: int, width: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, size, padding=size // 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


class Inception(nn.Module):
    """Four branches side by side: 1×1, 3×3, two 3×3 in place of 5×5, pooling.

    Args:
        channels: channels of the input.
        one: width of the 1×1 branch.
        reduce_three: width of the 1×1 before the 3×3.
        three: width of the 3×3.
        reduce_five: width of the 1×1 before the two 3×3.
        five: width of the two 3×3.
        pool: width of the 1×1 behind the pooling.
    """

    def __init__(
        self, channels: int, one: int, reduce_three: int, three: int, reduce_five: int, five: int, pool: int
    ) -> None:
        super().__init__()
        self.one = _convolution(channels, one, 1)
        self.three = nn.Sequential(_convolution(channels, reduce_three, 1), _convolution(reduce_three, three, 3))
        self.five = nn.Sequential(
            _convolution(channels, reduce_five, 1),
            _convolution(reduce_five, five, 3),
            _convolution(five, five, 3),
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _convolution(channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to (B, one + three + five + pool, H, W)."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """The paper's classifier on an intermediate stage (section 5).

    Args:
        channels: channels of the stage.
        num_classes: number of classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.reduce = _convolution(channels, 128, 1)
        self.hidden = nn.Linear(128 * 4 * 4, 1024)
        self.output = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, channels, 16, 16) to logits (B, num_classes)."""
        x = self.reduce(F.avg_pool2d(x, 5, stride=3)).flatten(1)
        logits: Tensor = self.output(F.dropout(F.relu(self.hidden(x)), 0.7, self.training))
        return logits


class GoogLeNet(Classifier):
    """GoogLeNet as public CIFAR scripts have it.

    Departures from the paper, which are those of the CIFAR scripts: a 3×3 stem of 192 channels without
    strides, batch norm after each convolution, two 3×3 in place of each 5×5, no dropout, and by default no
    auxiliary heads.

    Args:
        num_classes: number of classes.
        auxiliary: whether the paper's two auxiliary heads train along.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, auxiliary: bool = False, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.stem = _convolution(3, 192, 3)
        self.stage3 = nn.Sequential(*(Inception(*widths) for widths in _INCEPTION_3))
        self.stage4 = nn.ModuleList(Inception(*widths) for widths in _INCEPTION_4)
        self.stage5 = nn.Sequential(*(Inception(*widths) for widths in _INCEPTION_5))
        self.pool = GlobalAveragePooling()
        self.output = nn.Linear(1024, num_classes)
        # The keys are places in `stage4`: the paper has its heads behind 4a and 4d (section 5).
        self.heads = nn.ModuleDict(
            {"0": AuxiliaryHead(512, num_classes), "3": AuxiliaryHead(528, num_classes)} if auxiliary else {}
        )

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        return self._all_logits(images)[0]

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Adds the auxiliary losses."""
        logits, *others = self._all_logits(batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        for other in others:
            loss = loss + _AUXILIARY_WEIGHT * F.cross_entropy(other, batch.labels)
        return loss, logits

    def _all_logits(self, images: Tensor) -> list[Tensor]:
        """Computes the network's logits, then those of the auxiliary heads."""
        x = F.max_pool2d(self.stage3(self.stem(images)), 3, stride=2, padding=1)  # (B, 480, 16, 16)
        others = []
        for i, block in enumerate(self.stage4):
            x = block(x)
            if str(i) in self.heads:
                others.append(self.heads[str(i)](x))
        x = self.stage5(F.max_pool2d(x, 3, stride=2, padding=1))  # (B, 1024, 8, 8)
        return [self.output(self.pool(x)), *others]
