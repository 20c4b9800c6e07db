"""What the laws of ledgers are tried on: an empty ledger, rows, and time that passes when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from mailwright.spi import Clock, Job, Ledger

_START = datetime(2026, 1, 2, tzinfo=UTC)


class TestClock:
    """Time that passes when it is told to."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """Wall time."""
        return _START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.seconds += seconds
        await asyncio.sleep(0)


def job(number: int = 1, **changes: Any) -> Job:
    """A row for tests, due at once."""
    moment = _START.timestamp()
    values: dict[str, Any] = {
        "id": f"{number:026x}", "message_id": f"<{number}@example.org>", "connection": "support", "payload": b"{}",
        "result": b"[]", "run_at": moment, "created": moment, "updated": moment,
    }  # fmt: skip
    return Job(**(values | changes))


class OpenedLedger:
    """Opens a ledger for each law."""

    async def open_ledger(self, clock: Clock) -> Ledger:
        """Open an empty ledger whose time is `clock`."""
        raise NotImplementedError

    def run(self, law: Callable[[Ledger, TestClock], Awaitable[None]]) -> None:
        """Run one test on a loop of its own."""

        async def whole() -> None:
            clock = TestClock()
            async with asyncio.timeout(30):
                ledger = await self.open_ledger(clock)
                try:
                    await law(ledger, clock)
                finally:
                    await ledger.aclose()
                    await ledger.aclose()

        asyncio.run(whole())
