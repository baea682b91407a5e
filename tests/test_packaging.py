"""What a package index and a user of the package see of it."""

import re
import subprocess
import tomllib

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
