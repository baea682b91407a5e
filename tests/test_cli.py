"""Command lines that say nothing, or something wrong: one sentence, status 2, nothing made."""

from pathlib import Path

import pytest

from tests.conftest import Refuse

MISTAKES = {
    "train": "There is no command train; `python -m cifar_hpc --help` lists them",
    "--bad": "COMMAND",
    "rows --bad": "Unknown argument: --bad; `python -m cifar_hpc rows --help`",
    "rows one two": "Unknown arguments: one two",
    "verify": "required: TARGET; `python -m cifar_hpc verify --help`",
    "verify ghugre_sequential --bad": "--bad",
    "verify claims": "claims is no run directory, no record file and no row id",
    "audit --json": "--json: expected one argument",
    "audit nobody": "There is no report nobody",
    "transcribe": "required: TABLE, --report",
    "transcribe table.csv --report smith --bad": "Unknown argument: --bad",
    "transcribe table.csv --report smith --runs many": "--runs: invalid int value",
    "transcribe table.csv --report smith": "holds the packaged reports, to which transcribe adds none",
    "claims --bad": "`python -m cifar_hpc claims --help`",
    "claims nobody": "There is no report nobody",
    "report --out": "--out: expected one argument",
    "report extra": "Unknown argument: extra",
    "report --csv": "--csv: expected one argument",
    "report --o x": "Unknown arguments: --o x",
    "rows --collection": "--collection: expected one argument",
    "rows --collection nowhere": "nowhere is no collection: it holds no collection.yaml; `init nowhere` makes one",
    "--collection nowhere audit": "nowhere is no collection",
    "fit --collection nowhere -c cpu": "nowhere is no collection",
    "fit -c nothing_of_the_kind": "no row or overlay of that name",
    "fit -c smok": "did you mean smoke?",
    "init": "required: DIR",
    "bench --turns many": "--turns: invalid int value: 'many'",
    "bench data --bad": "`python -m cifar_hpc bench data --help`",
    "bench overhead --repeats 1.5": "--repeats: invalid int value",
    "bench nothing": "invalid choice: 'nothing'",
    "data": "required: ACTION",
    "data remove": "invalid choice: 'remove'",
    "data fetch": "required: --dataset; `python -m cifar_hpc data fetch --help`",
    "data fetch --dataset mnist": "'cifar10', 'cifar100'",
    "data import --dataset cifar10": "required: PATH",
    "doctor here": "Unknown argument: here",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_wrong_command_line_is_told_in_one_sentence(line: str, refuse: Refuse, tmp_path: Path) -> None:
    assert MISTAKES[line] in refuse(*line.split())
    assert list(tmp_path.iterdir()) == []
