"""What a shell gets when somebody presses Tab: argcomplete's protocol, as bash speaks it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COLLECTION, ROOT

pytest.importorskip("argcomplete")
OVERLAYS = {file.stem for file in (ROOT / "configs").rglob("*.yaml")}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("", {"fit", "rows", "verify", "doctor"}),
        ("ver", {"verify"}),
        ("fit -c ", {*COLLECTION.rows, *OVERLAYS, "mine.yaml"}),
        ("fit -c ghugre_sequential -c logger_", {"logger_csv", "logger_mlflow", "logger_wandb"}),
        ("fit --config ghugre_", {"ghugre_parallel", "ghugre_sequential"}),
        ("fit -c ghugre_sequential --re", {"--resume"}),
        ("validate --ck", {"--ckpt_path"}),
        ("verify ghugre_p", {"ghugre_parallel"}),
        ("verify --rec", {"--recompute"}),
        ("identify luo_", {name for name in COLLECTION.rows if name.startswith("luo_")}),
        ("campaign aamir_table1 aamir_table", {"aamir_table2", "aamir_table3", "aamir_table1"}),
        ("audit ", set(COLLECTION.reports)),
        ("bench --row shahrin_table2_row8", {"shahrin_table2_row8"}),
        ("data f", {"fetch"}),
    ],
)
def test_tab_completes(line: str, offered: set[str], tmp_path: Path) -> None:
    answer = complete(f"cifar-hpc {line}", 1, tmp_path)
    assert answer >= offered if line in ("", "audit ") else answer == offered


def test_tab_completes_the_module_too(tmp_path: Path) -> None:
    assert complete("python -m cifar_hpc fit -c ghugre_p", 3, tmp_path) == {"ghugre_parallel"}


def test_tab_is_silent_where_there_is_no_collection(tmp_path: Path) -> None:
    assert not complete("cifar-hpc audit --collection nowhere s", 1, tmp_path)


def complete(line: str, words: int, folder: Path) -> set[str]:
    """What is offered behind a line, whose first words call the program."""
    (folder / "mine.yaml").touch()
    shell = {
        "_ARGCOMPLETE": str(words),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(folder / "answer"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    run = [sys.executable, "-X", "importtime", "-m", "cifar_hpc"]
    done = subprocess.run(run, env=os.environ | shell, cwd=folder, capture_output=True, text=True)
    loads_torch = re.search(r"\| +torch$", done.stderr, re.MULTILINE) is not None
    assert (done.returncode, done.stdout, loads_torch) == (0, "", False)
    return {word.strip() for word in (folder / "answer").read_text().split("\013") if word} - {"answer"}
