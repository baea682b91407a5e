"""Pages that are generated are up to date."""

from cifar_hpc import reproduction
from cifar_hpc.report import origins
from tests.conftest import ROOT


def test_reports_page_is_up_to_date() -> None:
    rows = [reproduction.read_row(path) for path in reproduction.row_files()]
    assert (ROOT / "docs" / "reports.md").read_text(encoding="utf-8") == origins.page(rows), "run `make docs`"
