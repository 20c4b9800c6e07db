"""What core hands to authentication plugins as `Opening.tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailwright.errors import ConfigurationError
from mailwright.model import RefreshGrant, SupplyGrant
from mailwright.oauth.bearer import Bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailwright.model import Grant, Secret
    from mailwright.oauth.source import Source
    from mailwright.ports import Clock, Entropy, Http
    from mailwright.spi import Authenticator, AuthTarget, TokenSource, TokenStore

REQUEST_S: Final = 30.0


class TokenDesk:
    """`Tokens` of one connection.

    Args:
        name: The saved connection; None: inline.
        http: Configured for the connection.
        reveal: Turns secrets into text.
        store: Where tokens are kept; None: files in the user's state folder.
        clock, entropy: Time and randomness.
        limit_s: For one token request.
    """

    def __init__(
        self,
        *,
        name: str | None,
        http: Http,
        reveal: Callable[[Secret], Awaitable[str]],
        store: TokenStore | None = None,
        clock: Clock,
        entropy: Entropy,
        limit_s: float = REQUEST_S,
    ) -> None:
        self._name = name
        self._http = http
        self._reveal = reveal
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._limit_s = limit_s
        self.sources: list[Source] = []

    def authenticator(self, grant: Grant | SupplyGrant, *, target: AuthTarget, user: str) -> Authenticator:
        """XOAUTH2, OAUTHBEARER, or a Bearer header."""
        return Bearer(user, self.source(grant, target=target, user=user))

    def source(self, grant: Grant | SupplyGrant, *, target: AuthTarget, user: str) -> TokenSource:
        """The tokens of a grant. Raises `ConfigurationError`."""
        if isinstance(grant, SupplyGrant):
            from mailwright.oauth.given import Supplied  # noqa: PLC0415 - needs no HTTP, no store

            return Supplied(grant, self._clock)
        if (
            isinstance(grant, RefreshGrant)
            and grant.refresh_token is None
            and (grant.access_token or not grant.client_id)
        ):
            from mailwright.oauth.given import Given  # noqa: PLC0415 - likewise

            return Given(grant, self._reveal, self._clock)
        return self._renewing(grant, target, user)

    def _renewing(self, grant: Grant, target: AuthTarget, user: str) -> Source:
        from mailwright.oauth.asking import Asking  # noqa: PLC0415 - oauthlib, paid for by those who use it
        from mailwright.oauth.forms import Forms, checked_url  # noqa: PLC0415
        from mailwright.oauth.source import Source  # noqa: PLC0415

        checked_url(grant.token_url)
        forms = Forms(self._reveal, self._clock, self._entropy)
        asking = Asking(
            name=self._name, user=user, http=self._http, forms=forms, clock=self._clock, limit_s=self._limit_s
        )
        source = Source(
            grant,
            name=self._name,
            user=user,
            target=target,
            asking=asking,
            forms=forms,
            store=self._kept(grant),
            clock=self._clock,
            entropy=self._entropy,
        )
        self.sources.append(source)
        return source

    def _kept(self, grant: Grant) -> TokenStore:
        """The store. A refresh token that may be replaced is an error now, not at three in the morning."""
        from mailwright.oauth.files import VARIABLE, FileTokenStore, MemoryTokenStore  # noqa: PLC0415 - as above

        store = self._store or FileTokenStore()
        if getattr(store, "writable", True):
            return store
        if isinstance(grant, RefreshGrant) and grant.rotates:
            where = f"the folder {store.folder}" if isinstance(store, FileTokenStore) else "the token_store handed in"
            msg = (
                f"$.auth.refresh_token: the server may replace it, and {where} cannot keep a new one: make it writable, "
                f"name another folder in {VARIABLE}, hand in token_store=, or say rotates: false if it never does"
            )
            raise ConfigurationError(msg)
        return MemoryTokenStore()
