"""Images per second in training: a row through `fit`, beside what people write for it, or beside stock kernels."""

import contextlib
import importlib.util
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from cifar_hpc import machine
from cifar_hpc.bench.keras_fit import NETWORKS as KERAS_NETWORKS
from cifar_hpc.bench.medians import check_turns, quartiles
from cifar_hpc.bench.peak import matrix_product_peak, training_flops
from cifar_hpc.bench.turns import Contestant, ContestantError, package_path
from cifar_hpc.collection.folder import chosen, configuration_file
from cifar_hpc.data import arrays
from cifar_hpc.errors import UserError
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.training import quieten
from cifar_hpc.output import write_json_output

_ONE_DEVICE = (
    "--trainer.accelerator=auto",
    "--trainer.devices=1",
    "--trainer.num_nodes=1",
    "--trainer.strategy=auto",
)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        overlay: file laid over each row for our side; None for the row as it is, in its own precision, on all cores.
        turns: number of turns of each side, after a first one that warms up.
        seconds: length of each turn, at least; never less than one step.
        tensorflow: a Python that has TensorFlow; None if there is none.
        against: `plain` for the plain PyTorch script, `stock` for our side with `--trainer.kernels stock`.
    """

    overlay: Path | None
    turns: int
    seconds: float
    tensorflow: str | None
    against: Literal["plain", "stock"] = "plain"


@dataclass(frozen=True)
class RowRates:
    """One row's figures; rates in images per second, medians of the turns.

    Attributes:
        row: id of the row.
        measured_as: id of the row that was measured; rows that train the same network in the same batches share.
        network: class of the network.
        batch_size: images in a batch.
        ours_images_per_second: rate through `fit`.
        ours_quartiles: first and third quartile of its turns' rates.
        plain_images_per_second: rate of the plain PyTorch script, or of what else ours was held against.
        plain_quartiles: first and third quartile of its turns' rates.
        ratio: median of the ratios of neighbouring turns.
        ratio_quartiles: first and third quartile of these ratios.
        tensorflow_images_per_second: rate of the report's network in TensorFlow; None where it was not Keras', or
            TensorFlow is not there.
        training_gflop_per_image: operations of training on one image, as torch counts the network as written.
        precision: precision of our side; the plain script's is float32.
        peak_tflops: rate of a matrix product in the precision of our side, or in float32 where the processor emulates
            that one; measured in turns with the others.
        peak_share: share of that peak that our side reaches, as a fraction of 1.
    """

    row: str
    measured_as: str
    network: str
    batch_size: int
    ours_images_per_second: float
    ours_quartiles: list[float]
    plain_images_per_second: float
    plain_quartiles: list[float]
    ratio: float
    ratio_quartiles: list[float]
    tensorflow_images_per_second: float | None
    training_gflop_per_image: float
    precision: str
    peak_tflops: float
    peak_share: float


def command(
    rows: list[str],
    exact: bool,
    overlay: Path | None,
    turns: int,
    seconds: float,
    tensorflow_python: str | None,
    against: Literal["plain", "stock"],
    json_file: str | None,
) -> int:
    """Measures rows and prints a line for each.

    Args:
        rows: ids of rows; all if empty.
        exact: whether our side runs the rows as they are, instead of under the overlay.
        overlay: what is laid over the rows for our side, a file or an overlay's name; None for `fast`.
        turns: number of turns of each side.
        seconds: length of each turn.
        tensorflow_python: a Python with TensorFlow; None to look in this one.
        against: what our side is held against.
        json_file: where JSON goes; `-` for standard output.

    Raises:
        UserError: if a row, a file or a dataset is missing or a number too small.
    """
    check_turns(turns, seconds)
    overlay = configuration_file(str(overlay or "fast"))
    if not exact and not overlay.is_file():
        raise UserError(f"--overlay {overlay} does not exist; name the overlay for our side, or give --exact")
    if tensorflow_python is None and importlib.util.find_spec("tensorflow") is not None:
        tensorflow_python = sys.executable
    quieten()
    collection = chosen()
    asked = [collection.row(row) for row in rows] or [row for row in collection.rows.values() if row.trains]
    paths = [row.path for row in asked]
    plan = Plan(None if exact else overlay, turns, seconds, tensorflow_python, against)
    results: list[RowRates] = []
    instructions, stream = list(machine.usable_instructions()), sys.stderr if json_file == "-" else sys.stdout
    print(f"both sides on {machine.cpu_model()}, {', '.join(instructions) or 'instructions unknown'}", file=stream)
    for result in measure(paths, plan):
        results.append(result)
        print(_line(result, against), file=stream, flush=True)
    mean = statistics.geometric_mean({result.measured_as: result.ratio for result in results}.values())
    if json_file is not None:
        content = {
            "cpu": machine.cpu_model(),
            "instructions": instructions,
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "overlay": None if exact else str(overlay),
            "against": against,
            "turns": turns,
            "seconds_per_turn": seconds,
            "rows": [asdict(result) for result in results],
            "geometric_mean_ratio": mean,
        }
        write_json_output(content, json_file)
    if json_file != "-":
        print(
            f"geometric mean of ours / {against} over {len({r.measured_as for r in results})} experiments: {mean:.2f}"
        )
    return 0


def measure(paths: list[Path], plan: Plan) -> Iterator[RowRates]:
    """Measures each distinct experiment once, and gives every row its result."""
    done: dict[str, RowRates] = {}
    for path in paths:
        arguments = ["-c", str(path), *_ONE_DEVICE]
        cli = CIFARCLI("fit", arguments)
        cli.datamodule.prepare_data()
        row = str(cli.reproduction.row)
        key = _speed_decides(cli)
        if key not in done:
            done[key] = _measure_one(row, arguments, cli, plan)
        yield RowRates(**{**asdict(done[key]), "row": row})


def _speed_decides(cli: CIFARCLI) -> str:
    """Names what a step's time depends on: network, batch and preparation, but neither labels nor learning rates."""
    model, data = cli.plain_config["model"], cli.plain_config["data"]
    network = {k: v for k, v in model["init_args"].items() if k not in ("num_classes", "optimizer", "scheduler")}
    normalised = data["mean"] is not None
    prepared = (data["batch_size"], data["crop_padding"] > 0, data["horizontal_flip"], normalised, data["source"])
    return json.dumps([model["class_path"], network, prepared])


def _measure_one(row: str, arguments: list[str], cli: CIFARCLI, plan: Plan) -> RowRates:
    network, batch_size = type(cli.model).__name__, cli.datamodule.batch_size
    # Both sides on all cores, as the plain script has no number of threads; a row may ask for more than there are.
    laid_over = ["-c", str(plan.overlay)] if plan.overlay else ["--trainer.threads=null"]
    through_fit = ["-m", "cifar_hpc.bench.ours", *arguments, *laid_over]
    plain = ["-m", "cifar_hpc.bench.plain", *arguments]
    stock = [*through_fit, "--trainer.kernels=stock"]
    commands = {"ours": through_fit, "plain": plain if plan.against == "plain" else stock}
    ours = CIFARCLI("fit", [*arguments, "-c", str(plan.overlay)]) if plan.overlay else cli
    precision = ours.request.precision
    dtype = torch.bfloat16 if precision.name.startswith("bf16") and not precision.emulated else torch.float32
    flops = training_flops(cli.model)
    pythons = dict.fromkeys(commands, sys.executable)
    if plan.tensorflow is not None and network in KERAS_NETWORKS:
        folder = arrays.data_root(cli.datamodule.root) / cli.datamodule.dataset.name
        files = [str(folder / "train_images.npy"), str(folder / "train_labels.npy")]
        commands["tensorflow"] = ["-m", "cifar_hpc.bench.keras_fit", network, str(batch_size), *files]
        pythons["tensorflow"] = plan.tensorflow
    rates, peaks = _take_turns({name: [pythons[name], *c] for name, c in commands.items()}, plan, dtype)
    ratios = [ours / plain for ours, plain in zip(rates["ours"], rates["plain"], strict=True)]
    ours_rate, peak = statistics.median(rates["ours"]), statistics.median(peaks)
    return RowRates(
        row=row,
        measured_as=row,
        network=network,
        batch_size=batch_size,
        ours_images_per_second=ours_rate,
        ours_quartiles=quartiles(rates["ours"]),
        plain_images_per_second=statistics.median(rates["plain"]),
        plain_quartiles=quartiles(rates["plain"]),
        ratio=statistics.median(ratios),
        ratio_quartiles=quartiles(ratios),
        tensorflow_images_per_second=statistics.median(rates["tensorflow"]) if "tensorflow" in rates else None,
        training_gflop_per_image=flops / 1e9,
        precision=precision.name,
        peak_tflops=peak / 1e12,
        peak_share=ours_rate * flops / peak,
    )


def _take_turns(
    commands: dict[str, list[str]], plan: Plan, dtype: torch.dtype
) -> tuple[dict[str, list[float]], list[float]]:
    """Measures the rates of each contestant, turn by turn, and the machine's peak between them."""
    rates: dict[str, list[float]] = {name: [] for name in commands}
    peaks: list[float] = []
    with contextlib.ExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        for name, arguments in commands.items():
            contestants[name] = stack.enter_context(Contestant(arguments, {"PYTHONPATH": package_path()}))
            try:
                contestants[name].take_turn(plan.seconds)  # not counted; leaves it stopped while the next one starts
            except ContestantError as error:
                raise UserError(f"The {name} side of the bench ended: {error}") from error
        for _ in range(plan.turns):
            for name, contestant in contestants.items():
                rates[name].append(contestant.take_turn(plan.seconds))
            peaks.append(matrix_product_peak(dtype))
    return rates, peaks


def _line(result: RowRates, against: str) -> str:
    shared = "" if result.measured_as == result.row else f", measured as {result.measured_as}"
    tensorflow = result.tensorflow_images_per_second
    low, high = result.ratio_quartiles
    return (
        f"{result.row}: ours {result.ours_images_per_second:.0f}, {against} {result.plain_images_per_second:.0f}"
        + (f", TensorFlow {tensorflow:.0f}" if tensorflow is not None else "")
        + f" images/s in {result.precision}; ratio {result.ratio:.2f} (quartiles {low:.2f} and {high:.2f}); "
        f"{100 * result.peak_share:.0f} % of {result.peak_tflops:.2f} TFLOP/s{shared}"
    )
