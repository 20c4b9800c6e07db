"""What a mailer and an outbox do with messages: prepare, draft, send, and one try at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mailwright.connections import Saved
from mailwright.errors import MailwrightError, Problem
from mailwright.fetching import Fetcher
from mailwright.lifecycle import Lifecycle
from mailwright.model import (
    Connection,
    ConnectionInfo,
    Envelope,
    Message,
    Receipt,
    RecipientStatus,
    Report,
    failure,
)
from mailwright.registry import Registry, default_registry
from mailwright.sending.attempts import Attempts
from mailwright.sending.drafts import AnyMessage, Draft, Drafter, composed_for, composes_itself, ready_again
from mailwright.sending.routes import Route, Routes
from mailwright.spi import Commit, no_commit
from mailwright.streams import unordered
from mailwright.system import SystemClock, SystemEntropy
from mailwright.telemetry import observed

if TYPE_CHECKING:
    from mailwright.ports import Clock, Entropy
    from mailwright.spi import TokenStore


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
        registry = registry or default_registry()
        clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
        self._routes = Routes(
            references, registry=registry, saved=connections, token_store=token_store, clock=clock, entropy=entropy
        )
        self._drafter = Drafter(
            registry=registry,
            attachment_limit=attachment_limit,
            attach_root=attach_root,
            clock=clock,
            entropy=entropy,
        )
        self._hooks = Lifecycle(registry)
        self._attempts = Attempts(
            self._drafter, self._hooks, registry=registry, retries=retries, on_unknown=on_unknown, clock=clock
        )

    async def open(self) -> None:
        """Resolve connections, credentials and plugins; no session is opened yet."""
        await self._routes.opened()

    async def aclose(self) -> None:
        """Finish what is under way and close every session of this event loop; safe to repeat."""
        await self._routes.aclose()

    async def warm_up(self, sessions: int | None) -> None:
        """See `Mailer.warm_up`; what has no sessions has nothing to warm."""
        route = await self._first()
        warm_up = getattr(route.transport, "warm_up", None)
        if warm_up is not None:
            await warm_up(route.limits.connections if sessions is None else sessions)

    async def verify(self) -> AsyncIterator[str]:
        """Yield each step passed on every route."""
        for route in await self._routes.opened():
            async for step in route.transport.verify():
                yield step

    async def problems(self, message: Message | None) -> list[Problem]:
        """See `Mailer.problems`."""
        if found := await self._routes.problems():
            return found
        limit = (await self._first()).limits.recipients
        if message is not None and limit is not None and len(message.recipients) > limit:
            says = f"{len(message.recipients)} recipients, the provider takes {limit}"
            return [Problem(code="too-many-recipients", path="$.to", message=says)]
        return []

    async def _first(self) -> Route:
        return (await self._routes.opened())[0]

    # -- one message

    async def prepare(self, message: Message) -> Message:
        """Make a message ready for the first route."""
        return await self._drafter.prepare(message, await self._first())

    async def draft(self, message: AnyMessage, envelope: Envelope | None = None) -> Draft:
        """What `send` would send: nothing is connected to, no hook runs."""
        return await self._drafter.draft(message, envelope, await self._first())

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
        routes = self._routes.known or await self._routes.opened()
        route = routes[0]
        info = route.info
        with observed(info) as observation:
            try:
                draft = await self._drafter.draft(
                    message, envelope, route, replaced=self._hooks.before_compose, fetcher=fetcher
                )
                receipt = await self._attempts.run(draft, routes, commit, index)
            except MailwrightError as error:
                observation.failed(error)
                await self._hooks.send_failed(error, None, info)
                raise
            observation.ended(receipt)
        if self._hooks.observed:
            await self._tell(receipt, info)
        return receipt

    async def send_many(
        self,
        messages: Iterable[AnyMessage] | AsyncIterable[AnyMessage],
        *,
        concurrency: int,
        on_commit: Callable[[int], Awaitable[None]] | None = None,
    ) -> AsyncGenerator[Receipt, None]:
        """Receipts in order of completion; `concurrency` messages under way at one time."""
        fetcher = self._drafter.fetcher(await self._first())

        async def outcome(index: int, message: AnyMessage) -> Receipt:
            commit = no_commit if on_commit is None else partial(on_commit, index)
            try:
                return await self.send(message, fetcher=fetcher, commit=commit, index=index)
            except MailwrightError as error:
                return _never_left(message, error, index)

        async with aclosing(unordered(messages, outcome, concurrency=concurrency)) as receipts:
            async for receipt in receipts:
                yield receipt

    # -- for the outbox: accepted now, tried later, maybe elsewhere

    async def accepted(self, message: AnyMessage, envelope: Envelope | None = None) -> Draft:
        """What is to be stored: prepared, replaced by hooks, checked against limits."""
        route = await self._first()
        try:
            return await self._drafter.draft(message, envelope, route, replaced=self._hooks.before_compose)
        except MailwrightError as error:
            await self._hooks.send_failed(error, None, route.info)
            raise

    async def routes(self, *, ready: bool = False) -> tuple[Route, ...]:
        """The opened connections, in order of preference.

        Args:
            ready: Only those that a ready-made message can take.

        Raises:
            MessageError: All of them compose by themselves.
        """
        routes = await self._routes.opened()
        if not ready:
            return routes
        if not (taking := tuple(route for route in routes if not route.composes)):
            raise composes_itself(routes[0])
        return taking

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
        if octets is None:
            composed = composed_for(route, message, token=token)
        else:
            composed = ready_again(route, message, octets, envelope)
        draft = Draft(message=message, composed=composed, envelope=envelope, connection=route.connection)
        return await self._attempts.once(draft, envelope, route, commit), composed.size

    async def told(self, receipt: Receipt, route: Route) -> None:
        """Tell observers of an outcome that is final."""
        await self._tell(receipt, route.info)

    async def _tell(self, receipt: Receipt, info: ConnectionInfo) -> None:
        if receipt.accepted:
            await self._hooks.after_send(receipt, info)
        else:
            await self._hooks.send_failed(failure(receipt), receipt, info)


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
