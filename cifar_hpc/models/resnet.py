"""ResNet-18 and ResNet-50 as torchvision has them, with the stem of ImageNet or of CIFAR.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385. With ten
classes and ImageNet's stem 11,181,642 and 23,528,522 parameters.
"""

from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50

from cifar_hpc.models.classifier import Classifier

Stem = Literal["imagenet", "cifar"]


class ResNet18(Classifier):
    """ResNet-18.

    Args:
        num_classes: number of classes.
        stem: `imagenet` is torchvision's (7×7 of stride 2, then max-pooling of stride 2), which leaves
            32 × 32 images as 1 × 1 in the last stage; `cifar` is a 3×3 of stride 1 without pooling.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, stem: Stem = "imagenet", **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.network = _with_stem(resnet18(weights=None, num_classes=num_classes), stem)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        logits: Tensor = self.network(images)
        return logits


class ResNet50(Classifier):
    """ResNet-50 (with torchvision's stride in the 3×3 of each bottleneck, known as version 1.5).

    Args:
        num_classes: number of classes.
        stem: see `ResNet18`.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, stem: Stem = "imagenet", **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.network = _with_stem(resnet50(weights=None, num_classes=num_classes), stem)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        logits: Tensor = self.network(images)
        return logits


def _with_stem(network: ResNet, stem: Stem) -> ResNet:
    if stem == "cifar":
        network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network
