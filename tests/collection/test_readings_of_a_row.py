"""What a row may say of how its numbers were averaged, and of its test set."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar_hpc.collection.reproduction import Report, Row, TestSet, read_row
from cifar_hpc.collection.typed import Printed
from cifar_hpc.errors import UserError

EXPERIMENT = {"trainer": {"max_epochs": 1}, "model": {"class_path": "x"}, "data": {"dataset": "cifar100"}}


def write(folder: Path, config: dict[str, Any] | None = None, **group: Any) -> Path:
    path = folder / "made_up.yaml"
    content = {"reproduction": {"row": "made_up", "report": "any"} | group} | (config or {})
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def read(path: Path) -> Row:
    return read_row(path, {"any": Report("Any report")})


def test_a_text_keeps_its_digits(tmp_path: Path) -> None:
    curve = [{"epoch": 1, "train_accuracy_percent": "55.50"}]
    row = read(write(tmp_path, reported={"f1_percent": "86.00", "epochs": "3", "runs": 3, "curve": curve}))
    reported = row.reproduction.reported
    assert isinstance(reported.f1_percent, Printed)
    assert (reported.f1_percent, f"{reported.f1_percent}", reported.epochs) == (86.0, "86.00", 3)
    assert str(reported.curve[0].train_accuracy_percent) == "55.50"
    assert asdict(reported)["f1_percent"] == 86.0


def test_the_test_set_is_the_datasets_or_as_the_row_says(tmp_path: Path) -> None:
    assert read(write(tmp_path)).test_set is None
    of_data = read(write(tmp_path, EXPERIMENT)).test_set
    assert of_data == TestSet(10_000, 100, 100)
    own = {"images": 30, "classes": 3, "class_images": [5, 10, 15]}
    row = read(write(tmp_path, test_set=own))
    assert row.test_set is not None
    assert row.test_set.sizes == (5, 10, 15)


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ({"test_set": {"images": 30, "classes": 3, "class_images": [10, 10]}}, "class_images is [10, 10]; it must be"),
        ({"test_set": {"images": 30, "classes": 3, "class_images": 11}}, "class_images is 11; it must be one number"),
        ({"test_set": {"images": 0, "classes": 3}}, "test_set.images is 0; it must be at least 1"),
        ({"test_set": {"images": 5, "classes": 1}}, "test_set.classes is 1; it must be at least 2"),
        ({"reported": {"runs": 0}}, "reported.runs is 0; it must be at least 1"),
        ({"reported": {"averaged_over": "days"}}, 'averaged_over is "days"; it must be one of images, batches'),
        ({"reported": {"f1_percent": "86,2"}}, 'f1_percent is "86,2"; it must be a number'),
        ({"reported": {"f1_percent": "186.2"}}, "f1_percent is 186.2; a percentage must lie between 0 and 100"),
    ],
)
def test_wrong_readings_are_told(tmp_path: Path, group: dict[str, Any], told: str) -> None:
    path = write(tmp_path, **group)
    with pytest.raises(UserError) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert told in str(refused.value)


def spell(folder: Path, key: str, spelt: str) -> Path:
    """Writes a row whose last line is a number of the report."""
    path = folder / "made_up.yaml"
    path.write_text(f"reproduction:\n  row: made_up\n  report: any\n  reported:\n    {key}: {spelt}\n")
    return path


@pytest.mark.parametrize("key", ["test_accuracy_percent", "epochs", "curve:\n    - {epoch: 1}\n    - epoch"])
@pytest.mark.parametrize(("spelt", "value"), [("0x60", 96), ("055", 45), ("5_5", 55), ("1:25", 85), ("0b11", 3)])
def test_a_number_that_yaml_reads_as_another_is_refused(tmp_path: Path, key: str, spelt: str, value: int) -> None:
    path = spell(tmp_path, key, spelt)
    with pytest.raises(UserError) as refused:
        read(path)
    told = f" is {spelt}; YAML reads that as {value}; write it with decimal digits alone"
    assert str(refused.value).startswith(f"{path}:{path.read_text().count(chr(10))}: reproduction.reported.")
    assert str(refused.value).endswith(told)


@pytest.mark.parametrize("spelt", ["55.50", "0", "0.5", ".5", "5.", "05.5", "+5.5", "5.5e+1", '"055"'])
def test_a_number_as_reports_print_it_is_read(tmp_path: Path, spelt: str) -> None:
    row = read(spell(tmp_path, "test_accuracy_percent", spelt))
    assert row.reproduction.reported.test_accuracy_percent == float(spelt.strip('"'))


@pytest.mark.parametrize("key", ["epochs", "runs"])
def test_a_count_that_cannot_be_has_one_sentence(tmp_path: Path, key: str) -> None:
    path = spell(tmp_path, key, "-15")
    with pytest.raises(UserError) as refused:
        read(path)
    assert str(refused.value) == f"{path}:5: reproduction.reported.{key} is -15; it must be at least 1"


ODD = {"no": "true or false", "0x60": "a whole number", "2024": "a whole number", "1.50": "a number", "~": "null"}


@pytest.mark.parametrize("spelt", ODD)
def test_an_id_that_is_no_text_is_told_as_it_is_spelt(tmp_path: Path, spelt: str) -> None:
    path = tmp_path / "made_up.yaml"
    path.write_text(
        f"reproduction:\n  row: made_up\n  report: any\n  settings:\n    {spelt}: {{}}\n    x: {{orign: y}}\n"
    )
    with pytest.raises(UserError) as refused:
        read(path)
    odd, *others = str(refused.value).splitlines()
    told = f"reproduction.settings has the id {spelt}, which YAML reads as {ODD[spelt]}; put the id {spelt} in quotes"
    assert odd == f"{path}:5: {told}"
    assert others[0].startswith(f"{path}:6: reproduction.settings.x ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("  reprot: any", "3: reproduction has the key reprot; did you mean report?"),
        (
            "  report: any\n  settings: {x: {orign: stated, where: y}}",
            "4: reproduction.settings.x has the key orign; did you mean origin?",
        ),
    ],
)
def test_a_key_that_is_mistyped_is_not_missing_too(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "made_up.yaml"
    path.write_text(f"reproduction:\n  row: made_up\n{text}\n")
    with pytest.raises(UserError) as refused:
        read(path)
    assert str(refused.value) == f"{path}:{told}"
