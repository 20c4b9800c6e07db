"""From a message, or ready octets, to what a route is given: prepared, composed, checked against limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve, field, frozen

from mailwright import mime
from mailwright.errors import AttachmentError, MessageError
from mailwright.fetching import Fetcher
from mailwright.mime import ComposedMessage
from mailwright.model import Connection, ConnectionInfo, Envelope, Message
from mailwright.ports import Fetching
from mailwright.prepare import new_message_id, prepare
from mailwright.registry import Registry
from mailwright.routing import check_limits, envelope_of, staged
from mailwright.sending.routes import Route

if TYPE_CHECKING:
    from email.message import Message as StandardMessage

    from mailwright.ports import Clock, Entropy

AnyMessage: TypeAlias = "Message | StandardMessage | bytes"
_Replacing: TypeAlias = "Callable[[Message, ConnectionInfo], Awaitable[Message]]"


@frozen(kw_only=True, slots=False)  # without slots making one takes less time
class Draft:
    """A message as it would leave.

    Attributes:
        message: Prepared.
        composed: Its octets.
        envelope: Who the server is told.
        kept_back: Recipients that ``allow_recipients`` does not let through.
        connection: Of the first route.
        ready: The message as it came, where it came ready-made.
    """

    message: Message = field(repr=False)
    composed: ComposedMessage
    envelope: Envelope
    kept_back: tuple[str, ...] = ()
    connection: Connection
    ready: StandardMessage | bytes | None = field(default=None, repr=False)


async def unchanged(message: Message, info: ConnectionInfo) -> Message:
    """No hook."""
    return message


class Drafter:
    """Makes drafts.

    Args:
        registry: Of attachment sources.
        attachment_limit: Octets of one file from elsewhere; None: `mailwright.fetching.MAX_BYTES`.
        attach_root: The folder files may be attached from; None: none may.
        clock: For Date.
        entropy: For Message-ID and boundaries.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        attachment_limit: int | None,
        attach_root: str | Path | None,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._registry = registry
        self._attachment_limit = attachment_limit
        self._attach_root = Path(attach_root).resolve() if attach_root is not None else None
        self._clock = clock
        self._entropy = entropy

    async def draft(
        self,
        message: AnyMessage,
        envelope: Envelope | None,
        route: Route,
        *,
        replaced: _Replacing = unchanged,
        fetcher: Fetcher | None = None,
    ) -> Draft:
        """Prepared, replaced, composed and checked against limits."""
        if isinstance(message, Message):
            if envelope is not None:
                message = message.replace(envelope=envelope)
            prepared = await self.prepare(message, route, fetcher)
            changed = await replaced(prepared, route.info)
            if changed is not prepared:
                prepared = await self.prepare(changed, route, fetcher)
            composed = composed_for(route, prepared, token=self._entropy.token)
        else:
            prepared, composed = self._ready(message, envelope, route)
        told, kept_back = staged(envelope_of(prepared), route.connection)
        check_limits(composed, told, route.limits)
        return Draft(
            message=prepared,
            composed=composed,
            envelope=told,
            kept_back=kept_back,
            connection=route.connection,
            ready=None if isinstance(message, Message) else message,
        )

    async def prepare(self, message: Message, route: Route, fetcher: Fetcher | None = None) -> Message:
        """Resolve attachments, fix author, Message-ID and Date."""
        return await prepare(
            message,
            registry=self._registry,
            fetching=self._fetching(route, fetcher) if message.attachments else None,
            clock=self._clock,
            entropy=self._entropy,
            author=route.author,
        )

    def fetcher(self, route: Route) -> Fetcher:
        """One for each run: what it fetched is used again by the run's other messages."""
        return Fetcher(route.http, max_bytes=self._attachment_limit)

    def moved(self, draft: Draft, last: Route, route: Route) -> Draft:
        """Octets for another kind of transport: Bcc stands in them only where recipients are read from the header."""
        if route.reads_header == last.reads_header:
            return draft
        if draft.ready is None:
            return evolve(draft, composed=composed_for(route, draft.message, token=self._entropy.token))
        octets, envelope = mime.octets_of(draft.ready), draft.message.envelope
        return evolve(draft, composed=ready_again(route, draft.message, octets, envelope))

    def _ready(
        self, message: StandardMessage | bytes, envelope: Envelope | None, route: Route
    ) -> tuple[Message, ComposedMessage]:
        if route.composes:
            raise composes_itself(route)
        return mime.ready(
            message if type(message) is bytes else mime.octets_of(message),
            author=route.author,
            message_id=lambda domain: new_message_id(domain, self._entropy),
            date=self._clock.now(),
            envelope=envelope,
            bcc=route.reads_header,
        )

    def _fetching(self, route: Route, fetcher: Fetcher | None) -> Fetching:
        return Fetching(
            http=route.http,
            path=self._below_root,
            max_bytes=self._attachment_limit,
            get=(fetcher or self.fetcher(route)).get,
        )

    def _below_root(self, name: str) -> Path:
        if self._attach_root is None:
            msg = f"{name}: files may not be attached here; name an attach_root (--attach-root)"
            raise AttachmentError(msg)
        try:
            path = (self._attach_root / name).resolve()
        except (OSError, ValueError) as error:  # a NUL, a loop of links
            msg = f"{name[:200]!r}: not a path: {error}"
            raise AttachmentError(msg) from None
        if not path.is_relative_to(self._attach_root):
            msg = f"{name}: outside the folder that files may be attached from"
            raise AttachmentError(msg)
        return path


def composes_itself(route: Route) -> MessageError:
    """Why a ready-made message cannot take a route."""
    return MessageError(f"provider {route.connection.provider} composes by itself: hand it a Message, not ready octets")


def composed_for(route: Route, message: Message, *, token: Callable[[], str]) -> ComposedMessage:
    """The octets of a prepared message.

    Args:
        route: Where they go.
        message: Prepared.
        token: Makes boundaries.
    """
    return mime.compose(message, token=token, bcc=route.reads_header, offload=asyncio.to_thread)


def ready_again(route: Route, message: Message, octets: bytes, envelope: Envelope | None) -> ComposedMessage:
    """The octets of a ready-made message that was looked at before, and became `message`."""
    assert message.date is not None  # prepared
    _, composed = mime.ready(
        octets,
        author=route.author,
        message_id=lambda domain: message.message_id or "",
        date=message.date,
        envelope=envelope,
        bcc=route.reads_header,
    )
    return composed
