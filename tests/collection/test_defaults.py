"""What files leave out is known without the parser, and is what the parser fills in."""

import json
import runpy

import pytest

from cifar_hpc.collection import defaults
from cifar_hpc.collection.experiment import experiment
from cifar_hpc.fit.configuration import CIFARCLI
from tests.conftest import COLLECTION, ROOT, SMOKE

ROWS = {row.model: name for name, row in COLLECTION.rows.items() if row.trains}
"""One row of each network."""


def test_the_table_is_the_parsers() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "scripts" / "defaults.py"))["made"]()
    assert json.loads(defaults.FILE.read_text(encoding="utf-8")) == made, "run `make docs`"


@pytest.mark.parametrize("row", ROWS.values())
def test_rows_are_resolved_as_the_parser_does(row: str) -> None:
    path = COLLECTION.rows[row].path
    parsed = CIFARCLI("fit", ["-c", str(path), *SMOKE[:2]]).plain_config
    ours = experiment(defaults.resolve(COLLECTION.rows[row].config))
    assert ours == experiment({group: parsed[group] for group in defaults.GROUPS})


def test_what_is_unknown_is_left_as_it_is() -> None:
    model = {"class_path": "mine.Network", "init_args": {"width": 3, "optimizer": "torch.optim.Adam"}}
    found = defaults.resolve({"model": model})["model"]
    assert found["init_args"]["width"] == 3
    assert found["init_args"]["optimizer"]["init_args"]["lr"] == 0.001
    assert defaults.resolve({})["model"] is None
