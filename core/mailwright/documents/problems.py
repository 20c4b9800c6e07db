"""Mistakes on their way up: each knows where it is, relative to whoever catches it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from mailwright.errors import MailwrightError, Problem

Step = str | int
_PLAIN_KEY = re.compile(r"[^\W\d][\w-]*")
_FIELD_PREFIX = re.compile(r"([A-Za-z_]+): (.+)", re.DOTALL)


class Invalid(Exception):
    """One or more mistakes: ``(code, steps, message)``."""

    def __init__(self, *found: tuple[str, tuple[Step, ...], str]) -> None:
        super().__init__(*found)
        self.found = found

    def below(self, step: Step) -> Invalid:
        """The same mistakes as seen from one level up."""
        return Invalid(*((code, (step, *steps), message) for code, steps, message in self.found))


class Collector:
    """Gathers every mistake of one level, so that all are told at once."""

    def __init__(self) -> None:
        self._found: list[tuple[str, tuple[Step, ...], str]] = []

    def add(self, code: str, message: str, *steps: Step) -> None:
        """Note one mistake."""
        self._found.append((code, steps, message))

    def take(self, error: Exception, *steps: Step) -> None:
        """Note the mistakes of an exception."""
        invalid = as_invalid(error)
        for step in reversed(steps):
            invalid = invalid.below(step)
        self._found.extend(invalid.found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """Raise `Invalid` when there was anything."""
        if self._found:
            raise Invalid(*self._found)

    def problems(self, root: str = "$") -> list[Problem]:
        """What was gathered, with full paths, each once."""
        return list(dict.fromkeys(problems(Invalid(*self._found), root)))


def as_invalid(error: Exception) -> Invalid:
    """Turn what validators and models raise into a mistake that keeps their words."""
    if isinstance(error, Invalid):
        return error
    text = error.message if isinstance(error, MailwrightError) else str(error.args[0] if error.args else error)
    return Invalid(("invalid-value", (), text))


def point_at_field(error: Exception, spelled: Mapping[str, str]) -> Invalid:
    """As `as_invalid`, but a message that starts with ``field: `` points at that field."""
    invalid = as_invalid(error)
    if invalid is not error and (match := _FIELD_PREFIX.fullmatch(invalid.found[0][2])) and match[1] in spelled:
        return Invalid(("invalid-value", (spelled[match[1]],), match[2]))
    return invalid


def path(steps: Iterable[Step], root: str = "$") -> str:
    """``$.attachments[1].url``."""
    text = root
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{step!r}]"
    return text


def problems(invalid: Invalid, root: str = "$") -> Iterator[Problem]:
    """Full `Problem`s below `root`."""
    for code, steps, message in invalid.found:
        yield Problem(code=code, path=path(steps, root), message=message)
