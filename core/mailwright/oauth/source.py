"""The tokens of one credential on one event loop: held, kept, renewed early, and once when refused.

What is newest counts in this order: held in memory, in the store, in the document. A renewal is one task that all callers
wait for and that no caller's cancellation ends: an answer that replaces the refresh token must reach the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from mailwright.errors import AuthError, MailwrightError
from mailwright.model import ClientGrant, Grant, JwtGrant, RefreshGrant, Secret
from mailwright.oauth.flight import alone
from mailwright.oauth.record import Record, parse

if TYPE_CHECKING:
    from mailwright.oauth.answers import Answer
    from mailwright.oauth.asking import Asking
    from mailwright.oauth.forms import Forms
    from mailwright.ports import Clock, Entropy
    from mailwright.spi import AuthTarget, TokenStore

MARGIN_S: Final = 300.0
"""Renewed so long before the end, or in the last fifth of short lives."""
PATIENCE_S: Final = 300.0
"""A token that came because of a refusal and is refused too is not renewed again within this time."""
_log = logging.getLogger("mailwright.oauth")


@frozen(kw_only=True)
class Held:
    """A token in memory, its life measured on the clock that never jumps."""

    token: str = field(repr=False)
    renew_at: float
    ends_at: float


@frozen(kw_only=True)
class TokenState:
    """What ``mailwright auth status`` shows; no secret in it."""

    key: str
    stored: bool
    expires_at: float | None
    can_renew: bool


class Source:
    """A `TokenSource` of a grant; see the module.

    Args:
        grant: What to ask for.
        name: The saved connection.
        user: The mailbox.
        target: What the tokens are for.
        asking: The endpoint.
        forms: Reveals secrets.
        store: Where tokens are kept.
        clock, entropy: Time and randomness.
    """

    def __init__(
        self,
        grant: Grant,
        *,
        name: str | None,
        user: str,
        target: AuthTarget,
        asking: Asking,
        forms: Forms,
        store: TokenStore,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.grant = grant
        self.asking = asking
        self.forms = forms
        self._name = name
        self._user = user
        self._target = target
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._held: Held | None = None
        self._unsaved: Record | None = None
        self._flight: asyncio.Task[Held] | None = None
        self._forced_at: float | None = None

    async def token(self) -> str:
        """A token with some life in it. Raises `AuthError`."""
        held = self._held
        if held is not None and self._clock.monotonic() < held.renew_at:
            return held.token
        try:
            return (await self._renewed(refused=None)).token
        except AuthError as error:
            if held is None or error.permanent or self._unsaved is not None:
                raise
            if self._clock.monotonic() >= held.ends_at:
                raise
            _log.warning("the token of %s is used to its end: it could not be renewed: %s", self._label, error.message)
            return held.token

    async def renew(self, refused: str) -> bool:
        """Another token than the refused one, once. Raises `AuthError`."""
        held = self._held
        if held is not None and held.token != refused:
            return True
        if (flight := self._flight) is not None and not flight.done():  # refused at the same time as another session
            return (await asyncio.shield(flight)).token != refused
        now = self._clock.monotonic()
        if not self._can_renew or (self._forced_at is not None and now - self._forced_at < PATIENCE_S):
            return False
        _log.info("a server refused the token of %s: it is renewed", self._label)
        self._forced_at = now
        return (await self._renewed(refused=refused)).token != refused

    async def aclose(self) -> None:
        """Let a renewal under way end."""
        if self._flight is not None:
            await asyncio.wait([self._flight])

    # -- for the command line

    async def state(self) -> TokenState:
        """What is kept."""
        key = await self.key()
        record = parse(await self._store.load(key))
        stored = record.access_token is not None or record.refresh_token is not None
        return TokenState(
            key=key, stored=stored, expires_at=record.expires_at, can_renew=await self._refresh_of(record) is not None
        )

    async def refresh(self) -> None:
        """Renew now, whatever is held. Raises `AuthError`."""
        record = parse(await self._store.load(await self.key()))
        await self._renewed(refused=record.access_token or "")

    async def forget(self, *, only_access: bool = False) -> Record:
        """Drop what is kept and held; the record as it was."""
        key = await self.key()
        self._held = None
        async with alone(self._store, key, clock=self._clock, entropy=self._entropy):
            text = await self._store.load(key)
            record = parse(text)
            kept = Record(refresh_token=record.refresh_token) if only_access and record.refresh_token else None
            if text is not None:
                await self._store.compare_and_swap(key, text, kept.text() if kept else None)
        return record

    async def accept(self, answer: Answer) -> None:
        """Keep what a login brought."""
        key = await self.key()
        async with alone(self._store, key, clock=self._clock, entropy=self._entropy):
            await self._save(key, self._record(answer, Record()), must=True)

    # -- one renewal

    async def _renewed(self, *, refused: str | None) -> Held:
        """One task for all callers; a caller whose token was refused does not take the same one again."""
        while (flight := self._flight) is not None and not flight.done():
            if (held := await asyncio.shield(flight)).token != refused:
                return held
        flight = self._flight = asyncio.create_task(self._obtain(refused))
        flight.add_done_callback(_seen)
        return await asyncio.shield(flight)

    async def _obtain(self, refused: str | None) -> Held:
        try:
            key = await self.key()
            async with alone(self._store, key, clock=self._clock, entropy=self._entropy):
                return await self._obtain_alone(key, refused)
        except OSError as error:
            msg = f"the token of {self._label} cannot be kept: {error.strerror or type(error).__name__}"
            raise AuthError(msg, permanent=False, command="AUTH XOAUTH2") from error

    async def _obtain_alone(self, key: str, refused: str | None) -> Held:
        await self._save_late(key)
        record = parse(await self._store.load(key))
        found = self._as_held(record) or await self._given(record)
        if found is not None and self._held is not None and found.token == self._held.token:
            found = self._held  # its life is known by the clock that does not jump
        if found is not None and found.token != refused and self._clock.monotonic() < found.renew_at:
            self._held = found
            return found
        if self._held is None and found is not None and found.token != refused:
            self._held = found  # good until its end, should the server not answer now
        record = await self._ask(key, record)
        self._held = held = self._as_held(record)
        assert held is not None
        return held

    async def _ask(self, key: str, record: Record) -> Record:
        """Ask, keep, and only then let it be used."""
        refresh_token = await self._refresh_of(record)
        if isinstance(self.grant, RefreshGrant) and refresh_token is None:
            raise self._nothing()
        try:
            answer = await self.asking.ask(self.grant, refresh_token)
        except AuthError as error:
            newer = parse(await self._store.load(key))
            if not error.permanent or newer.same_token(record):
                raise
            self.asking.breaker.succeeded()  # somebody else has renewed it, without our lock
            answer = await self.asking.ask(self.grant, await self._refresh_of(newer))
        fresh = self._record(answer, record)
        await self._save(key, fresh, must=answer.refresh_token is not None)
        return fresh

    def _record(self, answer: Answer, before: Record) -> Record:
        now = self._clock.now().timestamp()
        return Record(
            access_token=answer.access_token,
            expires_at=now + answer.expires_in_s,
            obtained_at=now,
            refresh_token=answer.refresh_token or before.refresh_token,
        )

    async def _save(self, key: str, record: Record, *, must: bool) -> None:
        """Write it durably. A replaced refresh token that cannot be written is not used, but tried again next time."""
        self._unsaved = record if must else None
        try:
            for _ in range(8):
                if await self._store.compare_and_swap(key, await self._store.load(key), record.text()):
                    self._unsaved = None
                    return
        except (OSError, MailwrightError) as error:
            if not must:
                _log.warning("the token of %s cannot be kept: %s", self._label, type(error).__name__)
                return
            msg = (
                f"the new refresh token of {self._label} cannot be kept ({type(error).__name__}), so nothing is sent with "
                "it: make the token store writable; until then this process alone holds it"
            )
            raise AuthError(msg, permanent=False, command="AUTH XOAUTH2") from error
        if must:
            msg = f"the token of {self._label} cannot be kept: its store changes all the time"
            raise AuthError(msg, permanent=False, command="AUTH XOAUTH2")

    async def _save_late(self, key: str) -> None:
        if (unsaved := self._unsaved) is not None:
            await self._save(key, unsaved, must=True)

    # -- what there is

    def _as_held(self, record: Record) -> Held | None:
        """What a record is worth now: the wall clock counts once, when it is read."""
        if record.access_token is None or record.expires_at is None:
            return None
        self.forms.seen |= {record.access_token, record.refresh_token or record.access_token}
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        whole = record.expires_at - (record.obtained_at if record.obtained_at is not None else wall)
        left = min(record.expires_at - wall, whole)
        margin = min(MARGIN_S, max(whole, 0.0) / 5)
        return Held(token=record.access_token, renew_at=now + left - margin, ends_at=now + left)

    async def _given(self, record: Record) -> Held | None:
        """The document's own access token, while nothing newer is known."""
        grant = self.grant
        if not isinstance(grant, RefreshGrant) or record.access_token is not None:
            return None
        token = await self.forms.text(grant.access_token)
        if token is None:
            return None
        now = self._clock.monotonic()
        if grant.expires_at_ms is None:
            return Held(token=token, renew_at=float("inf"), ends_at=float("inf"))
        left = grant.expires_at_ms / 1000 - self._clock.now().timestamp()
        return Held(token=token, renew_at=now + left - MARGIN_S, ends_at=now + left)

    async def _refresh_of(self, record: Record) -> str | None:
        grant = self.grant
        return record.refresh_token or (
            await self.forms.text(grant.refresh_token) if isinstance(grant, RefreshGrant) else None
        )

    @property
    def _can_renew(self) -> bool:
        return not isinstance(self.grant, RefreshGrant) or bool(self.grant.refresh_token or self.grant.client_id)

    @property
    def _label(self) -> str:
        return self._name or "this connection"

    def _nothing(self) -> AuthError:
        login = f"run: mailwright auth login {self._name}" if self._name else "give a refresh_token"
        msg = f"$.auth: there is no token for {self._user}: {login}"
        return AuthError(msg, stage="prepare", command="API")

    async def key(self) -> str:
        """The store's key: a fingerprint of the credential and its purpose; another credential finds nothing."""
        grant, target = self.grant, self._target
        parts = [type(grant).__name__, grant.token_url, grant.client_id, self._user, target.protocol, target.host]
        parts += sorted(grant.scopes)
        secrets: tuple[Secret | None, ...] = ()
        if isinstance(grant, RefreshGrant):  # without the client's secret: a new one must not lose the newest token
            secrets = (grant.refresh_token,)
        elif isinstance(grant, JwtGrant):
            parts += [grant.subject, grant.issuer or ""]
            secrets = (grant.key,)
        elif isinstance(grant, ClientGrant):
            secrets = (grant.client_secret, grant.certificate)
        parts += [await self.forms.text(secret) or "" for secret in secrets]
        digest = hashlib.sha256(b"\0".join(part.encode() for part in parts)).hexdigest()
        return f"{self._name or '-'}:{digest[:40]}"


def _seen(task: asyncio.Task[Held]) -> None:
    """Its error is told to those who wait; nobody need wait."""
    if not task.cancelled():
        task.exception()
