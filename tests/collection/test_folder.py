"""Collections of one's own: which one is chosen, names for -c, where records go, and every mistake with its line."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar_hpc.collection import start
from cifar_hpc.collection.folder import Collection, choosing, chosen, configuration_file
from cifar_hpc.errors import UserError
from tests.conftest import COLLECTION, REPRODUCTIONS, ROOT, SMOKE, Command

ROW = {"where": "Table 1", "label": "made up", "reported": {"test_accuracy_percent": 71.56}}
ANYTHING = next(row for row in COLLECTION.rows.values() if row.trains)


def write(folder: Path, reports: dict[str, dict[str, Any]]) -> Path:
    """A collection: for each report its rows, by name, as the group `reproduction` has them."""
    folder.mkdir(parents=True, exist_ok=True)
    index = {"reports": {name: {"title": f"The report {name}"} for name in reports}}
    (folder / "collection.yaml").write_text(yaml.safe_dump(index))
    for report, rows in reports.items():
        for row, group in rows.items():
            content = {"reproduction": {"row": row, "report": report} | ROW | group}
            (folder / f"{row}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def read(folder: Path) -> Collection:
    with choosing(str(folder)):
        return chosen()


def test_which_collection_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert chosen().folder == ROOT / "reproductions"
    here = write(tmp_path / "reproductions", {"here": {"here_1": {}}})
    assert list(chosen().rows) == ["here_1"]
    assert chosen().is_default
    write(tmp_path / "there", {"there": {"there_1": {}}})
    monkeypatch.setenv("CIFAR_HPC_COLLECTION", "there")
    assert list(chosen().rows) == ["there_1"]
    assert not chosen().is_default
    with choosing(str(here)):
        assert list(chosen().rows) == ["here_1"]
    assert list(chosen().rows) == ["there_1"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": {"a_1": {}}})
    assert read(folder).rows["a_1"].reproduction.label == "made up"
    write(tmp_path, {"a": {"a_1": {"label": "changed since"}}})
    assert read(folder).rows["a_1"].reproduction.label == "changed since"


def test_origins_that_all_rows_share_stand_in_the_index(tmp_path: Path) -> None:
    own = {"origin": "stated", "where": "Table 1"}
    folder = write(tmp_path, {"a": {"a_1": {"settings": {"batch_size": own}}, "a_2": {}}})
    shared = {name: {"origin": "unknown", "where": "not said"} for name in ("batch_size", "seed")}
    (folder / "collection.yaml").write_text(yaml.safe_dump({"reports": {"a": {"title": "A", "settings": shared}}}))
    first, second = (row.reproduction.settings for row in read(folder).rows.values())
    assert (first["batch_size"].origin, first["seed"].origin) == ("stated", "unknown")
    assert (second["batch_size"].origin, second["seed"].origin) == ("unknown", "unknown")


MISTAKES = """reproduction:
  row: a_1
  report: a
  lable: made up
  reported:
    epochs: 0
    test_accuracy_percent: 171.56
    curve:
      - {epoch: 1, seconds: soon}
      - {epoch: 2}
      - {epoch: 2}
"""


def test_every_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "mine", {"a": {"a_1": {}}, "b": {"b_1": {}}})
    file = Path("mine/a_1.yaml")
    file.write_text(MISTAKES)
    done = command("audit", "--collection", "mine")
    assert done.status == 2
    assert done.out.splitlines()[-1].startswith("0 findings in 1 row ")
    told = {
        4: "reproduction has the key lable; did you mean label?",
        6: "reproduction.reported.epochs is 0; it must be at least 1",
        7: "reproduction.reported.test_accuracy_percent is 171.56; a percentage must lie between 0 and 100",
        9: 'reproduction.reported.curve[0].seconds is "soon"; it must be a number or null',
        11: "reproduction.reported.curve has epoch 2 after 2; epochs must ascend",
    }
    lines = done.err.splitlines()
    assert len(lines) == len(told)
    for line, (number, sentence) in zip(lines, told.items(), strict=True):
        assert line.startswith(f"cifar_hpc: {file}:{number}: {sentence}")


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("reproduction: {row: a_1\n  report: a}", 2, "this is no valid YAML"),
        ("reproduction: {row: a_1, report: nobody}", 1, "reproduction.report is nobody; it must be one of a, which"),
        ("reproduction: {row: a_1}", 1, "reproduction.report is missing; it must be one of a"),
        ("reproduction:\n  row: other\n  report: a", 2, "reproduction.row is other, but the file's name asks for a_1"),
        ("reproduction:\n  row: a_1\n  report: a\n  row: a_1", 4, "the key row stands on line 2 and again on line 4"),
        ("reproduction: {row: a_1, report: a}\ntrainer: {max_epochs: 1}", 2, "the file has trainer but no data, model"),
        ("reproduction: {row: a_1, report: a}\ntriner: {}", 2, "the file has the key triner; it may have reproduction"),
        ("trainer: {}", 1, "the file has no group `reproduction`"),
        ("reproduction: {row: a_1, report: [a]}", 1, 'reproduction.report is ["a"]; it must be a text or null'),
        ("reproduction: {row: a_1, report: a}\ntrainer:\nmodel: {class_path: x}\ndata: {}", 2, "trainer is null; it"),
        ("- 1", 1, "the file must hold a mapping of keys, not [1]"),
        ("", 1, "the file must hold a mapping of keys, not nothing"),
        (
            "reproduction: {row: a_1, report: a}\ntrainer:\n  max_epochs: ten\nmodel: {class_path: x}\ndata: {}",
            3,
            "trainer.max_epochs is ten; it must be a whole number",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_row(tmp_path: Path, text: str, line: int, told: str) -> None:
    write(tmp_path, {"a": {"a_1": {}, "a_2": {}}})
    (tmp_path / "a_1.yaml").write_text(text)
    found = read(tmp_path)
    assert list(found.rows) == ["a_2"]
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path / 'a_1.yaml'}:{line}: {told}")


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("reports: {a: {titel: A}}", "1: reports.a has the key titel; did you mean title?"),
        ("reports:\n  a: {title: A}\n  b:\n    title: B\n    year: soon", '5: reports.b.year is "soon"; it must be'),
        ("reports: 3", "1: reports is 3; it must be a mapping"),
        (
            "reports:\n  a: {title: A}\n  2024: {title: B}",
            "3: reports has the id 2024, which YAML reads as a whole number; put the id 2024 in quotes",
        ),
        (
            "reports: {no: {title: B}}",
            "1: reports has the id no, which YAML reads as true or false; put the id no in quotes",
        ),
        (
            "reports: {1.5: {title: B}}",
            "1: reports has the id 1.5, which YAML reads as a number; put the id 1.5",
        ),
        ("reports: {2024-01-02: {title: B}}", "1: reports has the id 2024-01-02, which YAML reads as a date; put"),
        (
            "reports: {a: {title: A}, a b: {title: B}}",
            '1: reports has the id "a b", which is no id of a report; it may have letters',
        ),
        ("report: {}", "1: the file has the key report; did you mean reports?"),
    ],
)
def test_what_is_wrong_in_the_index_stops_nothing_else(tmp_path: Path, index: str, told: str) -> None:
    write(tmp_path, {"a": {"a_1": {}}})
    (tmp_path / "collection.yaml").write_text(index)
    found = read(tmp_path)
    assert found.problems[0].startswith(f"{tmp_path / 'collection.yaml'}:{told}")
    assert "a_1" in found.rows
    assert "a" in found.reports


def test_of_very_many_reports_a_few_are_named(tmp_path: Path) -> None:
    write(tmp_path, {f"student{number}": {} for number in range(300)} | {"a": {"a_1": {"report": "nobody"}}})
    (told,) = read(tmp_path).problems
    assert "reproduction.report is nobody; it must be one of a, student0, student1, " in told
    assert len(told) < 250 + len(str(tmp_path))


def test_every_mistake_in_the_index_is_told_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, {"a": {"a_1": {}}})
    lines = ("2024: {title: A}", "no: {title: B}", "b c: {title: C}", "d: {titel: D}", "a: {title: A, year: soon}")
    (tmp_path / "collection.yaml").write_text("\n  ".join(("reports:", *lines)))
    found = read(tmp_path)
    told = {problem.removeprefix(f"{tmp_path / 'collection.yaml'}:")[0] for problem in found.problems}
    assert sorted(told) == ["2", "3", "4", "5", "6"]
    assert "a_1" in found.rows


def test_audit_checks_every_file(tmp_path: Path, command: Command) -> None:
    folder = write(tmp_path / "mine", {"a": {"a_1": {}}})
    for name, text in {"collection": "reports: {", "statements": "orders: 1", "claims": "claims:\n  - {id: 1}"}.items():
        (folder / f"{name}.yaml").write_text(text)
    done = command("audit", "--collection", "mine")
    assert (done.status, "1 row" in done.out) == (2, True)
    for name, line in {"collection": 2, "statements": 1, "claims": 2}.items():
        assert any(told.startswith(f"cifar_hpc: mine/{name}.yaml:{line}: ") for told in done.err.splitlines()), done.err


COMMANDS = (["rows"], ["rows", "--json", "-"], ["audit"], ["claims"], ["report"], ["verify", "r00_1"])


def test_one_broken_report_of_thirty_stops_nothing_else(tmp_path: Path, command: Command) -> None:
    folder = write(tmp_path / "mine", {f"r{n:02}": {f"r{n:02}_{m}": {} for m in range(10)} for n in range(30)})
    breaks = {"row": "r07_x", "report": "nobody", "reported": {"f1_percent": -1}, "where": 3, "margin_percent": 0}
    for number, (key, value) in enumerate(breaks.items()):
        file = folder / f"r07_{number}.yaml"
        content = yaml.safe_load(file.read_text())
        content["reproduction"][key] = value
        file.write_text(yaml.safe_dump(content))
    for arguments in COMMANDS:
        done = command(*arguments, "--collection", "mine")
        assert done.status == 2, arguments
        told = [line for line in done.err.splitlines() if "r07" in line]
        assert len(told) == 5, arguments
        assert all(re.match(r"cifar_hpc: mine/r07_\d\.yaml:\d+: reproduction\.\w+", line) for line in told)
        if arguments[0] != "verify":
            assert len(done.err.splitlines()) == 5, done.err
    assert len(json.loads(command("rows", "--json", "-", "--collection", "mine").out)["rows"]) == 295
    page = Path("report/report.md").read_text()
    assert all(f"### r{n:02}_9\n" in page for n in range(30))


def test_names_stand_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, recipe = next(iter(COLLECTION.recipes.items()))
    assert configuration_file(ANYTHING.reproduction.name) == ANYTHING.path
    assert configuration_file(name) == recipe
    assert configuration_file("cpu") == ROOT / "configs" / "cpu.yaml"
    assert configuration_file("some/file") == Path("some/file")
    assert configuration_file("file.yaml") == Path("file.yaml")
    Path("configs").mkdir()
    Path("configs/cpu.yaml").touch()
    assert configuration_file("cpu") == Path("configs/cpu.yaml")
    Path("cpu").touch()
    assert configuration_file("cpu") == Path("cpu")
    with pytest.raises(UserError, match="did you mean cpu_bf16"):
        configuration_file("cpu_bf61")


def test_every_overlay_has_a_name_of_its_own() -> None:
    names = [path.stem for path in (ROOT / "configs").rglob("*.yaml")]
    names += [*COLLECTION.rows, *COLLECTION.recipes]
    assert len(set(names)) == len(names)


@pytest.fixture
def mine(tmp_path: Path, in_its_folder: None) -> Path:
    """A collection of one's own as `init` makes it, in the current folder."""
    assert start.command(Path("mine")) == 0
    return tmp_path / "mine"


def test_a_new_collection_works_at_once(mine: Path, command: Command) -> None:
    assert command("audit", "--collection", "mine").status == 0
    audited, trained = read(mine).rows.values()
    assert not audited.trains
    name = trained.reproduction.name
    told = command("fit", "--collection", "mine", "-c", audited.reproduction.name).err
    assert f"{audited.reproduction.name}.yaml is for `audit` alone" in told
    done = command("fit", "--collection", "mine", "-c", name, *SMOKE)
    assert done.status == 0, done.err
    assert f"Verdict: python -m cifar_hpc verify --collection mine mine/runs/{name}/smoke/seed1" in done.out
    assert json.loads((mine / "runs" / name / "smoke" / "seed1" / "result.json").read_text())["row"] == name
    assert sorted(path.name for path in mine.parent.iterdir()) == ["mine"]  # nothing outside
    run = f"mine/runs/{name}/smoke/seed1"
    for target in (["--collection", "mine", name], [run], [f"{run}/result.json"]):
        done = command("verify", *target)
        assert done.status == 3, done.err  # a smoke run decides nothing
        assert name in done.out
    assert "smoke" in command("rows", "--collection", "mine", "--json", "-").out
    assert command("report", "--collection", "mine", "--csv", "-").out.count("\n") == 2
    # The packaged reports are not bothered by another collection's runs.
    os.rename(mine / "runs", mine.parent / "runs")
    assert command("rows").status == 0
    assert command("verify", "--collection", "mine", name).status == 3


def test_a_file_names_its_collection(mine: Path, command: Command) -> None:
    name = next(row.reproduction.name for row in read(mine).rows.values() if row.trains)
    done = command("fit", "-c", f"mine/{name}.yaml", *SMOKE, "--trainer.limit_train_batches=2")
    assert done.status == 0, done.err
    assert (mine / "runs" / name / "smoke" / "seed1" / "result.json").is_file()


def test_nothing_is_overwritten(mine: Path, command: Command) -> None:
    assert "is there already" in command("init", "mine").sentence()


def test_a_new_repositorys_readme_stays(tmp_path: Path, command: Command) -> None:
    (tmp_path / "README.md").write_text("mine")
    done = command("init", ".")
    assert (done.status, (tmp_path / "README.md").read_text()) == (0, "mine")
    assert "README.md was there and stays" in done.out
    assert "/runs/" in (tmp_path / ".gitignore").read_text()
    assert command("audit", "--collection", ".").status == 0


def test_what_lies_beside_rows_stops_nothing(tmp_path: Path, command: Command) -> None:
    folder = write(tmp_path / "mine", {"a": {"a_1": {}, "a_2": {}}})
    for hidden in (".#a_1.yaml", "._a_1.yaml", ".a_1.yaml.swp"):  # Emacs' lock, macOS' second half, Vim's copy
        (folder / hidden).symlink_to("user@host.1234:5")
    assert command("audit", "--collection", "mine").status == 0
    (folder / "a_9.yaml").symlink_to("nowhere")
    done = command("audit", "--collection", "mine")
    assert "a_9.yaml cannot be read: No such file" in done.sentence()
    assert "in 2 rows" in done.out


def test_rows_that_are_not_looked_for_are_told(tmp_path: Path, command: Command) -> None:
    folder = write(tmp_path / "mine", {"a": {"a_1": {}, "a_2": {}, "a_3": {}}})
    (folder / "sub").mkdir()
    (folder / "a_2.yaml").rename(folder / "sub" / "a_2.yaml")
    (folder / "a_3.yaml").rename(folder / "a_3.yml")
    (folder / "mkdocs.yml").write_text("site_name: mine\n")
    done = command("audit", "--collection", "mine")
    assert done.status == 2
    assert [line.partition(": ")[2] for line in done.err.splitlines()] == [
        "mine/a_3.yml:1: the row a_3 is not read here; its file must be a_3.yaml in the folder mine itself",
        "mine/sub/a_2.yaml:1: the row a_2 is not read here; its file must be a_2.yaml in the folder mine itself",
    ]


def test_what_a_collection_need_not_have(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "mine", {"a": {"a_1": {}}})
    assert command("audit", "--collection", "mine").status == 0
    assert command("claims", "--collection", "mine").status == 3
    assert command("report", "--collection", "mine").status == 0
    assert "can only be audited" in command("verify", "--collection", "mine", "a_1").sentence()


def test_no_name_of_a_report_stands_in_the_program() -> None:
    names = [*COLLECTION.reports, *COLLECTION.rows]
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / "cifar_hpc").rglob("*.py")
        for name in names
        if re.search(rf"\b{name}\b", file.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert not found


def test_the_packaged_collection_lies_where_it_is_looked_for() -> None:
    assert COLLECTION.folder == REPRODUCTIONS
