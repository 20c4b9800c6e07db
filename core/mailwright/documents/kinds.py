"""What a value is, in words for people, and the mistake of being something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from mailwright.documents.catalogue import hint
from mailwright.documents.problems import Invalid


def kind_of(value: object) -> str:
    """How a person would call the value's type."""
    if value is None:
        return "nothing (null)"
    for kinds, name in (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
        (Mapping, "an object"),
        ((Sequence, AbstractSet), "a list"),
    ):
        if isinstance(value, kinds):
            return name
    return f"a {type(value).__name__}"


def wrong(expected: str, value: object) -> Invalid:
    """The mistake of a wrong type; never shows the value, it may be a secret."""
    extra = "; put it in quotation marks" if expected == "text" and not isinstance(value, (Mapping, list)) else ""
    return Invalid(("wrong-type", (), f"{expected}, not {kind_of(value)}{extra}"))


def one_of(value: object, choices: Sequence[object]) -> Any:
    """The choice that equals `value` in type and value; else a mistake that names the choices."""
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    words = [_word(choice) for choice in choices]
    shown = f"{value!r} is not" if isinstance(value, str) and len(value) <= 40 else f"{kind_of(value)} is not"
    near = hint(value, [w for w in words if w]) if isinstance(value, str) and len(words) > 12 else ""
    raise Invalid(("not-a-choice", (), f"{shown} one of {', '.join(words)}{f'; {near}' if near else ''}"))


def _word(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
