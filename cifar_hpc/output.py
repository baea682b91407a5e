"""Writes the JSON that commands are asked for."""

import json
import sys
from pathlib import Path
from typing import Any

from cifar_hpc.errors import UserError


def write_json_output(content: Any, file: str) -> None:
    """Writes JSON to a file, or to standard output when `file` is `-`.

    Raises:
        UserError: if the file cannot be written.
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {file} cannot be written: {error.strerror}") from error
