"""Admission within one process: so many messages a second, in the order in which they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailwright.model import Limits
    from mailwright.ports import Clock


class Rate:
    """The generic cell rate algorithm (ITU-T I.371): `burst` messages at once, then one every ``1 / rate`` seconds.

    Args:
        limits: Of a connection; without a rate everybody is admitted at once.
        clock: Time.

    Attributes:
        limited: Whether anybody ever has to wait.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._interval_s = 1 / limits.rate if limits.rate else 0.0
        self._tolerance_s = self._interval_s * (limits.burst - 1)
        self.limited = self._interval_s > 0
        self._clock = clock
        self._due = float("-inf")

    async def admit(self) -> None:
        """Wait for one message's turn."""
        if self._interval_s and (wait := self._reserve(self._clock.monotonic())) > 0:
            await self._clock.sleep(wait)

    def _reserve(self, now: float) -> float:
        """Take the next place; seconds until it."""
        due = max(self._due, now)
        self._due = due + self._interval_s
        return due - self._tolerance_s - now
