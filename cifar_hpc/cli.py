# PYTHON_ARGCOMPLETE_OK
"""Which module serves which command. Each is imported only when its command runs."""

import argparse
import importlib
import io
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

from cifar_hpc.collection.folder import COLLECTION_HELP, choosing, configuration_file, implied
from cifar_hpc.collection.messages import one_sentence
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import EndedEarly, UserError, did_you_mean, machine_refuses, missing_package, one_line
from cifar_hpc.fit.first_screen import COMMANDS as LIGHTNINGS
from cifar_hpc.fit.first_screen import first_screen, greeting, help_asked
from cifar_hpc.machine import importing_for_good
from cifar_hpc.output import tell

_PROGRAM = "python -m cifar_hpc"
_COMMANDS = {
    "rows": ("cifar_hpc.report.rows_table", "list every row, what it reports and the best evidence so far"),
    "init": ("cifar_hpc.collection.start", "make a collection of one's own, ready to run"),
    "verify": ("cifar_hpc.verify.command", "compare what was measured with what was reported"),
    "audit": ("cifar_hpc.verify.audit", "check what the reports print against itself, without training anything"),
    "transcribe": ("cifar_hpc.transcribe.command", "make the files of rows from a printed table or training log"),
    "claims": ("cifar_hpc.verify.claims", "judge what the reports assert across rows (speed-ups, rankings)"),
    "identify": ("cifar_hpc.verify.identify", "which variant of a row's unknown settings printed its log"),
    "report": ("cifar_hpc.report.page", "one page over everything measured, HTML and Markdown, with plots"),
    "bench": ("cifar_hpc.bench.command", "measure throughput against a plain PyTorch script of the same row"),
    "data": ("cifar_hpc.data.command", "fetch, import, verify or describe the datasets"),
    "campaign": ("cifar_hpc.campaign.command", "spend hours on the runs that decide most printed numbers"),
    "doctor": ("cifar_hpc.doctor", "what this machine offers and what is wrong with it"),
}
"""Each command with its module, and its line in the help. A module has `add_arguments(parser)` and `run(arguments)`,
which returns the exit status."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
        Exit status: 0 fine; 1 the answer is no; 2 a bad request or something missing; 3 undecided; above 128 a
        signal ended it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the terminal's encoding lacks a character
    if any(option.startswith("error") for option in sys.warnoptions):  # a library's warnings are no errors of ours
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
    try:
        is_program = arguments is None  # and no function that somebody calls
        folder, arguments = _take_collection(sys.argv[1:] if arguments is None else arguments)
        with choosing(folder or implied(_files(arguments))):
            status = _run(arguments, is_program)
        if sys.stdout is not None:  # which a shell can close
            sys.stdout.flush()
        return status
    except UserError as error:
        if os.environ.get("CIFAR_HPC_DEBUG"):
            raise
        return _refuse(str(error))
    except EndedEarly as end:
        _refuse(str(end))
        return end.status
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interrupted:
        _refuse(str(interrupted) or "interrupted")
        return 130
    except Exception as error:  # what nobody foresaw
        if os.environ.get("CIFAR_HPC_DEBUG"):
            raise
        return _refuse(_unforeseen(error))


def _refuse(sentence: str) -> int:
    """Tells why a command ends, a sentence a line, and gives the status of a refused one."""
    for line in sentence.splitlines():
        tell(f"cifar_hpc: {line}", sys.stderr)
    return 2


def _unforeseen(error: Exception) -> str:
    """Tells what nobody foresaw in one sentence; the traceback goes where it can be looked at and sent."""
    if machine_refuses(error):
        try:
            sys.stdout.flush()
        except OSError:  # it is the output itself that cannot be written, and Python would try again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return f"The output cannot be written: {error.strerror}"
        return f"{error.filename or 'A file'} cannot be read or written: {error.strerror}"
    if isinstance(error, MemoryError):
        return "There is not enough memory for this"
    if isinstance(error, ModuleNotFoundError) and (told := missing_package(error)):
        return told
    try:
        handle, path = tempfile.mkstemp(prefix="cifar_hpc-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        path = "no file (the folder of temporary files cannot be written)"
    told = f"{type(error).__name__}: {one_line(error)}"
    return (
        f"Something went wrong that nobody foresaw ({told}); the traceback is in {path}, please send it to the authors"
    )


def _take_collection(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Takes `--collection DIR`, which all commands have, from a command line; gives the folder and the rest."""
    finder = Parser(prog=_PROGRAM, add_help=False)
    found, rest = argparse.ArgumentParser.parse_known_args(finder, arguments)
    return found.collection, rest


def _files(arguments: list[str]) -> list[str]:
    """Lists what may be a file of a collection on a command line: behind -c, and the targets of `verify`."""
    if arguments[:1] == ["verify"]:
        return arguments[1:]
    return [name for flag, name in pairwise(arguments) if flag in ("-c", "--config")]


def _run(arguments: list[str], is_program: bool) -> int:
    """Carries out a command, and returns its exit status."""
    if is_program and "_ARGCOMPLETE" in os.environ:
        from cifar_hpc.completion import complete

        complete(make_parser)
    if not arguments:
        print(greeting())
        return 0
    if arguments[0] in LIGHTNINGS:
        part = help_asked(arguments[1:])
        if part == "":
            print(first_screen(arguments[0]))
            return 0
        if not os.environ.get("CIFAR_HPC_DEBUG"):
            # Read when torch is loaded; what it would log of lost connections is told as an error all the same.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        for name in _files(arguments):  # what can be refused without torch is refused at once
            read_yaml(configuration_file(name))
        _load(is_program)
        if part is not None:
            from cifar_hpc.fit.configuration import help_of

            print(help_of(arguments[0], part))
            return 0
        from cifar_hpc.fit.training import run

        return run(arguments[0], arguments[1:])
    parsed = make_parser(arguments).parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    status: int = parsed.run(parsed)
    return status


def _load(tells: bool = False) -> None:
    """Imports what the four commands need."""
    if "cifar_hpc.fit.training" in sys.modules:  # what is alive by now need not be so for good
        return
    if tells and {"RANK", "LOCAL_RANK"}.isdisjoint(os.environ):  # one of several processes says it for all
        print("Loading PyTorch and Lightning", file=sys.stderr, flush=True)
    with importing_for_good():
        import cifar_hpc.fit.training  # noqa: F401


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Ends as Ctrl-C does, through everything that has to be put away: `bench` stops processes that it started."""
    raise SystemExit(128 + number)


class Parser(argparse.ArgumentParser):
    """argparse's parser, which tells what is wrong in one sentence, and takes no flag by its first letters.

    Args:
        settings: argparse's own.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | settings)
        self.add_argument("--collection", metavar="DIR", help=COLLECTION_HELP)

    def error(self, message: str) -> NoReturn:
        """Refuses the command line."""
        told, near = one_sentence(message.removeprefix("argument ")), ""
        if found := re.match(r"(\S+): invalid choice: '([^']*)' \(choose from (.*)\)", told):
            near = did_you_mean(found[2], re.findall(r"[^', ]+", found[3]))
            if found[1] == "COMMAND":
                told, near = f"There is no command {found[2]}", near or f"`{self.prog} --help` lists them"
        elif found := re.match(r"unknown arguments?: ([^ =]+)", told):
            near = did_you_mean(found[1], getattr(self, "_option_string_actions", ()))
        raise UserError(f"{told[0].upper()}{told[1:]}; {near or f'`{self.prog} --help` says what it takes'}")

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


def make_parser(arguments: list[str]) -> argparse.ArgumentParser:
    """Makes the parser of all commands, with the arguments of the one that a command line names."""
    parser = Parser(
        prog=_PROGRAM,
        description="Re-runs published reports on training CNNs on CIFAR, and says whether their numbers hold.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is, and of which commit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in LIGHTNINGS.items():
        commands.add_parser(name, help=text, add_help=False)
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if [name] == arguments[:1]:
            serving = importlib.import_module(module)
            serving.add_arguments(command)
            command.set_defaults(run=serving.run)
    return parser
