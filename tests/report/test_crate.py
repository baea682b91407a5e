"""The RO-Crate: read back by the library that archives use, every file accounted for."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Command, Refuse

rocrate = pytest.importorskip("rocrate.rocrate", reason="the extra `crate` is not installed")


def test_the_crate_holds_every_kept_record(command: Command, tmp_path: Path) -> None:
    done = command("report", "--crate", tmp_path / "crate")
    assert done.status == 0, done.err
    crate = rocrate.ROCrate(tmp_path / "crate")
    # What version 1.1 of the format demands of the root.
    assert all(crate.root_dataset[key] for key in ("name", "description", "datePublished"))
    assert crate.root_dataset["license"]["name"] == "MIT licence"
    assert crate.metadata["conformsTo"] == "https://w3id.org/ro/crate/1.1"
    files = {entity.id: entity for entity in crate.data_entities if entity.type == "File"}
    there = {
        path.relative_to(tmp_path / "crate").as_posix() for path in (tmp_path / "crate").rglob("*") if path.is_file()
    }
    assert set(files) == there - {"ro-crate-metadata.json"}
    for name, entity in files.items():
        content = (tmp_path / "crate" / name).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["contentSize"] == str(len(content))
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "results").glob("*/*/result.json")}
    assert {name for name in files if name.endswith("result.json")} == kept
    actions = [entity for entity in crate.contextual_entities if entity.type == "CreateAction"]
    assert len(actions) == len(kept)
    assert all(action["instrument"]["name"] == "cifar_hpc" and action["result"] for action in actions)


def test_the_crate_cites_the_reports_and_indexes_the_rows(command: Command, tmp_path: Path) -> None:
    assert command("report", "--crate", tmp_path / "crate").status == 0
    citation = yaml.safe_load((tmp_path / "crate" / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what its schema asks for
    assert citation["references"]
    assert all(reference["title"] and reference["authors"] for reference in citation["references"])
    indices = sorted((tmp_path / "crate" / "model-index").iterdir())
    assert {path.stem for path in indices} == {path.parts[-3] for path in (ROOT / "results").glob("*/*/result.json")}
    for path in indices:
        (model,) = yaml.safe_load(path.read_text())["model-index"]
        records = [
            json.loads(file.read_text()) for file in sorted((ROOT / "results" / path.stem).glob("*/result.json"))
        ]
        values = [
            metric["value"] for found in model["results"] for metric in found["metrics"] if metric["type"] == "accuracy"
        ]
        assert model["name"] == path.stem
        assert sorted(values) == sorted(record["selection"]["last"]["test_accuracy"] for record in records)
        for found in model["results"]:
            assert found["task"]["type"] == "image-classification"
            assert found["dataset"]["type"] in ("cifar10", "cifar100")


def test_a_folder_that_holds_something_is_left_alone(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "crate").mkdir()
    (tmp_path / "crate" / "mine.txt").write_text("mine")
    assert "is not empty, and nothing is overwritten" in refuse("report", "--crate", tmp_path / "crate")
    assert [path.name for path in (tmp_path / "crate").iterdir()] == ["mine.txt"]
