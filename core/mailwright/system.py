"""The real clock and the real randomness, behind their ports."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime, tzinfo


class SystemClock:
    """`Clock` of this machine."""

    _minute = -1.0
    _zone: tzinfo | None = None

    def now(self) -> datetime:
        """Local time with its zone."""
        seconds = time.time()
        minute = seconds // 60
        if minute != self._minute:  # clocks are put forward and back at whole minutes
            self._minute, self._zone = minute, datetime.fromtimestamp(seconds).astimezone().tzinfo
        return datetime.fromtimestamp(seconds, self._zone)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """`Entropy` of this machine."""

    def token(self) -> str:
        """Thirty-two fresh hexadecimal digits."""
        return os.urandom(16).hex()
