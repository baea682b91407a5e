"""The page's figures, as SVG.

Each is drawn 3.6 inches wide, so that its text is readable on a telephone as it is. Lines are labelled where they
end instead of in a legend, and shape says what colour says. The colours are M. Okabe's and K. Ito's ("Color
Universal Design", 2008).
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_hpc.collection.reproduction import CurvePoint
from cifar_hpc.output import counted
from cifar_hpc.records.record import Record
from cifar_hpc.report.contents import Confusion, Number
from cifar_hpc.verify.claims import JudgedClaim
from cifar_hpc.verify.verdicts import Judgement

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"
MARKERS = {
    "reproduced": "o",
    "plausible": "P",
    "above": "^",
    "below": "v",
    "inconclusive": "s",
    "not comparable": "X",
}
"""One shape for each verdict, the same as in the page's text."""

_TIMES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)
"""Marks of the scale of speed-ups."""

_WIDTH = 3.6
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and prints in the page's sharpness
    "svg.hashsalt": "cifar_hpc",  # the same records give the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        name: unique on the page.
        description: what it shows, for those who cannot see it.
        svg: the drawing.
    """

    name: str
    description: str
    svg: str

    @property
    def inline(self) -> str:
        """The drawing as an element of a page, with ids that no other figure has."""
        element = self.svg[self.svg.index("<svg") :]
        element = re.sub(r'\bid="', f'id="{self.name}-', element)
        element = re.sub(r'(href="#|url\(#)', rf"\1{self.name}-", element)
        return element.replace("<svg", f'<svg role="img" aria-label="{escape(self.description)}"', 1)


def intervals(name: str, numbers: Sequence[Number], labels: dict[str, str], margin: float) -> Plot | None:
    """Draws measured minus reported: thick bars for the mean's 95 % interval, thin for a run's, a band for the margin.

    Args:
        name: name of the plot.
        numbers: numbers of one row; those that cannot be compared are left out.
        labels: labels of the metrics.
        margin: half-width of what counts as the same, percentage points.
    """
    judged = [(number, number.judgement) for number in numbers if number.judgement]
    drawn = [(number, judgement) for number, judgement in judged if judgement.verdict != "not comparable"]
    if not drawn:
        return None
    with drawing(0.75 + 0.5 * len(drawn)) as (figure, axes):
        axes.axvspan(-margin, margin, color="#E3EEF5", lw=0)
        axes.set_title(f"line: reported; band: margin of ±{margin:g}", fontsize=8.5)
        extent = 1.25 * margin
        for number, judgement in drawn:
            assert judgement.measured is not None
            widest = max(judgement.half_width or 0, judgement.prediction_half_width or 0)
            extent = max(extent, 1.1 * (abs(judgement.measured - number.reported) + min(widest, 4 * margin)))
        for place, (number, judgement) in enumerate(reversed(drawn)):
            assert judgement.measured is not None
            off = judgement.measured - number.reported
            axes.plot([0, 0], [place - 0.15, place + 0.15], color="black", lw=1.5)
            for half, width in ((judgement.half_width, 2.0), (judgement.prediction_half_width, 0.8)):
                if half is not None:
                    sides = [[min(half, extent + off)], [min(half, extent - off)]]  # what is wider ends at the edge
                    axes.errorbar(off, place, xerr=sides, color=BLUE, lw=width, capsize=2 * width)
            axes.plot(off, place, MARKERS[judgement.verdict], color=BLUE, ms=7)
            axes.annotate(
                f"{labels[number.metric]}: {judgement.verdict}",
                (0, place), xycoords=("axes fraction", "data"), xytext=(2, 8), textcoords="offset points", fontsize=8.5,
            )  # fmt: skip
        axes.set(xlim=(-extent, extent), ylim=(-0.45, len(drawn) - 0.3), yticks=[])
        axes.set_xlabel("measured − reported, percentage points")
        axes.spines["left"].set_visible(False)
        described = "; ".join(
            f"{labels[number.metric]}: reported {number.reported:.2f}, measured {judgement.measured:.2f}"
            f"{_half_width(judgement)}, {judgement.verdict}"
            for number, judgement in drawn
        )
        return _plot(name, f"Measured against reported, with the 95 % intervals. {described}", figure)


def _half_width(judgement: Judgement) -> str:
    return "" if judgement.half_width is None else f" ± {judgement.half_width:.2f}"


def curves(name: str, quantity: str, printed: Sequence[CurvePoint], records: Sequence[Record]) -> Plot | None:
    """Draws the printed curve and that of every record in one plot.

    Args:
        name: name of the plot.
        quantity: `accuracy` (percent) or `loss` (nats).
        printed: the report's log; may be empty.
        records: records of one row.
    """
    ends: list[tuple[float, float, str, str]] = []
    with drawing(2.5, left=0.4, right=1.1) as (figure, axes):
        for split, word, colour in (("train", "training", BLUE), ("test", "test", VERMILION)):
            suffix, factor = ("_percent", 100.0) if quantity == "accuracy" else ("", 1.0)
            theirs = [(p.epoch, getattr(p, f"{split}_{quantity}{suffix}")) for p in printed]
            theirs = [(epoch, value) for epoch, value in theirs if value is not None]
            if theirs:
                axes.plot(*zip(*theirs, strict=True), color=colour, ls=":", marker="o", ms=4, mfc="white")
                ends.append((*theirs[-1], f"{word}, reported", colour))
            key = f"{split}_{quantity}"
            ours = [[(p.epoch, factor * v) for p in r.curve if (v := getattr(p, key)) is not None] for r in records]
            ours = [line for line in ours if line]
            for line in ours:
                axes.plot(*zip(*line, strict=True), color=colour, lw=1.2, marker="." if len(line) == 1 else None)
            if ours:
                longest = max(ours, key=lambda line: line[-1][0])
                ends.append((*longest[-1], f"{word}, ours", colour))
        if max((np.size(line.get_xdata()) for line in axes.lines), default=0) < 2:
            return None  # a number is better told in words
        if quantity == "loss":
            _keep_scale(axes)
        axes.set_xlabel("epoch")
        axes.set_title(
            "accuracy, %" if quantity == "accuracy" else "loss (cross-entropy, nats)", loc="left", fontsize=9
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02)
        _label_ends(axes, ends)
        runs = counted(len(records), "run")
        return _plot(name, f"{quantity} by epoch: the report's printed log (dotted) and {runs} of ours (solid)", figure)


def many_classes(name: str, found: Confusion) -> Plot:
    """Draws a confusion matrix of more classes than a table could hold."""
    with drawing(3.1, left=0.25, right=0.8, top=0.1) as (figure, axes):
        image = axes.imshow(found.percent, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        axes.set(xlabel="predicted class, in the dataset's order", ylabel="true class", xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        figure.colorbar(image, cax=axes.inset_axes((1.04, 0, 0.05, 1)), label="% of the true class' images")
        return _plot(name, f"Confusion matrix of {len(found.names)} classes", figure)


def claims(name: str, judged: Sequence[JudgedClaim], unit: Literal["ratio", "lead"]) -> Plot | None:
    """Draws what a report says is so many times as fast, or so many points better, and what was measured.

    Args:
        name: name of the plot.
        judged: judged claims of one report.
        unit: `ratio` of seconds, drawn to a logarithmic scale, or `lead` in accuracy, percentage points.
    """
    drawn = [claim for claim in judged if claim.measured is not None and claim.quantity.startswith(unit)]
    if not drawn:
        return None
    nothing = 1.0 if unit == "ratio" else 0.0
    with drawing(0.75 + 0.62 * len(drawn), top=0.1) as (figure, axes):
        values = [nothing]
        for place, claim in enumerate(reversed(drawn)):
            assert claim.measured is not None
            low, high = claim.interval or (claim.measured, claim.measured)
            values += [low, high, *([] if claim.reported is None else [claim.reported])]
            axes.plot([nothing, nothing], [place - 0.12, place + 0.12], color=GREY, lw=1)
            axes.plot([low, high], [place, place], color=BLUE, lw=2, marker="|", ms=8)
            axes.plot(claim.measured, place, MARKERS.get(claim.verdict, "X"), color=BLUE, ms=7)
            if claim.reported is not None:
                axes.plot(claim.reported, place, "D", color="black", mfc="none", ms=8)
            axes.annotate(
                f"{claim.claim}\n{_told_claim(claim)}",
                (0, place), xycoords=("axes fraction", "data"), xytext=(2, 8), textcoords="offset points", fontsize=8,
            )  # fmt: skip
        if unit == "ratio":
            axes.set_xscale("log")
            axes.set_xlabel("times as fast (1: no gain)")
            low, high = min(values) / 1.3, max(values) * 1.3
            ticks = [tick for tick in _TIMES if low <= tick <= high]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
            axes.set_xlim(low, high)
        else:
            axes.set_xlabel("lead in accuracy, percentage points (0: none)")
            room = 0.1 * (max(values) - min(values)) or 1.0
            axes.set_xlim(min(values) - room, max(values) + room)
        axes.set(ylim=(-0.4, len(drawn) - 0.2), yticks=[])
        axes.spines["left"].set_visible(False)
        described = "; ".join(f"{claim.claim} {claim.verdict}, measured {claim.measured:.3g}" for claim in drawn)
        return _plot(name, f"Claims across rows, with the 95 % interval: {described}", figure)


def _told_claim(claim: JudgedClaim) -> str:
    """Puts a claim in few words: a longer line would not fit."""
    reported = "" if claim.reported is None else f", reported {claim.reported:.3g}"
    return f"{claim.verdict.removesuffix(' by its own report')}: measured {claim.measured:.3g}{reported}"


@contextmanager
def drawing(height: float, left: float = 0.1, right: float = 0.1, top: float = 0.25) -> Iterator[tuple[Figure, Axes]]:
    """Makes a figure with one system of axes; sizes in inches. Fixed edges take half the time of a computed layout."""
    bottom = 0.45
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        place = (left / _WIDTH, bottom / height, 1 - (left + right) / _WIDTH, 1 - (top + bottom) / height)
        yield figure, figure.add_axes(place)


def _plot(name: str, description: str, figure: Figure) -> Plot:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Plot(name, description, text.getvalue())


def _keep_scale(axes: Axes) -> None:
    """Ends the axis above most of a plot's values, so that one epoch that diverged does not flatten the rest."""
    values = sorted(float(y) for line in axes.lines for y in np.asarray(line.get_ydata()))
    enough = 3 * values[int(0.9 * (len(values) - 1))]
    if values[-1] > enough:
        axes.set_ylim(0, enough)
        axes.annotate(
            f"up to {values[-1]:.3g}", (0.5, 1), xycoords="axes fraction", ha="center", va="top", color=GREY, fontsize=8
        )


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Writes each line's name at its end, moved apart where two would touch.

    Args:
        axes: the axes, with all lines drawn.
        ends: ends of the lines, as (x, y, name, colour).
    """
    low, high = axes.get_ylim()
    gap = 0.09 * (high - low)
    place = -float("inf")
    for _, y, text, colour in sorted(ends, key=lambda end: end[1]):
        place = max(y, place + gap)
        axes.annotate(
            text, (1, place), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            color=colour, va="center", fontsize=8.5,
        )  # fmt: skip
