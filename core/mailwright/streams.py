"""Work over a stream: bounded, in order of completion, with memory flat however long it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END: Any = object()


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
        Exception: What reading raised, or `work`.
    """
    results: asyncio.Queue[R] = asyncio.Queue(concurrency)
    numbered = _numbered(items)
    reading = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with reading:
                try:
                    index, item = await anext(numbered)
                except StopAsyncIteration:
                    return
            await results.put(await work(index, item))

    async def everything() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker())
        finally:
            await results.put(_END)

    task = asyncio.create_task(everything())
    try:
        while (result := await results.get()) is not _END:
            yield result
        try:
            await task
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await numbered.aclose()


async def _numbered(items: Iterable[T] | AsyncIterable[T]) -> Any:
    index = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield index, item
            index += 1
    else:
        for item in items:
            yield index, item
            index += 1
