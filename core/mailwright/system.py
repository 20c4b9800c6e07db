"""The real clock and the real randomness, behind their ports."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> datetime:
        """Local time with its zone."""
        return datetime.now().astimezone()

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
