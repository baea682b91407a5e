"""One file for each network of the reports, over one base that trains and measures them."""

from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.small_cnn import SmallCNN

__all__ = ["Classifier", "SmallCNN"]
