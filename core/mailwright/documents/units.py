"""Sizes, rates and other words that stand for numbers."""

from __future__ import annotations

import math
import re

from mailwright.documents.problems import Invalid

_SIZES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_PERIODS = {
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]+)")
_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?/ ?([a-z]+)")
SIZE_PATTERN = r"^\d{1,15}(\.\d{1,6})? ?([kKmMgG][iI]?)?[bB]$"
RATE_PATTERN = r"^\d{1,15}(\.\d{1,6})? ?/ ?(s|sec|second|m|min|minute|h|hour|d|day)$"


def size(value: object) -> int:
    """Octets: a whole number, or text such as ``10 MB`` (decimal) or ``10 MiB`` (binary)."""
    if type(value) is int and value > 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)) and match[2].lower() in _SIZES:
        octets = float(match[1]) * _SIZES[match[2].lower()]
        if octets >= 1:
            return round(octets)
    raise Invalid(("bad-size", (), f"{_shown(value)} is not a size: octets as a whole number, or text such as '25 MB'"))


def rate(value: object) -> float:
    """Messages a second: a number, or text such as ``30/min``, ``5/s``, ``2000/day``."""
    if type(value) in {int, float} and 0 < value < math.inf:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, str) and (match := _RATE.fullmatch(value)) and match[2] in _PERIODS and float(match[1]) > 0:
        return float(match[1]) / _PERIODS[match[2]]
    raise Invalid(("bad-rate", (), f"{_shown(value)} is not a rate: messages a second, or text such as '30/min'"))


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= 40) else "this"
