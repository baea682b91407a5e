"""What a printed number leaves open."""

from decimal import Decimal
from fractions import Fraction

from cifar_hpc.collection.typed import Printed

Interval = tuple[Fraction, Fraction]
"""The least and the greatest value, both among those that are possible."""

FLOAT32_DIGITS = 7
"""A number with more digits is a float32 that was printed whole, as Keras does: 0.7926999926567078 is 0.7927."""

SUMS = Fraction(1, 2**19)
"""Part by which a float32 may be off: 32 roundings of 2^-24 each, which leaves room for sums and divisions."""

FEW_DIGITS, NOISE = 5, Fraction(1, 2**22)
"""Up to so many digits only what a last rounding does is allowed for: 57 % may be held as 56.999998 and cut off to
56.99."""


def interval(printed: float) -> Interval:
    """Returns the least and the greatest value that print as this number.

    From half a unit of the last printed digit below it (the digit was rounded) to a whole unit above it (the rest
    was cut off), and the noise of a float32. A number with more than seven digits is that float32 itself.

    Args:
        printed: as it stands in the report; at least 0. A text keeps its zeros ("55.50"); zeros at the end of a
            plain number are taken as not printed, since YAML does not keep them: that only widens the interval.
    """
    digits = _digits(printed)
    value, count = Fraction(digits), len(digits.as_tuple().digits)
    if count > FLOAT32_DIGITS:
        return value * (1 - SUMS), value * (1 + SUMS)
    unit, noise = Fraction(last_digit(printed)), SUMS if count > FEW_DIGITS else NOISE
    return max(value * (1 - noise) - unit / 2, Fraction(0)), value * (1 + noise) + unit


def share(percent: float) -> Interval:
    """Returns the least and the greatest share of 1 that print as this percentage."""
    low, high = interval(percent)
    return low / 100, min(high / 100, Fraction(1))


def bounds(printed: float) -> tuple[float, float]:
    """Returns the interval as floats."""
    low, high = interval(printed)
    return float(low), float(high)


def last_digit(printed: float) -> Decimal:
    """Returns one unit of the last digit that is printed: 0.01 for 86.21, 1 for 349."""
    exponent = _digits(printed).as_tuple().exponent
    assert isinstance(exponent, int)  # neither infinite nor no number at all: read_row refuses those
    return Decimal(1).scaleb(min(exponent, 0))


def decimals(printed: float) -> int:
    """Counts the digits behind the point."""
    return -int(last_digit(printed).as_tuple().exponent)


def _digits(printed: float) -> Decimal:
    if isinstance(printed, Printed):
        return Decimal(printed.text)
    return Decimal(repr(float(printed))).normalize()


def differ(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Checks whether no value lies within both bounds."""
    return first[1] < second[0] - EPSILON or second[1] < first[0] - EPSILON


EPSILON = 1e-9
"""Binary fractions miss decimal ones by less than this."""
