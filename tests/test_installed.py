"""The package as pip installs it, in an empty folder and without a checkout: what the pages for newcomers say works."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import HANGING, ROOT, Finished, shared

FRESH = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CIFAR_HPC", "VIRTUAL_ENV"))}
SHELL = """trap 'echo "$? $BASH_COMMAND" >> "$STATUSES"' ERR
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment, with the wheel and, from this environment, what it depends on."""
    return shared(tmp_path_factory, "installed", install) / "venv" / "bin"


def install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT]
    subprocess.run([*pip, *map(str, build)], check=True, timeout=HANGING)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=HANGING)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    (wheel,) = folder.glob("*.whl")
    line = ["--python", folder / "venv/bin/python", "install", "--no-deps", "--no-index", "--no-compile", wheel]
    subprocess.run([*pip, *map(str, line)], check=True, timeout=HANGING)


def run(script: str, programs: Path, folder: Path, **environment: str) -> tuple[Finished, list[str]]:
    """Runs a script as somebody would type it; what it printed, and the commands that did not end with status 0."""
    statuses = folder.parent / f"{folder.name} statuses"
    statuses.touch()
    path = {"PATH": f"{programs}{os.pathsep}{FRESH['PATH']}", "STATUSES": str(statuses)}
    line, env = ["bash", "-c", SHELL + script], {**FRESH, **path, **environment}
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=HANGING, check=False)
    return Finished(done.returncode, done.stdout, done.stderr), statuses.read_text().splitlines()


@pytest.mark.parametrize("name", ["thirty-reports", "one-paper"])
def test_the_commands_of_a_page_work(name: str, programs: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL))
    assert "cifar-hpc" in script
    folder = tmp_path / "empty"
    folder.mkdir()
    done, failed = run(script, programs, folder)
    assert "Traceback" not in done.err
    # 1: the answer is no; 3: undecided. A page shows both.
    assert [line for line in failed if not line.startswith(("1 cifar-hpc", "3 cifar-hpc"))] == [], done.err
    for line in "\n".join(re.findall(r"```text\n(.*?)```", page, re.DOTALL)).splitlines():
        assert line.strip() in f"{done.out}\n{done.err}", done.out
    made = {path.name for path in folder.iterdir()}
    assert made <= {"mine", "paper", "runs", "report", "page"}, made


def test_the_evidence_comes_with_the_program(programs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    kept = [path for path in (ROOT / "results").glob("*/*/result.json") if json.loads(path.read_text())["row"]]
    rows = sorted({path.parent.parent.name for path in kept})
    done, failed = run(f"cifar-hpc verify --recompute {' '.join(rows)} --json found.json", programs, folder)
    assert failed == [], done.err
    found = json.loads((folder / "found.json").read_text())
    assert len(found["records"]) == len(kept) > 1
    assert {check["source"] for record in found["records"] for check in record["checks"]} >= {"predictions.npz"}


def test_the_jobs_of_a_new_collection_run(programs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    done, failed = run("cifar-hpc init .", programs, folder)
    assert not failed, done.err
    hub = yaml.safe_load((folder / ".github/workflows/reports.yml").read_text())
    summary = tmp_path / "summary.md"
    for step in hub["jobs"]["reports"]["steps"]:
        if "run" in step and not step["run"].startswith("pip install"):
            script = f"set -e\n{step['run']}"
            done, _ = run(script, programs, folder, GITHUB_STEP_SUMMARY=str(summary), **hub["env"])
            assert done.status == 0, done.err
    text = summary.read_text()
    assert "0 findings in 2 rows" in text
    assert "smith" in text.partition("## Reports, worst first")[2]
    assert (folder / "page" / "grades.csv").is_file()
    lab = yaml.safe_load((folder / ".gitlab-ci.yml").read_text())["reports"]
    done, failed = run("set -e\n" + "\n".join(lab["script"]), programs, folder, **lab["variables"])
    assert done.status == 0, done.err
    for path in [*lab["artifacts"]["paths"], lab["artifacts"]["reports"]["junit"]]:
        assert (folder / path).exists()
