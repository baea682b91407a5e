"""What a campaign plans: from records alone, whatever their numbers were."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.campaign.plan import CampaignRequest, Run, more_seeds, plan
from cifar_hpc.collection.folder import chosen
from cifar_hpc.machine import cpu_model, has_gpu
from cifar_hpc.verify import reader
from cifar_hpc.verify.judge import judge_row
from tests import made_up
from tests.conftest import ROOT, Command, record

RESNET18 = [f"shahrin_table2_row{number}" for number in (1, 2, 3, 4)]
METRICS = ["test_accuracy_percent", "precision_percent", "recall_percent", "f1_percent"]


@pytest.fixture(autouse=True)
def no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)


def keep(*names: str) -> None:
    """Takes committed records, as they are."""
    for name in names:
        shutil.copytree(ROOT / "results" / name, Path("results") / name)


def planned(hours: float, *rows: str, **request: Any) -> list[Run]:
    return plan(CampaignRequest(hours, rows, **{"overlays": ("cpu",)} | request), reader.read_all())


def unfinished(row: str, seed: int, epochs: int) -> Path:
    """A run that was stopped, made up from a real record."""
    real = json.loads((ROOT / "results" / "shahrin_table2_row7" / "seed1" / "result.json").read_text())
    content = made_up.content(row, seed=seed, epochs=epochs, real=real, status="partial", tier="smoke")
    content["epochs"]["planned"] = 20
    content["selection"]["last"] = None
    return made_up.write(Path("runs") / row / f"seed{seed}", content).parent


def test_one_long_run_is_planned_for_all_rows_of_its_experiment() -> None:
    keep("shahrin_table2_row3/seed1")  # one epoch, which tells how long they take
    (run,) = [run for run in planned(5, *RESNET18) if run.first]
    assert (run.row, run.epochs, run.source.split(",")[0]) == ("shahrin_table2_row1", 349, "as shahrin_table2_row3")
    assert run.decides == dict.fromkeys(sorted(RESNET18, key=lambda row: row[-1] in "24"), METRICS)
    assert run.hours == pytest.approx(2.72, abs=0.01)


def test_what_does_not_fit_is_passed_over_and_begun_where_time_is_left() -> None:
    keep("shahrin_table2_row3/seed1")
    runs = planned(1.5, *RESNET18)  # 349 epochs take 2.7 hours, 159 take 1.24
    assert [(run.row, run.epochs) for run in runs] == [("shahrin_table2_row2", 159), ("shahrin_table2_row1", 349)]
    assert set(runs[0].decides) == {"shahrin_table2_row2", "shahrin_table2_row4"}
    assert planned(0.005, *RESNET18) == []  # less than an epoch


def test_more_seeds_come_last_and_are_those_that_verify_names() -> None:
    keep("ghugre_sequential/seed1", "ghugre_sequential/seed2", "shahrin_table2_row7/seed1", "luo_workload1_vgg/seed1")
    row = chosen().row("ghugre_sequential")
    (verdict,) = judge_row(row.reproduction, reader.read_all().of("ghugre_sequential"))
    named = max(more_seeds(judgement) for judgement in verdict.judgements.values())
    seeds = [run.seed for run in planned(1000, "ghugre_sequential")]
    assert seeds == list(range(3, 3 + named))
    firsts = [run.first for run in planned(1000)]
    assert firsts == sorted(firsts, reverse=True)
    assert True in firsts


def test_seeds_are_those_asked_for_and_none_is_used_twice() -> None:
    keep("ghugre_sequential/seed1", "ghugre_sequential/seed2", "ghugre_sequential/seed4")
    assert [run.seed for run in planned(1000, "ghugre_sequential", seeds=5)] == [3, 5]
    assert planned(1000, "ghugre_sequential", seeds=3) == []


def test_a_run_counts_for_relatives_only_with_a_seed_that_is_new_to_them() -> None:
    keep("ghugre_sequential/seed1", "ghugre_parallel/seed1")
    runs = planned(1000, "ghugre_parallel", "ghugre_sequential", seeds=2)
    assert [(run.row, run.seed) for run in runs] == [("ghugre_parallel", 2)]
    assert set(runs[0].decides) == {"ghugre_parallel", "ghugre_sequential"}


def test_rows_of_unknown_duration_are_measured_over_one_epoch() -> None:
    (run,) = planned(1, "luo_workload1_vgg")
    assert (run.until, run.epochs, run.hours, run.source) == (1, 10, None, "its first epoch tells")


def test_a_row_of_the_same_network_tells_the_duration() -> None:
    keep("shahrin_table2_row5/seed1")
    (run,) = planned(24, "ashraf_cifar10_alexnet")
    assert run.source.split(",")[0] == "like shahrin_table2_row5"
    assert run.hours == pytest.approx(100 * 391.4 / 3600, rel=0.01) or run.hours is None


@pytest.mark.parametrize(("processor", "told"), [(cpu_model(), ""), ("Another One", ", on Another One")])
def test_hours_from_another_processor_say_so(processor: str, told: str) -> None:
    real = json.loads((ROOT / "results" / "shahrin_table2_row5" / "seed1" / "result.json").read_text())
    made_up.write(Path("results/shahrin_table2_row5/seed1"), real | {"hardware": real["hardware"] | {"cpu": processor}})
    (run,) = planned(24, "ashraf_cifar10_alexnet")
    assert run.source == f"like shahrin_table2_row5{told}"


def test_a_gpu_does_not_tell_how_long_a_processor_takes() -> None:
    keep("shahrin_table2_row5/seed1-2")  # of a GPU
    (run,) = planned(1000, "ashraf_cifar10_alexnet")
    assert (run.hours, run.source) == (None, "its first epoch tells")
    (run,) = planned(1000, "ashraf_cifar10_alexnet", overlays=("gpu",))
    assert run.source == "like shahrin_table2_row5, on NVIDIA H200"


SCALING = ("ashraf_scaling_1gpu", "ashraf_scaling_4gpu")


def test_two_epochs_tell_the_seconds_of_rows_that_print_nothing_else() -> None:
    keep("shahrin_table2_row7/seed1")
    (run,) = planned(5, *SCALING)
    assert (run.row, run.epochs, run.decides) == (SCALING[0], 2, {row: ["seconds"] for row in SCALING})
    real = json.loads(Path("results/shahrin_table2_row7/seed1/result.json").read_text())
    for epochs, wanted in ((1, 1), (2, 0)):
        content = made_up.content("ashraf_cifar10_resnet50", seed=1, epochs=epochs, real=real, tier="smoke")
        content["changed_from_row"] = {"trainer.max_epochs": [100, epochs]}
        content["epochs"]["planned"] = 100
        made_up.write(Path("results/ashraf_cifar10_resnet50/seed1"), content)
        assert len(planned(5, *SCALING)) == wanted


def test_a_run_that_was_begun_goes_on() -> None:
    folder = unfinished("shahrin_table2_row8", 4, epochs=12)
    (run,) = planned(1, "shahrin_table2_row7", "shahrin_table2_row8")
    assert (run.row, run.seed, run.folder, run.done, run.epochs) == (
        "shahrin_table2_row8", 4, folder.as_posix(), 12, 20
    )  # fmt: skip
    point = record(folder)["curve"][-1]
    assert run.hours == pytest.approx(8 * (point["train_seconds"] + point["eval_seconds"]) / 3600)


def test_runs_under_an_overlay_that_changes_the_experiment_decide_nothing(command: Command) -> None:
    smoke = str(ROOT / "configs" / "smoke.yaml")
    runs = planned(1, "shahrin_table2_row7", overlays=(smoke,))
    assert [(run.seed, run.epochs) for run in runs] == [(1, 1)]
    done = command("campaign", "shahrin_table2_row7", "--hours", 1, "--dry-run", "-c", smoke)
    assert "decides nothing: data.sample, trainer.max_epochs of the row changed" in " ".join(done.out.split())


def test_a_dry_run_needs_no_torch_and_no_five_seconds(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "results")
    shutil.copytree(ROOT / "results", tmp_path / "results")
    code = (
        "import sys; from cifar_hpc.cli import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    before = os.times()
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "campaign", "--hours", "24", "--dry-run", "--json", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    assert min(cpu, time.monotonic() - start) < 5  # of CPU, where others share the machine
    runs = json.loads(done.stdout)["runs"]
    assert runs
    assert sum(run["hours"] or 0 for run in runs[:-1]) <= 24
    assert not Path("runs").exists()  # nothing is written


def test_a_bad_record_is_told_and_counts_for_nothing(command: Command) -> None:
    keep("luo_workload1_vgg/seed1", "shahrin_table2_row7/seed1")
    (Path("results") / "luo_workload1_vgg" / "seed1" / "result.json").write_text("{}")
    done = command("campaign", "luo_workload1_vgg", "--hours", 1, "--dry-run")
    assert done.status == 2
    assert "its first epoch tells" in done.out
    assert "results/luo_workload1_vgg/seed1/result.json is no record of schema" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense", "--hours", 1], "There is no row nonsense"),
        ([], "campaign needs --hours H"),
        (["--hours", 0], "--hours is 0.0; it must be above 0"),
        (["--hours", 1, "--seeds", -1], "--seeds is -1"),
        (["--hours", 1, "--json", "-"], "give it with --dry-run or --status"),
        (["--hours", 1, "-c", "missing.yaml", "--dry-run"], "missing.yaml cannot be read"),
        (["--status"], "There is no campaign in runs/campaign"),
    ],
)
def test_bad_requests_are_told(arguments: list[Any], told: str, command: Command) -> None:
    assert told in command("campaign", *arguments).sentence()


@pytest.mark.parametrize("there", [False, True])
def test_the_device_is_the_one_that_the_overlay_or_the_machine_says(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_hpc.campaign.plan.has_gpu", lambda: there)
    row = chosen().row("ashraf_cifar10_alexnet")  # a row that asks for GPUs
    for overlays, slurm, device in (
        (("cpu",), False, "cpu"),
        (("gpu_bf16",), False, "cuda"),
        (("fast",), False, "cuda" if there else "cpu"),
        (("fast",), True, "cpu"),  # whatever the node has on which it is planned
        ((), True, "cuda"),
    ):
        assert CampaignRequest(1, overlays=overlays, slurm=slurm).accelerator(row) == device


def test_a_gpu_that_is_hidden_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([tmp_path]))
    for visible, there in (("0", True), ("", False), ("-1", False)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert has_gpu() is there
