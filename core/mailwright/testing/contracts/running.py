"""How contracts run a plugin's code: on a loop of its own, watched for blocking calls, leftovers and leaked secrets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar
from unittest import mock
from urllib.parse import quote

T = TypeVar("T")
CANARY: Final = "canary-Zq7/Ww4+Kd9"
"""Stands for every secret; wherever it turns up later, a secret was leaked."""

_BLOCKING: Final = frozenset({
    "http.client.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname", "sqlite3.connect",
    "urllib.Request",
})  # fmt: skip
_watched: dict[int, list[str]] = {}


def run(coroutine: Coroutine[Any, Any, T], *, limit_s: float = 30.0) -> T:
    """Run on a fresh loop.

    Args:
        coroutine: What to run.
        limit_s: Seconds until it counts as hanging.

    Raises:
        AssertionError: It hangs, leaves tasks behind, or blocks the loop (``time.sleep``, blocking sockets, DNS).
    """

    async def watched() -> T:
        with _blocking_calls() as blocking:
            try:
                async with asyncio.timeout(limit_s):
                    result = await coroutine
            except TimeoutError as error:
                raise AssertionError(f"it hangs: nothing came of it within {limit_s:g} s") from error
            left = await _left_behind()
        assert not left, f"tasks are left behind: {left}"
        assert not blocking, f"it blocks the event loop: {', '.join(sorted(set(blocking)))}; use asyncio.to_thread"
        return result

    return asyncio.run(watched())


async def _left_behind() -> list[str]:
    own = asyncio.current_task()
    for _ in range(20):  # what is being cancelled needs some turns of the loop to end
        await asyncio.sleep(0)
    return [repr(task.get_coro()) for task in asyncio.all_tasks() if task is not own]


def leaks(*texts: object) -> bool:
    """Whether `CANARY` stands in one of them: as it is, in base64 at any offset, or URL-quoted."""
    whole = "\n".join(text if isinstance(text, str) else repr(text) for text in texts)
    return any(form in whole for form in _FORMS)


def _forms() -> Iterator[str]:
    yield CANARY
    yield quote(CANARY, safe="")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + CANARY.encode()).decode()
        yield encoded[4 if offset else 0 : -4]


_FORMS: Final = tuple(_forms())


@contextlib.contextmanager
def _blocking_calls() -> Iterator[list[str]]:
    """Names of the calls that block this thread."""
    _install_audit()
    found: list[str] = []
    thread = threading.get_ident()
    sleep = time.sleep

    def watched_sleep(seconds: float) -> None:
        if threading.get_ident() == thread:
            found.append("time.sleep")
        sleep(seconds)

    _watched[thread] = found
    try:
        with mock.patch("time.sleep", watched_sleep):
            yield found
    finally:
        del _watched[thread]


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or (found := _watched.get(threading.get_ident())) is None:
        return
    if event in _BLOCKING or (event == "socket.connect" and arguments[0].gettimeout() != 0):
        found.append(event)


def _install_audit() -> None:
    """Once a process: audit hooks cannot be taken back."""
    if not getattr(_install_audit, "done", False):
        sys.addaudithook(_audit)
        _install_audit.done = True  # type: ignore[attr-defined]
