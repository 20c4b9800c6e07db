"""A connection to RabbitMQ that is opened when it is needed, given up at the first trouble, and opened again later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aio_pika

from mailwright.errors import QueueError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue

    from mailwright_taskiq.places import Place

T = TypeVar("T")
_log = logging.getLogger("mailwright.outbox")
PATIENCE_S: Final = 5.0
"""Longer than this nobody waits for RabbitMQ: what matters is in the ledger."""
_REST_S: Final = (1.0, 2.0, 5.0, 15.0)
"""After trouble, and more of it, nobody asks for so long."""
_BATCH: Final = 500
ARGUMENTS: Final = {"x-queue-type": "quorum"}


async def guarded(work: Coroutine[Any, Any, T], place: Place, *, limit_s: float = PATIENCE_S) -> T:
    """Run it in a task of its own: the driver ends what waits for a lost connection by cancelling it, which is not us.

    Raises:
        QueueError: RabbitMQ did not do it, or not in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit_s)
    finally:
        ended = task.done()
        if not ended:
            task.cancel()
            await asyncio.wait({task}, timeout=1)
    if not ended:
        msg = f"RabbitMQ at {place.shown} did not answer within {limit_s:g} s"
        raise QueueError(msg)
    if task.cancelled():
        msg = f"RabbitMQ at {place.shown}: the connection was lost"
        raise QueueError(msg)
    if (error := task.exception()) is not None:
        if not isinstance(error, Exception):
            raise error
        msg = f"RabbitMQ at {place.shown}: {_said(error, place)}"
        raise QueueError(msg) from error
    return task.result()


def _said(error: Exception, place: Place) -> str:
    said = f"{type(error).__name__}: {error}"
    if "inequivalent arg" in said:
        return f"the queue {place.queue!r} is there already and of another type: delete it, or name another (?queue=)"
    return said[:300]


async def opened(place: Place, *, prefetch: int = 0) -> tuple[AbstractConnection, AbstractChannel, AbstractQueue]:
    """A connection with a channel that confirms, and the queue, which is made if it is missing."""
    connection = await aio_pika.connect(place.url, timeout=PATIENCE_S)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        if prefetch:
            await channel.set_qos(prefetch_count=prefetch)
        return connection, channel, await declared(channel, place)
    except BaseException:
        await closed(connection)
        raise


async def declared(channel: AbstractChannel, place: Place) -> AbstractQueue:
    """The queue: durable, a quorum one."""
    return await channel.declare_queue(place.queue, durable=True, arguments=dict(ARGUMENTS))


class Link:
    """What announces.

    Args:
        place: Where the queue is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._troubles = 0
        self._rests_until = 0.0

    async def announce(self, ids: Sequence[str]) -> bool:
        """Whether RabbitMQ has confirmed all of it. Never raises: the sweeper finds what was not announced."""
        for start in range(0, len(ids), _BATCH):
            if not await self._done(partial(self._published, ids[start : start + _BATCH])):
                return False
        return True

    async def waiting(self) -> int | None:
        """How many announcements wait for a worker; None: RabbitMQ is away. A queue that was lost is made anew."""
        found: list[int] = []

        async def count(channel: AbstractChannel) -> None:
            queue = await declared(channel, self._place)
            found.append(queue.declaration_result.message_count or 0)

        return found[0] if await self._done(count) else None

    async def _done(self, work: Callable[[AbstractChannel], Coroutine[Any, Any, None]]) -> bool:
        """Whether it was done; after trouble nobody asks for a while, and the connection is a new one."""
        async with self._lock:
            channel = await self._ready()
        if channel is None:
            return False
        try:
            await guarded(work(channel), self._place)
        except QueueError as error:
            async with self._lock:
                if channel is self._channel:
                    await self._rest(error)
            return False
        self._troubles = 0
        return True

    async def _ready(self) -> AbstractChannel | None:
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        if asyncio.get_running_loop().time() < self._rests_until:
            return None
        await self._close()
        try:
            self._connection, self._channel, _ = await guarded(opened(self._place), self._place)
        except QueueError as error:
            await self._rest(error)
        return self._channel

    async def _rest(self, error: QueueError) -> None:
        rest_s = _REST_S[min(self._troubles, len(_REST_S) - 1)]
        self._troubles += 1
        self._rests_until = asyncio.get_running_loop().time() + rest_s
        _log.warning("%s; the outbox goes on, announcements are made up for", error.message)
        await self._close()

    async def _published(self, ids: Sequence[str], channel: AbstractChannel) -> None:
        """Each confirmed; one that no queue takes comes back as an error."""
        messages = [
            aio_pika.Message(job_id.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=job_id)
            for job_id in ids
        ]
        exchange = channel.default_exchange
        await asyncio.gather(*(exchange.publish(message, routing_key=self._place.queue) for message in messages))

    async def _close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await closed(connection)

    async def aclose(self) -> None:
        """Close; safe to repeat."""
        async with self._lock:
            await self._close()


async def closed(connection: AbstractConnection) -> None:
    """Close, whatever state it is in."""
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing}, timeout=PATIENCE_S)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
