"""Text from rows' files and records as it may stand in Markdown, where it could make tables, links or HTML."""

import re

from cifar_hpc.output import printable

_CELL_ENDS = re.compile(r"(?<!\\)\|")


def escape(text: str) -> str:
    """Text on one line that is no HTML, ends no cell of a table and is no link."""
    told = printable(" ".join(text.split())).replace("<", "&lt;").replace("](", "]\\(")
    return _CELL_ENDS.sub(r"\\|", told)
