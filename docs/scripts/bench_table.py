"""Brings the table of docs/performance.md up to date with docs/measurements/bench_*.json (`make docs`)."""

import json
from pathlib import Path
from typing import Any

from cifar_hpc.report.markdown import between

DOCS = Path(__file__).parents[1]
COLUMNS = {
    "bench_exact_avx2": "AVX2 (fp32)",
    "bench_exact": "AVX-512, Zen 5 (fp32)",
    "bench_exact_amx": "AMX (fp32)",
    "bench_fast": "AVX-512, Zen 5 (bf16)",
    "bench_fast_amx": "AMX (bf16)",
}
"""Committed measurements, by what computed and in which precision."""


def cell(found: dict[str, Any]) -> str:
    """Ours over plain with its quartiles, and our images per second."""
    low, high = found["ratio_quartiles"]
    rate = found["ours_images_per_second"]
    return f"**{found['ratio']:.2f}** ({low:.2f}–{high:.2f}) {rate:,.0f}"


def table() -> str:
    """Markdown: a line for each experiment, a column for each kind of processor."""
    measured = {}
    for name in COLUMNS:
        content = json.loads((DOCS / "measurements" / f"{name}.json").read_text(encoding="utf-8"))
        measured[name] = {row["measured_as"]: row for row in content["rows"]}, content["geometric_mean_ratio"]
    first = next(iter(measured.values()))[0]
    lines = [
        "| network | row | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    for row, found in sorted(first.items(), key=lambda each: -each[1]["ratio"]):
        cells = [cell(rows[row]) if row in rows else "" for rows, _ in measured.values()]
        lines.append(f"| {found['network']} | `{row}` | {' | '.join(cells)} |")
    means = " | ".join(f"**{mean:.2f}**" for _, mean in measured.values())
    return "\n".join([*lines, f"| geometric mean | | {means} |"])


def with_table(page: str) -> str:
    """The page with the table between its two marks."""
    return between(page, "<!-- bench: begin -->", "<!-- bench: end -->", table())


if __name__ == "__main__":
    path = DOCS / "performance.md"
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
