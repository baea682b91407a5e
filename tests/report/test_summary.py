"""The reports at a glance: worst first, on one screen, and as CSV."""

import csv
import io
import re
from pathlib import Path

import yaml

from cifar_hpc.report import contents, summary
from tests.collection.test_folder import write
from tests.conftest import EXPECTED, Command

BALANCED = {"images": 10_000, "classes": 10, "class_images": 1000}


def test_the_worst_report_comes_first(command: Command) -> None:
    reports = contents.gather().worst_first
    impossible = [report.strengths["impossible"] for report in reports]
    assert impossible == sorted(impossible, reverse=True)
    assert sum(report.strengths.total() for report in reports) == len(EXPECTED["findings"])
    lines = command("report").out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(reports) + 1]] == [report.name for report in reports]
    for line, report in zip(lines[1:], reports, strict=False):
        assert line.endswith(f"  {summary.told(report)}")


def test_rules_that_do_not_fit_the_terminal_are_counted() -> None:
    worst = contents.gather().worst_first[0]
    whole = summary.told(worst)
    for room in range(30, len(whole) + 1):
        told = summary.told(worst, room)
        assert len(told) <= max(room, len(summary.told(worst, 0)))
        assert told == whole or re.search(r"(: |, )\d+ (more )?rules?$", told)
    assert summary.told(worst, len(whole)) == whole


def test_what_cannot_be_read_or_checked_is_not_called_clean(command: Command, tmp_path: Path) -> None:
    mine = write(
        tmp_path / "mine", {"clean": {"clean_1": {"test_set": BALANCED}}, "vague": {"vague_1": {}, "vague_2": {}}}
    )
    write(tmp_path / "others", {"torn": {"torn_1": {}, "torn_2": {}}})
    for file in (tmp_path / "others").glob("torn_*"):
        file.rename(mine / file.name)
    index = yaml.safe_load((mine / "collection.yaml").read_text())
    index["reports"]["torn"] = {"title": "Torn"}
    (mine / "collection.yaml").write_text(yaml.safe_dump(index))
    (mine / "torn_2.yaml").write_text(
        "reproduction: {row: torn_2, report: torn, reported: {test_accuracy_percent: 120}}"
    )
    done = command("report", "--collection", "mine", "--csv", "grades.csv")
    assert done.status == 2
    told = {line.split()[0]: line for line in done.out.splitlines()[1:4]}
    assert next(iter(told)) == "torn"
    assert "1 mistake in files; 1 of 1 rows not checked" in told["torn"]
    assert told["vague"].endswith("2 of 2 rows not checked")
    assert told["clean"].endswith("none")
    lines = {line["report"]: line for line in csv.DictReader(io.StringIO((tmp_path / "grades.csv").read_text()))}
    assert [lines[name]["mistakes in files"] for name in ("torn", "vague", "clean")] == ["1", "0", "0"]
    assert "a percentage must lie between" in lines["torn"]["findings"]
    assert lines["vague"]["rows not checked"] == "2"


def test_the_gradebook_has_a_line_for_each_report(command: Command) -> None:
    done = command("report", "--csv", "-")
    lines = list(csv.DictReader(io.StringIO(done.out)))
    found = {report.name: report for report in contents.gather().reports}
    assert {line["report"] for line in lines} == set(found)
    for line in lines:
        report = found[line["report"]]
        assert int(line["rows"]) == len(report.rows)
        assert int(line["numbers"]) == sum(report.counts.values()) == sum(int(line[state]) for state in contents.STATES)
        assert line["authors"] == report.report.authors
        assert all(finding.sentence in line["findings"] for finding in report.all_findings)
    assert "cannot be written" in command("report", "--csv", "no/such/folder.csv").sentence()


def test_a_broken_file_is_counted_for_the_report_that_it_names(command: Command, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", {"anna": {"anna_1": {"test_set": BALANCED}}, "bob": {}})
    (mine / "anna_2.yaml").write_text("reproduction: {row: other, report: bob}")
    (mine / "thesis.yaml").write_text("reproduction: {row: thesis, report: bob, reported: {epochs: 0}}")
    (mine / "anna_3.yaml").write_text("reproduction: {row: anna_3")
    assert command("report", "--collection", "mine").status == 2
    lines = command("report", "--collection", "mine").out.splitlines()
    assert lines[1].startswith("bob ")
    assert lines[1].endswith("2 mistakes in files")
    assert lines[2].endswith("1 mistake in files")
