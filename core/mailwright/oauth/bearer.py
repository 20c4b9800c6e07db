"""A token in use: XOAUTH2 or OAUTHBEARER for SMTP, a Bearer header for HTTP."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from attrs import evolve

from mailwright.model import Reply
from mailwright.ports import HttpRequest
from mailwright.sasl import tokens
from mailwright.spi import SaslMechanism, SaslOffer, TokenSource

_used: Final[ContextVar[str]] = ContextVar("mailwright_used_token", default="")
"""The token that this task tried last: when many sessions are refused at one time, it is renewed once."""


class Bearer:
    """An `Authenticator` over a source of tokens.

    Args:
        user: The mailbox.
        source: Its tokens.
    """

    def __init__(self, user: str, source: TokenSource) -> None:
        self._user = user
        self._source = source

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """XOAUTH2 or OAUTHBEARER."""
        token = await self._source.token()
        _used.set(token)
        return tokens(self._user, token, offer)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Bearer (RFC 6750 §2.1)."""
        token = await self._source.token()
        _used.set(token)
        return evolve(request, headers={**request.headers, "Authorization": f"Bearer {token}"})

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """Renew once; a refusal for the moment (4xx, 421 aside) says nothing about the token."""
        if reply.code == 401 or reply.code // 100 == 5 or reply.code == 421:
            return await self._source.renew(_used.get())
        return False

    async def aclose(self) -> None:
        """Let a renewal under way end."""
        await self._source.aclose()
