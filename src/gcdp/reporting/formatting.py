"""Numbers as text, one way for each kind: an estimate, a difference, and a dash for what does not apply."""

from __future__ import annotations

from collections.abc import Mapping

DASH = "–"


def number_text(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A number with so many digits, "–" where there is none; -0.000 is 0.000."""
    if value is None or value != value:  # NaN too is no number
        return DASH
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign else ''}.{digits}f}"


def estimate_text(
    estimate: Mapping[str, float | None] | None, digits: int = 3, interval: bool = True, sign: bool = False
) -> str:
    """ "0.750 [0.700, 0.800]", the value alone where there is no interval, "–" where there is no value.

    An interval without width is none: it comes of units that all agree, and tells nothing of others.
    """
    value, low, high = (number_text((estimate or {}).get(key), digits, sign) for key in ("value", "low", "high"))
    if DASH in (value, low, high) or not interval or estimate["low"] == estimate["high"]:
        return value
    return f"{value} [{low}, {high}]"


def difference_text(estimate: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """ "+0.050 [-0.010, +0.110]": an estimate of a difference, every number with its sign."""
    return estimate_text(estimate, digits, sign=True)
