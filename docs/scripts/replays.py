"""Writes the table of replays in docs/campaign.md, between its marks, from results/replays.

python docs/scripts/replays.py
"""

from pathlib import Path

from cifar_hpc.report.markdown import between
from cifar_hpc.verify import replay

PAGE = Path(__file__).parents[1] / "campaign.md"
BEGIN, END = "<!-- replays: begin (`make docs`) -->", "<!-- replays: end -->"


def with_table(page: str) -> str:
    """The page with its table brought up to date."""
    return between(page, BEGIN, END, replay.page_table(replay.committed()))


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
