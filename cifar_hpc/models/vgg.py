"""VGG16 and VGG19 with batch norm and one linear layer.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
arXiv:1409.1556, table 1, columns D and E. 14,728,266 and 20,040,522 parameters with ten classes.
"""

from typing import Any

from torch import Tensor, nn

from cifar_hpc.models.classifier import Classifier

_STAGES_16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_STAGES_19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


class VGG(Classifier):
    """A VGG network for 32 × 32 images.

    Departures from the paper, which are those of the CIFAR scripts that one report's numbers fit: batch norm after
    each convolution, and one linear layer in place of three, since five poolings leave 1 × 1 of 32 × 32.

    Args:
        stages: width and number of 3×3 convolutions of each stage; each ends with 2×2 max-pooling.
        num_classes: number of classes.
        batch_norm: whether each convolution is followed by batch norm.
        kwargs: see `Classifier`.
    """

    def __init__(
        self, stages: tuple[tuple[int, int], ...], num_classes: int = 10, batch_norm: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, **kwargs)
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in stages:
            for _ in range(depth):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.output = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        logits: Tensor = self.output(self.features(images).flatten(1))  # (B, 512, 1, 1) before it is flat
        return logits


class VGG16(VGG):
    """Thirteen convolutions and one linear layer.

    Args:
        num_classes: number of classes.
        batch_norm: whether each convolution is followed by batch norm.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, batch_norm: bool = True, **kwargs: Any) -> None:
        super().__init__(_STAGES_16, num_classes, batch_norm, **kwargs)


class VGG19(VGG):
    """Sixteen convolutions and one linear layer.

    Args:
        num_classes: number of classes.
        batch_norm: whether each convolution is followed by batch norm.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, batch_norm: bool = True, **kwargs: Any) -> None:
        super().__init__(_STAGES_19, num_classes, batch_norm, **kwargs)
