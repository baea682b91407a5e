"""Simulates the verdict rule, and writes the tables and the picture of docs/verdicts.md.

python docs/scripts/verdict_errors.py          # tables and picture, 10,000 draws of 50 seeds each
python docs/scripts/verdict_errors.py levels   # how the levels of the prediction interval's looks were chosen
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean, geometric_mean

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from cifar_hpc.report.markdown import between
from cifar_hpc.verify.verdicts import (
    MOST_LIKE,
    MOST_SEEDS,
    Spread,
    judge_metric,
    mean_half_width,
    prediction_half_width,
    seeds_to_settle,
)

DOCS = Path(__file__).parents[1]
DRAWS, SEEDS = 10_000, 50
SPREADS, MARGINS = (0.2, 0.7, 1.4, 2.3), (1.0, 2.0)
Numbers = npt.NDArray[np.float64]
Cases = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Look:
    """All draws after so many seeds.

    Attributes:
        seeds: so far.
        off: mean minus printed, shape (draws,).
        half: half-width of the mean's interval, shape (draws,).
        prediction: half-width of the prediction interval, shape (draws,).
        deviation: the pooled spread, shape (draws,).
        freedom: its degrees of freedom, shape (draws,).
        own: the seeds' own spread, shape (draws,).
    """

    seeds: int
    off: Numbers
    half: Numbers
    prediction: Numbers
    deviation: Numbers
    freedom: npt.NDArray[np.int64]
    own: Numbers

    def reproduced(self, margin: float) -> Cases:
        """Draws for which the rule says so."""
        return np.abs(self.off) + self.half <= margin

    def refuted(self, margin: float) -> Cases:
        """Draws of which the rule says above or below."""
        return np.abs(self.off) > np.maximum(margin, self.prediction)

    def plausible(self, margin: float) -> Cases:
        """Draws for which the rule says so."""
        fits = (np.abs(self.off) <= self.prediction) & (self.prediction <= 2 * margin)
        return fits & ~self.reproduced(margin)

    def settled(self, margin: float) -> Cases:
        """Draws that the rule decides."""
        return self.reproduced(margin) | self.refuted(margin) | self.plausible(margin)

    def old(self, margin: float) -> tuple[Cases, Cases]:
        """Reproduced, refuted by the rule until November 2026: Student's interval, at fixed n; 0.7 at one seed."""
        half = 1.96 * 0.7 if self.seeds < 2 else stdtrit(self.seeds - 1, 0.975) * self.own / math.sqrt(self.seeds)
        return np.abs(self.off) + half <= margin, np.abs(self.off) - half > margin


def looks(
    spread: float,
    off: float,
    printed_scatters: bool,
    seeds: int = SEEDS,
    like: Sequence[float] = (),
    runs: int = 1,
    draws: int = DRAWS,
    seed: int = 0,
) -> Iterator[Look]:
    """Simulates seeds one by one.

    Args:
        spread: true standard deviation between seeds.
        off: true mean of our seeds minus that of the report's runs.
        printed_scatters: whether the printed number is a mean of `runs` runs, or that true mean itself.
        seeds: at most.
        like: spreads of like networks.
        runs: see above.
        draws: number of simulated rows.
        seed: of the generator.
    """
    generator = np.random.default_rng(seed)
    printed = generator.normal(0, spread / math.sqrt(runs), draws) * printed_scatters
    total, squares = np.zeros(draws), np.zeros(draws)
    counted = min(len(like), MOST_LIKE)
    for n in range(1, seeds + 1):
        mean_square = (geometric_mean if n > 1 else fmean)(s * s for s in like) if like else 0.0
        x = generator.normal(off, spread, draws)
        total += x
        squares += x * x
        own = np.maximum(squares - total * total / n, 0)
        pooled = (own <= (n - 1) * mean_square) & (counted > 0)
        freedom = n - 1 + counted * pooled
        deviation = np.sqrt((own + counted * mean_square * pooled) / np.maximum(freedom, 1))
        # Both intervals are as wide as the spread; without one there is none.
        deviation[freedom == 0] = 1
        half, prediction = (
            deviation * np.where(pooled, width(n, Spread(1.0, n - 1 + counted)), width(n, Spread(1.0, n - 1)))
            for width in (mean_half_width, partial(prediction_half_width, runs=runs))
        )
        yield Look(
            n,
            total / n - printed,
            half,
            prediction,
            deviation,
            freedom,
            np.sqrt(own / (n - 1)) if n > 1 else np.full(draws, np.nan),
        )


def ever(found: Iterator[Cases]) -> list[float]:
    """Share of the draws for which something was said at least once, after each seed, in percent."""
    said: Cases | None = None
    shares = []
    for now in found:
        said = now if said is None else said | now
        shares.append(100 * float(said.mean()))
    return shares


@cache
def wrong(spread: float, margin: float, like: tuple[float, ...] = ()) -> dict[str, list[float]]:
    """Wrong verdicts in percent of the draws, after each seed: the rule's ever, the old rule's there and ever."""
    found: dict[str, list[float]] = {}
    same = list(looks(spread, 0, True, like=like))
    edge = list(looks(spread, margin, False, like=like, seed=1))
    found["refuted"] = ever(look.refuted(margin) for look in same)
    found["old refuted"] = [100 * float(look.old(margin)[1].mean()) for look in same]
    found["old ever refuted"] = ever(look.old(margin)[1] for look in same)
    found["reproduced"] = ever(look.reproduced(margin) for look in edge)
    found["old reproduced"] = [100 * float(look.old(margin)[0].mean()) for look in edge]
    found["old ever reproduced"] = ever(look.old(margin)[0] for look in edge)
    return found


def power(off: float, like: tuple[float, ...] = (), printed_scatters: bool = False) -> tuple[list[float], list[float]]:
    """Percent of rows refuted within one, two, … five seeds (spread 0.7, margin 1), and by the old rule at so many."""
    found = list(looks(0.7, off, printed_scatters, seeds=5, like=like, seed=2))
    return ever(look.refuted(1.0) for look in found), [100 * float(look.old(1.0)[1].mean()) for look in found]


def price(spread: float, margin: float) -> tuple[int | None, int | None, int | None]:
    """Seeds after which half of the rows are decided, half are reproduced, and half were by the old rule at fixed n.

    Our mean and the report's are the same, and the printed number is their mean, which is best for the old rule.
    """
    found = list(looks(spread, 0, False, seed=3))
    decided = ever(look.settled(margin) for look in found)
    reproduced = ever(look.reproduced(margin) for look in found)
    old = [100 * float(look.old(margin)[0].mean()) for look in found]

    def half(shares: list[float]) -> int | None:
        return next((n for n, share in enumerate(shares, 1) if share >= 50), None)

    return half(decided), half(reproduced), half(old)


def promise(spread: float, margin: float, off: float, start: int, like: tuple[float, ...] = ()) -> tuple[float, float]:
    """Medians of what `more_seeds` says after `start` seeds of undecided rows, and of what they need in truth."""
    promised = needed = None
    for look in looks(spread, off, True, seeds=400, like=like, draws=1000, seed=4):
        settled = look.settled(margin)
        if look.seeds < start:
            continue
        if promised is None:
            open_rows = ~settled
            told = [
                seeds_to_settle(look.seeds, Spread(float(d) if f else None, int(f)), abs(float(o)), margin)
                for d, f, o, is_open in zip(look.deviation, look.freedom, look.off, open_rows, strict=True)
                if is_open
            ]
            promised = np.array([math.inf if n is None else n for n in told], dtype=float)
            needed = np.full(len(promised), math.inf)
        else:
            assert needed is not None
            needed = np.where(np.isinf(needed) & settled[open_rows], look.seeds - start, needed)
    assert promised is not None
    assert needed is not None
    if len(promised) < 50:  # of 1,000: hardly any is open still
        return math.nan, math.nan
    return float(np.median(promised)), float(np.median(needed))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, with numbers to the right."""
    lines = [heads, ["---:"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def errors_table() -> str:
    """Wrong verdicts, beside the old rule's."""
    rows = []
    for spread in SPREADS:
        for margin in MARGINS:
            found = wrong(spread, margin)
            old = found["old refuted"]
            rows.append(
                [
                    f"{spread:g}",
                    f"{margin:g}",
                    f"{found['refuted'][-1]:.1f}",
                    f"{old[0]:.1f}, {old[4]:.1f}, {old[9]:.1f}",
                    f"{found['old ever refuted'][-1]:.1f}",
                    f"{found['reproduced'][-1]:.1f}",
                    f"{found['old reproduced'][4]:.1f}",
                    f"{found['old ever reproduced'][-1]:.1f}",
                ]
            )
    old = ["old at 1, 5, 10 seeds", "old, ever"]
    heads = ["spread", "margin", "false above or below, ever", *old, "false reproduced, ever", "old at 5", "old, ever"]
    return table(heads, rows)


def price_table() -> str:
    """Seeds that verdicts take."""
    rows = []
    for spread in SPREADS:
        for margin in MARGINS:
            counts = ["more than 50" if n is None else str(n) for n in price(spread, margin)]
            rows.append([f"{spread:g}", f"{margin:g}", *counts])
    return table(["spread", "margin", "decided", "reproduced", "reproduced by the old rule"], rows)


def power_table() -> str:
    """How soon what is wrong is found."""
    rows = []
    for off in (3.0, 5.0):
        for like, told in (((), "own seeds alone"), ((0.7, 0.7), "and two like networks")):
            new, old = power(off, like)
            rows.append([f"{off:g}", told, *(f"{share:.0f}" for share in new[:5]), f"{old[4]:.0f}"])
    return table(["off by", "spread from", *(f"{n} seed{'s' * (n > 1)}" for n in range(1, 6)), "old at 5"], rows)


def promise_table() -> str:
    """What `more_seeds` says, and what is needed."""
    rows = []
    for spread, margin in ((0.2, 1.0), (0.5, 1.0), (0.7, 1.0), (0.7, 2.0), (1.4, 2.0), (2.3, 2.0)):
        told = [promise(spread, margin, 0.0, start) for start in (2, 3, 5)]
        cells = ["–" if math.isnan(p) else f"{_count(p, MOST_SEEDS)}, {_count(n, 400)}" for p, n in told]
        rows.append([f"{spread:g}", f"{margin:g}", *cells])
    return table(["spread", "margin", "at 2 seeds", "at 3", "at 5"], rows)


def _count(seeds: float, most: int) -> str:
    return f"{seeds:g}" if math.isfinite(seeds) else f"over {most}"


TABLES = {"errors": errors_table, "power": power_table, "price": price_table, "promise": promise_table}


def with_tables(page: str) -> str:
    """The page with its tables brought up to date."""
    for name, make in TABLES.items():
        page = between(page, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", make())
    return page


def draw(file: Path) -> None:
    """The picture: five rows whose printed number is 71, with a margin of 1."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = [
        [71.1, 70.9, 71.2, 71.0, 70.9, 71.1, 71.0],
        [71.9, 70.9, 72.0, 71.4, 71.2],
        [74.0, 73.6, 73.8, 74.3, 73.9],
        [68.4, 67.7, 68.9, 68.2, 67.8],
        [70.2, 72.9, 71.1],
    ]
    style = {"svg.fonttype": "none", "svg.hashsalt": "cifar_hpc", "font.size": 9}
    with rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=(7, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(70, 72, color="#E3EEF5", lw=0)
        axes.axvline(71, color="black", lw=1)
        for place, seeds in enumerate(reversed(rows)):
            found = judge_metric(71.0, seeds, 1.0)
            assert found.measured is not None
            for half, width in ((found.half_width, 3.0), (found.prediction_half_width, 1.0)):
                if half is not None:
                    axes.errorbar(found.measured, place, xerr=half, color="#0072B2", lw=width, capsize=2 * width)
            axes.plot(seeds, [place + 0.25] * len(seeds), "|", color="#666666", ms=6)
            axes.plot(found.measured, place, "o", color="#0072B2", ms=6)
            axes.text(80.3, place, found.verdict, va="center")
        axes.set(xlim=(64, 80), ylim=(-0.6, len(rows) - 0.3), yticks=[], xlabel="test accuracy, %")
        axes.set_title("line: printed; band: margin; ticks: our seeds; thick: our mean; thin: a single run", fontsize=9)
        axes.spines[["top", "left", "right"]].set_visible(False)
        figure.savefig(file, format="svg", metadata={"Date": None})


def levels() -> None:
    """Prints how often a printed number that is one of our runs is missed ever, with and without like networks."""
    print("runs  like networks          true spread / theirs   ever missed by 5, 50, 2000 seeds, %")
    for runs in (1, 2, 5, 30, 100):
        shares = ever(np.abs(look.off) > look.prediction for look in looks(1.0, 0, True, 2000, (), runs, 10_000, 5))
        print(f"{runs:4d}  none                   {'–':>20}   {shares[4]:.2f}  {shares[49]:.2f}  {shares[1999]:.2f}")
    for count in range(1, MOST_LIKE + 1):
        for ratio in (0.3, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0):
            found = looks(ratio, 0, True, 50, (1.0,) * count, 1, 20_000, 6)
            shares = ever(np.abs(look.off) > look.prediction for look in found)
            print(f"   1  {count}                      {ratio:>20g}   {shares[4]:.2f}  {shares[49]:.2f}")


def main() -> None:
    """Writes the page and its picture."""
    page = DOCS / "verdicts.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    draw(DOCS / "verdicts.svg")


if __name__ == "__main__":
    levels() if sys.argv[1:] == ["levels"] else main()
