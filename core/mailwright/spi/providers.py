"""Providers, their transports, attachment sources, secret schemes. Import them from `mailwright.spi`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from attrs import field, frozen

from mailwright.model import Envelope, Limits, Message, Part, RawPart, Reply, Report, Settings, SmtpEndpoint
from mailwright.ports import Composed, Fetching
from mailwright.spi.auth import AuthTarget, Opening

S = TypeVar("S", bound=Settings)


@frozen(kw_only=True)
class Capabilities:
    """What a transport can do.

    Attributes:
        content: ``mime``: takes the octets; ``message``: a JSON API that takes the message (hooks may veto; what they replace
            is not carried, which is logged).
        recipients: ``envelope``, or ``headers`` for APIs that read To, Cc and Bcc from the octets.
        per_recipient: False: one answer for all, so no retry of a part of them.
        idempotency_s: Within this time a repeat with the same key is harmless.
        extensions: What else it carries where a message asks for it: ``dsn`` (RFC 3461), ``requiretls`` (RFC 8689). A message
            that asks for another is refused. Our own SMTP transport asks the server instead.
    """

    content: Literal["mime", "message"] = "mime"
    recipients: Literal["envelope", "headers"] = "envelope"
    per_recipient: bool = True
    idempotency_s: float | None = None
    extensions: frozenset[Literal["dsn", "requiretls"]] = frozenset()


Commit: TypeAlias = Callable[[], Awaitable[None]]
"""Awaited just before the point of no return."""


async def no_commit() -> None:
    """Nobody keeps books: nothing to write down before the point of no return."""


@frozen(kw_only=True)
class Submission:
    """One attempt to deliver.

    Attributes:
        composed: The octets.
        message: Prepared: attachments resolved, Message-ID and Date fixed; for transports whose content is ``message``,
            plain text derived where the author gave none.
        envelope: The recipients of this attempt.
        idempotency_key: Same for every attempt of the message.
        deadline: In `Clock.monotonic` seconds.
        commit: Awaited once before the final dot or the HTTP request; may raise `LeaseLost`.
        may_repeat: Its recipients may get it twice, if its outcome stays unknown: a transport may send several such
            messages before the first of them is answered.
    """

    composed: Composed = field(repr=False)
    message: Message = field(repr=False)
    envelope: Envelope
    idempotency_key: str
    deadline: float
    commit: Commit = field(default=no_commit, repr=False)
    may_repeat: bool = False


class Transport(Protocol):
    """An SMTP pool or an HTTP API. `deliver` is called concurrently."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    async def deliver(self, submission: Submission) -> Report:
        """Try once. Outcomes are returned; only cancellation and bugs raise."""
        ...

    def verify(self) -> AsyncIterator[str]:
        """Yield each step passed (connected, encrypted, authenticated); raise where it stops."""
        ...

    async def aclose(self) -> None:
        """Finish what is under way and close; safe to repeat."""
        ...


@frozen(kw_only=True)
class Pairing:
    """What a connection puts together, without any secret, for `Provider.advise`.

    Attributes:
        auth: Name of the authentication method; None: no login.
        user: The authenticated mailbox, where known.
        sender: The connection's ``from``.
        tls: What the document asks for; None: nothing.
    """

    auth: str | None = None
    user: str | None = None
    sender: str | None = None
    tls: str | None = None


@frozen(kw_only=True)
class Provider(Generic[S]):
    """A mail service. Give either `endpoint` (SMTP: data only) or `open` (anything else).

    Attributes:
        name: What documents say in ``provider``.
        settings: Its own settings.
        auth: Accepted method names, preferred first; empty: any.
        target: What a credential is for.
        limits: What the service allows.
        endpoint: Where its SMTP server listens.
        open: Makes the transport.
        explain: A reply in the service's wording → cause and fix.
        title: For people.
        note: What people must know before they use it.
        offers: All its SMTP endpoints, the preferred first: a TLS choice outside them is not followed.
        advise: Warnings about a pairing, each with field, reason and fix.
        aliases: Further names documents may use, in lower case.
        domains: Of its mailboxes.
        sources: Where the facts are from, with dates.
        unavailable: Why it cannot be used: then it only explains itself.
    """

    name: str
    settings: type[S]
    auth: tuple[str, ...] = ()
    target: Callable[[S], AuthTarget]
    limits: Limits = field(factory=Limits)
    endpoint: Callable[[S], SmtpEndpoint] | None = None
    open: Callable[[S, Opening], Transport] | None = None
    explain: Callable[[Reply], str | None] = lambda reply: None
    title: str = ""
    note: str = ""
    offers: Callable[[S], Sequence[SmtpEndpoint]] | None = None
    advise: Callable[[S, Pairing], Iterable[str]] = lambda settings, pairing: ()
    aliases: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    unavailable: str = ""

    def __attrs_post_init__(self) -> None:
        if (self.endpoint is None) == (self.open is None):
            msg = f"{self.name}: give either endpoint or open"
            raise ValueError(msg)


@frozen(kw_only=True)
class AttachmentSource(Generic[S]):
    """Where attachments come from.

    Attributes:
        name: The document's ``attachments[].type``.
        settings: What stands beside it.
        resolve: Makes the parts.
        title: For people.
        note: What people must know before they use it.
    """

    name: str
    settings: type[S]
    resolve: Callable[[S, Fetching], Awaitable[Sequence[Part | RawPart]]]
    title: str = ""
    note: str = ""


@frozen(kw_only=True)
class SecretScheme:
    """A place where secrets live; `reveal` gets what stands behind ``name:``."""

    name: str
    reveal: Callable[[str], Awaitable[str]] = field(repr=False)
