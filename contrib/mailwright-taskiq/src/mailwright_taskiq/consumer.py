"""Announcements as they come: a consumer that subscribes again when RabbitMQ was away or its queue was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from mailwright.errors import QueueError
from mailwright_taskiq.link import closed, guarded, opened

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue

    from mailwright_taskiq.places import Place

_log = logging.getLogger("mailwright.outbox")
_AGAIN_S: Final = 1.0


class Consumer:
    """One worker's subscription.

    Args:
        place: Where the queue is.
        prefetch: Announcements in this worker's hands at one time.
        news: Set when one has come.

    Attributes:
        waiting: Announcements nobody has acted on yet.
        subscribed: Whether RabbitMQ delivers.
    """

    def __init__(self, place: Place, *, prefetch: int, news: asyncio.Event) -> None:
        self._place = place
        self._prefetch = prefetch
        self._news = news
        self._broken = asyncio.Event()
        self._queue: AbstractQueue | None = None
        self._connection: AbstractConnection | None = None
        self._tag = ""
        self.waiting: deque[AbstractIncomingMessage] = deque()
        self.subscribed = False

    async def run(self) -> None:
        """Subscribe, and again; until it is cancelled."""
        while True:
            try:
                await self._subscribe()
                _log.debug("RabbitMQ at %s delivers", self._place.shown)
                await self._broken.wait()
                _log.warning("RabbitMQ at %s is gone; work comes from the ledger until it is back", self._place.shown)
            except QueueError as error:
                _log.debug("%s", error.message)
            await self._forget()
            await asyncio.sleep(_AGAIN_S)

    async def _subscribe(self) -> None:
        self._broken.clear()
        connection, channel, queue = await guarded(opened(self._place, prefetch=self._prefetch), self._place)
        self._connection, self._queue = connection, queue
        connection.close_callbacks.add(self._lost)
        channel.close_callbacks.add(self._lost)
        underlay = await guarded(channel.get_underlay_channel(), self._place)
        underlay.on_consumer_cancel_callbacks.add(self._lost)  # the queue was deleted, or its leader died
        self._tag = await guarded(queue.consume(self._arrived), self._place)
        self.subscribed = True

    async def _arrived(self, message: AbstractIncomingMessage) -> None:
        self.waiting.append(message)
        self._news.set()

    def _lost(self, *_: Any) -> None:
        self._broken.set()

    async def _forget(self) -> None:
        """What was not acknowledged comes again, to whoever listens."""
        self.subscribed = False
        self.waiting.clear()
        self._news.set()
        connection, self._connection, self._queue = self._connection, None, None
        if connection is not None:
            connection.close_callbacks.discard(self._lost)
            await closed(connection)

    async def pause(self) -> None:
        """No more announcements; those not acted on go back."""
        if self._queue is not None:
            with contextlib.suppress(QueueError):
                await guarded(self._queue.cancel(self._tag), self._place)
        back, self.waiting = self.waiting, deque()
        for message in back:
            await settle([message], requeue=True)

    async def aclose(self) -> None:
        """Hang up."""
        await self._forget()


async def settle(messages: Iterable[AbstractIncomingMessage | None], *, requeue: bool = False) -> None:
    """Tell RabbitMQ that these are done with; one whose connection is gone comes again, and finds nothing to do."""
    for message in messages:
        if message is not None:
            with contextlib.suppress(Exception):
                await (message.nack(requeue=True) if requeue else message.ack())
