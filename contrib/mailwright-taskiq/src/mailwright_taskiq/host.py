"""The outbox's worker inside taskiq's worker processes: one deployment for both, whatever broker taskiq has there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskiq import TaskiqEvents, TaskiqState

if TYPE_CHECKING:
    from taskiq import AsyncBroker

    from mailwright import Outbox


def attach(broker: AsyncBroker, outbox: Outbox, *, concurrency: int = 20) -> None:
    """Let every ``taskiq worker`` of `broker` send what is in `outbox`, from its start until it is told to stop.

    Args:
        broker: Of your taskiq application.
        outbox: Any, not only one over RabbitMQ.
        concurrency: Messages under way at one time, in each process.
    """
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def start(_: TaskiqState) -> None:
        tasks.append(asyncio.create_task(outbox.work(concurrency=concurrency, stop=stop)))

    async def end(_: TaskiqState) -> None:
        stop.set()
        await asyncio.gather(*tasks)
        await outbox.aclose()

    broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, start)
    broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, end)
