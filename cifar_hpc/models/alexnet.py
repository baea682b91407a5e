"""AlexNet as torchvision has it.

A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997, whose
single-column network torchvision builds. 57,044,810 parameters with ten classes.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchvision.models import alexnet

from cifar_hpc.models.classifier import Classifier


class AlexNet(Classifier):
    """torchvision's AlexNet on images that the network itself enlarges.

    Departure from the paper: 32 × 32 images are too small for its strides, so they are enlarged to 224 × 224
    bilinearly, as `torchvision.transforms.Resize(224)` would. Doing it here instead of in the pipeline keeps
    batches 49 times smaller until they are on the device.

    Args:
        num_classes: number of classes.
        kwargs: see `Classifier`.
    """

    def __init__(self, num_classes: int = 10, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.network = alexnet(weights=None, num_classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        enlarged = F.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False)
        logits: Tensor = self.network(enlarged)
        return logits
