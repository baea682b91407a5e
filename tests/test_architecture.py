"""The house: imports run one way, and few modules lie about at the top."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

from tests.conftest import ROOT

PACKAGE = ROOT / "cifar_hpc"
ROOMS = (
    # Each may import from those before it, and from itself.
    ("errors", "output", "machine", "__init__"),
    ("collection", "data"),
    ("models", "records", "transcribe"),
    ("speed",),
    ("hpc",),
    ("fit", "verify"),
    ("report",),
    ("bench", "campaign"),
    ("doctor", "completion"),
    ("cli",),
    ("__main__",),
)
"""From the ground up; what stands on one floor does not know of each other."""


def module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module(file): file for file in PACKAGE.rglob("*.py")}


def imports(name: str) -> set[str]:
    """The package's modules that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cifar_hpc"):
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in FILES else node.module for a in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("cifar_hpc")}
    return found - {"cifar_hpc", name}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_modules_import_in_no_circle() -> None:
    graph = {name: imports(name) for name in FILES}
    assert set().union(*graph.values()) <= set(graph)
    tuple(TopologicalSorter(graph).static_order())  # raises and names a circle


def test_no_import_runs_up() -> None:
    floor = {name: number for number, names in enumerate(ROOMS) for name in names}
    assert {room(name) for name in FILES} == set(floor), "name every room, and only rooms that there are"
    up = [
        f"{name} imports {other}"
        for name in FILES
        for other in imports(name)
        if room(other) != room(name) and floor[room(other)] >= floor[room(name)] and floor[room(name)] > 0
    ]
    assert not up


def test_few_modules_lie_at_the_top() -> None:
    loose = [file.name for file in PACKAGE.glob("*.py") if not file.name.startswith("__")]
    assert len(loose) <= 7, loose


def test_tests_are_laid_out_as_the_package_is() -> None:
    folders = {file.parent.name for file in (ROOT / "tests").glob("*/test_*.py")}
    assert folders - {"faults"} <= {file.parent.name for file in PACKAGE.glob("*/*.py")}


WRITES = re.compile(
    r"""\.write_(text|bytes)\(|open\([^)]*["'][wax]b?["']|os\.(replace|rename)\(|torch\.save\((?!\w+, content\))"""
)
MAY_WRITE = {"output.py", "cli.py", "data/sources.py", "data/archives.py"}
"""Moves whole files into place; logs what nobody foresaw; downloads, and unpacks, in a folder of its own."""


def test_one_function_writes_files() -> None:
    writing = {f.relative_to(PACKAGE).as_posix() for f in PACKAGE.rglob("*.py") if WRITES.search(f.read_text("utf-8"))}
    assert writing == MAY_WRITE


def test_lines_with_text_from_files_are_printed_by_one_function() -> None:
    printing = {
        f.relative_to(PACKAGE).as_posix()
        for f in PACKAGE.rglob("*.py")
        if re.search(r"\bprint\(", f.read_text("utf-8"))
    }
    others = {name for name in printing if not name.startswith(("bench/", "fit/"))}  # figures, and names of ours
    assert others == {"output.py", "cli.py"}
