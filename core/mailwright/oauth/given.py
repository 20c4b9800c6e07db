"""Tokens that somebody else renews: one in the document (or behind its reference), or a supplier's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwright.errors import AuthError, MailwrightError
from mailwright.model import RefreshGrant, SuppliedToken, SupplyGrant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailwright.model import Secret
    from mailwright.ports import Clock


class Given:
    """An access token without anything to renew it by; revealed at each use, since ``file:`` and ``env:`` may change."""

    def __init__(self, grant: RefreshGrant, reveal: Callable[[Secret], Awaitable[str]], clock: Clock) -> None:
        self._grant = grant
        self._reveal = reveal
        self._clock = clock

    async def token(self) -> str:
        """The token. Raises `AuthError` when it has expired."""
        grant = self._grant
        if grant.expires_at_ms is not None and self._clock.now().timestamp() * 1000 >= grant.expires_at_ms:
            msg = "$.auth.expiry_date: the access token has expired; give a new one, or a refresh_token"
            raise AuthError(msg, stage="prepare", command="API")
        if grant.access_token is None:
            msg = "$.auth.access_token: give access_token or refresh_token"
            raise AuthError(msg, stage="prepare", command="API")
        return await self._reveal(grant.access_token)

    async def renew(self, refused: str) -> bool:
        """It cannot be renewed; but a reference may lead to another one by now."""
        return bool(refused) and await self.token() != refused

    async def aclose(self) -> None:
        """Nothing is held."""


class Supplied:
    """A supplier's tokens, held as long as it says."""

    def __init__(self, grant: SupplyGrant, clock: Clock) -> None:
        self._grant = grant
        self._clock = clock
        self._held: SuppliedToken | None = None
        self._until = 0.0
        self._forced_at: float | None = None

    async def token(self) -> str:
        """The held one, or the next. Raises `AuthError`."""
        held = self._held
        if held is None or self._clock.monotonic() >= self._until:
            held = await self._next(renew=False)
        return held.access_token

    async def renew(self, refused: str) -> bool:
        """Ask once for another one."""
        if self._held is not None and self._held.access_token != refused:
            return True
        now = self._clock.monotonic()
        if self._forced_at is not None and now - self._forced_at < 300:
            return False
        self._forced_at = now
        return (await self._next(renew=True)).access_token != refused

    async def aclose(self) -> None:
        """Nothing is under way."""

    async def _next(self, *, renew: bool) -> SuppliedToken:
        try:
            found = await self._grant.supply(renew)
        except MailwrightError:
            raise
        except Exception as error:  # noqa: BLE001 - a supplier may raise anything; it is named, its words are not
            msg = f"the supplier of tokens failed: {type(error).__name__}"
            raise AuthError(msg, permanent=False, command="AUTH XOAUTH2") from None
        if not isinstance(found, SuppliedToken):
            msg = f"the supplier of tokens returned {type(found).__name__}, not a SuppliedToken"
            raise AuthError(msg, command="AUTH XOAUTH2")
        self._held = found
        life = found.expires_in_s
        self._until = float("inf") if life is None else self._clock.monotonic() + life - min(300.0, life / 5)
        return found
