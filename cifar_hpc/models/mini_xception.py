"""Two networks called MiniXception, which have nothing but the name in common.

Both are of "Parallelization of Image Classification using Convolutional Neural Networks", with the widths given there.
After F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", arXiv:1610.02357.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.keras import keras_initialise
from cifar_hpc.models.pooling import GlobalAveragePooling


def _keras_batch_norm(width: int) -> nn.BatchNorm2d:
    """Makes batch norm with Keras' defaults: momentum 0.99, which torch counts from the other end, and epsilon 1e-3."""
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


def _separable(channels: int, width: int) -> nn.Sequential:
    """Makes Keras' SeparableConv2D: depthwise 3×3 without bias, then pointwise 1×1 with bias."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, width, 1),
    )


class ResidualBlock(nn.Module):
    """Two separable convolutions, batch norm after each, ReLU after the first, and the sum with the input.

    Args:
        width: channels of input and output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _separable(width, width),
            _keras_batch_norm(width),
            nn.ReLU(inplace=True),
            _separable(width, width),
            _keras_batch_norm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, width, H, W) to the same shape."""
        added: Tensor = x + self.layers(x)
        return added


class SeparableMiniXception(Classifier):
    """The Keras network of tables 1 and 3: separable, residual. 94,474 trainable parameters.

    Args:
        num_classes: number of classes.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.entry = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            _keras_batch_norm(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, padding=1),
            _keras_batch_norm(64),
            nn.ReLU(inplace=True),
        )
        self.middle = nn.Sequential(*(ResidualBlock(64) for _ in range(4)))
        self.exit = nn.Sequential(
            _separable(64, 128),
            _keras_batch_norm(128),
            nn.ReLU(inplace=True),
            _separable(128, 128),
            _keras_batch_norm(128),
            nn.ReLU(inplace=True),
        )
        self.pool = GlobalAveragePooling()
        self.hidden = nn.Linear(128, 64)
        self.output = nn.Linear(64, num_classes)
        keras_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        x = self.exit(self.middle(self.entry(images)))  # (B, 128, 32, 32)
        # Keras' padding 'same' puts the one missing row and column at the bottom and the right, where `ceil_mode` lets
        # windows reach out of the image.
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)  # (B, 128, 16, 16)
        logits: Tensor = self.output(F.relu(self.hidden(self.pool(x))))
        return logits


class PlainMiniXception(Classifier):
    """The PyTorch network of table 2: neither separable nor residual, whatever the report says. 391,050 parameters.

    Args:
        num_classes: number of classes.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        layers: list[nn.Module] = []
        channels = 3
        for width in (32, 64, 64, 64, 64, 64, 128, 128):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers, nn.MaxPool2d(3, stride=2, padding=1))
        self.pool = GlobalAveragePooling()
        self.output = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        x = self.features(images)  # (B, 128, 16, 16)
        logits: Tensor = self.output(self.pool(x))
        return logits
