"""The reports at a glance: worst first, on one screen, and as CSV."""

import csv
import io

from cifar_hpc.report import contents, summary
from tests.conftest import EXPECTED, Command


def test_the_worst_report_comes_first(command: Command) -> None:
    reports = contents.gather().worst_first
    impossible = [report.strengths["impossible"] for report in reports]
    assert impossible == sorted(impossible, reverse=True)
    assert sum(report.strengths.total() for report in reports) == len(EXPECTED["findings"])
    lines = command("report").out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(reports) + 1]] == [report.name for report in reports]
    assert all(len(line) <= 80 for line in lines[: len(reports) + 1])
    for line, report in zip(lines[1:], reports, strict=False):
        assert summary.told(report)[:10] in line


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
