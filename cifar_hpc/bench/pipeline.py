"""The input pipeline alone: our batches against those of the DataLoader that people write."""

import statistics
import sys
from typing import Any

from cifar_hpc import machine
from cifar_hpc.bench.medians import check_turns, quartiles
from cifar_hpc.bench.turns import Contestant, ContestantError, package_path
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output


def command(row: str | None, turns: int, seconds: float, json_file: str | None) -> int:
    """Measures and prints images per second of both, without any training.

    Args:
        row: id of the row whose preparation is measured; null for the smallest network whose images are cropped.
        turns: number of turns of each side, after a first one that warms up.
        seconds: length of each turn.
        json_file: where JSON goes; `-` for standard output.

    Raises:
        UserError: if the row or its dataset is missing, or a number too small.
    """
    check_turns(turns, seconds)
    row = row or chosen().smallest("crop_padding")
    found = measure(row, turns, seconds)
    if json_file is not None:
        write_json_output(found, json_file)
    if json_file != "-":
        low, high = found["ratio_quartiles"]
        print(
            f"Input of {row}: ours {found['ours_images_per_second']:.0f}, torchvision's DataLoader with two workers "
            f"{found['plain_images_per_second']:.0f} images/s; ratio {found['ratio']:.1f} (quartiles {low:.1f} and "
            f"{high:.1f})"
        )
    return 0


def measure(row: str, turns: int, seconds: float) -> dict[str, Any]:
    """Measures images per second of both sides, as medians of turns, and the median ratio of neighbouring turns."""
    arguments = ["-c", str(chosen().row(row).path), "--trainer.accelerator=auto", "--input-only"]
    environ = {"PYTHONPATH": package_path()}
    start = [sys.executable, "-m"]
    try:
        with (
            Contestant([*start, "cifar_hpc.bench.ours", *arguments], environ) as ours,
            Contestant([*start, "cifar_hpc.bench.plain", *arguments], environ) as plain,
        ):
            rates = [(ours.take_turn(seconds), plain.take_turn(seconds)) for _ in range(turns + 1)][1:]
    except ContestantError as error:
        raise UserError(f"A side of the bench ended: {error}") from error
    ratios = [our_rate / plain_rate for our_rate, plain_rate in rates]
    return {
        "row": row,
        "cpu": machine.cpu_model(),
        "ours_images_per_second": statistics.median(our_rate for our_rate, _ in rates),
        "plain_images_per_second": statistics.median(plain_rate for _, plain_rate in rates),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": quartiles(ratios),
    }
