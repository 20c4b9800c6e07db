"""Rates that all workers of one ledger share. Tokens are fetched in blocks, so that one row is not hot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailwright.model import Limits
    from mailwright.ports import Clock
    from mailwright.spi import Ledger

_BLOCK_S: Final = 0.2
"""A block lasts about so long at the full rate."""
_MOST: Final = 100


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

    async def admit(self, key: str, limits: Limits) -> None:
        """Wait for one message's turn."""
        if limits.rate is None:
            return
        await self._gates.setdefault(key, _Gate()).enter(self._ledger, self._clock, key, limits.rate, limits.burst)


class _Gate:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._tokens = 0
        self._next = 0.0

    async def enter(self, ledger: Ledger, clock: Clock, key: str, rate: float, burst: int) -> None:
        async with self._lock:
            block = max(1, min(_MOST, int(rate * _BLOCK_S)))
            while not self._tokens:
                wait = await ledger.admit(key, rate=rate, burst=burst, tokens=block)
                if wait <= 0:
                    self._tokens = block
                else:
                    await clock.sleep(min(wait, 5.0))
            if burst <= 1 and (early := self._next - clock.monotonic()) > 0:
                await clock.sleep(early)
            self._tokens -= 1
            self._next = clock.monotonic() + 1 / rate
