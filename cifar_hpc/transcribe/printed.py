"""One printed cell: its digits as they stand, and what stands around them."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

BLANK = {
    "",
    "-",
    "--",
    "---",
    "–",
    "—",
    "/",
    ".",
    "..",
    "...",
    "…",
    "?",
    "n/a",
    "na",
    "n.a.",
    "nan",
    "none",
    "null",
    "inf",
}
"""How tables say that they print nothing."""

UNITS = {
    **dict.fromkeys(("%", "percent", "pct", "percentage"), "%"),
    **dict.fromkeys(("fraction", "0-1", "0..1", "[0,1]", "ratio"), "fraction"),
    **dict.fromkeys(("ms", "msec", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "hh:mm:ss", "h:mm:ss"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
}
"""What stands behind a number or in a header, and what it means."""

_WRITTEN = {
    "\\ddagger": "‡", "\\dagger": "†", "\\ast": "*", "\\approx": "≈", "\\simeq": "≈", "\\sim": "~",
    "\\pm": "±", "+/-": "±", "+-": "±", "\\%": "%", "\\_": "_", "\\&": "&", "\\#": "#", "\\,": "", "\\;": "", "\\!": "",
    "\\ ": " ", "\\\\": "", "{,}": ",", "$": "", "−": "-", "\u2011": "-", "\xa0": " ", "\u2007": " ", "\u2009": " ",
    "\u202f": " ", "\ufeff": "", "\u200b": "", "`": "",
}  # fmt: skip
_WRAPPED = (
    (re.compile(r"<br\s*/?>", re.I), " "),
    (re.compile(r"<su[pb]>(.*?)</su[pb]>", re.I), r"^{\1}"),
    (re.compile(r"<[^<>]+>"), ""),
    (re.compile(r"[_^]\{\s*(±[^{}]*)\}"), r" \1"),
    (re.compile(r"\{\\[a-z]+\s+([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:[a-z]+)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\[([^\]^]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\*\*(.+?)\*\*|__(.+?)__|^\*(.+)\*$|^_(.+)_$"), lambda m: next(part for part in m.groups() if part)),
    (re.compile(r"\\([|*_#~+-])"), r"\1"),
    (re.compile(r"(?<=[\d\w])~(?=[\d\w%±])"), " "),
)
_NUMBER = (
    r"[-+]?(?:[0-9]{1,3}(?:[ '’.,][0-9]{3})+(?![0-9])(?:[.,][0-9]+)?|[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)"
    r"(?:[eE][-+]?[0-9]+)?"
)
_UNIT = r"(?:%|[a-zA-Z]+)"
_CELL = re.compile(
    rf"\(?\s*(?P<number>{_NUMBER})\s*(?P<unit>{_UNIT})?"
    rf"(?:\s*\(?\s*±\s*(?P<std>{_NUMBER})\s*(?P<unit2>{_UNIT})?\s*\)?)?\s*\)?\s*(?P<unit3>{_UNIT})?"
    rf"(?P<change>\s*(?:[(\[]\s*[+\-↑↓▲▼]\s*(?:{_NUMBER})?\s*%?\s*[)\]]|[↑↓▲▼]\s*(?:{_NUMBER})?\s*%?))?"
)
_BRACKETS = re.compile(
    rf"(?P<mean>{_NUMBER})\s*(?P<unit>{_UNIT})?\s*\(\s*(?P<std>(?![-+]){_NUMBER})\s*(?P<unit2>{_UNIT})?\s*\)"
)
_ABOUT = re.compile(
    r"(?:[~≈≃∼]|(?:about|around|approx(?:imately|\.)?|ca\.?|circa|roughly)(?![a-z]))\s*(?=[-+.,\d])", re.I
)
_MARKS = re.compile(
    r"(?:\s*(?:[*†‡§¶‖#]+|[⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉ]+|\^\{?[\w*†‡§,]*\}?|\[\^?\w{1,3}\]|\(\^?[a-z*†‡]\)|(?<=[\d%])[a-e]))+$",
    re.I,
)
_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)", re.ASCII)
_SPELT = re.compile(
    r"(?:(\d+)\s*h(?:rs?|ours?)?)?\s*(?:(\d+)\s*m(?:ins?|inutes?)?)?\s*(?:(\d+(?:\.\d+)?)\s*s(?:ecs?|econds?)?)?",
    re.I | re.ASCII,
)


class UnreadableError(Exception):
    """A cell whose number cannot be told for sure; the message says why."""


class BracketsError(UnreadableError):
    """A cell has a number in brackets behind another, and nobody said what it is."""


@dataclass(frozen=True)
class PrintedNumber:
    """A number as it is printed.

    Attributes:
        digits: its digits, with a point before the decimals and nothing between thousands.
        unit: unit of `UNITS`; empty where the cell has none.
        std: digits of the standard deviation, written in the same way; null where the cell has none.
        beside: footnote marks and differences, which are no part of it.
        approximate: whether the cell says that the number is approximate, as by "about" or ~.
    """

    digits: str
    unit: str = ""
    std: str | None = None
    beside: str = ""
    approximate: bool = False


def clean(text: str) -> str:
    """Strips a cell or header of the markup of Markdown, HTML and LaTeX around it."""
    text = html.unescape(text)
    for written, plain in _WRITTEN.items():
        text = text.replace(written, plain)
    before = None
    while text != before:
        before = text
        for pattern, meant in _WRAPPED:
            text = pattern.sub(meant, text.strip())
    return " ".join(text.split())


def is_blank(text: str) -> bool:
    """Checks whether a cell prints nothing."""
    return clean(text).lower() in BLANK


def is_numeric(text: str) -> bool:
    """Checks whether a cell begins as a number does, or is a time."""
    return re.match(rf"\(?\s*[<>]?\s*{_NUMBER}", _ABOUT.sub("", clean(text), count=1)) is not None


def holds_spread(text: str) -> bool:
    """Checks whether a cell has a number and its deviation, behind a ± or in brackets."""
    cell = clean(text)
    return "±" in cell or _BRACKETS.fullmatch(_MARKS.sub("", cell)) is not None


def takes_decimal_comma(cells: Iterable[str]) -> bool:
    """Checks whether a table writes 86,21 for 86.21, as far as its own numbers show.

    Raises:
        UnreadableError: if they do not show, or show both.
    """
    comma, point, either = "", "", ""
    for cell in cells:
        for number in re.findall(r"\d[\d.,]*", clean(cell)):
            if re.search(r"^0,\d|,(?:\d{1,2}|\d{4,})$|\.\d{3}[.,]\d", number):
                comma = comma or cell.strip()
            elif re.search(r"^\d*\.(?:\d{1,2}|\d{4,})$|^0\.\d|,\d{3}[.,]\d", number):
                point = point or cell.strip()
            elif "," in number.rstrip(".,"):
                either = either or cell.strip()
    if comma and point:
        raise UnreadableError(f"{comma} has a decimal comma and {point} a decimal point")
    if either and not comma and not point:
        raise UnreadableError(f"{either} may have a decimal comma, or a comma between thousands")
    return bool(comma)


def read_cell(text: str, comma: bool = False, brackets: str | None = None) -> PrintedNumber | None:
    """Reads one cell.

    Args:
        text: text of the cell.
        comma: whether a comma stands before the decimals.
        brackets: what a number in brackets behind another is, of `Choices`; null where nobody said.

    Returns:
        The number, or None where the cell prints none: nothing, or words without a digit.

    Raises:
        UnreadableError: if it holds something else, or nothing certain.
    """
    cell = clean(text)
    bare = _MARKS.sub("", cell)
    if is_blank(cell) or is_blank(bare) or not any(map(str.isnumeric, bare)):
        return None
    if about := _ABOUT.match(bare):
        exact = read_cell(cell[about.end() :], comma, brackets)
        return exact and replace(exact, approximate=True)
    if pair := _BRACKETS.fullmatch(bare):
        return replace(_with_brackets(cell, pair, comma, brackets), beside=cell[len(bare) :].strip())
    if clock := _CLOCK.fullmatch(bare):
        return PrintedNumber(_seconds(*clock.groups()), "s")
    if re.fullmatch(r"\d+:\d\d", bare):
        raise UnreadableError(
            f"{cell} may be minutes and seconds, or hours and minutes; write it as 0:12:34 or in seconds"
        )
    spelt = _SPELT.fullmatch(bare)
    if spelt and sum(part is not None for part in spelt.groups()) > 1:
        return PrintedNumber(_seconds(*spelt.groups()), "s")
    for shown, beside in ((cell, ""), (bare, cell[len(bare) :].strip())):
        found = _CELL.fullmatch(shown)
        units = [unit for name in ("unit", "unit2", "unit3") if found and (unit := found[name])]
        if found and all(unit.lower() in UNITS for unit in units):
            beside = " ".join(filter(None, ((found["change"] or "").strip(), beside)))
            std = None if found["std"] is None else _plain(found["std"], comma)
            unit = UNITS[units[0].lower()] if units else ""
            return PrintedNumber(_plain(found["number"], comma), unit, std, beside)
    raise UnreadableError(f"{cell} is no number that can be told for sure")


def _with_brackets(cell: str, pair: re.Match[str], comma: bool, brackets: str | None) -> PrintedNumber:
    """Reads a number with another in brackets behind it.

    Raises:
        BracketsError: if nobody said what that is.
        UnreadableError: if it cannot be that.
    """
    mean, unit, std, unit2 = pair.groups()
    if (unit2 and unit2 != unit) or (unit and unit.lower() not in UNITS):
        raise UnreadableError(f"{cell} is no number that can be told for sure")
    if brackets is None:
        raise BracketsError(cell)
    plain = PrintedNumber(_plain(mean, comma), UNITS.get((unit or "").lower(), ""))
    if brackets == "ignore":
        return plain
    if re.search(r"[.,]", mean) and not re.search(r"[.,]", std):
        raise UnreadableError(f"{cell} may be ± {std}, or that many in the last digits; write it with ±")
    return replace(plain, std=_plain(std, comma))


def shift(digits: str, places: int) -> str:
    """Multiplies a number by a power of ten, with the digits that it is printed with: 0.8620 in percent is 86.20."""
    return format(Decimal(digits).scaleb(places), "f")


def in_seconds(digits: str, unit: str) -> str:
    """Turns a time into seconds."""
    if unit == "ms":
        return shift(digits, -3)
    seconds = Decimal(digits) * {"s": 1, "min": 60, "h": 3600}[unit]
    return digits if unit == "s" else format(seconds.to_integral() if seconds == int(seconds) else seconds, "f")


def _seconds(hours: str | None, minutes: str | None, seconds: str | None) -> str:
    return format(3600 * Decimal(hours or 0) + 60 * Decimal(minutes or 0) + Decimal(seconds or 0), "f")


def _plain(number: str, comma: bool) -> str:
    """Writes a number as Python does.

    Raises:
        UnreadableError: if its commas and points are not where they could be.
    """
    mark, between = (",", ".") if comma else (".", ",")
    whole, _, decimals = re.sub(r"[ '’]", "", number).partition(mark)
    groups = whole.lstrip("+-").split(between)
    if between in decimals or (
        len(groups) > 1 and (not 0 < len(groups[0]) < 4 or any(len(g) != 3 for g in groups[1:]))
    ):
        raise UnreadableError(f"{number} has its commas and points where no number has them")
    plain = "".join(whole.split(between)).lstrip("+") + (f".{decimals}" if decimals else "")
    return plain.rstrip(".").replace("-.", "-0.") if plain[0] != "." else f"0{plain}"
