"""What a package index and a user of the package see of it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from cifar_hpc import __version__
from cifar_hpc.records.environment import git_state
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_metadata_say_who_and_what() -> None:
    project = PROJECT["project"]
    assert project["authors"]
    assert project["keywords"]
    assert {"Programming Language :: Python :: 3.11", "Typing :: Typed"} <= set(project["classifiers"])


def test_no_link_of_the_readme_breaks_on_an_index() -> None:
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / fragment["path"]).read_text(encoding="utf-8") for fragment in hook["fragments"])
    assert re.search(r"\]\((docs|configs|reproductions|results)", text)  # in the repository they lead somewhere
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    assert not [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith(("https:", "#"))]


def test_make_help_tells_every_target() -> None:
    told = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert not {target for target in targets - {"install"} if not re.search(rf"^make {target}\b", told, re.MULTILINE)}


def test_the_version_names_the_commit() -> None:
    told = subprocess.run([sys.executable, "-m", "cifar_hpc", "--version"], capture_output=True, text=True, check=True)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(rf"cifar_hpc {re.escape(__version__)}\+g{commit[:12]}(\.dirty)?\n", told.stdout)
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__


@pytest.mark.parametrize(
    ("file", "dirty"),
    [
        ("out.json", False), ("package/log.txt", False), ("results/row/config.yaml", False),
        ("network.py", True), ("package/inner/new.py", True), ("row.yaml", True), ("package/__init__.py", True),
        ("notes.txt", True), ("nested/.git/HEAD", True), ("link", True), ("lib.so.1", True),
    ],
)  # fmt: skip
def test_what_a_run_could_load_makes_a_checkout_dirty(tmp_path: Path, file: str, dirty: bool) -> None:
    for known in ("package/__init__.py", "notes.txt"):
        (tmp_path / known).parent.mkdir(exist_ok=True)
        (tmp_path / known).touch()
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert git_state(tmp_path / "package")["git_dirty"] is False
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    if file == "link":
        (tmp_path / file).symlink_to("/usr/lib")
    elif "nested" in file:  # code of others beside the package
        subprocess.run(["git", "init", "-q", tmp_path / "nested"], check=True)
        (tmp_path / "nested/network.py").touch()
    else:
        (tmp_path / file).write_text("changed")
    assert git_state(tmp_path / "package")["git_dirty"] is dirty


@pytest.mark.parametrize("dirty", [False, True])
def test_a_wheel_knows_what_it_was_built_from(tmp_path: Path, dirty: bool) -> None:
    assert git_state(tmp_path) == {"git_commit": None, "git_dirty": None}
    (tmp_path / "commit.txt").write_text("1234567890ab" + ".dirty" * dirty + "\n")
    assert git_state(tmp_path) == {"git_commit": "1234567890ab", "git_dirty": dirty}
