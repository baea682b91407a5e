"""Contestant: the script that people write for a row in plain PyTorch.

A DataLoader with two workers and torchvision's transforms image by image, the network in eager fp32 and torch's
own memory format, `zero_grad`, `backward`, `step`, and `.item()` at every step for the running loss. The network
is the row's own, but for the two that this package writes in a quicker way than people do.

Started as `python -m cifar_hpc.bench.plain ARGUMENTS OF fit`; with `--input-only` behind, batches are made but
not trained on.
"""

import os
import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifar_hpc.bench.turns import Turns
from cifar_hpc.data import arrays
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.training import quieten
from cifar_hpc.models import AlexNet, SmallCNN
from cifar_hpc.models.keras import keras_initialise

_WORKERS = 2


class _Images(Dataset[tuple[Tensor, int]]):
    """What `torchvision.datasets.CIFAR10` does for each image."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], transform: transforms.Compose) -> None:
        self.images = images
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def plain_network(model: nn.Module) -> nn.Module:
    """Builds the row's network as scripts write it."""
    if isinstance(model, AlexNet):
        enlarged: nn.Module = model.network
        return enlarged  # the images are enlarged one by one, by the loader
    if not isinstance(model, SmallCNN):
        return model
    network = nn.Sequential(
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, model.num_classes)),
    )
    keras_initialise(network)
    return network


def plain_loader(data: CIFARDataModule, enlarge: bool) -> "DataLoader[Any]":
    """Makes a DataLoader of the row's training data with torchvision's transforms."""
    steps: list[object] = [transforms.Resize(224)] if enlarge else []
    if data.crop_padding:
        steps.insert(0, transforms.RandomCrop(32, padding=data.crop_padding))
    if data.horizontal_flip:
        steps.append(transforms.RandomHorizontalFlip())
    steps.append(transforms.ToTensor())
    if data.mean is not None:
        steps.append(transforms.Normalize(data.mean, data.std))
    content = arrays.load(data.dataset.name, data.root, check=False)
    images = _Images(content.train_images, content.train_labels, transforms.Compose(steps))
    return DataLoader(images, batch_size=data.batch_size, shuffle=True, num_workers=_WORKERS)


def main(arguments: list[str]) -> None:
    """Trains without end; the last turn ends the process."""
    turns = Turns()
    # Lightning, imported for the row's settings, has torch search for a driver whenever an optimiser asks for a GPU,
    # 0.3 ms a step on a machine without one; no script pays that.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    quieten()
    input_only = arguments[-1] == "--input-only"
    cli = CIFARCLI("fit", arguments[:-1] if input_only else arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = plain_network(cli.model).to(device).train()
    optimizer = cli.model.make_optimizer(network.parameters())
    for group in optimizer.param_groups:
        group["fused"] = None  # torch's own choice between its implementations, as in a script that does not choose
    loader = plain_loader(cli.datamodule, enlarge=isinstance(cli.model, AlexNet))
    running_loss = 0.0
    turns.wait()
    while True:
        for images, labels in loader:
            if not input_only:
                images, labels = images.to(device), labels.to(device)
                loss = F.cross_entropy(network(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                running_loss += loss.item()
            turns.count(len(labels))


if __name__ == "__main__":
    main(sys.argv[1:])
