"""Two threads a process: one writes, many callers to a transaction (group commit); one reads what may take long.

Fork-safe: a child opens its own connections, and never touches the parent's. Loop-safe: any number of event loops.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from mailwright.errors import MailwrightError, QueueError
from mailwright_plugins.queues.sqlite import files

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Item = tuple[Work[Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]
_MOST: Final = 256
"""Callers that share one transaction."""
_forgotten: list[object] = []
"""Connections of a parent process: closing them here would take away its locks."""


class Lane:
    """One thread with one connection.

    Args:
        path: The database.
        writes: Whether each batch is a transaction that writes.
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self._path = path
        self._writes = writes
        self._lock = threading.Lock()
        self._pid = 0
        self._items: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """Run `work` in the thread; a writer's is durable when this returns.

        Raises:
            QueueError: The database did not do it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._closed:
                raise QueueError("the outbox is closed")
            if self._pid != os.getpid():
                self._start()
            self._items.put((work, future, loop))
        return await future

    def _start(self) -> None:
        self._pid = os.getpid()
        self._items = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, args=(self._items,), name="mailwright-sqlite", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """In a forked child: the thread does not exist here, and the lock may be held for ever."""
        self._lock = threading.Lock()
        self._pid = 0

    async def aclose(self) -> None:
        """Finish what was asked for and close; safe to repeat."""
        with self._lock:
            self._closed = True
            thread, mine = self._thread, self._pid == os.getpid()
            if mine:
                self._items.put(None)
        if thread is not None and mine:
            await asyncio.to_thread(thread.join)

    # -- in the thread

    def _serve(self, items: queue.SimpleQueue[_Item | None]) -> None:
        connection: sqlite3.Connection | None = None
        opened: tuple[int, int] | None = None
        open_ = True
        while open_:
            batch, open_ = _gather(items, _MOST if self._writes else 1)
            if not batch:
                continue
            try:
                if connection is None or opened != files.identity(self._path):  # removed, or replaced by a backup
                    connection = files.connect(self._path)
                    _forgotten.append(connection)
                    files.migrate(connection, self._path)
                    opened = files.identity(self._path)
                done = self._write(connection, batch) if self._writes else [_outcome(connection, batch[0][0])]
                if self._writes and opened != files.identity(self._path):
                    msg = f"the outbox {self._path} was removed or replaced while it was written: try again"
                    raise QueueError(msg)
            except MailwrightError as error:
                done = [(None, error)] * len(batch)
            _deliver(batch, done)
        if connection is not None:
            _forgotten.remove(connection)
            connection.close()

    def _write(self, connection: sqlite3.Connection, batch: list[_Item]) -> list[tuple[Any, BaseException | None]]:
        """One transaction; a caller whose part fails takes nobody with it."""
        done: list[tuple[Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for work, _, _ in batch:
                connection.execute("SAVEPOINT one")
                done.append(outcome := _outcome(connection, work))
                if not connection.in_transaction:  # a full disk ends the whole transaction
                    return self._apart(connection, batch, done[-1][1])
                if outcome[1] is not None:
                    connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return self._apart(connection, batch, _translated(error))
        return done

    def _apart(
        self, connection: sqlite3.Connection, batch: list[_Item], error: BaseException | None
    ) -> list[tuple[Any, BaseException | None]]:
        """Small writes may still find room where a large one did not."""
        if len(batch) == 1:
            return [(None, error)]
        return [self._write(connection, [item])[0] for item in batch]


def _gather(items: queue.SimpleQueue[_Item | None], most: int) -> tuple[list[_Item], bool]:
    batch: list[_Item] = []
    item = items.get()
    while item is not None:
        batch.append(item)
        if len(batch) >= most:
            return batch, True
        try:
            item = items.get_nowait()
        except queue.Empty:
            return batch, True
    return batch, False


def _outcome(connection: sqlite3.Connection, work: Work[Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(connection), None
    except sqlite3.Error as error:
        return None, _translated(error)
    except Exception as error:  # noqa: BLE001 - it belongs to the caller
        return None, error


def _translated(error: sqlite3.Error) -> QueueError:
    return QueueError(f"the outbox's database: {error}")


def _deliver(batch: list[_Item], done: list[tuple[Any, BaseException | None]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
    for (_, future, loop), (value, error) in zip(batch, done, strict=True):
        by_loop.setdefault(loop, []).append((future, value, error))
    for loop, outcomes in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, outcomes)
        except RuntimeError:  # that loop is closed: nobody is waiting
            continue


def _settle(outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
