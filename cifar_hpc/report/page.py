"""The command `report`: one page over everything measured, as HTML and as Markdown, with plots."""

import argparse
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from cifar_hpc import __version__
from cifar_hpc.collection.metrics import METRICS
from cifar_hpc.errors import UserError
from cifar_hpc.output import counted, printable, tell, write_file
from cifar_hpc.report import markdown, plots, summary
from cifar_hpc.report.contents import NOT_RUN, STATES, Contents, ReportSection, RowSection, gather
from cifar_hpc.report.plots import Plot
from cifar_hpc.verify.command import LABELS, explain

SYMBOLS = {
    "reproduced": "●",
    "plausible": "✚",
    "above": "▲",
    "below": "▼",
    "inconclusive": "■",
    "not comparable": "≠",
    NOT_RUN: "○",
}
"""One shape for each state, the same as in the plots."""

_BLANK_LINES = re.compile(r"\n{3,}")

MANY_CLASSES = 20
"""More classes than this are drawn; fewer stand in a table."""


@dataclass(frozen=True)
class RowPlots:
    """The figures of one row; null where there is nothing to draw.

    Attributes:
        intervals: measured numbers against reported ones.
        accuracy: accuracy by epoch, in the printed log and in our runs.
        loss: loss by epoch, in the printed log and in our runs.
        confusion: confusion matrix of many classes.
    """

    intervals: Plot | None
    accuracy: Plot | None
    loss: Plot | None
    confusion: Plot | None

    @property
    def drawn(self) -> list[Plot]:
        """The figures that there are."""
        return [plot for plot in (self.intervals, self.accuracy, self.loss, self.confusion) if plot is not None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `report`."""
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("report"), help="folder (default: %(default)s)")
    parser.add_argument("--csv", metavar="FILE", help="write a line for each report to FILE (- for standard output)")
    crate_help = "instead, pack the kept records as an RO-Crate (default: crate)"
    parser.add_argument("--crate", metavar="DIR", type=Path, nargs="?", const=Path("crate"), help=crate_help)


def run(arguments: argparse.Namespace) -> int:
    """Carries out `report`."""
    if arguments.crate is not None:
        from cifar_hpc.report import crate

        return crate.command(arguments.crate)
    return command(arguments.out, arguments.csv)


def command(out: Path, csv_file: str | None) -> int:
    """Writes `report.html`, `report.md` and `plots/*.svg`, and prints a line for each report, worst first.

    Args:
        out: the folder.
        csv_file: where the lines go as CSV; `-` for standard output, and then nothing else goes there.

    Returns:
        0. When records were bad, the page is written without them, which it says, and then a UserError says so too.
    """
    try:
        (out / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from error
    contents = gather()
    row_plots = {str(s.row.reproduction.row): draw(s) for report in contents.reports for s in report.rows}
    claim_plots = {report.name: draw_claims(report) for report in contents.reports}
    files = {
        "report.html": render("page.html.j2", contents, row_plots, claim_plots),
        "report.md": _BLANK_LINES.sub("\n\n", render("page.md.j2", contents, row_plots, claim_plots)),
    }
    drawn = [plot for found in row_plots.values() for plot in found.drawn]
    drawn += [plot for found in claim_plots.values() for plot in found]
    files |= {f"plots/{plot.name}.svg": plot.svg for plot in drawn}
    for name, text in files.items():
        write_file(out / name, text, "--out")
    if csv_file is not None:
        summary.write_csv(contents, csv_file)
    if csv_file != "-":
        tell(summary.table(contents))
        tell(f"{out / 'report.html'} and {out / 'report.md'}: {sentence(contents)}")
    if contents.problems:
        raise UserError("\n".join(contents.problems))
    return 0


def draw(section: RowSection) -> RowPlots:
    """Draws a row's figures, from the records that decide it or else the next best; none where nothing is comparable.

    A printed log on its own says nothing new, and those of three hundred rows took half a minute of a core to draw.
    """
    group = section.row.reproduction
    best = section.evidence[0] if section.evidence else None
    if best is None or best.verdict.tier == "smoke":
        return RowPlots(None, None, None, None)
    records, confusion = best.records, best.confusion
    many = confusion is not None and len(confusion.names) > MANY_CLASSES
    return RowPlots(
        plots.intervals(f"{group.row}-intervals", section.numbers, LABELS, group.margin_percent),
        plots.curves(f"{group.row}-accuracy", "accuracy", group.reported.curve, records),
        plots.curves(f"{group.row}-loss", "loss", group.reported.curve, records),
        plots.many_classes(f"{group.row}-confusion", confusion) if confusion is not None and many else None,
    )


def draw_claims(report: ReportSection) -> list[Plot]:
    """Draws the figures of a report's claims: speed-ups and leads in accuracy."""
    ratios = plots.claims(f"{report.name}-speed-ups", report.claims, "ratio")
    leads = plots.claims(f"{report.name}-leads", report.claims, "lead")
    return [plot for plot in (ratios, leads) if plot is not None]


def render(
    template: str, contents: Contents, row_plots: dict[str, RowPlots], claim_plots: dict[str, list[Plot]]
) -> str:
    """Fills in the template of one page.

    Args:
        template: file under `templates/`.
        contents: what the page shows.
        row_plots: figures of each row, by its id.
        claim_plots: figures of each report's claims, by its id.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cifar_hpc.report"),
        autoescape=True,
        finalize=_as_markdown if template.endswith(".md.j2") else _as_html,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"explain": explain, "value": value, "told": summary.told}
    return environment.get_template(template).render(
        contents=contents,
        row_plots=row_plots,
        claim_plots=claim_plots,
        sentence=sentence(contents),
        beyond=beyond(contents),
        report_sentence=report_sentence,
        metric_labels=LABELS,
        symbols=SYMBOLS,
        states=STATES,
        many_classes=MANY_CLASSES,
        version=__version__,
    )


def sentence(contents: Contents) -> str:
    """Answers the page's title in one sentence."""
    counts, rows = contents.counts, [row for report in contents.reports for row in report.rows]
    printed, measured = sum(len(row.numbers) for row in rows), sum(counts.values()) - counts[NOT_RUN]
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count and state != NOT_RUN)
    audited = printed - sum(counts.values())
    impossible, reports = contents.strengths["impossible"], len(contents.reports)
    return (
        f"Of the {printed} numbers that {counted(reports, 'report')} print{'s' * (reports == 1)} in "
        f"{counted(len(rows), 'row')}, {measured} were measured{_bracketed(told)} and {counts[NOT_RUN]} are not yet "
        f"run{f', {audited} being for `audit` alone' if audited else ''}; {counted(impossible, 'combination')} of "
        f"them {'is' if impossible == 1 else 'are'} impossible as printed."
    )


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def beyond(contents: Contents) -> str:
    """Sums up findings and claims in two sentences."""
    strengths = contents.strengths
    found = ", ".join(f"{count} {strength}" for strength, count in sorted(strengths.items()))
    verdicts = Counter(claim.verdict for report in contents.reports for claim in report.claims)
    judged = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return (
        "The reports checked against themselves, without training: "
        f"{counted(strengths.total(), 'finding')}{_bracketed(found)}. "
        f"Their claims across rows: {verdicts.total()}{_bracketed(judged)}."
    )


def report_sentence(report: ReportSection) -> str:
    """Sums up one report in one sentence."""
    told = ", ".join(f"{count} {state}" for state, count in report.counts.items() if count)
    numbers = counted(sum(len(row.numbers) for row in report.rows), "number")
    rows = counted(len(report.rows), "row")
    return f"{numbers} in {rows}{told and f': {told}'}. Findings: {summary.told(report)}."


def value(number: float | None, metric: str) -> str:
    """Formats a number in its unit: percentages with two decimals, seconds with at most two and thousands apart."""
    if number is None:
        return "–"
    return f"{number:.2f} %" if metric in METRICS else f"{round(number, 2):,} s"


def _as_markdown(found: Any) -> Any:
    """Escapes text from files that a Markdown template puts in, unless the template says that it is safe."""
    return found if isinstance(found, Markup) or not isinstance(found, str) else Markup(markdown.escape(found))


def _as_html(found: Any) -> Any:
    """Spells out control characters in text that an HTML template puts in; the rest jinja2 escapes."""
    return found if isinstance(found, Markup) or not isinstance(found, str) else printable(found)
