"""The mailer: what Python code holds in its hands. What it does is in `sending`, imported when the first message goes."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

from mailwright.errors import ConfigurationError, Problem, SendError
from mailwright.model import Connection, Envelope, Message, Receipt, failure

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path
    from types import TracebackType

    from mailwright.connections import Saved
    from mailwright.ports import Clock, Entropy
    from mailwright.registry import Registry
    from mailwright.sending import AnyMessage, Draft, Sending
    from mailwright.spi import TokenStore

T = TypeVar("T")
Reference: TypeAlias = "Connection | Mapping[str, Any] | str"


class Mailer:
    """Sends messages over one connection, or over the first of several that can be reached.

    Use it as an async context manager; ``send_sync`` needs none. One mailer may be used by any number of tasks.

    Args:
        connection: A `Connection`, an inline document, the name of a saved one, or a list of these: the next is used
            only where nothing can be delivered twice.
        registry: Plugins; default: the process's.
        connections: Where names are looked up; default: the project's file, then the user's.
        token_store: Where tokens are kept; default: files in the user's state folder.
        retries: Further tries for recipients refused for the moment, where the connection says nothing.
        on_unknown: What becomes of recipients whose outcome is unknown: ``hold`` reports them; ``retry`` sends to them
            again with the same Message-ID, at least once more, so perhaps twice; and a session may then carry several
            messages that are not answered yet, where the server offers CHUNKING.
        attachment_limit: Octets of one attachment; None: no limit, but 50 MB for what is fetched from a URL.
        attach_root: Folder that ``file`` attachments may come from; None: none may.
        clock, entropy: Time and randomness.
    """

    def __init__(
        self,
        connection: Reference | Sequence[Reference],
        *,
        registry: Registry | None = None,
        connections: Saved | None = None,
        token_store: TokenStore | None = None,
        retries: int = 0,
        on_unknown: Literal["hold", "retry"] = "hold",
        attachment_limit: int | None = None,
        attach_root: str | Path | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self._references = _references(connection)
        self._options: dict[str, Any] = {
            "registry": registry,
            "connections": connections,
            "token_store": token_store,
            "retries": retries,
            "on_unknown": on_unknown,
            "attachment_limit": attachment_limit,
            "attach_root": attach_root,
            "clock": clock,
            "entropy": entropy,
        }
        self._made: Sending | None = None
        self._kept_open = False
        self._spawned: set[asyncio.Task[Any]] = set()

    @property
    def _sending(self) -> Sending:
        if self._made is None:
            from mailwright.sending import Sending  # noqa: PLC0415 - what sending needs is paid for by the first message

            self._made = Sending(self._references, **self._options)
        return self._made

    # -- life of the mailer

    async def __aenter__(self) -> Self:
        await self._sending.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self._kept_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from mailwright import background  # noqa: PLC0415 - only the sync twin needs a thread

        self._kept_open = False
        background.run(self.aclose())

    async def aclose(self) -> None:
        """Finish what is under way and close every session of this event loop; safe to repeat."""
        if self._spawned:
            await self._drain()
        if self._made is not None:
            await self._made.aclose()

    async def verify(self) -> AsyncIterator[str]:
        """Connect, encrypt and log in without sending; yields each step passed.

        Raises:
            MailwrightError: Where it stops.
        """
        async for step in self._sending.verify():
            yield step

    async def warm_up(self, sessions: int | None = None) -> None:
        """Open sessions before the first message, so that it does not wait for connecting, TLS and login.

        Of the first connection; sessions that are open already count. One that gets no message within ``limits.idle`` is
        closed, as any that rests. Connections over HTTP have no sessions, and nothing happens.

        Args:
            sessions: How many there shall be; None: as many as ``limits.connections`` allows, which is the most in any case.

        Raises:
            MailwrightError: One could not be opened: why, as `send` would say.
        """
        await self._sending.warm_up(sessions)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something that belongs to this mailer: `aclose` waits for it. Nodes that send asynchronously use it."""
        import asyncio  # noqa: PLC0415 - importing the package must not import it

        task = asyncio.get_running_loop().create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    async def _drain(self) -> None:
        import asyncio  # noqa: PLC0415 - as above

        loop, own = asyncio.get_running_loop(), asyncio.current_task()
        while waiting := {task for task in self._spawned if task.get_loop() is loop and task is not own}:
            await asyncio.wait(waiting)

    async def problems(self, message: Message | None = None) -> list[Problem]:
        """What would keep it from sending, found without connecting to anything.

        Args:
            message: Its recipients are held against the provider's limit.

        Returns:
            Connections that are not there, their mistakes, plugins that are missing, secrets that cannot be revealed; all
            with their paths below ``$.connection``.
        """
        return await self._sending.problems(message)

    # -- sending

    async def prepare(self, message: Message) -> Message:
        """Resolve attachments, spool one-shot content, fix Message-ID and Date. Idempotent.

        Raises:
            MailwrightError: Names the field or the attachment.
        """
        return await self._sending.prepare(message)

    async def draft(self, message: AnyMessage, *, envelope: Envelope | None = None) -> Draft:
        """What `send` would send, with every check that needs no connection; lifecycle hooks do not run.

        Raises:
            MailwrightError: As `send` does before a session is opened.
        """
        return await self._sending.draft(message, envelope)

    async def send(self, message: AnyMessage, *, envelope: Envelope | None = None) -> Receipt:
        """Send one message now.

        Args:
            message: What to send. A ready-made one (the standard library's message, or the octets of an ``.eml``) is
                checked, completed with From, Date and Message-ID where they are missing, rid of Bcc, and sent as it
                is; ``before_compose`` hooks do not see it.
            envelope: Who is told to the server; default: what the message says.

        Returns:
            The outcome for every recipient; at least one was accepted.

        Raises:
            SendError: Nobody was accepted; `permanent` is None when that is not certain.
            MailwrightError: Before a session was opened: a bad message, document, secret or plugin.
        """
        receipt = await self._sending.send(message, envelope)
        for status in receipt.statuses:
            if status.outcome == "accepted":
                return receipt
        cause = failure(receipt)
        raise SendError(cause.message, receipt=receipt, cause=cause)

    def send_sync(self, message: AnyMessage, *, envelope: Envelope | None = None) -> Receipt:
        """`send` for code without an event loop: scripts, Django views, Celery tasks. Safe after a fork.

        Inside ``with Mailer(...) as mailer:`` sessions stay open between calls; else each call opens and closes its own.
        """
        from mailwright import background  # noqa: PLC0415 - only the sync twin needs a thread

        sending = self.send if self._kept_open else self._send_and_close
        return background.run(sending(message, envelope=envelope))

    def send_many(
        self,
        messages: Iterable[AnyMessage] | AsyncIterable[AnyMessage],
        *,
        concurrency: int = 20,
        on_commit: Callable[[int], Awaitable[None]] | None = None,
    ) -> AsyncGenerator[Receipt, None]:
        """Send a stream of messages; memory stays flat however long it is.

        Args:
            messages: Taken as they can be sent.
            concurrency: Messages under way at one time.
            on_commit: Awaited with the index of a message just before its point of no return (the final dot): who writes
                it down knows after a crash which messages may have gone.

        Yields:
            Receipts in order of completion, with `index`. Nothing is raised for a message: see `Receipt.error`. Closing
            the generator early cancels what is under way.

        Raises:
            MailwrightError: For what is wrong with the connection, before the first.
            Exception: What reading `messages`, or `on_commit`, raised; what was under way has ended then.
        """
        return self._sending.send_many(messages, concurrency=concurrency, on_commit=on_commit)

    async def _send_and_close(self, message: AnyMessage, *, envelope: Envelope | None) -> Receipt:
        try:
            return await self.send(message, envelope=envelope)
        finally:
            await self.aclose()


def _references(connection: object) -> tuple[Reference, ...]:
    """One or several; whatever else a caller hands over is named before anything is sent."""
    several = isinstance(connection, Iterable) and not isinstance(connection, (Connection, Mapping, str))
    found: list[Reference] = []
    for one in connection if several else (connection,):  # type: ignore[attr-defined]
        if not isinstance(one, (Connection, Mapping, str)):
            msg = f"connection: a Connection, a document, the name of a saved one, or a list of these, not {type(one).__name__}"
            raise ConfigurationError(msg)
        found.append(one)
    if not found:
        msg = "connection: name at least one"
        raise ConfigurationError(msg)
    return tuple(found)
