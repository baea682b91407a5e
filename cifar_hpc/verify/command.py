"""The command `verify`: records in, verdicts out, as a table, JSON and JUnit XML."""

import argparse
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from cifar_hpc.collection.folder import Collection, chosen
from cifar_hpc.collection.metrics import WORDS
from cifar_hpc.errors import UserError, did_you_mean
from cifar_hpc.output import counted, printable, tell, write_file, write_json_output
from cifar_hpc.records.record import Record, find_record_files, read_record
from cifar_hpc.verify import reader, recompute, replay
from cifar_hpc.verify.judge import EpochChoice, RowVerdict, exit_status, judge_row
from cifar_hpc.verify.verdicts import MOST_SEEDS, Judgement

LABELS = WORDS | {
    "precision_percent": "macro precision",
    "recall_percent": "macro recall",
    "f1_percent": "macro F1",
    "validation_accuracy_percent": "validation acc.",
}
"""What tables call a value, in at most 17 characters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `verify`."""
    targets = "a run directory, a record file, or a row id (all its records)"
    parser.add_argument("target", metavar="TARGET", nargs="+", help=targets)
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write a JUnit XML report to FILE")
    recompute_help = "judge nothing; recompute every metric from predictions.npz and compare the digests"
    parser.add_argument("--recompute", action="store_true", help=recompute_help)
    replay_help = "judge nothing; train the first epochs again from the seed and compare them with the record's curve"
    parser.add_argument("--replay", action="store_true", help=replay_help)
    parser.add_argument("--epochs", type=int, metavar="K", help="with --replay: epochs to train again (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `verify`."""
    if arguments.epochs is not None and not arguments.replay:
        raise UserError("--epochs says how many epochs --replay trains again; give --replay with it")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise UserError(f"--epochs is {arguments.epochs}; it must be at least 1")
    replayed = (arguments.epochs or 1) if arguments.replay else None
    return command(arguments.target, arguments.json, arguments.junit, arguments.recompute, replayed)


def command(
    targets: list[str], json_file: str | None, junit_file: Path | None, recomputed: bool, replayed: int | None = None
) -> int:
    """Judges the targets, recomputes them from their evidence, or trains their first epochs again.

    Args:
        targets: run directories, record files, or row ids.
        json_file: where JSON goes; `-` for standard output, and then nothing else goes there.
        junit_file: where JUnit XML goes.
        recomputed: whether to recompute instead of judging; see `cifar_hpc.verify.recompute`.
        replayed: epochs to train again instead of judging; see `cifar_hpc.verify.replay`. None for no replay.

    Returns:
        Exit status of the contract: 0, 1 or 3; 2 when a record was bad, the others being judged still.
    """
    if recomputed and replayed is not None:
        raise UserError("--recompute and --replay are two checks; give one of them")
    if (recomputed or replayed is not None) and junit_file is not None:
        flag = "--recompute" if recomputed else "--replay"
        raise UserError(f"--junit has verdicts and {flag} gives none; leave one of them out")
    collection = chosen()
    asked, files, problems = _collect(targets, collection)
    if recomputed or replayed is not None:
        named = {row: [file for file in find_record_files(row) if _is_finished(file)] for row in asked}
        problems += [_nothing_on(row, collection) for row, found in named.items() if not found]
        files = list(dict.fromkeys([*chain.from_iterable(named.values()), *files]))
        if replayed is not None:
            found = reader.read(files)
            problems += found.problems
            return replay.command([*found.records, *found.unfinished], problems, replayed, json_file)
        return recompute.command(files, problems, json_file)
    # All in one go, so that a copy of one is known among the others.
    found = reader.read(dict.fromkeys([*files, *(reader.all_files() if asked else ())]))
    problems += found.problems
    problems += [
        f"{record.path}: the run is {record.status} after {record.epochs_done} epochs; end it with "
        "`fit --resume` before it is judged"
        for record in found.unfinished
        if record.path in files
    ]
    evidence = {row: found.evidence(collection.row(row)) for row in asked}
    problems += [_nothing_on(row, collection) for row, records in evidence.items() if not records]
    mine = [record for record in found.records if record.path in files]
    told_by_mine = replace(found, records=tuple(mine))
    for name in dict.fromkeys(record.row for record in mine if record.row is not None):
        known = evidence.setdefault(name, [])
        known += [record for record in told_by_mine.evidence(collection.row(name)) if record not in known]
    others = found.records if asked else reader.read_all().records
    verdicts = [
        verdict
        for row, records in evidence.items()
        for verdict in judge_row(collection.row(row).reproduction, records, others)
    ]
    status = exit_status([j.verdict for v in verdicts for j in v.judgements.values()])
    if problems:
        status = 2
    if json_file != "-":
        for verdict in verdicts:
            tell(table(verdict))
        for line in _recipes(mine):
            tell(line)
    if json_file is not None:
        write_json_output(as_json(verdicts, problems, status), json_file)
    if junit_file is not None:
        write_junit(verdicts, problems, junit_file)
    if problems:
        raise UserError("\n".join(problems))
    return status


def _collect(targets: list[str], collection: Collection) -> tuple[list[str], list[Path], list[str]]:
    """Finds the rows and the record files that the targets name, and what is wrong with the targets."""
    asked: list[str] = []
    files: list[Path] = []
    problems = list(collection.problems)
    known = {path.stem for path in collection.row_files}
    for target in targets:
        path = Path(target)
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(path.rglob("result.json"))
            if not found:
                problems.append(f"{path} holds no result.json: it is no run's directory, or the run has not begun")
        elif target in known:
            # What is wrong with a row's file is told among the collection's problems.
            asked += [target] if target in collection.rows and target not in asked else []
            continue
        else:
            near = did_you_mean(target, known) or "`rows` lists the ids"
            problems.append(f"{target} is no run directory, no record file and no row id; {near}")
            continue
        files += [file for file in found if file not in files]
    return asked, files, problems


def _recipes(records: Iterable[Record]) -> list[str]:
    """Writes a line on each recipe, of which no report prints what it should reach."""
    accuracies: dict[str, list[float]] = {}
    for record in records:
        if record.row is None and record.selection.last is not None:
            accuracies.setdefault(record.name, []).append(100 * record.selection.last.test_accuracy)
    return [
        f"{name}: a recipe, of which no report prints a number; on the test set {sum(found) / len(found):.2f} % "
        f"(mean of {counted(len(found), 'record')})"
        for name, found in accuracies.items()
    ]


def _nothing_on(row: str, collection: Collection) -> str:
    if not collection.rows[row].trains:
        return f"{row} can only be audited: its file has no trainer, model and data to make a record with"
    where = "results/ or runs/" + f", here or in {collection.folder}" * (not collection.is_default)
    return f"{row} has no finished record under {where}; make one with `{collection.command('fit', '-c', row)}`"


def _is_finished(file: Path) -> bool:
    try:
        return read_record(file).is_complete
    except UserError:
        return True  # so that what is wrong with it is told


def table(verdict: RowVerdict) -> str:
    """Formats one row as a table reported / measured / verdict of 80 columns, with a line for each note."""
    seeds = ", ".join(map(str, verdict.seeds))
    title = f"{verdict.row}: epoch {verdict.epoch} ({verdict.tier}), last epoch taken, "
    title += f"seed{'s' if len(verdict.seeds) > 1 else ''} {seeds}, margin ±{verdict.margin:g} points"
    lines = [title]
    for key, (row_value, run_value) in verdict.changed.items():
        lines.append(f"  changed from the row: {key} is {run_value}, not {row_value}")
    lines.append(f"  {'percent':<17} {'reported':>8}  {'measured':>14}  verdict")
    lines += [_line(metric, judgement) for metric, judgement in verdict.judgements.items()]
    if not verdict.judgements:
        lines.append("  the report prints nothing that these records could be compared with")
    if verdict.selections:
        lines.append("  test accuracy by the choice of epoch (the last one is judged):")
        lines += [_selection_line(selection) for selection in verdict.selections]
        if verdict.choice_of_epoch:
            lines.append(f"    {verdict.choice_of_epoch}")
    lines += [f"  note: {note}" for note in verdict.notes]
    return "\n".join(lines) + "\n"


def _selection_line(selection: EpochChoice) -> str:
    if selection.accuracy is None:
        return f"    {selection.label:<21} {'–':>14}  {selection.reason}"
    return f"    {selection.label:<21} {selection.accuracy:>14.2f}  {selection.told_epochs}"


def _line(metric: str, judgement: Judgement) -> str:
    half = "" if judgement.half_width is None else f" ±{judgement.half_width:5.2f}"
    reported = "" if judgement.reported is None else f"{judgement.reported:.2f}"
    measured = "" if judgement.measured is None else f"{judgement.measured:.2f}{half or ' ' * 7}"
    return f"  {LABELS[metric]:<17} {reported:>8}  {measured:>14}  {explain(judgement)}"


def explain(judgement: Judgement) -> str:
    """Writes the verdict with its reason or with what would settle it."""
    if judgement.reason:
        return f"{judgement.verdict} ({judgement.reason})"
    if judgement.verdict == "inconclusive":
        more = judgement.more_seeds
        needed = f"more than {MOST_SEEDS} seeds" if more is None else counted(more, "more seed")
        return f"inconclusive ({needed})"
    if judgement.prediction and judgement.verdict != "reproduced":
        low, high = judgement.prediction
        told = "a run" if judgement.runs == 1 else f"{judgement.runs} runs"
        return f"{judgement.verdict} ({told}: {low:.2f} to {high:.2f})"
    return judgement.verdict


def as_json(verdicts: list[RowVerdict], problems: list[str], status: int) -> dict[str, Any]:
    """Turns the verdicts into plain data."""
    return {
        "exit_status": status,
        "problems": problems,
        "rows": [asdict(verdict) | {"decides": verdict.decides} for verdict in verdicts],
    }


def write_junit(verdicts: list[RowVerdict], problems: list[str], file: Path) -> None:
    """Writes a test case for each metric: above and below fail, undecided ones are skipped, bad records are errors."""
    suite = ET.Element("testsuite", name="cifar_hpc verify")
    counts = {"tests": 0, "failures": 0, "skipped": 0, "errors": 0}
    for verdict in verdicts:
        for metric, judgement in verdict.judgements.items():
            counts["tests"] += 1
            name = metric if verdict.decides else f"{metric} ({verdict.tier}, epoch {verdict.epoch})"
            case = ET.SubElement(suite, "testcase", classname=verdict.row, name=name)
            text = f"reported {judgement.reported}, measured {judgement.measured}: {explain(judgement)}"
            if judgement.verdict in ("above", "below"):
                counts["failures"] += 1
                ET.SubElement(case, "failure", message=text)
            elif judgement.verdict not in ("reproduced", "plausible"):
                counts["skipped"] += 1
                ET.SubElement(case, "skipped", message=text)
            else:
                ET.SubElement(case, "system-out").text = text
    for problem in problems:
        counts["tests"] += 1
        counts["errors"] += 1
        case = ET.SubElement(suite, "testcase", classname="records", name=problem)
        ET.SubElement(case, "error", message=problem)
    for key, value in counts.items():
        suite.set(key, str(value))
    for element in suite.iter():  # XML has no way to write most control characters
        element.text = element.text and printable(element.text)
        element.attrib = {key: printable(value) for key, value in element.attrib.items()}
    write_file(file, ET.tostring(suite, encoding="utf-8", xml_declaration=True), "--junit")
