"""One timer for many deadlines that follow each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

NEVER: Final = float("inf")


class Watchdog:
    """Calls when the time that was last set has come.

    Deadlines are set far more often than they are reached, so a later one costs no timer: the one that runs finds it when
    it rings.

    Args:
        ring: Called once for each time set, at most.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._due = self._rings = NEVER
        self._timer: asyncio.TimerHandle | None = None

    def set(self, due: float) -> None:
        """Ring at `due`, in the loop's seconds, instead of any time set before; `NEVER` is not at all."""
        self._due = due
        if due < NEVER and (self._timer is None or due < self._rings):
            self._run_until(due)

    def _run_until(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings = due  # uvloop's handle for what is due at once does not tell
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due == NEVER:
            return
        if self._loop.time() < self._due:
            self._run_until(self._due)
            return
        self._due = NEVER
        self._ring()

    def stop(self) -> None:
        """Ring no more, and hold nothing."""
        self._due = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
