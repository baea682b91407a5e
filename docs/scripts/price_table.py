"""Brings docs/price.md up to date with docs/measurements/bench_*.json (`make docs`)."""

import json
from dataclasses import dataclass
from pathlib import Path

from cifar_hpc.collection.convergence import rule
from cifar_hpc.collection.folder import Collection, choosing, chosen
from cifar_hpc.collection.metrics import METRICS
from cifar_hpc.collection.reproduction import TEST_IMAGES, Row
from cifar_hpc.report.markdown import between

DOCS = Path(__file__).parents[1]
MACHINES = {"AMX": ("bench_exact_amx", "bench_fast_amx"), "AVX-512, Zen 5": ("bench_exact", "bench_fast")}
"""Committed measurements in fp32 and with the overlay `fast`, by the kind of processor."""
EVALUATION_PACE = 3
"""Evaluated images for one trained, in the same time: 2 to 4 in the records under results/."""
TIMED_EPOCHS = 2
"""Of rows of which nothing but seconds is printed."""


@dataclass(frozen=True)
class Price:
    """What one run costs.

    Attributes:
        row: that is trained.
        judges: rows that the run is evidence for, itself among them.
        epochs: the fewest and the most.
        hours: for the most epochs, on each machine: of the plain script, of ours in fp32, of ours with the overlay.
    """

    row: str
    judges: list[str]
    epochs: tuple[int, int]
    hours: dict[str, tuple[float, float, float]]


def prices(collection: Collection) -> list[Price]:
    """Of the longest run of each experiment, which judges the others that are one experiment with it."""
    measured = {machine: [_rates(name) for name in names] for machine, names in MACHINES.items()}
    found, done = [], set()
    for row in sorted(collection.rows.values(), key=lambda row: (not _prints_accuracy(row), -row.epochs)):
        name = row.reproduction.name
        if not row.trains or name in done:
            continue
        judged = sorted(relative.reproduction.name for relative in collection.relatives(row))
        done |= set(judged)
        most = row.epochs if _prints_accuracy(row) else TIMED_EPOCHS
        arguments = rule(row.config)
        epochs = min(most, arguments["at_least"]) if arguments else most, most
        hours = {}
        for machine, (exact, fast) in measured.items():
            rates = exact[name][1], exact[name][0], fast[name][0]
            plain, ours, overlaid = (
                (row.train_images + TEST_IMAGES / EVALUATION_PACE) / rate * most / 3600 for rate in rates
            )
            hours[machine] = plain, ours, overlaid
        found.append(Price(name, judged, epochs, hours))
    return sorted(found, key=lambda price: price.row)


def _prints_accuracy(row: Row) -> bool:
    return any(getattr(row.reproduction.reported, metric) is not None for metric in METRICS)


def _rates(name: str) -> dict[str, tuple[float, float]]:
    """Images a second of ours and of the plain script, by row."""
    content = json.loads((DOCS / "measurements" / f"{name}.json").read_text(encoding="utf-8"))
    return {row["row"]: (row["ours_images_per_second"], row["plain_images_per_second"]) for row in content["rows"]}


def table() -> str:
    """Markdown: a line for each run, and their sums with the most epochs and with the fewest."""
    with choosing(str(DOCS.parent / "reproductions")):
        found = prices(chosen())
    heads = [f"{machine}: {what}" for machine in MACHINES for what in ("plain script", "ours, fp32", "ours, fast")]
    lines = ["| run | judges too | epochs | " + " | ".join(heads) + " |", "|---|---|---:|" + "---:|" * len(heads)]
    totals = {"at most": [0.0] * len(heads), "at least": [0.0] * len(heads)}
    for price in found:
        hours = [hours for machine in MACHINES for hours in price.hours[machine]]
        fewest, most = price.epochs
        for place, value in enumerate(hours):
            totals["at most"][place] += value
            totals["at least"][place] += value * fewest / most
        others = ", ".join(f"`{name}`" for name in price.judges if name != price.row)
        epochs = str(most) if fewest == most else f"{fewest} to {most}"
        lines.append(f"| `{price.row}` | {others} | {epochs} | {' | '.join(f'{value:.1f}' for value in hours)} |")
    for name, values in totals.items():
        lines.append(f"| **all, {name}** | | | {' | '.join(f'**{value:.0f}**' for value in values)} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The page with the table between its two marks."""
    return between(page, "<!-- price: begin -->", "<!-- price: end -->", table())


if __name__ == "__main__":
    path = DOCS / "price.md"
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
