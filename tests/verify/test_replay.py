"""Training a record's first epochs again: an honest one passes, a consistent forgery does not."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_hpc.records.record import read_record
from cifar_hpc.verify import recompute, replay
from cifar_hpc.verify.replay import Difference, Replay
from tests.conftest import ROOT, Command, Refuse, record


def forge(run: Path, folder: Path, **better: float) -> Path:
    """Improves the training's first epoch wherever it stands, so that all of the record fits together."""
    shutil.copytree(run, folder)
    content = record(folder)
    places = [content["curve"][0], content["printed"]["1"]]
    places += [selected for selected in content["selection"].values() if selected and selected["epoch"] == 1]
    for place in places:
        for key, factor in better.items():
            place[key] *= factor
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def test_an_honest_record_is_equal_to_the_last_bit(finished_run: Path, command: Command) -> None:
    done = command("verify", "--replay", finished_run, "--epochs", 2, "--json", "-")
    assert done.status == 0, done.err
    (found,) = json.loads(done.out)["replays"]
    assert found["answer"] == "equal"
    assert [(d["epoch"], d["metric"]) for d in found["differences"]] == [
        (epoch, metric) for epoch in (1, 2) for metric in replay.REPLAYED
    ]


def test_a_forged_curve_is_caught_where_recomputing_sees_nothing(
    finished_run: Path, tmp_path: Path, command: Command
) -> None:
    forged = forge(finished_run, tmp_path / "forged", train_loss=0.999, train_accuracy=1.001)
    recomputed = command("verify", "--recompute", forged)
    assert recomputed.status == 0, recomputed.out
    done = command("verify", "--replay", forged)
    assert done.status == 1
    assert "DIFFERENT on the same processor" in done.out
    rows = [line.split() for line in done.out.splitlines() if line.split()[1:2] == ["train"]]
    assert len(rows) == 2


def test_elsewhere_it_is_undecided_until_committed_replays_show_how_far_it_may_differ(
    finished_run: Path, tmp_path: Path, command: Command
) -> None:
    forged = forge(finished_run, tmp_path / "forged", train_loss=0.9)
    content = record(forged)
    content["hardware"]["cpu"] = "another processor"
    (forged / "result.json").write_text(json.dumps(content))
    (tmp_path / "results").mkdir()
    done = command("verify", "--replay", forged)
    assert done.status == 3
    assert "no committed replay on another processor" in done.out
    (tmp_path / "results" / "replays").mkdir()
    known = {"problems": [], "replays": [as_json(elsewhere(f"row{n}", 0.1 * n)) for n in range(1, 6)]}
    (tmp_path / "results" / "replays" / "here.json").write_text(json.dumps(known))
    done = command("verify", "--replay", forged, "--json", "replay.json")
    assert done.status == 1
    assert "BEYOND" in done.out
    assert "not as when it was recorded: cpu" in done.out
    # What was written is what is committed.
    shutil.copyfile(tmp_path / "replay.json", tmp_path / "results" / "replays" / "there.json")
    assert len(replay.committed()) == 6


def elsewhere(row: str, percent: float, metrics: tuple[str, ...] = replay.REPLAYED) -> Replay:
    """A replay on another processor in which each metric is off by so much."""
    differences = tuple(Difference(1, m, 0.5, 0.5 + percent / 100 * (1 if "accuracy" in m else 0.5)) for m in metrics)
    return Replay("result.json", row, 1, {"cpu": "one"}, {"cpu": "another"}, differences)


def as_json(found: Replay) -> dict[str, Any]:
    return {
        "record": found.record, "row": found.row, "seed": found.seed, "recorded_on": found.recorded_on,
        "replayed_on": found.replayed_on, "differences": [vars(d) for d in found.differences],
    }  # fmt: skip


def test_the_allowance_is_students_interval_for_one_more() -> None:
    known = [elsewhere("a", 0.3), elsewhere("b", 0.4), elsewhere("c", 0.5)]
    judged = elsewhere("d", 1.0)
    # Root mean square of 0.3, 0.4 and 0.5, times t with 3 degrees of freedom at 1 - 0.01 / 2 / 4, from tables 9.46.
    allowed = replay.limits(judged, known)
    assert allowed == pytest.approx(dict.fromkeys(replay.REPLAYED, 0.40825 * 9.4649), rel=1e-3)
    assert replay.judge_replay(judged, known)[0] == "within"
    assert replay.judge_replay(elsewhere("d", 4.0), known)[0] == "beyond"


def test_a_record_is_no_evidence_on_itself_nor_are_replays_on_its_own_processor() -> None:
    judged = elsewhere("d", 4.0)
    same = replace(elsewhere("a", 4.0), replayed_on={"cpu": "one"})
    assert replay.judge_replay(judged, [judged, same])[0] == "unknown"
    assert replay.judge_replay(same, [judged])[0] == "different"


def test_on_a_gpu_nothing_must_be_equal() -> None:
    known = [elsewhere("a", 0.3), elsewhere("b", 0.4), elsewhere("c", 0.5)]
    on = {"accelerator": "cuda", "gpu": "NVIDIA H200"}
    again = replace(elsewhere("d", 0.3), recorded_on=on, replayed_on=on)
    assert replay.judge_replay(again, [])[0] == "unknown"
    assert replay.judge_replay(again, known)[0] == "within"
    assert replay.judge_replay(replace(again, differences=elsewhere("d", 9).differences), known)[0] == "beyond"
    assert "no two runs on it need be equal" in replay.told(again, "unknown", {})


@pytest.mark.parametrize(
    ("used", "there", "flags"),
    [
        ({"accelerator": "cpu"}, True, "--trainer.threads 2 --trainer.accelerator cpu"),
        ({"accelerator": "cuda"}, True, "--trainer.threads 2"),
        ({"accelerator": "cuda", "precision": "bf16-mixed"}, False, "-c cpu --trainer.precision bf16-mixed"),
        ({"accelerator": "cuda", "world_size": 4}, False, "--trainer.threads 2"),
    ],
)
def test_a_replay_takes_the_device_of_the_record_if_it_is_there(
    used: dict[str, Any], there: bool, flags: str, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = read_record(finished_run / "result.json")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert replay._device(replace(made, hardware=replace(made.hardware, threads=2, **used))) == flags.split()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_record_of_a_gpu_is_replayed_on_the_processor(finished_run: Path, tmp_path: Path, command: Command) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "of_a_gpu"))
    config = (run / "config.yaml").read_text().replace("accelerator: cpu", "accelerator: gpu")
    (run / "config.yaml").write_text(config)
    content = record(run) | {"config_sha256": hashlib.sha256(config.encode()).hexdigest()}
    content["hardware"] |= {"accelerator": "cuda", "gpu": "NVIDIA H200"}
    (run / "result.json").write_text(json.dumps(content))
    done = command("verify", "--replay", run)
    assert done.status == 0, done.err
    assert "not as when it was recorded: gpu, accelerator" in done.out


def test_a_loss_that_is_no_number_must_be_none_again() -> None:
    both, one = Difference(1, "test_loss", None, None), Difference(1, "test_loss", None, 2.0)
    known = [elsewhere("a", 0.5)]
    assert replay.judge_replay(replace(elsewhere("d", 0), differences=(both,)), known)[0] == "equal"
    assert replay.judge_replay(replace(elsewhere("d", 0), differences=(one,)), known)[0] == "beyond"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--epochs", 2], "give --replay with it"),
        (["--replay", "--epochs", 0], "--epochs is 0; it must be at least 1"),
        (["--replay", "--recompute"], "are two checks; give one of them"),
        (["--replay", "--junit", "file.xml"], "--junit has verdicts and --replay gives none"),
    ],
)
def test_bad_requests_are_told(finished_run: Path, flags: list[Any], told: str, refuse: Refuse) -> None:
    assert told in refuse("verify", finished_run, *flags)


def test_a_record_that_cannot_be_replayed_is_told(finished_run: Path, tmp_path: Path, refuse: Refuse) -> None:
    alone = Path(shutil.copytree(finished_run, tmp_path / "alone"))
    (alone / "config.yaml").unlink()
    assert "config.yaml is missing" in refuse("verify", "--replay", alone)
    (tmp_path / "results").mkdir()
    assert "has no finished record" in refuse("verify", "--replay", "aamir_table3")
    broken = Path(shutil.copytree(finished_run, tmp_path / "broken"))
    config = (broken / "config.yaml").read_text().replace("precision: 32-true", "precision: nonsense")
    (broken / "config.yaml").write_text(config)
    assert "does not follow from its evidence: config_sha256" in refuse("verify", "--replay", broken)


def test_committed_replays_are_of_records_that_are_kept() -> None:
    for found in replay.committed():
        kept = ROOT / found.record
        points = {point["epoch"]: point for point in record(kept.parent)["curve"]}
        assert all(d.recorded == points[d.epoch][d.metric] for d in found.differences)
        assert not [check for check in recompute.check_record(read_record(kept)) if not check.agrees]
