"""What a printed number leaves open."""

from decimal import Decimal


def bounds(printed: float) -> tuple[float, float]:
    """The least and the greatest value that print as this number.

    From half a unit of the last printed digit below it (the digit was rounded) to a whole unit above it (the
    rest was cut off). Zeros at the end are taken as not printed, since YAML does not keep them: that only widens
    the bounds of numbers with decimals.

    Args:
        printed: as it stands in the report; at least 0.
    """
    unit = last_digit(printed)
    return printed - unit / 2, printed + unit


def last_digit(printed: float) -> float:
    """One unit of the last digit that is printed: 0.01 for 86.21, 1 for 349."""
    exponent = Decimal(repr(printed)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # neither infinite nor no number at all: read_row refuses those
    return 10.0 ** min(exponent, 0)


def differ(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether no value lies within both bounds."""
    return first[1] < second[0] - EPSILON or second[1] < first[0] - EPSILON


EPSILON = 1e-9
"""Binary fractions miss decimal ones by less than this."""
