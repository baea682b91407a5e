"""Text from rows' files and records as it may stand in Markdown, and what is generated, between its marks."""

import re

from cifar_hpc.output import printable

_CELL_ENDS = re.compile(r"(?<!\\)\|")


def escape(text: str) -> str:
    """Puts text on one line that is no HTML, ends no cell of a table and is no link."""
    told = printable(" ".join(text.split())).replace("<", "&lt;").replace("](", "]\\(")
    return _CELL_ENDS.sub(r"\\|", told)


def between(page: str, begin: str, end: str, text: str) -> str:
    """Replaces the lines between two marks of a page.

    Args:
        page: the whole page.
        begin: the mark in front of the lines.
        end: the mark behind them.
        text: the new lines.

    Raises:
        ValueError: if the page lacks a mark.
    """
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page has no lines between {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
