"""What commands read and print, and the exit code of an error."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailwright.errors import DocumentError, MailwrightError, Problem
from mailwright.model import error_result

if TYPE_CHECKING:
    from mailwright import FlowState

DELIVERED: Final = 0
FAILED: Final = 1
WRONG: Final = 2
UNKNOWN: Final = 3


def exit_code(error: MailwrightError) -> int:
    """2 when nothing was tried, 3 when the outcome is unknown, else 1."""
    if error.permanent is None:
        return UNKNOWN
    return WRONG if error.stage in {None, "prepare", "hook"} or isinstance(error, DocumentError) else FAILED


def show_json(value: Any) -> None:
    """Print for programs."""
    sys.stdout.write(jsonlib.dumps(value, ensure_ascii=False, indent=2) + "\n")


def complain(error: MailwrightError, *, json: bool = False) -> int:
    """Say what is wrong on stderr (or as JSON); returns the exit code."""
    problems = error.problems if isinstance(error, DocumentError) else ()
    if json:
        found: dict[str, Any] = error_result(error)
        if problems:
            found["problems"] = [{"code": p.code, "path": p.path, "message": p.message} for p in problems]
        show_json({"ok": False, "error": found})
    elif problems:
        assert isinstance(error, DocumentError)
        name = f"{error.source}: " if error.source else ""
        for problem in problems:
            sys.stderr.write(f"error: {name}{problem}\n")
    else:
        sys.stderr.write(f"error: {error.message}\n")
    return exit_code(error)


def read_state(path: Path | None) -> FlowState:
    """The flow's state from a file with ``input`` and ``context``; without a file an empty one."""
    from mailwright import FlowState  # noqa: PLC0415 - only commands that take a state
    from mailwright.documents import read  # noqa: PLC0415

    if path is None:
        return FlowState()
    document = read(path)
    problems = [
        Problem(code="unknown-key", path=f"$.{key}", message="a state has only input and context")
        for key in document
        if key not in {"input", "context"}
    ]
    problems += [
        Problem(code="wrong-type", path=f"$.{key}", message="must be a mapping")
        for key, value in document.items()
        if not isinstance(value, dict)
    ]
    if problems:
        raise DocumentError(problems, source=path.name)
    return FlowState(input=document.get("input", {}), context=document.get("context", {}))
