"""What commands say where something is wrong: sentences of bearable length, without what could move a cursor."""

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cifar_hpc import cli, output
from cifar_hpc.errors import UserError
from cifar_hpc.report import markdown
from cifar_hpc.verify import command as verify_command
from tests.conftest import HANGING, ROOT, SEQUENTIAL, Command, Refuse, record, wait_for

ODD = "\x1b[31mred\x07 \u202egnp.exe \x00 \x85 | <script>alert(1)</script> [a](javascript:b)"


def test_control_characters_are_spelled_out() -> None:
    told = output.printable(ODD)
    assert told.startswith("\\x1b[31mred\\x07 \\u202egnp.exe \\x00 \\x85 | <script>")
    assert output.printable("plain ± text\nof lines") == "plain ± text\nof lines"


def test_markdown_keeps_text_as_text() -> None:
    told = markdown.escape(f"{ODD}\nnext | line \\| kept")
    assert "<" not in told
    assert "\n" not in told
    assert "](" not in told
    assert told.count("|") == told.count("\\|") == 3


def test_a_refusal_echoes_no_page(refuse: Refuse) -> None:
    for line in (
        ["verify", "x" * 5_000],
        ["fit", f"--{'x' * 5_000}"],
        ["fit", *SEQUENTIAL, "--trainer.max_epochs", "x" * 5_000],
    ):
        assert len(refuse(*line)) < 1_100
    assert str(UserError("x" * 5_000 + "\nb")).endswith("x\nb")
    assert "must be" in str(UserError(f"{'a' * 5_000}; it must be right"))


def test_a_files_control_characters_do_not_reach_the_terminal(command: Command, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text('reproduction: {row: "\\e[31m\\a\\u202e"}\n')
    done = command("fit", "-c", "odd.yaml")
    assert done.status == 2
    assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err)


def test_junit_stays_well_formed(tmp_path: Path) -> None:
    verify_command.write_junit([], [ODD], tmp_path / "junit.xml")
    case = ET.parse(tmp_path / "junit.xml").getroot()[0]
    assert "\\x1b" in case.get("name", "")


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "latin-1", "PYTHONWARNINGS": "error"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}],
    ids=str,
)
def test_commands_work_in_odd_environments(environment: dict[str, str], tmp_path: Path) -> None:
    lines = [(["rows"], (0,), b""), (["verify", "ghugre_sequential"], (0, 1, 3), b"")]
    # torch and Lightning take seconds to load, and no encoding matters to them.
    lines += [(["fit", *SEQUENTIAL, "--trainer.max_epochs", "none"], (2,), b"must be")] * (
        "PYTHONWARNINGS" in environment
    )
    for line, statuses, told in lines:
        done = subprocess.run(
            [sys.executable, "-m", "cifar_hpc", *line],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            timeout=HANGING,
            check=False,
        )
        assert done.returncode in statuses, done.stderr
        assert told in done.stderr
        said = [line for line in done.stderr.splitlines() if line != b"Loading PyTorch and Lightning"]
        assert len(said) == (told != b""), done.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--trainer.logger", "CSVLogger"], "save_dir"),
        (["--trainer.logger", "lightning.pytorch.loggers.WandbLogger"], "wandb"),
        (["--trainer.logger", "lightning.pytorch.loggers.MLFlowLogger"], "mlflow"),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.RichProgressBar"], "rich"),
    ],
)
def test_what_is_missing_is_named(flags: list[str], told: str, refuse: Refuse, tmp_path: Path) -> None:
    sentence = refuse("fit", *SEQUENTIAL, "--trainer.max_epochs", "1", *flags)
    assert told in sentence.lower()
    assert flags[0].strip("-").partition("+")[0] in sentence
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("action", "flag"), [("test", "limit_test_batches"), ("predict", "limit_predict_batches")])
def test_a_share_of_no_batch_is_told(action: str, flag: str, refuse: Refuse, finished_run: Path) -> None:
    told = refuse(action, *SEQUENTIAL, "--run_dir", finished_run, f"--trainer.{flag}", "0.5")
    assert f"trainer.{flag} does not fit the data" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "cifar_hpc", "fit", *SEQUENTIAL, "--trainer.max_epochs=500", "--run_dir", "run"]
    with subprocess.Popen(
        line,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        wait_for(lambda: (tmp_path / "run" / "checkpoints").is_dir() or process.poll() is not None)
        process.send_signal(number)
        _, err = process.communicate(timeout=HANGING)
    assert process.returncode == 128 + number
    told = [text for text in err.splitlines() if text.startswith("cifar_hpc: ")]
    assert len(told) == 1, err
    assert "`--run_dir run --resume` goes on from there" in told[0]
    assert record(tmp_path / "run")["status"] == "partial"


def test_what_nobody_foresaw_is_one_sentence_and_a_log(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(arguments: list[str], is_program: bool) -> int:
        raise ZeroDivisionError("by a test\nof two lines")

    monkeypatch.setattr(cli, "_run", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = command("rows").sentence()
    assert "ZeroDivisionError: by a test of two lines" in told
    (log,) = tmp_path.glob("cifar_hpc-*.log")
    assert str(log) in told
    assert "Traceback" in log.read_text()
