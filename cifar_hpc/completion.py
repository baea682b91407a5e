"""Completes commands, rows, reports, overlays and flags in a shell, by argcomplete, without loading torch."""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cifar_hpc.collection.folder import choosing, chosen, overlays
from cifar_hpc.errors import UserError
from cifar_hpc.fit.first_screen import COMMANDS, flags


def complete(make_parser: Callable[[list[str]], argparse.ArgumentParser]) -> None:
    """Answers a shell that asks what may follow the program's name; returns only where argcomplete is not installed.

    Args:
        make_parser: makes the parser of a command line.
    """
    with suppress(ImportError, AttributeError):  # of argcomplete, and of argparse's private names
        import argcomplete

        typed = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split()[int(os.environ["_ARGCOMPLETE"]) :]
        parser = make_parser([] if typed[:1] and typed[0] in COMMANDS else typed)  # theirs needs torch
        for name, command in _commands(parser).items():
            if name in COMMANDS:
                for flag, value in flags(name):
                    settings: dict[str, Any] = {"metavar": value} if value else {"action": "store_true"}
                    command.add_argument(*flag, **settings)
            for action in command._actions:
                if find := _NAMES.get(str(action.metavar)):
                    action.completer = _completer(find)  # type: ignore[attr-defined]
        argcomplete.autocomplete(parser)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(dict(each.choices) for each in parser._actions if isinstance(each, argparse._SubParsersAction))


def _completer(find: Callable[[], list[str]]) -> Callable[..., list[str]]:
    """Makes what argcomplete asks for an argument: names, and files that begin as the word does."""

    def names(prefix: str, parsed_args: Any, **_: Any) -> list[str]:
        from argcomplete.completers import FilesCompleter

        with suppress(UserError), choosing(getattr(parsed_args, "collection", None)):
            return [*find(), *FilesCompleter()(prefix)]
        return []

    return names


_NAMES: dict[str, Callable[[], list[str]]] = {
    "ROW": lambda: list(chosen().rows),
    "TARGET": lambda: list(chosen().rows),
    "REPORT": lambda: list(chosen().reports),
    "ROW|OVERLAY": lambda: [*chosen().rows, *overlays()],
}
"""What an argument may be, by what the help calls it."""
