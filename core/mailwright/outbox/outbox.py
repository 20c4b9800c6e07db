"""The outbox: what Python code holds in its hands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from attrs import evolve

from mailwright.errors import ConfigurationError, MailwrightError, QueueError
from mailwright.model import Envelope, Receipt
from mailwright.outbox import places, results, verbs
from mailwright.outbox.attempts import shown
from mailwright.outbox.contents import Contents, Gathered
from mailwright.outbox.engine import Engine, Row
from mailwright.outbox.intake import KEY_S, Intake, Order, connection_names
from mailwright.outbox.policy import RetryPolicy
from mailwright.outbox.worker import LEASE_S, Retention, Worker
from mailwright.registry import Registry, default_registry
from mailwright.sending import Sending
from mailwright.spi import Job, JobState, JobVerb, Selection, Suppression
from mailwright.system import SystemClock

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from mailwright.connections import Saved
    from mailwright.ports import Clock, Entropy
    from mailwright.sending import AnyMessage
    from mailwright.spi import TokenStore

T = TypeVar("T")
_CHUNK = 200
_CENTURY = 36500
_ENDED = verbs.FITS["purge"]


class Outbox:
    """Durable sending: `enqueue` returns when a message cannot be lost any more; a worker sends it.

    At least once: a crash between a server's last answer and our note of it may repeat a message, with the same
    Message-ID. One outbox may be used by any number of tasks, threads and processes.

    Args:
        url: ``sqlite:///outbox.db``, ``postgresql://…``, …; default: ``MAILWRIGHT_OUTBOX``, else a file in the user's
            state folder.
        connection: Used where `enqueue` names none.
        registry: Plugins; default: the process's.
        connections: Where names of connections are looked up; default: the project's file, then the user's.
        token_store: Where tokens are kept; default: the user's.
        policy: When to try again, and for how long.
        retention: How long ended messages are kept.
        attachment_limit: Octets of one attachment; None: no limit, but 50 MB for what is fetched from a URL.
        attach_root: Folder that ``file`` attachments may come from.
        lease_s: Seconds without a sign of life after which a worker's messages go to another one.
        clock, entropy: Time and randomness.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        connection: str | Sequence[str] | None = None,
        registry: Registry | None = None,
        connections: Saved | None = None,
        token_store: TokenStore | None = None,
        policy: RetryPolicy | None = None,
        retention: Retention | None = None,
        attachment_limit: int | None = None,
        attach_root: str | Path | None = None,
        lease_s: float = LEASE_S,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self._url = url or places.configured() or places.DEFAULT
        self._connection = connection
        self._registry = registry or default_registry()
        self._policy = policy or RetryPolicy()
        self._retention = retention or Retention()
        self._lease_s = lease_s
        self._clock: Clock = clock or SystemClock()
        self._options: dict[str, Any] = {
            "registry": self._registry,
            "connections": connections,
            "token_store": token_store,
            "retries": 0,
            "attachment_limit": attachment_limit,
            "attach_root": attach_root,
            "clock": clock,
            "entropy": entropy,
        }
        self._loops: dict[asyncio.AbstractEventLoop, asyncio.Task[Engine]] = {}
        self._workers: list[Worker] = []

    @property
    def url(self) -> str:
        """Where it is, passwords masked."""
        return places.masked(self._url)

    def __repr__(self) -> str:
        return f"Outbox({self.url!r})"

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what this event loop opened; safe to repeat. Workers must have ended."""
        task = self._loops.pop(asyncio.get_running_loop(), None)
        if task is None:
            return
        try:
            opened = await task
        except MailwrightError:
            return
        await opened.aclose()

    async def exists(self) -> bool:
        """Whether it has been made already; asking makes nothing."""
        return await places.exists(self._url, self._registry)

    async def migrate(self) -> int:
        """Make or update the tables; returns the schema's version."""
        return await (await self._opened()).ledger.migrate()

    # -- taking messages on

    async def enqueue(
        self,
        message: AnyMessage,
        *,
        connection: str | Sequence[str] | None = None,
        envelope: Envelope | None = None,
        at: datetime | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        tags: Iterable[str] = (),
        on_unknown: Literal["retry", "hold"] = "retry",
        hold: bool = False,
        transaction: object | None = None,
    ) -> Receipt:
        """Take a message on. When this returns it is stored durably.

        Args:
            message: As for `Mailer.send`; checked and prepared now, attachments included.
            connection: Name of a saved connection, or several for failover.
            envelope: As for `Mailer.send`.
            at: Not before this time, which has a zone.
            priority: Higher goes first.
            idempotency_key: The same key within a week is the same message: it is stored once, and the receipt is that
                of the first.
            tags: To filter by later, beside the message's own.
            on_unknown: Where the session is lost after the final dot: send again with the same Message-ID, or hold.
            hold: Store it held; `release` sends it.
            transaction: A database connection in a transaction of yours: the message exists when you commit.

        Returns:
            With `job_id`; its status is ``queued``.

        Raises:
            MailwrightError: Nothing was stored: a bad message, an unknown connection, a database that cannot be written.
        """
        order = self._order(
            connection=connection, envelope=envelope, at=at, priority=priority, idempotency_key=idempotency_key, tags=tags,
            on_unknown=on_unknown, hold=hold,
        )  # fmt: skip
        opened = await self._opened()
        gathered = opened.gathering(transaction)
        row = await opened.intake.job(message, order, gathered)
        return (await opened.add([row], transaction=transaction, gathered=gathered))[0]

    def enqueue_sync(self, message: AnyMessage, *, transaction: object | None = None, **order: Any) -> Receipt:
        """`enqueue` for code without an event loop: scripts, Django views, Celery tasks. Safe after a fork.

        Args:
            message: As there.
            transaction: A `sqlite3` or `psycopg` connection, such as Django's ``connection.connection`` inside
                ``atomic()``; it is used in your thread.
            order: As there.
        """
        from mailwright import background  # noqa: PLC0415 - only the sync twin needs a thread

        if transaction is None:
            return background.run(self.enqueue(message, **order))
        opened, gathered, row = background.run(self._prepared(message, order, transaction))
        ids = _step(opened.store([row], transaction, gathered))
        return background.run(opened.receipts([row], ids))[0]

    async def _prepared(
        self, message: AnyMessage, order: Mapping[str, Any], transaction: object
    ) -> tuple[Engine, Gathered | None, Row]:
        opened = await self._opened()
        gathered = opened.gathering(transaction)
        return opened, gathered, await opened.intake.job(message, self._order(**order), gathered)

    async def enqueue_many(
        self,
        messages: Iterable[AnyMessage] | AsyncIterable[AnyMessage],
        *,
        key: Callable[[AnyMessage], str] | None = None,
        **order: Any,
    ) -> AsyncIterator[Receipt]:
        """Take a stream of messages on; memory stays flat however long it is.

        Args:
            messages: In order.
            key: Makes each message's idempotency key.
            order: As for `enqueue`, for all of them.

        Yields:
            Receipts in order, with `index`, each stored durably. A bad message is no exception: see `Receipt.error`.
        """
        opened = await self._opened()
        index = 0
        chunk: list[Row | Receipt] = []
        async for message in _each(messages):
            own = order | {"idempotency_key": key(message)} if key is not None else order
            try:
                job, receipt = await opened.intake.job(message, self._order(**own))
                chunk.append((job, evolve(receipt, index=index)))
            except QueueError:
                raise
            except MailwrightError as error:
                chunk.append(Receipt(message_id="", error=error, index=index))
            index += 1
            if len(chunk) >= _CHUNK:
                for receipt in await opened.add_good(chunk):
                    yield receipt
                chunk = []
        for receipt in await opened.add_good(chunk):
            yield receipt

    def _order(self, *, connection: str | Sequence[str] | None = None, tags: Iterable[str] = (), **rest: Any) -> Order:
        names = connection_names(connection if connection is not None else self._connection)
        given = (tags,) if isinstance(tags, str) else tuple(tags)
        return Order(connections=names, tags=given, key_s=KEY_S, **rest)

    # -- looking

    async def result(self, job_id: str) -> Receipt | None:
        """What became of a message so far; None: there is none of this id any more."""
        job = await self.job(job_id)
        return None if job is None else shown(job, results.load(job.result))

    async def job(self, job_id: str) -> Job | None:
        """One row."""
        found = await (await self._opened()).ledger.read([job_id])
        return found[0] if found else None

    async def wait(self, job_id: str, *, every_s: float = 0.2) -> Receipt | None:
        """The receipt, when the outcome is final (an unknown one that is held counts); limit it with `asyncio.timeout`."""
        while True:
            job = await self.job(job_id)
            if job is None:
                return None
            if job.state in _ENDED or (job.state == "unknown" and job.starts == 0):
                return shown(job, results.load(job.result))
            await self._clock.sleep(every_s)

    async def list(
        self, *, state: JobState | Sequence[JobState] | None = None, tag: str | None = None, limit: int = 50,
        before: str | None = None,
    ) -> Sequence[Job]:  # fmt: skip
        """Rows without their messages, newest first; for the next page name the last id in `before`."""
        return await (await self._opened()).ledger.page(_selection(state, tag), limit=limit, before=before)

    async def stats(self, *, tag: str | None = None) -> Mapping[str, float]:
        """Messages by state; ``due``: waiting for a worker; ``oldest_due_s``: for how long."""
        return await (await self._opened()).ledger.stats(tag=tag)

    @property
    def counts(self) -> Mapping[str, int]:
        """What this process's workers did: by state, ``retried``, ``lease_lost``."""
        found: dict[str, int] = {}
        for worker in self._workers:
            for name, count in worker.counts.items():
                found[name] = found.get(name, 0) + count
        return found

    # -- an operator's verbs

    async def change(
        self, verb: JobVerb, ids: Sequence[str] = (), *, state: JobState | Sequence[JobState] | None = None,
        tag: str | None = None, older_than: timedelta | None = None,
    ) -> int:  # fmt: skip
        """Apply a verb to chosen messages; how many it fitted.

        Args:
            verb: ``retry``, ``cancel``, ``hold``, ``release`` or ``purge``; see `mailwright.spi.Ledger.change`.
            ids: Of messages.
            state, tag, older_than: All of them, of this state, with this tag, unchanged for so long.

        Raises:
            ConfigurationError: Nothing narrows it: that would be everything.
        """
        empty = state is not None and not state  # as of a filter whose result came to nothing
        if empty or (not ids and state is None and tag is None and older_than is None):
            msg = f"{verb}: of which messages? name ids, a state or a tag"
            raise ConfigurationError(msg)
        opened = await self._opened()
        chosen = _selection(state, tag)
        if older_than is not None:
            moment = self._clock.now().timestamp() - older_than.total_seconds()
            chosen = evolve(chosen, older_than=moment)
        found = await verbs.change(opened.ledger, verb, chosen, ids)
        if found and verb in {"retry", "release"}:
            await opened.dispatcher.put(())
        return found

    async def suppress(self, address: str | Sequence[str], *, reason: str = "by hand", days: float = 90.0) -> None:
        """Do not mail to an address, or to several, for so many days, 36500 at most."""
        if not 0 < days <= _CENTURY:
            msg = f"days: more than 0, at most {_CENTURY}, not {days}"
            raise ConfigurationError(msg)
        until = self._clock.now().timestamp() + days * 86400
        ledger = (await self._opened()).ledger
        addresses = (address,) if isinstance(address, str) else address
        for start in range(0, len(addresses), _CHUNK):
            part = addresses[start : start + _CHUNK]
            await ledger.suppress([Suppression(address=one.lower(), reason=reason, until=until) for one in part])

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Mail to addresses again; how many were suppressed."""
        return await (await self._opened()).ledger.unsuppress(addresses)

    async def suppressions(self) -> AsyncIterator[Suppression]:
        """All suppressions, by address."""
        ledger, last = (await self._opened()).ledger, ""
        while found := await ledger.suppressions(limit=500, after=last):
            for entry in found:
                yield entry
            last = found[-1].address

    # -- working

    async def work(self, *, concurrency: int = 20, stop: asyncio.Event | None = None) -> None:
        """Send what is due, until `stop` is set or the task is cancelled; messages under way end first.

        Args:
            concurrency: Messages under way at one time.
            stop: Set it to drain.
        """
        if concurrency < 1:
            msg = f"concurrency: at least 1, not {concurrency}"
            raise ConfigurationError(msg)
        opened = await self._opened()
        worker = Worker(
            opened.ledger,
            opened.contents,
            registry=self._registry,
            open_sending=self._open_sending,
            policy=self._policy,
            retention=self._retention,
            clock=self._clock,
            lease_s=self._lease_s,
        )
        self._workers.append(worker)
        ending = stop or asyncio.Event()
        task = asyncio.create_task(worker.work(opened.dispatcher, concurrency=concurrency, stop=ending))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            ending.set()
            await task
            raise

    @contextlib.asynccontextmanager
    async def worker(self, *, concurrency: int = 20) -> AsyncIterator[None]:
        """A worker inside an application's own event loop, for the time of an ``async with``; it drains at the end."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.work(concurrency=concurrency, stop=stop))
        try:
            yield
        finally:
            stop.set()
            await task

    # -- opening

    def _open_sending(self, connections: tuple[str, ...]) -> Sending:
        return Sending(connections, **self._options)

    async def _opened(self) -> Engine:
        """The engine of this event loop, opened once however many tasks ask."""
        loop = asyncio.get_running_loop()
        task = self._loops.get(loop)
        if task is None:
            for stale in [known for known in self._loops if known.is_closed()]:
                del self._loops[stale]
            task = self._loops[loop] = loop.create_task(self._open())
        try:
            return await asyncio.shield(task)
        except MailwrightError:
            if self._loops.get(loop) is task:
                del self._loops[loop]
            raise

    async def _open(self) -> Engine:
        ledger = await places.open_ledger(self._url, self._registry, self._clock)
        dispatcher = await places.open_dispatcher(self._url, ledger, self._registry, self._clock)
        contents = Contents(ledger, self._clock)
        intake = Intake(contents, self._clock, self._open_sending)
        return Engine(ledger=ledger, dispatcher=dispatcher, contents=contents, intake=intake)


def _selection(state: JobState | Sequence[JobState] | None, tag: str | None) -> Selection:
    states: Any = () if state is None else (state,) if isinstance(state, str) else tuple(state)
    return Selection(states=states, tag=tag)


def _step(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what only calls a blocking database connection, in the thread that the connection belongs to."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    coroutine.close()
    msg = (
        "transaction: enqueue_sync joins blocking connections (sqlite3, psycopg); await enqueue() for asynchronous ones"
    )
    raise ConfigurationError(msg)


async def _each(messages: Iterable[AnyMessage] | AsyncIterable[AnyMessage]) -> AsyncIterator[AnyMessage]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
