"""`identify` on committed records, on made-up ones whose variant is known, and on bad files."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifar_hpc.collection.defaults import resolve
from cifar_hpc.collection.experiment import flat
from cifar_hpc.collection.reproduction import CurvePoint
from cifar_hpc.records.record import Record
from cifar_hpc.verify import identify
from cifar_hpc.verify.reader import Found
from cifar_hpc.verify.variants_file import Candidate, read_variants
from tests import made_up
from tests.conftest import COLLECTION, REPRODUCTIONS, ROOT, Command, Refuse, change

ROW = COLLECTION.row("ghugre_sequential")
REAL = made_up.REAL
EPOCHS = 8
SMALL, LARGE = Candidate("small"), Candidate("large", {"data.batch_size": 128})


def run(candidate: Candidate, seed: int, accuracies: list[float]) -> Record:
    """A run of a candidate, by its training accuracy after each epoch in percent."""
    curve = [
        point | {"epoch": epoch, "train_accuracy": accuracy / 100}
        for epoch, (point, accuracy) in enumerate(zip(REAL["curve"], accuracies, strict=False), 1)
    ]
    changed = {key: [None, value] for key, value in candidate.changes.items()}
    path = Path(f"{candidate.name}/seed{seed}/result.json")
    return made_up.record(path=path, seed=seed, curve=curve, changed_from_row=changed)


def log(accuracies: list[float]) -> list[CurvePoint]:
    return [CurvePoint(epoch, train_accuracy_percent=value) for epoch, value in enumerate(accuracies, 1)]


def draw(generator: np.random.Generator, level: float) -> list[float]:
    """A run's curve: seeds differ by 0.7 points as a whole, and a bit more at each epoch, where they hang together."""
    whole, each = generator.normal(0, 0.7), generator.normal(0, 0.2, EPOCHS)
    return [level + 3 * epoch + whole + float(noise) for epoch, noise in enumerate(each)]


def rank(generator: np.random.Generator, printed: float, seeds: int) -> list[identify.Ranked]:
    """Candidates that lie five points apart, at 50 and at 55, and a log from somewhere."""
    records = [
        run(candidate, seed, draw(generator, level))
        for candidate, level in ((SMALL, 50.0), (LARGE, 55.0))
        for seed in range(1, seeds + 1)
    ]
    return identify.rank(ROW, [SMALL, LARGE], log(draw(generator, printed)), Found(tuple(records), (), (), COLLECTION))[
        0
    ]


@pytest.mark.parametrize(("printed", "name"), [(50.0, "small"), (55.0, "large")])
def test_the_variant_that_printed_the_log_is_found(printed: float, name: str) -> None:
    generator = np.random.default_rng(1)
    found = [rank(generator, printed, seeds=3) for _ in range(100)]
    assert sum(ranked[0].name == name and (ranked[0].likely or 0) > 0.9 for ranked in found) >= 95
    # It is ruled out once in twenty at most, however the epochs hang together.
    assert sum(next(one for one in ranked if one.name == name).ruled_out for ranked in found) <= 5
    assert all(sum(one.likely or 0 for one in ranked) == pytest.approx(1) for ranked in found)


def test_it_may_be_none_of_these() -> None:
    generator = np.random.default_rng(2)
    found = [rank(generator, 80.0, seeds=4) for _ in range(20)]
    assert all(one.ruled_out for ranked in found for one in ranked)
    assert "none of these" in identify.table(ROW, found[0], [1], [])


def test_one_seed_of_each_without_like_networks_has_no_spread() -> None:
    ranked = rank(np.random.default_rng(3), 50.0, seeds=1)
    assert [(one.likely, one.p_value) for one in ranked] == [(None, None)] * 2
    assert ranked[0].name == "small"  # nearer all the same
    assert "undecided: no candidate has runs whose spread" in identify.table(ROW, ranked, [1], [])


NEVER, FAR = Candidate("never", {"data.batch_size": 7}), Candidate("far", {"data.batch_size": 9})


def ranking(printed: list[float], *records: Record, epochs: int = EPOCHS) -> tuple[dict[str, identify.Ranked], str]:
    """All four candidates by name, and the table."""
    candidates = [SMALL, LARGE, NEVER, FAR]
    ranked, compared = identify.rank(ROW, candidates, log(printed)[:epochs], Found(records, (), (), COLLECTION))
    return {one.name: one for one in ranked}, identify.table(ROW, ranked, compared, [])


def test_a_variant_of_a_few_epochs_hides_nothing_of_the_others_and_gains_nothing_by_it() -> None:
    small = run(SMALL, 1, [50.0] * 8), run(SMALL, 2, [51.0] * 8)
    records = (*small, run(LARGE, 1, [50.0] * 3), run(FAR, 1, [50.0] * 3 + [90.0] * 5))
    found, told = ranking([50.0] * 8, *records)
    assert {name: (one.seeds, one.epochs) for name, one in found.items()} == {
        "small": (2, 8), "far": (1, 8), "large": (1, 3), "never": (0, 0),
    }  # fmt: skip
    assert list(found) == ["small", "far", "large", "never"]
    assert (found["small"].likely or 0) > 0.95
    assert (found["large"].likely, found["never"].likely) == (None, None)
    assert found["large"].p_value == pytest.approx(1)
    assert found["far"].off == {"train_accuracy_percent": pytest.approx(np.sqrt(5 * 40**2 / 8))}
    assert found["small"].spread == {"train_accuracy_percent": pytest.approx(np.sqrt(0.5))}
    assert "8 of the 15 epochs" in told
    assert "small is the likeliest of 2 that were trained for as long; --epochs 3 compares the others too" in told
    found, told = ranking([50.0] * 8, *records, epochs=3)
    assert found["large"].likely == pytest.approx(found["far"].likely)
    assert "undecided" in told


def test_where_two_candidates_hold_the_same_epochs_those_are_compared() -> None:
    # Of the later epochs, which one seed alone has, no spread is known.
    found, told = ranking([50.0] * 8, run(SMALL, 1, [50.0] * 3), run(SMALL, 2, [51.0] * 3), run(LARGE, 1, [58.0] * 8))
    assert "3 of the 15 epochs" in told
    assert "small is the likeliest of 2 that were trained for as long" in told
    assert (found["small"].likely or 0) + (found["large"].likely or 0) == pytest.approx(1)


def test_what_cannot_be_compared_is_told() -> None:
    _, told = ranking([50.0] * 8, run(SMALL, 1, [50.0] * 8), run(SMALL, 2, [51.0] * 8))
    assert "undecided: only small was trained" in told
    _, told = ranking([80.0] * 8, run(SMALL, 1, [50.0] * 8), run(SMALL, 2, [50.1] * 8), run(LARGE, 1, [51.0] * 8))
    assert "none of these" not in told  # the others were not trained
    assert re.search("hardly a run of (small|large), the likeliest, would", told)


def test_a_log_that_begins_late_says_which_epochs_compare_all() -> None:
    # ghugre_parallel's begins at epoch 38.
    printed = log([50.0] * 8)[4:]
    records = [run(SMALL, seed, [50.0 + seed] * 8) for seed in (1, 2)]
    records += [run(FAR, 1, [60.0] * 8), run(LARGE, 1, [52.0] * 6)]
    ranked, compared = identify.rank(ROW, [SMALL, LARGE, FAR], printed, Found(tuple(records), (), (), COLLECTION))
    assert compared == [5, 6, 7, 8]
    assert "--epochs 6 compares the others too" in identify.table(ROW, ranked, compared, [])


def test_committed_records_tell_luos_network(command: Command) -> None:
    done = command("identify", "luo_workload1_vgg", "--json", "-")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    first, second, *others = found["candidates"]
    assert (first["name"], second["name"]) == ("VGG19", "VGG16")
    assert first["likely"] > 0.9
    assert (first["seeds"], second["seeds"]) == (2, 1)
    assert found["epochs"] == list(range(1, 11))
    assert {(one["seeds"], one["likely"]) for one in others} == {(1, None)}  # two epochs are no ten
    assert command("identify", "luo_workload1_vgg", "--epochs", "1").out.startswith(
        "luo_workload1_vgg: which variant printed it, by 1 of the 10 epochs of its log"
    )
    by_two = json.loads(command("identify", "luo_workload1_vgg", "--epochs", "2", "--json", "-").out)["candidates"]
    assert by_two[0]["name"] == "VGG19"
    ruled_out = {one["name"] for one in by_two if one["p_value"] < 0.05}
    assert ruled_out == {"VGG19 without batch norm", "VGG16 without batch norm"}


@pytest.mark.parametrize(
    ("row", "page"),
    [
        ("luo_workload1_vgg", "luo"),
        ("luo_workload1_googlenet", "luo"),
        ("ghugre_sequential", "ghugre"),
        ("aamir_table2", "evidence"),
    ],
)
def test_pages_show_what_identify_finds_in_committed_records(row: str, page: str, command: Command) -> None:
    text = command("identify", row).out
    shown = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    table = text.splitlines()[:8]
    assert all(len(line) <= max(80, len(row) + 60) for line in table), text  # which the first has besides the name
    assert "".join(f"    {line}\n" for line in table) in shown
    assert " ".join(text.split()) in " ".join(shown.split())  # the page folds what follows at its own width


def test_train_makes_the_runs_that_are_missing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()  # in place of the kept records, which hold both variants
    overlays = [part for name in ("cpu", "smoke") for part in ("-c", ROOT / "configs" / f"{name}.yaml")]
    arguments = ("identify", "ghugre_sequential", "--train", "--epochs", "1", "--seeds", "1", *overlays)
    done = command(*arguments)
    assert done.status == 3, done.err  # a smoke run is no evidence
    made = [json.loads(file.read_text()) for file in (tmp_path / "runs").rglob("result.json")]
    changed = [record["changed_from_row"].get("model.init_args.initialisation") for record in made]
    assert sorted(changed, key=str) == [None, ["keras", "torch"]]
    assert {(record["status"], record["epochs"]["done"], record["seed"]) for record in made} == {("complete", 1, 1)}
    assert "not trained yet: Keras' initialisation; torch's initialisation" in done.out


VARIANTS = {path.stem: path for path in sorted((REPRODUCTIONS / "variants").glob("*.yaml"))}


@pytest.mark.parametrize("row", VARIANTS)
def test_every_variant_is_another_one_and_the_row_is_among_them(row: str) -> None:
    found, missing = read_variants(COLLECTION, COLLECTION.row(row))
    assert not missing
    changes = [candidate.changes for candidate in found]
    assert {} in changes
    assert all(changes.count(one) == 1 for one in changes)


@pytest.mark.parametrize("row", VARIANTS)
def test_every_variant_changes_settings_that_there_are(row: str) -> None:
    for candidate in read_variants(COLLECTION, COLLECTION.row(row))[0]:
        config = copy.deepcopy(COLLECTION.row(row).config)
        for key, value in candidate.changes.items():
            change(config, key, value)
        # Filled up with what the network and the data take besides, by a table that is held against the parser.
        known = flat(resolve(config))
        assert {key: known.get(key, "unknown") for key in candidate.changes} == candidate.changes
        own = flat(resolve(COLLECTION.row(row).config))
        assert all(known[key] != own.get(key, "unknown") for key in candidate.changes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "is missing, which would list the variants of the row; those there are: aamir_table2, luo_"),
        ("candidates: [{name: one}, {name: one}]", ":1: two candidates have the name one"),
        ("candidates: [{name: one, colour: red}]", "candidates[0] has the key colour"),
        ("candidates: [{changes: {}}]", "candidates[0] misses the key name"),
        ("candidates: [{name: one, changes: {a: {b: 1}}}]", "candidates[0].changes"),
        ("candidates: [{name: one, changes: {optimizer: Adam}}]", "it must begin with one of trainer, model, data"),
        ("candidates: [{name: one, changes: {data.batchsize: 9}}]", "data has the key batchsize; did you mean batch_"),
        ("candidates: [{name: one, changes: {model.class_path: cifar_hpc.models.VGG}}]", "VGG19"),
        ("candidates: [", "is no valid YAML"),
    ],
)
def test_bad_variants_are_told(command: Command, refuse: Refuse, tmp_path: Path, text: str | None, told: str) -> None:
    folder = Path(shutil.copytree(REPRODUCTIONS, tmp_path / "reproductions"))
    file = folder.relative_to(tmp_path) / "variants" / "ghugre_sequential.yaml"
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")
    sentence: Any = refuse("identify", "ghugre_sequential")
    assert told in sentence
    assert str(file) in sentence
    if text is not None:
        assert command("audit").err == f"cifar_hpc: {sentence.removeprefix('cifar_hpc: ')}\n"


def test_variants_of_no_row_are_told(command: Command, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(REPRODUCTIONS, tmp_path / "reproductions"))
    (folder / "variants" / "ghugre_sequental.yaml").write_text("candidates: []\n", encoding="utf-8")
    assert "which does not exist; did you mean ghugre_sequential?" in command("audit").sentence()


def test_rows_and_numbers_that_cannot_be_are_told(refuse: Refuse) -> None:
    assert "There is no row nobody" in refuse("identify", "nobody")
    assert "prints no log" in refuse("identify", "shahrin_table2_row1")
    assert "0 is less than 1" in refuse("identify", "ghugre_sequential", "--epochs", "0")


def test_curves_that_are_not_here_are_told(tmp_path: Path, command: Command) -> None:
    folder = Path(shutil.copytree(REPRODUCTIONS, tmp_path / "elsewhere" / "reproductions"))
    done = command("identify", "--collection", folder, "luo_workload1_vgg")
    assert done.status == 3
    assert "not here: " in done.out
    assert "luo_vgg19.json" in done.out
