"""The process that renders: started by `isolated`, speaks in frames over its pipes."""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import BinaryIO, Final

from attrs import frozen

from mailwright.templates.fields import render_plain

MEMORY: Final = 1 << 30


@frozen
class _State:
    input: dict[str, object]
    context: dict[str, object]


def main() -> None:
    """Render until the pipe ends."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # only frames go where the parent listens
    document = pickle.loads(_frame(source))  # noqa: S301 - from our parent, which trusts us less than we trust it
    _bounded()
    _answer(target, {})
    while data := _frame(source):
        given, context = pickle.loads(data)  # noqa: S301 - likewise
        _answer(target, render_plain(document, _State(given, context)))


def _bounded() -> None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _frame(source: BinaryIO) -> bytes:
    length = int.from_bytes(source.read(4), "big")
    return source.read(length)


def _answer(target: BinaryIO, value: object) -> None:
    data = json.dumps(value, default=str).encode()
    target.write(len(data).to_bytes(4, "big") + data)
    target.flush()
