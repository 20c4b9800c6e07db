"""Work over a stream: bounded, in order of completion, with memory flat however long it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from itertools import count
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def unordered(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[int, T], Awaitable[R]], *, concurrency: int
) -> AsyncGenerator[R, None]:
    """Do `work` on every item.

    Args:
        items: Read one at a time, when somebody is free to work on it.
        work: Given the item's number, from 0, and the item.
        concurrency: Items under way at one time; as many results wait until they are taken.

    Yields:
        Results in order of completion. Leaving early cancels what is under way.

    Raises:
        Exception: What reading raised first, or `work`: nothing more is begun, and what is under way ends before.
    """
    following = _locked(items) if isinstance(items, AsyncIterable) else _plain(items)
    results: deque[R] = deque()
    numbers = count()
    errors: list[Exception] = []
    arrived, room = asyncio.Event(), asyncio.Event()

    async def worker() -> None:
        while not errors:
            try:
                item = await following()
            except StopAsyncIteration:
                return
            except Exception as error:  # noqa: BLE001 - raised to whoever reads the results
                errors.append(error)
                return
            try:
                result = await work(next(numbers), item)
            except Exception as error:  # noqa: BLE001 - as above
                errors.append(error)
                return
            while len(results) >= concurrency:
                room.clear()
                await room.wait()
            results.append(result)
            arrived.set()

    async def everything() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker())
        finally:
            arrived.set()

    task = asyncio.create_task(everything())
    task.add_done_callback(lambda done: arrived.set())
    try:
        while not task.done() or results:
            while results:
                result = results.popleft()
                room.set()
                yield result
            arrived.clear()
            if not task.done():
                await arrived.wait()
        await task
        if errors:
            raise errors[0]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _plain(items: Iterable[T]) -> Callable[[], Awaitable[T]]:
    left = iter(items)

    async def following() -> T:
        for item in left:
            return item
        raise StopAsyncIteration

    return following


def _locked(items: AsyncIterable[T]) -> Callable[[], Awaitable[T]]:
    """One reader at a time."""
    left = aiter(items)
    reading = asyncio.Lock()

    async def following() -> T:
        async with reading:
            return await anext(left)

    return following
