"""One message's life: prepare, hooks, compose, attempts, receipt. The only owner of retries where there is no outbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from mailwright import mime
from mailwright.checks import as_problems, connection_problems
from mailwright.connections import Saved, find_connection
from mailwright.credentials import open_credential
from mailwright.errors import (
    AttachmentError,
    LeaseLost,
    MailwrightError,
    MessageError,
    Problem,
)
from mailwright.fetching import Fetcher
from mailwright.lifecycle import Lifecycle
from mailwright.mime import ComposedMessage
from mailwright.model import (
    Address,
    Connection,
    ConnectionInfo,
    Envelope,
    Limits,
    Message,
    Receipt,
    RecipientStatus,
    Report,
    failure,
)
from mailwright.net import Allowed, GuardedHttp
from mailwright.ports import Fetching
from mailwright.prepare import new_message_id, prepare
from mailwright.rates import Rate
from mailwright.registry import Registry, default_registry
from mailwright.routing import (
    advice,
    author_of,
    check_limits,
    endpoint_of,
    envelope_of,
    explained,
    merged_limits,
    staged,
)
from mailwright.spi import Submission, Transport, no_commit
from mailwright.streams import unordered
from mailwright.system import SystemClock, SystemEntropy
from mailwright.telemetry import Observation

if TYPE_CHECKING:
    from email.message import Message as StandardMessage

    from mailwright.ports import Clock, Entropy, Http
    from mailwright.spi import TokenStore

_log = logging.getLogger("mailwright")
AnyMessage: TypeAlias = "Message | StandardMessage | bytes"
_Replacing: TypeAlias = "Callable[[Message, ConnectionInfo], Awaitable[Message]]"
Commit: TypeAlias = Callable[[], Awaitable[None]]
"""Awaited just before the point of no return."""
BACKOFF_S: Final = (1.0, 5.0, 15.0)
"""Seconds before the second, third and each further try."""
PATIENCE_S: Final = 60.0
"""The longest wait a server may ask for while somebody waits for `send`; the outbox waits longer."""


@frozen(kw_only=True)
class Route:
    """One opened connection."""

    connection: Connection
    limits: Limits
    transport: Transport
    author: Address | None
    http: Http
    rate: Rate

    @cached_property
    def info(self) -> ConnectionInfo:
        """What hooks may see."""
        return self.connection.info


@frozen(kw_only=True)
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


class Sending:
    """What a `Mailer` does; arguments as there."""

    def __init__(
        self,
        references: tuple[Connection | Mapping[str, Any] | str, ...],
        *,
        registry: Registry | None,
        connections: Saved | None,
        token_store: TokenStore | None = None,
        retries: int,
        attachment_limit: int | None,
        attach_root: str | Path | None,
        clock: Clock | None,
        entropy: Entropy | None,
        on_unknown: Literal["hold", "retry"] = "hold",
    ) -> None:
        self._references = references
        self._registry = registry or default_registry()
        self._saved = connections
        self._token_store = token_store
        self._retries = retries
        self._on_unknown = on_unknown
        self._attachment_limit = attachment_limit
        self._attach_root = Path(attach_root).resolve() if attach_root is not None else None
        self._clock: Clock = clock or SystemClock()
        self._entropy: Entropy = entropy or SystemEntropy()
        self._hooks = Lifecycle(self._registry)
        self._checked = False
        self._routes: dict[asyncio.AbstractEventLoop, asyncio.Task[tuple[Route, ...]]] = {}

    async def open(self) -> None:
        """Resolve connections, credentials and plugins; no session is opened yet."""
        await self._opened()

    async def aclose(self) -> None:
        """Finish what is under way and close every session of this event loop; safe to repeat."""
        task = self._routes.pop(asyncio.get_running_loop(), None)
        if task is None:
            return
        try:
            routes = await task
        except MailwrightError:
            return
        await asyncio.gather(*(route.transport.aclose() for route in routes))

    async def warm_up(self, sessions: int | None) -> None:
        """See `Mailer.warm_up`; what has no sessions has nothing to warm."""
        route = (await self._opened())[0]
        warm_up = getattr(route.transport, "warm_up", None)
        if warm_up is not None:
            await warm_up(route.limits.connections if sessions is None else sessions)

    async def verify(self) -> AsyncIterator[str]:
        """Yield each step passed on every route."""
        for route in await self._opened():
            async for step in route.transport.verify():
                yield step

    async def prepare(self, message: Message) -> Message:
        """Make a message ready for the first route."""
        route = (await self._opened())[0]
        return await self._prepare(message, route)

    async def problems(self, message: Message | None) -> list[Problem]:
        """See `Mailer.problems`. What was in order once is not looked at again."""
        if not self._checked:
            found: list[Problem] = []
            for index, reference in enumerate(self._references):
                path = "$.connection" if len(self._references) == 1 else f"$.connection[{index}]"
                found += await connection_problems(reference, path, registry=self._registry, saved=self._saved)
            if not found:
                try:
                    await self._opened()
                except MailwrightError as error:
                    found = as_problems(error, "$.connection")
            if found:
                return found
            self._checked = True
        limit = (await self._opened())[0].limits.recipients
        if message is not None and limit is not None and len(message.recipients) > limit:
            says = f"{len(message.recipients)} recipients, the provider takes {limit}"
            return [Problem(code="too-many-recipients", path="$.to", message=says)]
        return []

    # -- one message

    async def send_many(
        self,
        messages: Iterable[AnyMessage] | AsyncIterable[AnyMessage],
        *,
        concurrency: int,
        on_commit: Callable[[int], Awaitable[None]] | None = None,
    ) -> AsyncGenerator[Receipt, None]:
        """Receipts in order of completion; `concurrency` messages under way at one time."""
        fetcher = self._fetcher((await self._opened())[0])

        async def outcome(index: int, message: AnyMessage) -> Receipt:
            commit = no_commit if on_commit is None else partial(on_commit, index)
            try:
                return await self.send(message, fetcher=fetcher, commit=commit, index=index)
            except MailwrightError as error:
                return _never_left(message, error, index)

        async with aclosing(unordered(messages, outcome, concurrency=concurrency)) as receipts:
            async for receipt in receipts:
                yield receipt

    async def draft(self, message: AnyMessage, envelope: Envelope | None = None) -> Draft:
        """What `send` would send: nothing is connected to, no hook runs."""
        return await self._draft(message, envelope, (await self._opened())[0], _unchanged)

    async def _draft(
        self,
        message: AnyMessage,
        envelope: Envelope | None,
        route: Route,
        replaced: _Replacing,
        fetcher: Fetcher | None = None,
    ) -> Draft:
        """Prepared, replaced, composed and checked against limits."""
        if isinstance(message, Message):
            if envelope is not None:
                message = message.replace(envelope=envelope)
            prepared = await self._prepare(message, route, fetcher)
            changed = await replaced(prepared, route.info)
            if changed is not prepared:
                prepared = await self._prepare(changed, route, fetcher)
            composed = self._compose(prepared, route)
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

    async def send(
        self,
        message: AnyMessage,
        envelope: Envelope | None = None,
        *,
        fetcher: Fetcher | None = None,
        commit: Commit = no_commit,
        index: int = 0,
    ) -> Receipt:
        """The receipt; raises only where no attempt was made."""
        routes = await self._opened()
        info = routes[0].info
        with Observation(info) as observation:
            try:
                draft = await self._draft(message, envelope, routes[0], self._hooks.before_compose, fetcher)
                receipt = _with_kept_back(await self._attempts(draft, routes, commit, index), draft)
            except MailwrightError as error:
                observation.failed(error)
                await self._hooks.send_failed(error, None, info)
                raise
            observation.ended(receipt)
        if receipt.accepted:
            await self._hooks.after_send(receipt, info)
        else:
            await self._hooks.send_failed(failure(receipt), receipt, info)
        return receipt

    # -- for the outbox: accepted now, tried later, maybe elsewhere

    async def accepted(self, message: AnyMessage, envelope: Envelope | None = None) -> Draft:
        """What is to be stored: prepared, replaced by hooks, checked against limits."""
        route = (await self._opened())[0]
        try:
            return await self._draft(message, envelope, route, self._hooks.before_compose)
        except MailwrightError as error:
            await self._hooks.send_failed(error, None, route.connection.info)
            raise

    async def routes(self) -> tuple[Route, ...]:
        """The opened connections, in order of preference."""
        return await self._opened()

    async def try_once(
        self,
        message: Message,
        envelope: Envelope,
        *,
        route: Route,
        token: Callable[[], str],
        octets: bytes | None = None,
        commit: Commit,
    ) -> tuple[Report, int]:
        """One attempt over one route; the report, and the octets the message has.

        Args:
            message: Prepared.
            envelope: Whom this attempt is for.
            route: One of `routes`.
            token: Makes boundaries: the same ones for each attempt make the same octets.
            octets: Of a ready-made message.
            commit: Awaited before the point of no return.
        """
        headers = route.transport.capabilities.recipients == "headers"
        if octets is None:
            composed = mime.compose(message, token=token, bcc=headers, offload=asyncio.to_thread)
        else:
            assert message.date is not None  # prepared
            _, composed = mime.ready(
                octets, author=None, message_id=lambda domain: "", date=message.date, envelope=envelope, bcc=headers
            )
        draft = Draft(message=message, composed=composed, envelope=envelope, connection=route.connection)
        return await self._attempt(draft, envelope, route, commit), composed.size

    async def told(self, receipt: Receipt, route: Route) -> None:
        """Tell observers of an outcome that is final."""
        if receipt.accepted:
            await self._hooks.after_send(receipt, route.connection.info)
        else:
            await self._hooks.send_failed(failure(receipt), receipt, route.connection.info)

    def _ready(
        self, message: StandardMessage | bytes, envelope: Envelope | None, route: Route
    ) -> tuple[Message, ComposedMessage]:
        capabilities = route.transport.capabilities
        if capabilities.content == "message":
            msg = f"provider {route.connection.provider} composes by itself: hand it a Message, not ready octets"
            raise MessageError(msg)
        return mime.ready(
            mime.octets_of(message),
            author=route.author,
            message_id=lambda domain: new_message_id(domain, self._entropy),
            date=self._clock.now(),
            envelope=envelope,
            bcc=capabilities.recipients == "headers",
        )

    def _fetcher(self, route: Route) -> Fetcher:
        """One for each run: what it fetched is used again by the run's other messages."""
        return Fetcher(route.http, max_bytes=self._attachment_limit)

    async def _prepare(self, message: Message, route: Route, fetcher: Fetcher | None = None) -> Message:
        return await prepare(
            message,
            registry=self._registry,
            fetching=self._fetching(route, fetcher) if message.attachments else None,
            clock=self._clock,
            entropy=self._entropy,
            author=route.author,
        )

    def _fetching(self, route: Route, fetcher: Fetcher | None) -> Fetching:
        return Fetching(
            http=route.http,
            path=self._below_root,
            max_bytes=self._attachment_limit,
            get=(fetcher or self._fetcher(route)).get,
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

    def _compose(self, message: Message, route: Route) -> ComposedMessage:
        return mime.compose(
            message,
            token=self._entropy.token,
            bcc=route.transport.capabilities.recipients == "headers",
            offload=asyncio.to_thread,
        )

    async def _attempts(self, draft: Draft, routes: tuple[Route, ...], commit: Commit, index: int) -> Receipt:
        """Try; try again those refused for the moment; turn to the next route where nothing can have been delivered."""
        composed, envelope = draft.composed, draft.envelope
        receipt: Receipt | None = None
        open_for = envelope
        position = 0
        most = routes[0].connection.retries if routes[0].connection.retries is not None else self._retries
        for attempt in range(max(most, 1) + len(routes)):
            route = routes[position]
            report = await self._attempt_again(draft, open_for, route, commit, tried=attempt > 0)
            provider = route.connection.provider
            if receipt is None:
                receipt = Receipt.of(
                    report,
                    message_id=composed.message_id,
                    envelope=envelope,
                    size=composed.size,
                    provider=provider,
                    index=index,
                )
            else:
                receipt = receipt.merge(report, provider=provider, doubtful=receipt.unknown)
            if receipt.status == "sent":
                return receipt
            waiting = [status for status in receipt.rejected if not status.permanent]
            if receipt.unknown:
                if self._on_unknown == "hold":
                    break
                waiting += receipt.unknown
            if not waiting:
                break
            if not route.transport.capabilities.per_recipient and len(waiting) < len(receipt.statuses):
                break
            further = position + 1 < len(routes) and _takes(draft, routes[position + 1])
            if further and not receipt.accepted and not receipt.unknown:
                draft = self._for_route(draft, routes[position], routes[position + 1])
                position += 1
            elif (
                receipt.attempts - position > (max(most, 1) if receipt.unknown else most)
                or (report.retry_after_s or 0.0) > PATIENCE_S
            ):
                break
            else:
                await self._clock.sleep(report.retry_after_s or BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            open_for = Envelope(sender=open_for.sender, recipients=tuple(status.address for status in waiting))
        assert receipt is not None
        return explained(receipt, self._registry.provider(provider))

    async def _attempt_again(
        self, draft: Draft, envelope: Envelope, route: Route, commit: Commit, *, tried: bool
    ) -> Report:
        """A hook that fails once something was tried ends it; what earlier attempts came to must not be lost with it."""
        try:
            return await self._attempt(draft, envelope, route, commit)
        except LeaseLost:
            raise
        except MailwrightError as error:
            if not tried:
                raise
            return Report.all(envelope, "rejected", stage=error.stage or "hook", permanent=True, error=error)

    def _for_route(self, draft: Draft, last: Route, route: Route) -> Draft:
        """Octets for another kind of transport: Bcc stands in them only where recipients are read from the header."""
        if route.transport.capabilities.recipients == last.transport.capabilities.recipients:
            return draft
        if draft.ready is None:
            return evolve(draft, composed=self._compose(draft.message, route))
        assert draft.message.date is not None  # prepared
        _, composed = mime.ready(
            mime.octets_of(draft.ready),
            author=route.author,
            message_id=lambda domain: draft.composed.message_id,
            date=draft.message.date,
            envelope=draft.message.envelope,
            bcc=route.transport.capabilities.recipients == "headers",
        )
        return evolve(draft, composed=composed)

    async def _attempt(self, draft: Draft, envelope: Envelope, route: Route, commit: Commit) -> Report:
        signed = await self._hooks.before_send(draft.composed, envelope, route.info)
        if route.rate.limited:
            await route.rate.admit()
        by_message = route.transport.capabilities.content == "message"
        if by_message and signed is not draft.composed:
            told = "what a before_send hook made of the octets (a signature?) is not carried: it composes by itself"
            _log.warning("provider %s: %s", route.connection.provider, told)
        submission = Submission(
            composed=signed,
            message=mime.with_text(draft.message) if by_message else draft.message,
            envelope=envelope,
            idempotency_key=draft.composed.message_id,
            deadline=self._clock.monotonic() + route.connection.timeouts.total,
            commit=commit,
            may_repeat=self._on_unknown == "retry",
        )
        return await route.transport.deliver(submission)

    # -- opening

    async def _opened(self) -> tuple[Route, ...]:
        """The routes of this event loop, opened once however many tasks ask."""
        loop = asyncio.get_running_loop()
        task = self._routes.get(loop)
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        if task is None:
            for stale in [known for known in self._routes if known.is_closed()]:
                del self._routes[stale]
            task = self._routes[loop] = loop.create_task(self._open_all())
        try:
            return await asyncio.shield(task)
        except MailwrightError:
            if self._routes.get(loop) is task:
                del self._routes[loop]
            raise

    async def _open_all(self) -> tuple[Route, ...]:
        return tuple([await self._open(reference) for reference in self._references])

    async def _open(self, reference: Connection | Mapping[str, Any] | str) -> Route:
        connection = await find_connection(reference, registry=self._registry, saved=self._saved)
        provider = self._registry.provider(connection.provider)
        credential = open_credential(
            connection,
            registry=self._registry,
            token_store=self._token_store,
            clock=self._clock,
            entropy=self._entropy,
        )
        for warning in advice(provider, connection, credential.user):
            _log.warning("connection %s: %s", connection.name or connection.provider, warning)
        limits = merged_limits(provider.limits, connection.limits)
        if provider.endpoint is not None:
            from mailwright.transport import SmtpTransport  # noqa: PLC0415 - APIs do not need it

            transport: Transport = SmtpTransport(
                endpoint_of(provider, connection),
                connection,
                limits=limits,
                authenticator=credential.authenticator,
                clock=self._clock,
                explain=provider.explain,
            )
        else:
            assert provider.open is not None
            opening = evolve(credential.opening, authenticator=credential.authenticator, tokens=None)
            transport = provider.open(connection.settings, opening)
        http = GuardedHttp(
            allowed=Allowed.from_environment() | Allowed.parse(connection.allow_fetch, field="$.allow_fetch"),
            proxy=connection.proxy,
            ca_file=connection.ca_file,
        )
        return Route(
            connection=connection,
            limits=limits,
            transport=transport,
            author=author_of(connection, credential.user),
            http=http,
            rate=Rate(limits, self._clock),
        )


def _takes(draft: Draft, route: Route) -> bool:
    """An API that composes by itself gets nothing from ready octets."""
    return draft.ready is None or route.transport.capabilities.content == "mime"


async def _unchanged(message: Message, info: ConnectionInfo) -> Message:
    """No hook."""
    return message


def _never_left(message: AnyMessage, error: MailwrightError, index: int) -> Receipt:
    if not isinstance(message, Message):
        return Receipt(message_id="", error=error, index=index)
    statuses = tuple(
        RecipientStatus(
            address=address.email, outcome="rejected", permanent=error.permanent, stage=error.stage or "prepare"
        )
        for address in message.recipients
    )
    envelope = Envelope(sender=message.from_, recipients=message.recipients) if statuses else None
    return Receipt(message_id=message.message_id or "", envelope=envelope, statuses=statuses, error=error, index=index)


def _with_kept_back(receipt: Receipt, draft: Draft) -> Receipt:
    if not draft.kept_back:
        return receipt
    everybody = (*draft.envelope.recipients, *draft.kept_back)
    return evolve(
        receipt,
        envelope=evolve(draft.envelope, recipients=everybody),
        statuses=(*receipt.statuses, *map(_kept_back, draft.kept_back)),
    )


def _kept_back(address: str) -> RecipientStatus:
    return RecipientStatus(address=address, outcome="rejected", permanent=True, stage="prepare")
