"""The three-convolution network of "Training a Convolutional Neural Network using CUDA" (2024), section 4.

It is the network of TensorFlow's own CNN tutorial: 3×3 convolutions of 32, 64 and 64 channels without
padding, 2×2 max-pooling after the first two, then 64 units and the logits. 122,570 parameters.
"""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.keras import keras_initialise


class SmallCNN(Classifier):
    """Small CNN of three convolutions.

    No departure from the listing: pooling before ReLU instead of after it gives the same values and
    gradients (the largest of four survives a monotone function) with a quarter of the work.

    Args:
        num_classes: number of classes.
        initialisation: Keras', as in the listing, or torch's own.
        kwargs: see `Classifier`.
    """

    def __init__(
        self, num_classes: int = 10, initialisation: Literal["keras", "torch"] = "keras", **kwargs: Any
    ) -> None:
        super().__init__(num_classes, **kwargs)
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.hidden = nn.Linear(4 * 4 * 64, 64)
        self.output = nn.Linear(64, num_classes)
        if initialisation == "keras":
            keras_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, 32, 32) to logits (B, num_classes)."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))  # (B, 32, 15, 15)
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # (B, 64, 6, 6)
        x = F.relu(self.conv3(x))  # (B, 64, 4, 4)
        x = x.permute(0, 2, 3, 1).flatten(1)  # channels last, as Keras flattens; no copy is needed
        logits: Tensor = self.output(F.relu(self.hidden(x)))
        return logits
