"""Rates that all workers of one ledger share. Tokens are fetched in blocks, so that one row is not hot."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailwright.model import Limits
    from mailwright.ports import Clock
    from mailwright.spi import Ledger

_BLOCK_S: Final = 0.2
"""A block lasts about so long at the full rate."""
_MOST: Final = 100
_LONGEST_S: Final = 3600.0


class Rates:
    """Admission of one worker.

    Args:
        ledger: Has the common account.
        clock: Waits.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._gates: dict[str, _Gate] = {}

    async def admit(self, key: str, limits: Limits, *, patience_s: float = math.inf) -> float:
        """Wait for one message's turn, if it comes soon.

        Args:
            key: Of the account.
            limits: Of the connection.
            patience_s: How long to wait.

        Returns:
            0: it is its turn; else the seconds after which to ask again: its place was not kept.
        """
        if limits.rate is None:
            return 0.0
        gate = self._gates.setdefault(key, _Gate())
        return await gate.enter(self._ledger, self._clock, key, limits, patience_s)


class _Gate:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._tokens = 0
        self._next = 0.0
        self._waiting = 0
        self._sent_away_until = 0.0

    async def enter(self, ledger: Ledger, clock: Clock, key: str, limits: Limits, patience_s: float) -> float:
        assert limits.rate is not None
        rate, burst = limits.rate, limits.burst
        if self._waiting / rate > patience_s:
            return self._sent_away(clock.monotonic(), rate)
        self._waiting += 1
        try:
            async with self._lock:
                block = max(1, min(_MOST, int(rate * _BLOCK_S)))
                while not self._tokens:
                    wait = await ledger.admit(key, rate=rate, burst=burst, tokens=block)
                    if wait <= 0:
                        self._tokens = block
                    elif wait > patience_s:
                        return self._sent_away(clock.monotonic(), rate)
                    else:
                        await clock.sleep(min(wait, 5.0))
                if burst <= 1 and (early := self._next - clock.monotonic()) > 0:
                    await clock.sleep(early)
                self._tokens -= 1
                self._next = clock.monotonic() + 1 / rate
                return 0.0
        finally:
            self._waiting -= 1

    def _sent_away(self, now: float, rate: float) -> float:
        """One after the other, at the pace at which they can be let in."""
        self._sent_away_until = max(self._sent_away_until, now) + 1 / rate
        return min(self._sent_away_until - now, _LONGEST_S)
