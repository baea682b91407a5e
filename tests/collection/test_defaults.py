"""What files leave out is known without the parser, and is what the parser fills in."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.collection import defaults
from cifar_hpc.collection.experiment import experiment
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.collection.typed import name_of
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


@pytest.mark.parametrize("path", [*ROOT.glob("reproductions/*.yaml"), *ROOT.glob("reproductions/*/*.yaml")])
def test_packaged_files_have_known_names(path: Path) -> None:
    assert list(defaults.unknown_names(read_yaml(path))) == []


ADAM = "torch.optim.Adam"


@pytest.mark.parametrize(
    ("config", "key", "told"),
    [
        ({"trainer": {"max_epoch": 3}}, "trainer.max_epoch", "did you mean max_epochs?"),
        ({"data": {"colour": 3}}, "data.colour", "`fit --help=data` lists its keys"),
        (
            {"model": {"class_path": "cifar_hpc.models.SmalCNN"}},
            "model.class_path",
            "did you mean SmallCNN?",
        ),
        ({"model": {"class_path": "cifar_hpc.models.Nothing"}}, "model.class_path", "its last part may be Airbench"),
        ({"model": {"class_path": "SmalCNN"}}, "model.class_path", "did you mean SmallCNN?"),
        (
            {"model": {"class_path": "cifar_hpc.models.VGG16", "init_args": {"depth": 3}}},
            "model.init_args.depth",
            "it may have num_classes, batch_norm, optimizer, scheduler",
        ),
        (
            {"model": {"class_path": "mine.Net", "init_args": {"optimizer": {"class_path": "torch.optim.Adan"}}}},
            "model.init_args.optimizer.class_path",
            "did you mean Adam?",
        ),
        (
            {
                "model": {
                    "class_path": "mine.Net",
                    "init_args": {"a": {"class_path": ADAM, "init_args": {"weight_deacy": 1}}},
                }
            },
            "model.init_args.a.init_args.weight_deacy",
            "did you mean weight_decay?",
        ),
    ],
)
def test_unknown_names_are_told_with_what_would_be_right(config: dict[str, Any], key: str, told: str) -> None:
    ((keys, sentence),) = defaults.unknown_names(config)
    assert name_of(keys) == key
    assert told in sentence


@pytest.mark.parametrize(
    "model",
    [
        {"class_path": "mine.Network", "init_args": {"width": 3}},
        {"class_path": "torch.optim.OfNextYear"},
        {"class_path": "SmallCNN", "init_args": {"optimizer": {"class_path": ADAM, "init_args": {"of_next_year": 1}}}},
        {"class_path": ["no text"]},
        "no mapping",
    ],
)
def test_what_may_be_known_elsewhere_is_not_refused(model: Any) -> None:
    assert list(defaults.unknown_names({"trainer": None, "data": {}, "model": model})) == []
