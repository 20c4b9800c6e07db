"""Mailwright's outbox over RabbitMQ: a queue hands out the work, the ledger that the URL names keeps the truth.

URLs: ``amqp://user:password@host/vhost?ledger=postgresql://mail@db/mail``, with ``&queue=mail`` for a queue of that name.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailwright import hookimpl
from mailwright.spi import Clock, Dispatcher, Ledger, QueueEngine

MAILWRIGHT_SPI_VERSION = 1


async def _dispatcher(url: str, ledger: Ledger, clock: Clock) -> Dispatcher:
    from mailwright_taskiq.dispatcher import RabbitDispatcher  # noqa: PLC0415 - aio-pika, only where an outbox is used
    from mailwright_taskiq.places import Place  # noqa: PLC0415 - as above

    return RabbitDispatcher(Place.of(url), ledger)


@hookimpl
def mailwright_queue_engines() -> Iterable[QueueEngine]:
    """One engine."""
    yield QueueEngine(schemes=("amqp", "amqps"), dispatcher=_dispatcher)
