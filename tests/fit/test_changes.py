"""No change of the experiment goes unseen: replaced keys, shortened flags, keys that stand twice."""

from pathlib import Path

import pytest
import yaml

from cifar_hpc.cli import main
from tests.conftest import REPRODUCTIONS, ROOT, SEQUENTIAL, SMOKE, Command, Refuse, record

ROW = str(REPRODUCTIONS / "ghugre_sequential.yaml")


@pytest.mark.parametrize(
    "flag",
    [
        "--trainer.max_epoch=1",
        "--trainer.acc=cpu",
        "--data.batch=64",
        "--seed=2",
        "--run=here",
        "--resum",
        "--conf=x.yaml",
    ],
)
def test_flags_are_not_taken_by_their_first_letters(flag: str, refuse: Refuse, tmp_path: Path) -> None:
    told = refuse("fit", *SEQUENTIAL, flag)
    assert f"{flag} is not known" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["rows --js -", "verify ghugre_sequential --recomp", "bench --turn=3", "bench data --turn=3",
             "data info --data cifar10", "audit --j -", "doctor --roo x"],
)  # fmt: skip
def test_other_commands_take_none_either(line: str, refuse: Refuse) -> None:
    flag = next(word for word in line.split() if word.startswith("--")).partition("=")[0]
    told = refuse(*line.split())
    assert flag in told or "--dataset" in told


def test_a_key_twice_in_a_file_is_refused_wherever_the_file_is_named(refuse: Refuse, tmp_path: Path) -> None:
    twice = tmp_path / "twice.yaml"
    twice.write_text("trainer:\n  max_epochs: 1\ndata:\n  sample: true\ntrainer:\n  accelerator: cpu\n")
    told = refuse("fit", "-c", ROW, "-c", twice)
    assert f"{twice}:5: the key trainer stands on line 1 and again on line 5" in told
    (tmp_path / "dotted.yaml").write_text("trainer:\n  max_epochs: 1\ntrainer.max_epochs: 2\n")
    assert "dotted.yaml: the key trainer.max_epochs has dots" in refuse("fit", "-c", ROW, "-c", "dotted.yaml")
    (tmp_path / "data.yaml").write_text("sample: true\nbatch_size: 32\nbatch_size: 64\n")
    told = refuse("fit", "-c", ROW, "--data", tmp_path / "data.yaml")
    assert "the key batch_size stands on line 2 and again on line 3" in told
    told = refuse("fit", "-c", ROW, "--trainer.max_time={hours: 1, hours: 2}")
    assert "the key hours stands on line 1 and again on line 1" in told


def test_what_an_overlay_replaces_is_told_with_its_file(command: Command, tmp_path: Path) -> None:
    overlay = tmp_path / "Theory.yaml"
    overlay.write_text("data: {batch_size: 64}\ntrainer: {threads: 1}\n")
    done = command("fit", *SEQUENTIAL, *SMOKE, "-c", overlay, "--trainer.accumulate_grad_batches=2", "--run_dir", "run")
    assert done.status == 0, done.err
    told = next(line for line in done.err.splitlines() if line.startswith("changed: "))
    assert f"data.batch_size 64 instead of 32 ({overlay})" in told
    assert f"trainer.max_epochs 1 instead of 15 ({ROOT}/configs/smoke.yaml)" in told
    assert "trainer.accumulate_grad_batches 2 instead of 1 (the command line)" in told
    assert "threads" not in told
    assert record(Path("run"))["changed_from_row"]["data.batch_size"] == [32, 64]


def test_a_row_as_it_is_tells_no_change(fit_printed: str) -> None:
    assert "changed:" not in fit_printed


@pytest.fixture
def fit_printed(command: Command) -> str:
    """What a row on the sample prints whose only changes are the sample and the epochs, without those two lines."""
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "-c", ROOT / "configs" / "cpu.yaml", "--run_dir", "r")
    assert done.status == 0, done.err
    lines = done.err.splitlines()
    changed = next(line for line in lines if line.startswith("changed: "))
    assert changed.count("instead of") == 2
    return "\n".join(line for line in lines if line != changed)


def test_the_later_of_two_rows_has_what_is_left_of_the_first_told(command: Command, tmp_path: Path) -> None:
    first, second = (REPRODUCTIONS / f"{row}.yaml" for row in ("shahrin_table2_row3", "ghugre_sequential"))
    done = command("fit", "-c", first, "-c", second, *SMOKE, "--run_dir", "run")
    assert done.status == 0, done.err
    found = record(Path("run"))
    assert found["row"] == "ghugre_sequential"
    kept = {key for key in found["changed_from_row"] if key.startswith(("data.", "model."))} - {"data.sample"}
    assert kept  # crops and the like, which the second file does not name
    assert str(first) in next(line for line in done.err.splitlines() if line.startswith("changed: "))


def test_a_recipes_record_tells_its_changes_too(command: Command, tmp_path: Path) -> None:
    recipe = yaml.safe_load(Path(ROW).read_text())
    recipe["reproduction"] = {"recipe": "mine"}
    recipe["trainer"]["max_epochs"] = 1
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    done = command("fit", "-c", "mine.yaml", "--data.sample=true", "--data.batch_size=100", "--run_dir", "run")
    assert done.status == 0, done.err
    found = record(Path("run"))
    assert found["recipe"] == "mine"
    assert found["changed_from_row"] == {"data.batch_size": [32, 100], "data.sample": [False, True]}
    assert "changed: data.batch_size 100 instead of 32 (the command line)" in done.err


CALLBACKS = {
    "GradientAccumulationScheduler": {"scheduling": {0: 2}},
    "StochasticWeightAveraging": {"swa_lrs": 0.01, "swa_epoch_start": 1},
    "EarlyStopping": {"monitor": "test/loss", "patience": 50},
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_that_changes_training_is_recorded_and_needed_to_go_on(
    name: str, command: Command, refuse: Refuse, tmp_path: Path
) -> None:
    callback = {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": CALLBACKS[name]}
    (tmp_path / "callback.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [callback]}}))
    fit = ["fit", *SEQUENTIAL, "--trainer.max_epochs=2", "--run_dir", "run"]
    done = command(*fit, "-c", "callback.yaml")
    assert done.status == 0, done.err
    old, new = record(Path("run"))["changed_from_row"]["trainer.callbacks"]
    assert (old, new[0]["class_path"]) == (None, callback["class_path"])
    text = Path("run/result.json").read_text().replace('"status": "complete"', '"status": "partial"')
    Path("run/result.json").write_text(text)
    assert "trainer.callbacks" in refuse(*fit, "--resume")


def test_a_callback_that_looks_on_is_no_change(command: Command) -> None:
    flags = ["--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks.logging_interval=epoch"]
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "--run_dir", "run", *flags)
    assert done.status == 0, done.err
    assert "trainer.callbacks" not in record(Path("run"))["changed_from_row"]


def test_help_still_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("rows", "bench", "data", "doctor"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "usage: python -m cifar_hpc" in capsys.readouterr().out
