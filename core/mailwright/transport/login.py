"""AUTH (RFC 4954): one mechanism, one attempt; a second only when the credential was renewed in between."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import evolve

from mailwright.errors import AuthError, SessionError
from mailwright.model import Reply
from mailwright.smtp import auth_lines
from mailwright.spi import Authenticator, SaslMechanism, SaslOffer

MAX_CHALLENGES: Final = 6
Command = Callable[..., Awaitable[Reply]]
"""Says one line: its name for people, then its words; gives the reply."""


class RenewedError(Exception):
    """The credential was renewed, but the server has hung up: a new session may try it."""


class Login:
    """Logs one session in.

    Args:
        authenticator: The credential.
        offer: What the server offers.
        explain: The provider's replies in words.
    """

    def __init__(
        self, authenticator: Authenticator, offer: SaslOffer, *, explain: Callable[[Reply], str | None]
    ) -> None:
        self._authenticator = authenticator
        self._offer = offer
        self._explain = explain

    async def run(self, command: Command, *, renew: bool) -> str:
        """Log in; the name of the mechanism.

        Args:
            command: Says one line.
            renew: Whether the authenticator may be asked for a new credential.

        Raises:
            AuthError: The server refused.
            RenewedError: It refused and hung up, and the credential is new now.
            SessionError: The session broke.
        """
        mechanism = await self._authenticator.sasl(self._offer)
        reply, challenge = await self._exchange(command, mechanism)
        if reply.code // 100 != 2 and renew and await self._authenticator.refused(reply, challenge):
            if reply.code == 421:
                raise RenewedError
            mechanism = await self._authenticator.sasl(self._offer)
            try:
                reply, challenge = await self._exchange(command, mechanism)
            except SessionError as error:
                raise RenewedError from error
        if reply.code // 100 != 2:
            hint = self._explain(reply)
            message = f"{self._offer.host} refused the login: {reply}" + (f" ({hint})" if hint else "")
            raise AuthError(message, permanent=reply.permanent, command=f"AUTH {mechanism.name}", reply=reply)
        if not getattr(mechanism, "complete", True):
            message = f"{self._offer.host} took the login without proving that it knows the password"
            raise AuthError(message, command=f"AUTH {mechanism.name}")
        return mechanism.name

    async def _exchange(self, command: Command, mechanism: SaslMechanism) -> tuple[Reply, bytes | None]:
        """One attempt; the last challenge is kept, for it may say why (RFC 7628 §3.2.2)."""
        name = f"AUTH {mechanism.name}"
        initial = mechanism.start()
        words = auth_lines(mechanism.name, None if initial is None else base64.b64encode(initial).decode("ascii"))
        waiting = initial if len(words) == 2 else None
        said = {words[2]} if len(words) == 3 else set()
        reply = await command(name, *words)
        challenge: bytes | None = None
        for _ in range(MAX_CHALLENGES):
            if reply.code != 334:
                break
            if waiting is not None:
                answer, waiting = waiting, None
            else:
                challenge = _decoded(reply.text)
                answer = mechanism.step(challenge)
            line = base64.b64encode(answer)
            said.add(line)
            reply = await command(name, line)
        if reply.code // 100 == 3:
            raise SessionError("the server does not stop asking", code="EPROTOCOL", stage="auth", command=name)
        return _without(reply, said), challenge


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _without(reply: Reply, said: set[bytes]) -> Reply:
    """The reply without the credential, which some servers repeat when they do not understand it."""
    text = reply.text
    for line in said:
        if len(line) > 3:
            text = text.replace(line.decode("ascii"), "[credential]")
    return reply if text == reply.text else evolve(reply, text=text)
