"""A measured grid as a table and as a plot, from the content of its JSON."""

import io
import textwrap
from pathlib import Path
from typing import Any

from cifar_hpc.output import write_file

_WIDTH = 98
_HEADS = ("precision", "strategy", "p × t", "images/s (quartiles)", "speed-up (quartiles)", "eff.", "MiB", "1st, s")
_COLUMNS = (10, 17, 5, 22, 19, 5, 6, 6)


def as_text(content: dict[str, Any]) -> str:
    """Formats the grid and what it says of the reports' claims for a terminal of 100 columns.

    Args:
        content: what `bench scaling --json` writes.
    """
    return "\n".join([grid_text(content), *(line for answer in content["claims"] for line in ("", *_claim(answer)))])


def grid_text(content: dict[str, Any]) -> str:
    """Formats the grid alone."""
    head = (
        f"{content['row']}: {content['network']}, global batch {content['batch_size']}"
        f"{', on the sample' if content['sample'] else ''}; {content['gpu'] or content['cpu']}, "
        f"{content['cores']} cores; {content['turns']} turns of {content['seconds_per_turn']:g} s"
    )
    lines = [
        *_wrapped(head),
        "",
        _line(_HEADS),
    ]
    for point in content["points"]:
        low, high = point["images_per_second_quartiles"]
        slow, fast = point["speed_up_quartiles"]
        memory = point["memory_mib"]
        lines.append(
            _line(
                (
                    point["precision"],
                    point["strategy"] or "",
                    _size(point),
                    f"{point['images_per_second']:,.0f} ({low:,.0f}–{high:,.0f})",
                    f"{point['speed_up']:.2f} ({slow:.2f}–{fast:.2f})",
                    f"{100 * point['efficiency']:.0f} %",
                    "" if memory is None else f"{memory:,.0f}",
                    f"{point['first_batch_seconds']:.1f}",
                )
            )
        )
    lines += ["", *_wrapped(_LEGEND)]
    left_out = dict.fromkeys(f"{_size(each)}: {each['reason']}" for each in content["left_out"])
    lines += [f"Left out: {each}." for each in left_out]
    return "\n".join(lines)


_LEGEND = (
    "p × t: processes × threads of each. Speed-up: over 1 × 1 of the same precision, median of the ratios of "
    "neighbouring turns. eff.: speed-up over cores (or GPUs) used. MiB: all processes after a turn, shared pages once. "
    "1st: seconds from the start to the end of the first training step."
)


def _size(point: dict[str, Any]) -> str:
    return f"{point['processes']} × {point['threads']}"


def _line(cells: tuple[str, ...]) -> str:
    """Formats a line of the table: names to the left, numbers to the right."""
    padded = [
        cell.ljust(width) if number < 2 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, _COLUMNS, strict=True))
    ]
    return " ".join(padded).rstrip()


def _claim(answer: dict[str, Any]) -> list[str]:
    reported = [f"{value:.3g} ({claim})" for claim, value in answer["reported"].items() if value is not None]
    lines = [*_wrapped(f"{answer['report']}: {answer['setting']}"), *_wrapped(f"reported: {', '.join(reported)}", 2)]
    if answer["measured"] is not None:
        low, high = answer["measured_quartiles"]
        other = "" if answer["own_row"] else ", on a row that the claim is not about"
        lines += _wrapped(
            f"here: {answer['measured']:.2f} ({low:.2f}–{high:.2f}) with {answer['measured_as']}{other}", 2
        )
    return [*lines, *_wrapped(f"shows: {answer['shows']}", 2), *_wrapped(f"not: {answer['does_not_show']}", 2)]


def _wrapped(text: str, indent: int = 0) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(
        text, _WIDTH, initial_indent=margin, subsequent_indent=margin + "  " * bool(indent), break_long_words=False
    )


def plot(content: dict[str, Any], file: Path) -> None:
    """Draws the speed-up of each point with its quartiles, beside the ideal one.

    Args:
        content: what `bench scaling --json` writes.
        file: its ending chooses the format.
    """
    from cifar_hpc.report.plots import BLUE, GREY, VERMILION, drawing

    points = content["points"]
    colours = dict(zip(dict.fromkeys(point["precision"] for point in points), (BLUE, VERMILION, GREY), strict=False))
    with drawing(0.75 + 0.4 * len(points)) as (figure, axes):
        for place, point in enumerate(reversed(points)):
            low, high = point["speed_up_quartiles"]
            colour = colours.get(point["precision"], "black")
            axes.plot([low, high], [place, place], color=colour, lw=2, marker="|", ms=8)
            axes.plot(point["speed_up"], place, "o", color=colour, ms=6)
            axes.plot(point["speed_up"] / point["efficiency"], place, "D", color="black", mfc="none", ms=6)
            axes.annotate(
                " ".join(filter(None, (_size(point), point["strategy"], point["precision"]))),
                (0, place), xycoords=("axes fraction", "data"), xytext=(2, 6), textcoords="offset points", fontsize=8,
            )  # fmt: skip
        axes.set(ylim=(-0.5, len(points) - 0.1), yticks=[], xlabel="speed-up (diamond: ideal)")
        axes.set_xlim(left=0)
        axes.spines["left"].set_visible(False)
        axes.set_title(f"{content['row']}, processes × threads", loc="left", fontsize=9)
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=200, format=file.suffix[1:] or None)
    write_file(file, drawn.getvalue(), "--plot")
