"""Pages show what was generated, or measured."""

import json
import re
import runpy
import statistics
from pathlib import Path

import pytest

from cifar_hpc.cli import main
from cifar_hpc.report import origins
from tests.conftest import COLLECTION, ROOT


def test_reports_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "reports.md").read_text(encoding="utf-8") == origins.page(COLLECTION), "run `make docs`"


def test_the_table_on_performance_is_up_to_date() -> None:
    with_table = runpy.run_path(str(ROOT / "docs" / "scripts" / "bench_table.py"))["with_table"]
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert with_table(page) == page, "run `make docs`"
    assert page.count("\n") <= 120


def test_the_table_of_prices_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "scripts" / "price_table.py"))
    page = (ROOT / "docs" / "price.md").read_text(encoding="utf-8")
    assert script["with_table"](page) == page, "run `make docs`"
    priced = [name for price in script["prices"](COLLECTION) for name in price.judges]
    assert sorted(priced) == sorted(COLLECTION.rows)  # each row once


def test_the_logs_beside_ours_are_up_to_date() -> None:
    with_tables = runpy.run_path(str(ROOT / "docs" / "scripts" / "curves.py"))["with_tables"]
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "run `make docs`"


def test_tables_on_scaling_are_up_to_date() -> None:
    with_tables = runpy.run_path(str(ROOT / "docs" / "scripts" / "scaling_tables.py"))["with_tables"]
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "run `python docs/scripts/scaling_tables.py`"


def test_the_table_of_replays_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with_table = runpy.run_path(str(ROOT / "docs" / "scripts" / "replays.py"))["with_table"]
    page = (ROOT / "docs" / "campaign.md").read_text(encoding="utf-8")
    assert with_table(page) == page, "run `python docs/scripts/replays.py`"


def test_the_example_on_scaling_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    shown = re.search(r"^\$ python -m cifar_hpc (bench predict .*)\n((?:.*\n)*?)```", page, re.MULTILINE)
    assert shown is not None
    assert main(shown[1].split()) == 0
    assert capsys.readouterr().out == shown[2]


def test_the_first_minutes_fit_a_terminal_and_show_the_scripts_commands() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "scripts" / "first_minutes.py"))
    screens = re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "first_minutes.md").read_text("utf-8"), re.DOTALL)
    commands = [f"$ python -m cifar_hpc {arguments}".rstrip() for arguments, _ in script["COMMANDS"]]
    assert [screen.splitlines()[0] for screen in screens] == commands
    assert all(len(line) <= script["COLUMNS"] for screen in screens for line in screen.splitlines())


def test_the_page_on_ghugre_gives_what_the_runs_gave() -> None:
    runs = json.loads((ROOT / "docs" / "measurements" / "ghugre_listing.json").read_text())["runs"]
    files = sorted((ROOT / "results" / "ghugre_sequential").glob("seed?/result.json"))
    curves = [json.loads(file.read_text())["curve"] for file in files]
    others = sorted((ROOT / "results" / "ghugre_sequential").glob("seed?-torch/result.json"))
    ends = [json.loads(file.read_text())["curve"][-1] for file in others]
    row = COLLECTION.row("ghugre_sequential")
    printed = {point.epoch: point for point in row.reproduction.reported.curve}
    page = (ROOT / "docs" / "ghugre.md").read_text(encoding="utf-8")
    for epoch in (1, 5, 10, 15):
        cells = [str(epoch)]
        for name in ("train_accuracy", "test_accuracy"):
            for values in ([run[name][epoch - 1] for run in runs], [curve[epoch - 1][name] for curve in curves]):
                cells.append(f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}")
            cells.append(f"{getattr(printed[epoch], f'{name}_percent'):.2f}")
        assert f"| {' | '.join(cells)} |" in page
    told = [", ".join(f"{100 * end[name]:.2f}" for end in ends) for name in ("train_accuracy", "test_accuracy")]
    assert f"| torch's, seeds 1 and 2 | {' | '.join(told)} |" in page


def test_the_page_on_luo_gives_what_the_runs_gave() -> None:
    row = COLLECTION.row("luo_workload1_vgg")
    vgg16, second = (ROOT / "results" / "luo_workload1_vgg" / f"seed{seed}" / "result.json" for seed in (1, 2))
    files = vgg16, ROOT / "docs" / "measurements" / "luo_vgg19.json", second
    curves = [json.loads(file.read_text())["curve"] for file in files]
    page = (ROOT / "docs" / "luo.md").read_text(encoding="utf-8")
    assert {10} == {len(curve) for curve in (*curves, row.reproduction.reported.curve)}
    for printed, *runs in zip(row.reproduction.reported.curve, *curves, strict=True):
        accuracies = [f"{100 * run['train_accuracy']:.2f}" for run in runs]
        losses = [f"{run['train_loss']:.4f}" for run in runs]
        cells = [f"{printed.train_accuracy_percent:.2f}", *accuracies, f"{printed.train_loss:.4f}", *losses]
        assert f"| {printed.epoch} | {' | '.join(cells)} |" in page


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_a_page_that_calls_the_program_by_its_other_name_says_so_once() -> None:
    pages = [*PAGES, ROOT / "cifar_hpc" / "collection" / "template" / "README.md"]
    texts = {page: " ".join(page.read_text(encoding="utf-8").split()) for page in pages}
    calling = [page for page, text in texts.items() if re.search(r"\bcifar-hpc (?!and|are)[a-z]", text)]
    assert {page.name for page in calling} >= {"README.md", "one-paper.md"}
    for page in calling:
        assert len(re.findall(r"`[^`]*cifar.hpc` and `[^`]*cifar.hpc` are the same program", texts[page])) == 1, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(
        re.findall(r"\b((?:cifar_hpc|tests|docs|configs|reproductions)/[\w/.-]+\.(?:py|md|yaml|sbatch|sh))", text)
    )
    assert not [name for name in named if not (ROOT / name).is_file() and "ROW" not in name and "smith_" not in name]
    links = re.findall(r"\]\(([^)#:]+)[)#]", text)
    assert not [link for link in links if not (page.parent / link).exists()]
