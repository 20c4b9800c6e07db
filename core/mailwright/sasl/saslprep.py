"""SASLprep (RFC 4013): one spelling for a password, however a keyboard composed its letters."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared text, as a *query*: letters that Unicode 3.2 did not know pass (§2.5).

    Raises:
        ValueError: A prohibited character, mixed directions, or nothing left.
    """
    if text.isascii() and text.isprintable() and text:
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    found = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not found:
        raise ValueError("nothing is left of it")
    if any(prohibited(char) for char in found for prohibited in _PROHIBITED):
        raise ValueError("it has a character that is not allowed")
    if any(stringprep.in_table_d1(char) for char in found):
        ends = stringprep.in_table_d1(found[0]) and stringprep.in_table_d1(found[-1])
        if not ends or any(stringprep.in_table_d2(char) for char in found):
            raise ValueError("it mixes writing directions")
    return found
