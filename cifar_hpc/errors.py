"""The exceptions that a user is meant to read, and a check that several commands share."""

import importlib.util
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A request that cannot be carried out.

    Its message is one sentence that names the file and key (or the missing thing) and what would be
    right. The command line prints it without a traceback and ends with exit status 2.
    """


class EndedEarly(Exception):
    """A run that something outside ended, and that can be resumed.

    Args:
        message: one sentence on what happened and how to go on.
        status: exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question for who mistyped a word; empty where no known one is near.

    Args:
        word: as it was given.
        known: words that would be right.
    """
    folded = {each.casefold(): each for each in known}
    near = get_close_matches(word.casefold(), folded, 1, cutoff=0.7)
    return f"did you mean {folded[near[0]]}?" if near else ""


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
