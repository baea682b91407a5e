"""The command `bench`: what is measured against what. Each measurement is imported only when it is made."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `bench`, and of what else it can measure."""
    parser.add_argument("--row", nargs="+", default=[], metavar="ROW", help="ids of rows (default: all)")
    parser.add_argument(
        "--exact", action="store_true", help="our side as the row is, in fp32, without an overlay but on all cores"
    )
    parser.add_argument("--overlay", metavar="FILE", type=Path, help="for our side (default: fast)")
    parser.add_argument("--tensorflow-python", metavar="PYTHON", help="a Python with TensorFlow (default: this one)")
    parser.add_argument(
        "--against",
        choices=["plain", "stock"],
        default="plain",
        help="the plain PyTorch script, or our side with torch's and Lightning's own kernels (default: %(default)s)",
    )
    _add_turns(parser, turns=5, seconds=3)
    parser.set_defaults(measure=_throughput)
    kinds = parser.add_subparsers(metavar="WHAT", title="or measure something else")

    pipeline = kinds.add_parser("data", help="the input pipeline alone against torchvision's DataLoader")
    pipeline.add_argument("--row", help="id of a row (default: the smallest network whose images are cropped)")
    _add_turns(pipeline, turns=7, seconds=2)
    pipeline.set_defaults(measure=_pipeline)

    overhead = kinds.add_parser("overhead", help="fit against a bare PyTorch loop over the same batches")
    overhead.add_argument("--row", help="id of a row (default: the smallest network)")
    overhead.add_argument("--steps", type=int, default=20, help="steps in each turn (default: %(default)s)")
    overhead.add_argument("--repeats", type=int, default=70, help="turns of each side (default: %(default)s)")
    _add_json(overhead)
    overhead.set_defaults(measure=_overhead)

    scaling = kinds.add_parser("scaling", help="one row on a grid of threads, processes, precisions and strategies")
    scaling.add_argument("--row", required=True, help="id of a row, whose global batch all points share")
    scaling.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="of each process (1 2)")
    scaling.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="(default: 1 2)")
    precisions = ["32-true", "bf16-mixed"]
    scaling.add_argument("--precision", nargs="+", default=precisions, metavar="NAME", help="(32-true bf16-mixed)")
    scaling.add_argument("--strategy", nargs="+", default=["ddp"], metavar="NAME", help="of several processes (ddp)")
    scaling.add_argument("--oversubscribe", action="store_true", help="also points of more threads than cores")
    scaling.add_argument("--sample", action="store_true", help="train on the sample that ships with the package")
    _add_turns(scaling, turns=9, seconds=3)
    scaling.add_argument("--plot", metavar="FILE", type=Path, help="draw the speed-ups to FILE (.png, .svg or .pdf)")
    scaling.set_defaults(measure=_scaling)

    predict = kinds.add_parser("predict", help="how a row would scale over a network, by a model (docs/scaling.md)")
    predict.add_argument("--row", required=True, help="id of a row")
    devices = [2**n for n in range(11)]
    predict.add_argument("--devices", type=int, nargs="+", default=devices, metavar="N", help="(default: 1 2 4 … 1024)")
    predict.add_argument("--images-per-second", type=float, required=True, metavar="X", help="of one device")
    predict.add_argument("--fixed-ms", type=float, default=0, metavar="X", help="of a step, whatever the batch (0)")
    predict.add_argument("--bandwidth", type=float, required=True, metavar="GB/S", help="of each device's link")
    predict.add_argument("--latency", type=float, required=True, metavar="US", help="of a message, microseconds")
    _add_json(predict)
    predict.set_defaults(measure=_predict)


def run(arguments: argparse.Namespace) -> int:
    """Carries out `bench`."""
    status: int = arguments.measure(arguments)
    return status


def _add_turns(parser: argparse.ArgumentParser, turns: int, seconds: float) -> None:
    parser.add_argument("--turns", type=int, default=turns, help="turns of each side (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="of a turn, at least (default: %(default)s)")
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")


def _throughput(asked: argparse.Namespace) -> int:
    from cifar_hpc.bench.throughput import command

    turns, others = (asked.turns, asked.seconds), (asked.tensorflow_python, asked.against)
    return command(asked.row, asked.exact, asked.overlay, *turns, *others, asked.json)


def _pipeline(asked: argparse.Namespace) -> int:
    from cifar_hpc.bench.pipeline import command

    return command(asked.row, asked.turns, asked.seconds, asked.json)


def _overhead(asked: argparse.Namespace) -> int:
    from cifar_hpc.bench.overhead import command

    return command(asked.row, asked.steps, asked.repeats, asked.json)


def _scaling(asked: argparse.Namespace) -> int:
    from cifar_hpc.bench.scaling import command
    from cifar_hpc.bench.scaling_grid import GridPlan

    plan = GridPlan(
        row=asked.row,
        threads=tuple(asked.threads),
        processes=tuple(asked.processes),
        precisions=tuple(asked.precision),
        strategies=tuple(asked.strategy),
        oversubscribe=asked.oversubscribe,
        sample=asked.sample,
        turns=asked.turns,
        seconds=asked.seconds,
    )
    return command(plan, asked.json, asked.plot)


def _predict(asked: argparse.Namespace) -> int:
    from cifar_hpc.bench.predict import command

    rates = (asked.images_per_second, asked.fixed_ms, asked.bandwidth, asked.latency)
    return command(asked.row, asked.devices, *rates, asked.json)
