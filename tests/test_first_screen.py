"""What a newcomer meets first: help at once, a greeting, and what was probably meant."""

import re
import subprocess
import sys
import time

import pytest

from cifar_hpc.collection.messages import _ELSEWHERE
from tests.conftest import ROOT, SEQUENTIAL, Command, Refuse


@pytest.mark.parametrize("name", ["fit", "validate", "test", "predict"])
def test_help_is_one_screen_without_torch(name: str) -> None:
    code = f"import sys; from cifar_hpc.cli import main; main(['{name}', '--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= 100 for line in lines)
    assert "-c OVERLAY" in done.stdout
    assert "--help=PART" in done.stdout


@pytest.mark.parametrize("line", ["", "--help", "rows", "audit", "claims", "verify ghugre_sequential"])
def test_what_trains_nothing_does_without_torch(line: str) -> None:
    code = (
        f"import sys; from cifar_hpc.cli import main\ntry: main({line.split()})\n"
        "finally: assert not {'torch', 'matplotlib'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("part", "flag", "not_of_it"),
    [
        ("trainer", "--trainer.gradient_clip_val", "--data.batch_size"),
        ("data", "--data.batch_size", "--trainer.max_epochs"),
        ("model", "--model.help", "--trainer.max_epochs"),
        ("all", "--trainer.gradient_clip_val", "nothing of the kind"),
    ],
)
def test_the_long_help_comes_in_parts(part: str, flag: str, not_of_it: str, command: Command) -> None:
    done = command("fit", f"--help={part}")
    assert done.status == 0
    assert flag in done.out
    assert not_of_it not in done.out


def test_a_part_that_is_none_is_told(refuse: Refuse) -> None:
    assert "the parts are trainer, model, data, reproduction, all" in refuse("fit", "--help=trainers")


def test_a_bare_call_greets(command: Command) -> None:
    done = command()
    assert done.status == 0
    assert "rows in" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    for name in ("rows", "fit -c", "verify", "audit", "report"):
        assert re.search(rf"^  {name}", done.out, re.MULTILINE)


def test_the_first_line_comes_before_torch() -> None:
    arguments = [sys.executable, "-m", "cifar_hpc", "fit", *SEQUENTIAL, "--print_config"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "Loading PyTorch and Lightning\n"
        before = time.perf_counter()
        assert running.stderr.read() == ""
        assert time.perf_counter() > before  # and then it loads
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["verfy", "results"], "did you mean verify?"),
        (["fti"], "did you mean fit?"),
        (["fot"], "did you mean fit?"),
        (["data", "fetc", "--dataset", "cifar10"], "did you mean fetch?"),
        (["data", "info", "--dataset", "cifar11"], "did you mean cifar10?"),
        (["bench", "dta"], "did you mean data?"),
        (["rows", "--jsn", "x"], "did you mean --json?"),
        (["bench", "data", "--rows=x"], "did you mean --row?"),
        (["verify", "ghugre_sequental"], "did you mean ghugre_sequential?"),
        (["audit", "shahrim"], "did you mean shahrin?"),
        (["fit", "-c", "fats"], "did you mean fast?"),
        (["fit", "-c", "GHUGRE_sequential"], "did you mean ghugre_sequential?"),
        (["fit", *SEQUENTIAL, "--trainer.max_epoch", "1"], "did you mean --trainer.max_epochs?"),
        (["fit", *SEQUENTIAL, "--max_epochs", "1"], "did you mean --trainer.max_epochs?"),
        (["fit", *SEQUENTIAL, "--batch_size=64"], "did you mean --data.batch_size?"),
        (["fit", *SEQUENTIAL, "--ckpt_path", "x.ckpt"], "--resume goes on from"),
        *(
            (["fit", *SEQUENTIAL, f"--{name}", "1"], f"--{key}")
            for name, key in _ELSEWHERE.items()
            if key != "ckpt_path"
        ),
    ],
)
def test_what_was_meant_is_asked(arguments: list[str], meant: str, refuse: Refuse) -> None:
    assert meant in refuse(*arguments)


@pytest.mark.parametrize("arguments", [["rows"], ["fit", "-c", "cpu"], ["report"]])
def test_a_python_without_the_packages_is_told_where_they_are(arguments: list[str]) -> None:
    bare = [sys.executable, "-S", "-m", "cifar_hpc"]  # without site-packages, as a Python outside the environment
    done = subprocess.run([*bare, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "is not installed in this Python" in done.stderr.splitlines()[-1]
    assert "source .venv/bin/activate" in done.stderr
