"""Runs `transcribe` on printed tables and reads its rows back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Command, Finished

PRINTED = Path(__file__).parent / "printed"
Transcribe = Callable[..., Finished]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A collection with one report and no rows yet."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "collection.yaml").write_text('# Mine.\nreports:\n  smith:\n    title: "On networks"\n')
    return folder


@pytest.fixture
def transcribe(command: Command, mine: Path) -> Transcribe:
    """Runs the command on a file, or on a text, for the collection."""

    def run(table: str | Path, *flags: str | Path, name: str = "table.csv", report: str = "smith") -> Finished:
        path = PRINTED / table if "\n" not in str(table) and (PRINTED / table).is_file() else mine.parent / name
        if path.parent != PRINTED:
            path.write_text(str(table), encoding="utf-8")
        return command("transcribe", path, "--report", report, "--collection", mine, *flags)

    return run


def read_back(folder: Path) -> dict[str, dict[str, Any]]:
    """The groups of a collection's rows, by label."""
    files = sorted(folder.glob("smith_*.yaml"))
    groups = [yaml.safe_load(path.read_text(encoding="utf-8"))["reproduction"] for path in files]
    return {group["label"]: group for group in groups}


def shown(groups: dict[str, dict[str, Any]]) -> str:
    """Rows as `expected` has them."""
    lines = []
    for label, group in groups.items():
        reported = group["reported"]
        lines.append(f"{label}: " + ", ".join(f"{key} {value}" for key, value in reported.items() if key != "curve"))
        lines += ["  " + ", ".join(f"{key} {value}" for key, value in p.items()) for p in reported.get("curve", ())]
    return "\n".join(lines)
