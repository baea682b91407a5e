"""Pages that are generated are up to date."""

import shutil
from pathlib import Path

import pytest

from cifar_hpc import reproduction
from cifar_hpc.report import origins
from tests.conftest import REPRODUCTIONS, ROOT, Refuse


def test_reports_page_is_up_to_date() -> None:
    rows = [reproduction.read_row(path) for path in reproduction.row_files()]
    assert (ROOT / "docs" / "reports.md").read_text(encoding="utf-8") == origins.page(rows), "run `make docs`"


def test_a_report_without_notes_is_told(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(REPRODUCTIONS, tmp_path / "reproductions")
    notes = folder / "notes" / "reports.yaml"
    notes.write_text(notes.read_text(encoding="utf-8").replace("ghugre:\n", "another:\n"), encoding="utf-8")
    monkeypatch.setattr(reproduction, "reproductions_folder", lambda: folder)
    assert f"{notes}: ghugre is missing" in refuse("rows", "--origins", tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()
