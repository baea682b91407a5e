"""Writes the table of replays in docs/campaign.md, between its marks, from results/replays.

python docs/scripts/replays.py
"""

from collections.abc import Iterable
from pathlib import Path

from cifar_hpc.report.markdown import between
from cifar_hpc.verify.replay import REPLAYED, Replay, committed

PAGE = Path(__file__).parents[1] / "campaign.md"
BEGIN, END = "<!-- replays: begin (`make docs`) -->", "<!-- replays: end -->"


def with_table(page: str) -> str:
    """The page with its table brought up to date."""
    return between(page, BEGIN, END, table(committed()))


def table(replays: Iterable[Replay]) -> str:
    """Writes the committed replays as Markdown."""
    lines = ["| record | processors | epochs | largest differences |", "|---|---|---:|---|"]
    for replay in replays:
        largest = []
        for metric in REPLAYED:
            sizes = [d.size for d in replay.differences if d.metric == metric]
            if sizes:
                unit = "points" if "accuracy" in metric else "%"
                largest.append(f"{metric.replace('_', ' ')} {max(sizes):.3f} {unit}")
        where = " → ".join(str(side.get("gpu") or side["cpu"]) for side in (replay.recorded_on, replay.replayed_on))
        where += f", {replay.replayed_on['precision']}"
        cells = (f"`{replay.row}`, seed {replay.seed}", where, str(replay.epochs), ", ".join(largest))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
