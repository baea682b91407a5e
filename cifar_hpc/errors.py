"""The exceptions that a user is meant to read, and a check that several commands share."""

import errno
import importlib.util
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeGuard

LONGEST = 1_000
"""Characters of a sentence; what a file puts into one may have any length."""


class UserError(Exception):
    """A request that cannot be carried out.

    Its message is one sentence that names the file and key (or the missing thing) and what would be
    right. The command line prints it without a traceback and ends with exit status 2.

    Args:
        message: the sentence, or a line for each where several things are wrong; overlong ones lose their middle.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(shortened, message.split("\n"))))


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cuts text that is too long in its middle; its end often says what would be right."""
    tail = longest // 4
    return text if len(text) <= longest else f"{text[: longest - tail - 3]} … {text[-tail:]}"


def one_line(error: BaseException) -> str:
    """Puts what another library says is wrong on one line of bearable length."""
    return shortened(" ".join(str(error).split()), 300) or type(error).__name__


_OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.ESTALE, errno.EFBIG,
}  # fmt: skip


def machine_refuses(error: BaseException | None) -> TypeGuard[OSError]:
    """Checks whether the machine refuses: no space, no permission, a disk that is broken or only to be read."""
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


class EndedEarly(Exception):
    """A run that something outside ended, and that can be resumed.

    Args:
        message: one sentence on what happened and how to go on.
        status: exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def missing_package(error: ModuleNotFoundError) -> str:
    """Says where this package's dependencies are to be found, for a Python that lacks one; empty for another module."""
    packages = "filelock jinja2 jsonargparse lightning matplotlib numpy PIL scipy tensorboard torch tqdm yaml"
    if (error.name or "").partition(".")[0] not in {*packages.split(), "torchmetrics", "torchvision"}:
        return ""
    return (
        f"{error.name} is not installed in this Python ({sys.executable}); activate the environment that `make "
        "install` made (`source .venv/bin/activate`), or run `pip install -e .`"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Asks whether a known word was meant by one that is mistyped; empty where none is near.

    Args:
        word: the word as it was given.
        known: words that would be right.
    """
    folded = {each.casefold(): each for each in known}
    typed = word.casefold()
    swapped = [each for each in folded if sorted(each) == sorted(typed)]
    # Which for short words is less than what difflib calls close.
    one_wrong = [each for each in folded if len(each) == len(typed) and sum(map(str.__ne__, each, typed)) == 1]
    near = swapped or one_wrong or get_close_matches(typed, folded, 1, cutoff=0.7)
    return f"did you mean {folded[near[0]]}?" if near else ""


def is_deepspeed(strategy: object) -> bool:
    """Checks whether a Trainer's strategy, by its name, its mapping or itself, is DeepSpeed's."""
    return "deepspeed" in str(strategy).lower()


def check_deepspeed(wanted_by: str) -> None:
    """Stops what needs DeepSpeed where it is not installed.

    Args:
        wanted_by: what needs it, as the user knows it.

    Raises:
        UserError: if it is not installed; says how to install it.
    """
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            f"{wanted_by} needs DeepSpeed, which is not installed; install it with "
            "`DS_BUILD_OPS=0 pip install -e '.[deepspeed]'`"
        )
