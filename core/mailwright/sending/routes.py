"""Connections opened for sending: credential, transport, limits, once for each event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from mailwright.checks import as_problems, connection_problems
from mailwright.connections import Saved, find_connection
from mailwright.credentials import open_credential
from mailwright.errors import ConfigurationError, MailwrightError, Problem
from mailwright.model import Address, Connection, ConnectionInfo, Limits
from mailwright.net import Allowed, GuardedHttp
from mailwright.rates import Rate
from mailwright.registry import Registry
from mailwright.routing import advice, author_of, endpoint_of, merged_limits
from mailwright.spi import Transport

if TYPE_CHECKING:
    from mailwright.ports import Clock, Entropy, Http
    from mailwright.spi import Authenticator, Provider, TokenStore

_log = logging.getLogger("mailwright")


@frozen(kw_only=True)
class Route:
    """One opened connection.

    Attributes:
        connection: What was opened.
        limits: The provider's and the connection's.
        transport: Delivers.
        author: From, where a message names none.
        http: For attachments.
        rate: Of this mailer.
    """

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

    @cached_property
    def reads_header(self) -> bool:
        """Whether its recipients are those of the header, so that Bcc must stand in it."""
        return self.transport.capabilities.recipients == "headers"

    @cached_property
    def composes(self) -> bool:
        """Whether it is an API that takes the message and composes by itself: ready octets tell it nothing."""
        return self.transport.capabilities.content == "message"


class Routes:
    """The routes of some connections, in order of preference."""

    def __init__(
        self,
        references: tuple[Connection | Mapping[str, Any] | str, ...],
        *,
        registry: Registry,
        saved: Saved | None,
        token_store: TokenStore | None,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._references = references
        self._registry = registry
        self._saved = saved
        self._token_store = token_store
        self._clock = clock
        self._entropy = entropy
        self._checked = False
        self._tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[tuple[Route, ...]]] = {}

    @property
    def known(self) -> tuple[Route, ...]:
        """Those of this event loop, if they are open; else none."""
        task = self._tasks.get(asyncio.get_running_loop())
        opened = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return task.result() if task is not None and opened else ()

    async def opened(self) -> tuple[Route, ...]:
        """Those of this event loop, opened once however many tasks ask; no session is opened yet."""
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        if task is None:
            for stale in [one for one in self._tasks if one.is_closed()]:
                del self._tasks[stale]
            task = self._tasks[loop] = loop.create_task(self._open_all())
        try:
            return await asyncio.shield(task)
        except MailwrightError:
            if self._tasks.get(loop) is task:
                del self._tasks[loop]
            raise

    async def aclose(self) -> None:
        """Finish what is under way and close every session of this event loop; safe to repeat."""
        task = self._tasks.pop(asyncio.get_running_loop(), None)
        if task is None:
            return
        try:
            routes = await task
        except MailwrightError:
            return
        await asyncio.gather(*(route.transport.aclose() for route in routes))

    async def problems(self) -> list[Problem]:
        """What keeps them from being opened. What was in order once is not looked at again."""
        if self._checked:
            return []
        found: list[Problem] = []
        for index, reference in enumerate(self._references):
            path = "$.connection" if len(self._references) == 1 else f"$.connection[{index}]"
            found += await connection_problems(reference, path, registry=self._registry, saved=self._saved)
        if not found:
            try:
                await self.opened()
            except MailwrightError as error:
                found = as_problems(error, "$.connection")
        self._checked = not found
        return found

    async def _open_all(self) -> tuple[Route, ...]:
        routes = tuple([await self._open(reference) for reference in self._references])
        _equally_quiet(routes)
        return routes

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
            transport = self._smtp(provider, connection, limits, credential.authenticator)
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

    def _smtp(
        self, provider: Provider[Any], connection: Connection, limits: Limits, authenticator: Authenticator | None
    ) -> Transport:
        from mailwright.transport import SmtpTransport  # noqa: PLC0415 - APIs do not need it

        return SmtpTransport(
            endpoint_of(provider, connection),
            connection,
            limits=limits,
            authenticator=authenticator,
            clock=self._clock,
            explain=provider.explain,
        )


def _equally_quiet(routes: tuple[Route, ...]) -> None:
    """A message that fails over must not reach whom the first connection, or the next, keeps it from."""
    first = routes[0].connection
    for index, route in enumerate(routes):
        for name in ("redirect_to", "allow_recipients"):
            if getattr(route.connection, name) != getattr(first, name):
                msg = f"$.connection[{index}].{name}: not the first connection's; what keeps staging quiet is the same for all"
                raise ConfigurationError(msg)
