"""Brings the printed logs of docs/evidence.md up to date with the records under results/ (`make docs`)."""

from collections.abc import Iterator
from pathlib import Path

from cifar_hpc.collection.folder import choosing, chosen
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.report.markdown import between
from cifar_hpc.verify import reader
from cifar_hpc.verify.judge import at_epoch, by_seed
from cifar_hpc.verify.reader import Found

DOCS = Path(__file__).parents[1]


def tables() -> str:
    """Markdown: for each row that prints a log and was run in full, its training accuracies beside ours."""
    with choosing(str(DOCS.parent / "reproductions")):
        found = reader.read_all(committed_only=True)
        return "\n\n".join(table for row in chosen().rows.values() for table in _table(row, found))


def _table(row: Row, found: Found) -> Iterator[str]:
    name = row.reproduction.name
    records = [r for r in found.of(name) if r.tier == "full" and not r.changed]
    log = [point for point in row.reproduction.reported.curve if point.train_accuracy_percent is not None]
    if not records or not log:
        return
    seeds = ", ".join(str(record.seed) for record in records)
    plural = "s" * (len(records) > 1)
    lines = [
        f"`{name}`, training accuracy in percent, ours of seed{plural} {seeds}:",
        "",
        "| epoch | printed | ours | off |",
    ]
    lines.append("|---:|---:|---:|---:|")
    for point in log:
        values = by_seed(records, lambda record, epoch=point.epoch: at_epoch(record, epoch, "train_accuracy"))
        printed = point.train_accuracy_percent
        if values and printed is not None:
            ours = 100 * sum(values) / len(values)
            lines.append(f"| {point.epoch} | {printed:.2f} | {ours:.2f} | {round(ours - printed, 2) + 0.0:+.2f} |")
    yield "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with the tables between their two marks."""
    return between(page, "<!-- curves: begin -->", "<!-- curves: end -->", tables())


if __name__ == "__main__":
    path = DOCS / "evidence.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
