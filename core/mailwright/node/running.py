"""One run of a node: render, build, send, store."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from attrs import evolve

from mailwright.errors import ConfigurationError, FlowStopped, MailwrightError, Problem, SendError, TemplateError
from mailwright.model import Message, NodeDocument, Receipt
from mailwright.node.outcome import NodeOutcome, failed, settled, stored
from mailwright.node.problems import as_error, checked_message
from mailwright.node.state import FlowState, state_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from mailwright.connections import Saved
    from mailwright.outbox import Outbox
    from mailwright.registry import Registry
    from mailwright.templates.isolated import RenderProcess

_log = logging.getLogger("mailwright.node")
RETRIES: Final = 3
ATTACHMENT_LIMIT: Final = 10 * 1024 * 1024
"""Octets of one attachment. Both are what the original node's vendor states; connection and caller may say otherwise."""


class Sender(Protocol):
    """What a node needs of a `Mailer`."""

    async def send(self, message: Message) -> Receipt:
        """Send; raises `MailwrightError`, `SendError` among them."""
        ...


class SendEmailNode:
    """A loaded node; run it for as many states as you like, also concurrently.

    As an async context manager it keeps one mailer, and so its sessions, for all runs, and waits for asynchronous ones at
    the end. Without that, each run opens and closes its own.

    Args:
        document: The node.
        registry: Plugins; default: the process's.
        connections: Where names of connections are looked up.
        mailer: Sends instead of the document's connection; not closed by the node.
        outbox: Takes asynchronous runs on durably; it needs a saved connection. Default: that of ``MAILWRIGHT_OUTBOX``;
            without one they run here.
        retries: Further tries, where the connection says nothing.
        attachment_limit: Octets of one attachment; None: no limit, but 50 MB for what is fetched from a URL.
        attach_root: Folder that ``file`` attachments may come from.
        on_result: Called with the final outcome of every run that this process sends; may be a coroutine function.
        render_timeout: Seconds one rendering may take; it is done in a process of its own then. For templates that
            somebody else wrote; None: no limit, rendered here.
    """

    def __init__(
        self,
        document: NodeDocument,
        *,
        registry: Registry | None = None,
        connections: Saved | None = None,
        mailer: Sender | None = None,
        outbox: Outbox | None = None,
        retries: int = RETRIES,
        attachment_limit: int | None = ATTACHMENT_LIMIT,
        attach_root: str | Path | None = None,
        on_result: Callable[[NodeOutcome], Awaitable[None] | None] | None = None,
        render_timeout: float | None = None,
    ) -> None:
        self.document = document
        self._registry = registry
        self._mailer = mailer
        self._outbox = outbox
        self._options: dict[str, Any] = {
            "connections": connections,
            "retries": retries,
            "attachment_limit": attachment_limit,
            "attach_root": attach_root,
        }
        self._on_result = on_result
        self._running: set[asyncio.Task[NodeOutcome]] = set()
        self._kept: Any = None
        self._keep = False
        self._render_timeout = render_timeout
        self._renderer: RenderProcess | None = None

    async def __aenter__(self) -> Self:
        self._keep = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Wait for asynchronous runs, then close the sessions; safe to repeat."""
        self._keep = False
        if self._running:
            await asyncio.wait(self._running)
        await self._end_renderer()
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.aclose()

    def run_sync(self, state: FlowState | None = None) -> NodeOutcome:
        """`run` for code without an event loop. An asynchronous node has ended, or is in the outbox, when this returns."""
        from mailwright import background  # noqa: PLC0415 - only the sync twin needs a thread

        async def whole() -> NodeOutcome:
            outcome = await self.run(state)
            return outcome if callable(outcome._later) else await outcome.wait()  # noqa: SLF001 - our own record

        return background.run(whole())

    async def run(self, state: FlowState | None = None, *, mailer: Sender | None = None) -> NodeOutcome:
        """Send the node's message for one state.

        Args:
            state: Values for the templates; never changed.
            mailer: Sends instead of the node's own, for this run.

        Returns:
            The outcome, also of a failure.

        Raises:
            FlowStopped: When it failed and the document says ``stop_on_error``; carries the outcome.
        """
        state = state_of(state)
        sender, own = self._sender(mailer)
        try:
            message, problems = await self._checked(state)
            problems += await self._sender_problems(sender, message)
            if problems or message is None:
                return await self._finish(self.failed(state, as_error(problems)))
            if self.document.execute_async and (outbox := self._durable(mailer)) is not None:
                return await self._finish(await self._enqueued(outbox, state, message))
            if self.document.execute_async:
                outcome = self._detach(state, message, sender, own)
                own = None  # the task closes it
                return outcome
            return await self._finish(await self._send(state, message, sender))
        finally:
            if own is not None:
                await own.aclose()

    async def _checked(self, state: FlowState) -> tuple[Message | None, list[Problem]]:
        """The message or its problems, rendered here or in a process of its own."""
        if self._render_timeout is None:
            return checked_message(self.document, state)
        renderer = self._renderer or self._own_renderer()
        if self._keep:
            self._renderer = renderer
        try:
            plain = await renderer.render(state)
        except TemplateError as error:
            return None, [Problem(code="bad-template", path="$", message=error.message)]
        finally:
            if renderer is not self._renderer:
                await renderer.aclose()
        return checked_message(self.document, state, plain)

    def _own_renderer(self) -> RenderProcess:
        from mailwright.templates.isolated import RenderProcess  # noqa: PLC0415 - hostile templates only

        assert self._render_timeout is not None
        return RenderProcess(self.document, timeout_s=self._render_timeout)

    async def _end_renderer(self) -> None:
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            await renderer.aclose()

    def _sender(self, mailer: Sender | None) -> tuple[Sender | None, Any]:
        """Who sends, and the mailer that is to be closed after this run."""
        if (given := mailer or self._mailer) is not None:
            return given, None
        if not self.document.connection:
            return None, None
        if not self._keep:
            own = self._own_mailer()
            return own, own
        if self._kept is None:
            self._kept = self._own_mailer()
        kept: Sender = self._kept
        return kept, None

    @staticmethod
    async def _sender_problems(sender: Sender | None, message: Message | None) -> list[Problem]:
        if sender is None:
            return [
                Problem(
                    code="missing",
                    path="$.connection",
                    message="missing; name a saved connection, or hand in a mailer",
                )
            ]
        check = getattr(sender, "problems", None)
        return [] if check is None else await check(message)

    async def run_each(
        self,
        states: Iterable[tuple[int, FlowState]],
        *,
        concurrency: int = 20,
        on_commit: Callable[[int], Awaitable[None]] | None = None,
    ) -> AsyncIterator[tuple[int, NodeOutcome]]:
        """Send the node's message for each of many states; memory stays flat however many they are.

        Nothing is stored or stopped as `run` would: with ``stop_on_error`` no state is begun after a failure, and
        ``execute_async`` means nothing here.

        Args:
            states: Each with a number of yours; taken as they can be sent.
            concurrency: Messages under way at one time.
            on_commit: Awaited with the number just before the message's point of no return; see `Mailer.send_many`.

        Yields:
            Number and outcome, in order of completion.

        Raises:
            MailwrightError: For what is wrong with the connection, before the first.
        """
        from mailwright.node.each import Each  # noqa: PLC0415 - bulk runs only

        mailer: Any = self._mailer or (self._own_mailer() if self.document.connection else None)
        if problems := await self._sender_problems(mailer, None):
            raise as_error(problems)
        if self._render_timeout is not None and self._renderer is None:
            self._renderer = self._own_renderer()
        try:
            each = Each(self, mailer, states, concurrency=concurrency, on_commit=on_commit)
            async with aclosing(each.outcomes()) as outcomes:
                async for number, outcome in outcomes:
                    await self._tell(outcome)
                    yield number, outcome
        finally:
            if mailer is not self._mailer:
                await mailer.aclose()
            if not self._keep:
                await self._end_renderer()

    async def message(self, state: FlowState) -> Message:
        """The message for one state, attachments not read yet.

        Raises:
            MailwrightError: For templates, values and a result path that do not fit; names all of them.
        """
        message, problems = await self._checked(state)
        if message is None:
            raise as_error(problems)
        return message

    async def _tell(self, outcome: NodeOutcome) -> None:
        """Call back; what that raises is logged, for the message has gone."""
        if self._on_result is None:
            return
        try:
            waiting = self._on_result(outcome)
            if waiting is not None:
                await waiting
        except Exception:  # noqa: BLE001 - a bug of whoever listens changes no outcome
            _log.exception("on_result failed")

    async def _finish(self, outcome: NodeOutcome) -> NodeOutcome:
        await self._tell(outcome)
        if outcome.error is not None and self.document.stop_on_error:
            raise FlowStopped(outcome.error, outcome=outcome)
        return outcome

    def _detach(self, state: FlowState, message: Message, sender: Sender | None, own: Any) -> NodeOutcome:
        """Go on at once. What has gone on cannot be stopped, so nothing is raised later.

        The task belongs to whoever sends: closing the mailer, or leaving the node, waits for it.
        """
        message = self._named(message)
        queued = {"status": "queued", "id": secrets.token_hex(16), "messageId": message.message_id}
        later = self._later(state, message, sender, own, queued["id"])
        spawn = getattr(sender, "spawn", None) if own is None else None
        task = asyncio.get_running_loop().create_task(later) if spawn is None else spawn(later)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return evolve(stored(self.document, state, queued, None, None), later=task)

    async def _later(
        self, state: FlowState, message: Message, sender: Sender | None, own: Any, id_: str | None
    ) -> NodeOutcome:
        try:
            outcome = await self._send(state, message, sender)
        except Exception as error:  # noqa: BLE001 - nobody may be waiting: a bug becomes an outcome, not a lost task
            wrapped = MailwrightError(f"{type(error).__name__}: {error}", permanent=None)
            wrapped.__cause__ = error
            outcome = self.failed(state, wrapped)
        finally:
            if own is not None:
                await own.aclose()
        outcome.result.setdefault("id", id_)
        outcome = evolve(stored(self.document, state, outcome.result, outcome.error, outcome.receipt), ok=outcome.ok)
        await self._tell(outcome)
        return outcome

    def _durable(self, mailer: Sender | None) -> Outbox | None:
        """The outbox that was handed in, or is configured; who hands in a mailer wants that one."""
        url = os.environ.get("MAILWRIGHT_OUTBOX")
        if self._outbox is not None or not url or mailer is not None or self._mailer is not None:
            return self._outbox
        from mailwright.outbox import Outbox  # noqa: PLC0415 - only where one is configured

        options = {name: value for name, value in self._options.items() if name != "retries"}
        return Outbox(url, registry=self._registry, **options)

    async def _enqueued(self, outbox: Outbox, state: FlowState, message: Message) -> NodeOutcome:
        """Stored durably when this returns; a worker sends it, here or elsewhere."""
        names = [item for item in self.document.connection if isinstance(item, str)]
        try:
            if len(names) != len(self.document.connection):
                msg = "$.connection: an outbox sends over saved connections; name one instead of writing it here"
                raise ConfigurationError(msg)
            try:
                queued = await outbox.enqueue(
                    message, connection=names or None, on_unknown=self.document.on_unknown or "retry"
                )
            finally:
                await self._let_go(outbox)
        except MailwrightError as error:
            return self.failed(state, error)
        result = {"status": "queued", "id": queued.job_id, "messageId": queued.message_id}

        async def final() -> NodeOutcome:
            try:
                receipt = await outbox.wait(str(queued.job_id))
            finally:
                await self._let_go(outbox)
            return taken_on if receipt is None else self.settled(state, receipt)

        taken_on = evolve(stored(self.document, state, result, None, queued), later=final)
        return taken_on

    async def _let_go(self, outbox: Outbox) -> None:
        """One that is only configured is opened for the time being."""
        if outbox is not self._outbox:
            await outbox.aclose()

    @staticmethod
    def _named(message: Message) -> Message:
        """With a Message-ID, since the caller is told it before anything is prepared."""
        if message.message_id is not None:
            return message
        domain = message.from_.domain if message.from_ else "mailwright.invalid"
        return message.replace(message_id=f"<{secrets.token_hex(16)}@{domain}>")

    async def _send(self, state: FlowState, message: Message, sender: Sender | None) -> NodeOutcome:
        assert sender is not None
        try:
            receipt = await sender.send(message)
        except SendError as error:
            return stored(self.document, state, error.receipt.to_result(), error, error.receipt)
        except MailwrightError as error:
            return self.failed(state, error)
        return self.settled(state, receipt)

    def settled(self, state: FlowState, receipt: Receipt) -> NodeOutcome:
        """The outcome that a receipt makes."""
        return settled(self.document, state, receipt)

    def failed(self, state: FlowState, error: MailwrightError) -> NodeOutcome:
        """The outcome when nothing left the house."""
        return failed(self.document, state, error)

    def _own_mailer(self) -> Any:
        from mailwright.mailer import Mailer  # noqa: PLC0415 - asyncio sessions and plugins, only when something is sent

        return Mailer(
            self.document.connection,
            registry=self._registry,
            on_unknown=self.document.on_unknown or "hold",
            **self._options,
        )
