"""The command `rows`: every row, what it reports, and the best evidence so far."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cifar_hpc.collection.metrics import WORDS
from cifar_hpc.collection.reproduction import Row, prints_no_metric, reported_values
from cifar_hpc.errors import UserError
from cifar_hpc.output import counted, tell, tell_table, terminal_width, write_file, write_json_output
from cifar_hpc.report import durations, origins
from cifar_hpc.report.markdown import between, escape
from cifar_hpc.verify import reader
from cifar_hpc.verify.judge import RowVerdict, judge_row
from cifar_hpc.verify.reader import Found

_NO_EVIDENCE = "not yet run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `rows`."""
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write JSON to FILE (- for standard output)"
    )
    parser.add_argument("--readme", metavar="FILE", type=Path, help="bring the table in this README up to date")
    parser.add_argument("--origins", metavar="FILE", type=Path, help="write where every setting comes from to FILE")
    parser.add_argument("--durations", metavar="FILE", type=Path, help="write how long each row takes to FILE")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `rows`."""
    return command(arguments.json, arguments.readme, arguments.origins, arguments.durations)


def command(json_file: str | None, readme: Path | None, origins_page: Path | None, durations_page: Path | None) -> int:
    """Prints the table, writes JSON, or brings generated pages up to date.

    Args:
        json_file: where JSON goes; `-` for standard output.
        readme: the README.
        origins_page: the page on where every setting comes from.
        durations_page: the page on how long each row takes.
    """
    found = reader.read_all(committed_only=readme is not None)
    rows = list(found.collection.rows.values())
    described = describe(found)
    problems = [*found.collection.problems, *found.problems]
    if origins_page is not None:
        write_file(origins_page, origins.page(found.collection), "--origins")
    if durations_page is not None:
        kept = found if readme is not None else reader.read_all(committed_only=True)
        write_file(durations_page, durations.page(rows, kept), "--durations")
    if readme is not None:
        write_file(readme, with_table(_read(readme), described), "--readme")
    if json_file is not None:
        write_json_output({"problems": problems, "rows": described}, json_file)
    if json_file != "-":
        show(described)
    if problems:
        raise UserError("\n".join(problems))
    return 0


def _duration(duration: durations.Duration | None) -> dict[str, Any] | None:
    return None if duration is None else asdict(duration) | {"row_seconds": duration.row_seconds}


def _read(readme: Path) -> str:
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--readme {readme} cannot be read: {getattr(error, 'strerror', 'it is no text')}") from error
    if not 0 <= text.find(_BEGIN) < text.find(_END):
        raise UserError(f"--readme {readme} has no table to bring up to date: no lines {_BEGIN} and {_END}")
    return text


def describe(found: Found) -> list[dict[str, Any]]:
    """Describes all rows as plain data, with the evidence among what was found, and how long each takes."""
    rows = list(found.collection.rows.values())
    lasting = durations.durations(rows, found)
    return [_describe(row, found) | {"duration": _duration(lasting.get(row.reproduction.name))} for row in rows]


def _describe(row: Row, found: Found) -> dict[str, Any]:
    group = row.reproduction
    return {
        "id": group.row,
        "report": group.report,
        "where": group.where,
        "label": group.label,
        "dataset": row.dataset,
        "model": row.model,
        "trainable_parameters": group.trainable_parameters,
        "reported": reported_values(group.reported),
        "evidence": best_evidence(row, found),
    }


def best_evidence(row: Row, found: Found) -> dict[str, Any] | None:
    """Picks the verdicts of the strongest records, whole runs before prefixes; runs with other settings are none."""
    verdicts = judge_row(row.reproduction, found.evidence(row), found.records)
    best = next((verdict for verdict in verdicts if not verdict.changed), None)
    if best is None:
        return None
    return {
        "tier": best.tier,
        "epoch": best.epoch,
        "seeds": list(best.seeds),
        "shared_from": list(best.shared_from),
        "reported": {metric: judgement.reported for metric, judgement in best.judgements.items()},
        "verdicts": {metric: judgement.verdict for metric, judgement in best.judgements.items()},
        "measured": {metric: judgement.measured for metric, judgement in best.judgements.items()},
        "half_widths": {metric: judgement.half_width for metric, judgement in best.judgements.items()},
        "summary": summary(best),
    }


def summary(verdict: RowVerdict) -> str:
    """Puts the evidence in a few words."""
    accuracy = verdict.judgements.get("test_accuracy_percent") or verdict.judgements.get("train_accuracy_percent")
    if accuracy is None or accuracy.measured is None:
        return f"{verdict.tier}, nothing reported to compare"
    if verdict.tier == "prefix":  # compared with the printed curve, and no answer to the row's own number
        return f"ep. {verdict.epoch}: {accuracy.measured:.2f}/{accuracy.reported:.2f} {accuracy.verdict}"
    if verdict.tier == "smoke":
        return f"ep. {verdict.epoch}: {accuracy.measured:.2f}/– {accuracy.verdict}"
    told = counted(len(verdict.seeds), "seed") + ("*" if verdict.shared_from else f", {verdict.tier}")
    return f"{accuracy.measured:.2f} {accuracy.verdict}, {told}"


def show(described: list[dict[str, Any]]) -> None:
    """Prints one line a row with its state, in percent; the networks too where they fit into the terminal's width."""
    head = ("row", "network", "reported", "measured", "state")
    lines = [_cells(row) for row in described]
    width = sum(max(map(len, column)) + 2 for column in zip(head, *lines, strict=True)) - 2
    shown = [name for name in head if name != "network" or width <= (terminal_width() or 80)]
    chosen = [[cell for name, cell in zip(head, cells, strict=True) if name in shown] for cells in lines]
    tell_table(shown, chosen)
    tell("Accuracies on the test set, in percent; t: of the training")
    tell("*: with runs of rows that are one experiment with it")
    if len(shown) < len(head):
        tell("A wider terminal shows the networks too.")


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Makes a row's line: name, network, printed accuracy, measured one, how far it is judged."""
    printed = (m for m in ("test_accuracy_percent", "train_accuracy_percent") if row["reported"][m] is not None)
    metric = next(printed, "")
    reported = row["reported"].get(metric)
    measured, state = _state(row, metric)
    mark = "t" if metric.startswith("train") else " "
    numbers = ["–" if value is None else f"{value:.2f}{mark}" for value in (reported, measured)]
    return row["id"], row["model"] or "–", f"{numbers[0]:>8}", f"{numbers[1]:>8}", state


def _state(row: dict[str, Any], metric: str) -> tuple[float | None, str]:
    """Finds the measured number where it can be held against the row's printed one, and how far the row is judged."""
    evidence = row["evidence"]
    if not row["model"]:
        return None, "nothing to run: for `audit` alone"
    if row["duration"] is not None and prints_no_metric(row["reported"]):
        return None, f"timed: {_timed(row)}"
    if evidence is None:
        return None, _NO_EVIDENCE
    measured = evidence["measured"].get(metric)
    if evidence["tier"] != "full":
        told = "" if measured is None else f", {measured:.2f}"
        if evidence["tier"] == "prefix" and told:  # else nothing is printed at that epoch
            told += f" for {evidence['reported'][metric]:.2f}"
        return None, f"partly: epoch {evidence['epoch']}{told}"
    if measured is None:
        return None, "judged: no accuracy to compare"
    told = counted(len(evidence["seeds"]), "seed") + "*" * bool(evidence["shared_from"])
    return measured, f"judged: {evidence['verdicts'][metric]}, {told}"


def markdown(described: list[dict[str, Any]]) -> str:
    """Writes the README's table."""
    lines = ["| row | network | metric | reported | measured | verdict |", "|---|---|---|---:|---:|---|"]
    for row in described:
        evidence = row["evidence"]
        for metric in _README_METRICS:
            reported = row["reported"][metric]
            if reported is None:
                continue
            cells = [
                f"`{row['id']}`",
                escape(row["model"]),
                WORDS[metric],
                f"{reported:.2f} %",
                *_found(evidence, metric),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    silent = [row for row in described if all(row["reported"][m] is None for m in _README_METRICS)]
    if silent:
        told = ", ".join(f"`{row['id']}` ({_timed(row)})" for row in silent)
        lines += ["", f"Of {len(silent)} more rows the reports print no accuracy: {told}."]
    return "\n".join(lines)


def _timed(row: dict[str, Any]) -> str:
    """Says how long an epoch of a row took; docs/durations.md says where."""
    if not row["model"]:
        return "for `audit` alone"
    duration = row["duration"]
    return "not yet timed" if duration is None else f"{duration['epoch_seconds']:.0f} s an epoch"


def _found(evidence: dict[str, Any] | None, metric: str) -> tuple[str, str]:
    """Says what was measured and the verdict, as the README's table has them."""
    if evidence is None or metric not in evidence["measured"]:
        return "", _NO_EVIDENCE
    half, verdict = evidence["half_widths"][metric], evidence["verdicts"][metric]
    measured = f"{evidence['measured'][metric]:.2f}" + (f" ± {half:.2f} %" if half else " %")
    seeds = f"seed{'s' if len(evidence['seeds']) > 1 else ''} {', '.join(map(str, evidence['seeds']))}"
    if evidence["shared_from"]:
        seeds += f"; with runs of {', '.join(f'`{name}`' for name in evidence['shared_from'])}"
    if evidence["tier"] == "prefix":
        printed = f"{evidence['reported'][metric]:.2f} %"
        return "", f"not yet run in full; at epoch {evidence['epoch']} {measured} for {printed}: {verdict} ({seeds})"
    if evidence["tier"] == "smoke":
        return (
            "",
            f"not yet run in full; {measured} at epoch {evidence['epoch']}, for which nothing is printed ({seeds})",
        )
    return measured, f"{verdict} (epoch {evidence['epoch']}, {seeds})"


def with_table(readme: str, described: list[dict[str, Any]]) -> str:
    """Brings the table in the README's text up to date."""
    return between(readme, _BEGIN, _END, markdown(described))


_README_METRICS = ("train_accuracy_percent", "test_accuracy_percent")
_BEGIN, _END = "<!-- rows: begin (`make results`) -->", "<!-- rows: end -->"
