"""What every suite here shares: fresh processes, rounds in turning order, ratios within rounds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

Round = Mapping[str, Mapping[str, Any]]
"""One figure record per tool, all measured one after another."""


def measure(command: Sequence[str], given: str) -> dict[str, Any]:
    """Run one tool in a process of its own; it reads its work and prints JSON."""
    done = subprocess.run([*command], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(command[:3])} … failed:\n{done.stderr[-2000:]}"
        raise SystemExit(message)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def interleaved(names: Sequence[str], one: Callable[[str], Mapping[str, Any]], rounds: int) -> list[Round]:
    """Each round measures every tool once and begins with another one."""
    found: list[Round] = []
    for number in range(rounds):
        first = number % len(names)
        found.append({name: one(name) for name in (*names[first:], *names[:first])})
    return found


def ratio(rounds: Sequence[Round], ours: str, theirs: str, figure: str = "rate") -> str:
    """Median of the ratios within rounds, with the least and the greatest."""
    found = sorted(one[ours][figure] / one[theirs][figure] for one in rounds)
    digits = 1 if found[-1] >= 10 else 2
    return f"{median(found):.{digits}f}× ({found[0]:.{digits}f}..{found[-1]:.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )
