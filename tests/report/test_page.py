"""The page over everything measured, from kept records, from many, and from bad ones."""

import builtins
import contextlib
import dataclasses
import html
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest

from cifar_hpc.cli import main
from cifar_hpc.collection.metrics import METRICS, SECONDS
from cifar_hpc.report import contents, page, plots
from cifar_hpc.verify.claims import JudgedClaim
from tests import made_up
from tests.conftest import COLLECTION, HANGING, ROOT, Command, Refuse

KEPT = made_up.KEPT
PLAIN_ROWS = [
    name
    for name, row in COLLECTION.rows.items()
    if row.dataset == "cifar10"
    and not row.config["data"].get("holdout_images")
    and "callbacks" not in row.config["trainer"]
]
"""Rows of CIFAR-10 that train all images for a set number of epochs, as the records that tests make up do."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the kept records, made once."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "results", folder / "results")
    with contextlib.chdir(folder):
        assert main(["report"]) == 0
    return folder / "report"


@pytest.fixture
def written(pages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page, in the folder where it was made."""
    monkeypatch.chdir(pages.parent)
    return pages


def keep(results: Path, row: str, seed: int) -> Path:
    """Keeps a run of a row under a seed."""
    return made_up.keep(results / row / f"seed{seed}", row, seed)


class Elements(HTMLParser):
    """What a browser would see: tags that must close, ids, and what is fetched."""

    VOID = ("meta", "col", "br", "wbr", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        for key in ("src", "href", "xlink:href"):
            target = given.get(key) or "#"
            if not target.startswith(("#", "data:")):
                self.fetched.append(target)
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    assert elements.fetched == []
    assert "@import" not in text
    assert "url(http" not in text
    assert len(elements.ids) == len(set(elements.ids))
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert referred <= set(elements.ids)


def test_every_printed_number_stands_on_both_pages(written: Path) -> None:
    as_html = html.unescape((written / "report.html").read_text(encoding="utf-8"))
    as_markdown = (written / "report.md").read_text(encoding="utf-8")
    count = 0
    for file in COLLECTION.row_files:
        group = COLLECTION.read(file).reproduction
        one = as_html.partition(f'<article id="{group.row}"')[2].partition("</article>")[0]
        other = as_markdown.partition(f"### {group.row}\n")[2].partition("\n### ")[0]
        assert f"fit -c {group.row}" in one
        assert f"fit -c {group.row}" in other
        for metric in (*METRICS, *SECONDS):
            value = getattr(group.reported, metric)
            if value is not None:
                count += 1
                assert page.value(value, metric) in one
                assert page.value(value, metric) in other
    assert sum(contents.gather().counts.values()) == count


def test_verdicts_and_evidence_are_those_of_verify(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(["verify", "ghugre_sequential", "--json", "-"])
    (row,) = (row for row in json.loads(capsys.readouterr().out)["rows"] if not row["changed"])
    text = (written / "report.html").read_text(encoding="utf-8")
    text = html.unescape(text.partition('<article id="ghugre_sequential"')[2].partition("</article>")[0])
    for metric in ("test_accuracy_percent", "train_accuracy_percent"):
        judgement = row["judgements"][metric]
        assert f"{judgement['measured']:.2f} %" in text
        assert f"± {judgement['half_width']:.2f}" in text
        assert judgement["verdict"] in text
    for selection in row["selections"]:
        assert (selection["reason"] or f"{selection['accuracy']:.2f} %") in text
    assert "seeds 1, 2, 3, 4, 5" in text
    assert "training, reported" in text
    assert "test, ours" in text


def test_findings_stand_at_their_rows(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(["audit", "--json", "-"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert findings
    text = (written / "report.html").read_text(encoding="utf-8")
    for finding in findings:
        place = f'<article id="{finding["row"]}"' if finding["row"] else f'<section id="{finding["report"]}"'
        assert finding["sentence"] in html.unescape(text.partition(place)[2])
        assert finding["sentence"] in (written / "report.md").read_text(encoding="utf-8")
    impossible = sum(finding["strength"] == "impossible" for finding in findings)
    assert re.search(rf"; {impossible} combinations? of them (is|are) impossible as printed\.", text)


def test_same_records_give_the_same_files(written: Path) -> None:
    first = {file.name: file.read_bytes() for file in written.rglob("*.*")}
    assert main(["report"]) == 0
    assert first == {file.name: file.read_bytes() for file in written.rglob("*.*")}


def test_pictures_of_the_markdown_are_there(written: Path) -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (written / "report.md").read_text(encoding="utf-8"))
    assert pictures
    assert {written / picture for picture in pictures} == set((written / "plots").iterdir())


def test_a_hundred_records_are_each_read_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What would make the page slow is work that grows with the square of the records, or plots with their number;
    # counted, as seconds are the machine's.
    for number in range(100):
        keep(tmp_path / "results", PLAIN_ROWS[number % len(PLAIN_ROWS)], 1 + number)
    read: Counter[str] = Counter()
    opened, drawing = open, plots.drawing

    def counted_open(file: Any, *arguments: Any, **settings: Any) -> Any:
        read[str(file)] += 1
        return opened(file, *arguments, **settings)

    def counted_drawing(*arguments: Any, **settings: Any) -> Any:
        read["plots"] += 1
        return drawing(*arguments, **settings)

    for module in (builtins, io):  # numpy's door and pathlib's
        monkeypatch.setattr(module, "open", counted_open)
    monkeypatch.setattr(plots, "drawing", counted_drawing)
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert sum(map(int, re.findall(r"(\d+) records?,", text))) >= 100  # a run may tell of several rows
    assert 0 < read.pop("plots") <= 4 * len(COLLECTION.row_files)
    for name in ("result.json", "predictions.npz", "config.yaml"):
        files = [count for file, count in read.items() if file.startswith("results") and file.endswith(name)]
        assert len(files) == 100, name
        assert max(files) <= 5, name  # a row has four records or more, which none of its files is read for


def test_bad_records_are_told_and_the_page_is_written(tmp_path: Path, command: Command) -> None:
    results = tmp_path / "results"
    keep(results, "ghugre_sequential", 1)
    forged, gone, cut = (
        keep(results, "ghugre_sequential", 2),
        keep(results, "ghugre_removed", 1),
        keep(results, "x", 1),
    )
    record = json.loads((forged / "result.json").read_text())
    record["selection"]["last"]["test_accuracy"] = 0.9
    (forged / "result.json").write_text(json.dumps(record))
    (cut / "predictions.npz").write_bytes((KEPT / "predictions.npz").read_bytes()[:1000])
    done = command("report", "--out", tmp_path / "out")
    assert done.status == 2
    told = done.err.splitlines()
    assert len(told) == 3  # a sentence each
    text = html.unescape((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    for problem in (
        f"{Path('results/ghugre_sequential/seed2/result.json')} does not follow from its evidence",
        "There is no row ghugre_removed any more",
        f"{Path('results/x/seed1/predictions.npz')} is damaged",
    ):
        assert any(problem in line for line in told)
        assert problem in text
    assert gone.is_dir()
    assert "71.06 %" in text
    assert "90.00 %" not in text


def test_out_that_cannot_be_written_is_told(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "file").touch()
    assert "--out file cannot be written" in refuse("report", "--out", "file")


@pytest.mark.parametrize(("unit", "quantity"), [("ratio", "ratio of seconds per epoch"), ("lead", "lead in points")])
def test_claims_are_drawn_when_something_was_measured(unit: Literal["ratio", "lead"], quantity: str) -> None:
    silent = JudgedClaim("t4", "ghugre", "", "", quantity, 10.9, None, None, "inconclusive", "", (), ())
    measured = dataclasses.replace(silent, claim="cpu", measured=9.5, interval=(8.5, 10.5))
    other = dataclasses.replace(measured, claim="other", quantity="another")
    assert plots.claims("none", [silent, other], unit) is None
    drawn = plots.claims("some", [silent, measured, other], unit)
    assert drawn is not None
    assert "inconclusive: measured 9.5, reported 10.9" in drawn.svg
    assert "t4" not in drawn.svg
    assert "other" not in drawn.svg


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<iframe id="page" src="report/report.html" style="border:0;width:{width}px;height:100000px"></iframe>
<pre id="found"></pre><script>page.onload = () => {{
  const root = page.contentDocument.documentElement;
  root.querySelectorAll("details").forEach(each => each.open = true);
  const wide = [...root.querySelectorAll("*")].filter(
    e => e.getBoundingClientRect().right > {width} + 0.5);
  const small = [...root.querySelectorAll("svg text, td, th, p, code")].filter(e => e.textContent.trim()
    && e.getBoundingClientRect().height > 0 && e.getBoundingClientRect().height < 9);
  found.textContent = "wide " + wide.length + ", small " + small.length + ", scroll " + root.scrollWidth;
}}</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_overflows_or_is_too_small(written: Path, width: int) -> None:
    around = written.parent / "around.html"
    around.write_text(MEASURE.format(width=width))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    done = subprocess.run(
        [str(CHROMIUM), *options, "--virtual-time-budget=3000", "--dump-dom", around.as_uri()],
        capture_output=True, text=True, timeout=HANGING, check=True,
    )  # fmt: skip
    assert f'<pre id="found">wide 0, small 0, scroll {width}</pre>' in done.stdout
