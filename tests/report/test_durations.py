"""How long rows take: from whole epochs of unchanged rows, and of nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.report import durations
from cifar_hpc.verify import reader
from tests import made_up
from tests.conftest import COLLECTION, ROOT

ROWS = list(COLLECTION.rows.values())
KEPT = ROOT / "results" / "luo_workload1_vgg" / "seed1" / "result.json"


def keep(folder: Path, row: str, seconds: list[tuple[float, float]], **changes: Any) -> None:
    """A real record with other times."""
    real = json.loads(KEPT.read_text())
    planned = COLLECTION.row(row).epochs
    made = made_up.content(row, real=real, epochs=len(seconds), epochs__planned=planned, tier="smoke")
    for point, (train, evaluation) in zip(made["curve"], seconds, strict=True):
        point |= {"train_seconds": train, "eval_seconds": evaluation}
    made_up.settle(made)
    made |= {"changed_from_row": {}} | changes
    made_up.write(folder, made)


@pytest.fixture(autouse=True)
def no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = durations.page(ROWS, reader.read_all(committed_only=True))
    assert (ROOT / "docs" / "durations.md").read_text(encoding="utf-8") == page, "run `make results`"


def test_nothing_is_made_up() -> None:
    assert set(durations.durations(ROWS, reader.read_all()).values()) == {None}


def test_the_first_epoch_warms_up_and_alike_rows_share() -> None:
    keep(Path("results/luo_workload1_vgg/seed1"), "luo_workload1_vgg", [(90, 9), (20, 2), (30, 4)])
    found = durations.durations(ROWS, reader.read_all())
    own, other = found["luo_workload1_vgg"], found["luo_workload2_p100"]
    assert own is not None
    assert other is not None
    assert (own.epoch_seconds, own.measured_epochs, own.row_seconds) == (28, 2, 280)
    assert (other.row, other.epochs, other.row_seconds) == ("luo_workload1_vgg", 200, 5600)
    assert found["luo_workload1_googlenet"] is None


def test_the_quickest_of_a_rows_own_records_counts() -> None:
    keep(Path("results/luo_workload1_vgg/seed1"), "luo_workload1_vgg", [(40, 2)])
    keep(Path("runs/luo_workload1_vgg/seed2"), "luo_workload1_vgg", [(30, 2)])
    keep(Path("results/luo_workload2_p100/seed1"), "luo_workload2_p100", [(50, 2)])
    found = durations.durations(ROWS, reader.read_all())
    rows = ("luo_workload1_vgg", "luo_workload2_p100")
    assert [getattr(found[row], "epoch_seconds", None) for row in rows] == [32, 52]
    committed = durations.durations(ROWS, reader.read_all(committed_only=True))["luo_workload1_vgg"]
    assert committed is not None
    assert committed.epoch_seconds == 42


def test_a_gpu_tells_nothing_about_a_processor() -> None:
    keep(Path("results/luo_workload1_vgg/seed1"), "luo_workload1_vgg", [(40, 2)])
    gpu = {"hardware": json.loads(KEPT.read_text())["hardware"] | {"accelerator": "cuda", "gpu": "NVIDIA H200"}}
    keep(Path("results/luo_workload1_vgg/seed2"), "luo_workload1_vgg", [(9, 1), (2, 1), (300, 1), (2, 1)], **gpu)
    keep(Path("results/shahrin_table2_row5/seed1"), "shahrin_table2_row5", [(4, 1)], **gpu)
    found = reader.read_all()
    for accelerator, seconds in (("cpu", (42, None)), ("cuda", (3, 5)), (None, (42, 5))):
        each = durations.durations(ROWS, found, accelerator)
        taken = tuple(getattr(each[row], "epoch_seconds", None) for row in ("luo_workload1_vgg", "shahrin_table2_row6"))
        assert taken == seconds
    page = durations.page(ROWS, found)
    assert [line for line in page.splitlines() if line.startswith("| `luo_workload1_vgg`")] == [
        "| `luo_workload1_vgg` | 10 × 42.0 s | 7.0 min | AMD EPYC, 2 cores, bf16-mixed | one epoch of its own |",
        "| `luo_workload1_vgg` | 10 × 3.0 s | 30 s | NVIDIA H200, bf16-mixed | median of 3 epochs of its own |",
    ]


@pytest.mark.parametrize(
    "changes",
    [{"status": "partial"}, {"changed_from_row": {"data.sample": [False, True]}}, {"curve": []}, {"schema": 3}],
)
def test_other_records_do_not_count(changes: dict[str, Any]) -> None:
    keep(Path("runs/luo_workload1_vgg/seed1"), "luo_workload1_vgg", [(40, 2)], **changes)
    assert set(durations.durations(ROWS, reader.read_all()).values()) == {None}


def test_in_words() -> None:
    told = [durations.in_words(seconds) for seconds in (59, 119, 1500, 9000, 1e6)]
    assert told == ["59 s", "119 s", "25 min", "2.5 h", "12 days"]


def test_kept_records_have_times() -> None:
    shutil.copytree(ROOT / "results", "results", dirs_exist_ok=True)
    found = durations.durations(ROWS, reader.read_all(committed_only=True))
    assert found["ghugre_sequential"] is not None
    assert found["ghugre_sequential"].epochs == 15
