"""One file for each network of the reports, over one base that trains and measures them."""

from cifar_hpc.models.airbench import Airbench
from cifar_hpc.models.alexnet import AlexNet
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.googlenet import GoogLeNet
from cifar_hpc.models.mini_xception import PlainMiniXception, SeparableMiniXception
from cifar_hpc.models.resnet import ResNet18, ResNet50
from cifar_hpc.models.small_cnn import SmallCNN
from cifar_hpc.models.vgg import VGG16, VGG19

__all__ = [
    "VGG16",
    "VGG19",
    "Airbench",
    "AlexNet",
    "Classifier",
    "GoogLeNet",
    "PlainMiniXception",
    "ResNet18",
    "ResNet50",
    "SeparableMiniXception",
    "SmallCNN",
]
