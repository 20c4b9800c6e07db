"""Leaving a server alone that keeps failing or refusing: providers lock accounts that knock too often."""

from __future__ import annotations

from typing import Final

from mailwright.errors import AuthError
from mailwright.model import Reply
from mailwright.ports import Clock, HttpRequest
from mailwright.spi import Authenticator, SaslMechanism, SaslOffer

FIRST_S: Final = 60.0
LONGEST_S: Final = 900.0
REFUSALS: Final = 3


class Breaker:
    """Opens after a failed round of requests; stays open twice as long each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0
        self._next_s = FIRST_S
        self._error: AuthError | None = None

    def check(self) -> None:
        """Raises the last error while open."""
        left = self._until - self._clock.monotonic()
        if self._error is None or left <= 0:
            return
        error = self._error
        msg = error.message if error.permanent else f"{error.message}; asked again in {left:.0f} s"
        raise AuthError(msg, permanent=error.permanent, command=error.command)

    def failed(self, error: AuthError, *, wait_s: float | None = None) -> None:
        """Open."""
        stay = LONGEST_S if error.permanent else max(self._next_s, wait_s or 0.0)
        self._until = self._clock.monotonic() + stay
        self._next_s = min(2 * self._next_s, LONGEST_S)
        self._error = error

    def succeeded(self) -> None:
        """Close."""
        self._error, self._next_s = None, FIRST_S


class Cautious:
    """An authenticator that gives up for a while after three refusals within five minutes.

    Args:
        inner: The credential.
        clock: Time.
    """

    WINDOW_S: Final = 300.0

    def __init__(self, inner: Authenticator, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._refused: list[float] = []
        self._reply: Reply | None = None

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """As the inner one's, while it is worth trying."""
        self._check()
        return await self._inner.sasl(offer)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Likewise."""
        self._check()
        return await self._inner.sign(request)

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """Count it, unless there is a new credential to try."""
        renewed = await self._inner.refused(reply, challenge)
        if not renewed and (reply.permanent or reply.code == 401):
            self._refused.append(self._clock.monotonic())
            self._reply = reply
        return renewed

    async def aclose(self) -> None:
        """Close the inner one."""
        await self._inner.aclose()

    def _check(self) -> None:
        start = self._clock.monotonic() - self.WINDOW_S
        self._refused = [moment for moment in self._refused if moment > start]
        if len(self._refused) >= REFUSALS:
            left = self._refused[-REFUSALS] - start
            msg = (
                f"the server refused this login {REFUSALS} times: {self._reply}; it is not tried again for "
                f"{left:.0f} s, because providers lock accounts that knock too often"
            )
            raise AuthError(msg, reply=self._reply)
