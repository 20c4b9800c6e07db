"""Grants → requests to a token endpoint. oauthlib encodes them; it does no I/O, and its client objects are not used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from oauthlib.oauth2.rfc6749.parameters import prepare_token_request

from mailwright.errors import ConfigurationError
from mailwright.model import ClientGrant, Grant, JwtGrant, RefreshGrant, Secret
from mailwright.oauth.signing import account_assertion, client_assertion
from mailwright.ports import Clock, Entropy, HttpRequest

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"


def checked_url(url: str, *, field: str = "$.auth.token_url") -> str:
    """A token URL that credentials may be sent to: https, a host, no user in it, no fragment.

    Raises:
        ConfigurationError: Names the field.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme.lower() == "https" and parts.hostname and parts.username is None and not parts.fragment
        _ = parts.port
    except ValueError:
        good = False
    if not good or not url.isascii() or any(char <= " " or char in "\\\x7f" for char in url):
        shown = url.partition("?")[0].rpartition("@")[2][:120]
        msg = f"{field}: {shown!r} is not an https URL that a credential may be sent to"
        raise ConfigurationError(msg)
    return url


class Forms:
    """Writes the requests of one connection.

    Args:
        reveal: Turns secrets into text; what was revealed is remembered in `seen`, to be kept out of errors.
        clock, entropy: For assertions.
    """

    def __init__(self, reveal: Callable[[Secret], Awaitable[str]], clock: Clock, entropy: Entropy) -> None:
        self._reveal = reveal
        self._clock = clock
        self._entropy = entropy
        self.seen: set[str] = set()

    async def text(self, secret: Secret | None) -> str | None:
        """A secret's text; empty counts as none."""
        if secret is None or not (text := await self._reveal(secret)):
            return None
        self.seen.add(text)
        return text

    async def renewal(self, grant: Grant, refresh_token: str | None) -> HttpRequest:
        """What a grant sends for its next token."""
        scope = list(grant.scopes)
        if isinstance(grant, RefreshGrant):
            return await self.post(grant, "refresh_token", refresh_token=refresh_token, scope=scope)
        if isinstance(grant, JwtGrant):
            key = await self.text(grant.key) or ""
            assertion = account_assertion(grant, key, now_s=int(self._clock.now().timestamp()))
            self.seen.add(assertion)
            return await self.post(grant, JWT_BEARER, assertion=assertion)
        assert isinstance(grant, ClientGrant)
        return await self.post(grant, "client_credentials", scope=scope)

    async def post(self, grant: Grant, grant_type: str, **fields: str | list[str] | None) -> HttpRequest:
        """One token request, with the client's own proof."""
        body = prepare_token_request(
            grant_type, client_id=grant.client_id or None, **await self.proof(grant), **grant.extra, **fields
        )
        return form_request(grant.token_url, body)

    async def proof(self, grant: Grant) -> dict[str, str | None]:
        """How the client shows who it is: certificate, secret, or (a public client) not at all."""
        if (pem := await self.text(grant.certificate)) is not None:
            now_s, unique = int(self._clock.now().timestamp()), self._entropy.token()
            assertion = client_assertion(grant.client_id, grant.token_url, pem, now_s=now_s, unique=unique)
            self.seen.add(assertion)
            return {"client_assertion_type": CLIENT_ASSERTION, "client_assertion": assertion}
        return {"client_secret": await self.text(grant.client_secret)}


def form_request(url: str, body: str, headers: Mapping[str, str] | None = None) -> HttpRequest:
    """A form, POSTed."""
    fixed = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return HttpRequest(method="POST", url=url, headers={**fixed, **(headers or {})}, body=body.encode("ascii"))
