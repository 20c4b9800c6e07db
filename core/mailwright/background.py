"""The sync twin's event loop: one thread per process, made when first needed, again after a fork."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Background:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._serve, args=(self._loop,), name="mailwright", daemon=True)
                self._thread.start()
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def stop(self) -> None:
        if self._loop is None or self._pid != os.getpid() or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop = None

    def renew(self) -> None:
        """In a forked child: the parent's thread and loop do not exist here, and its lock may be held for ever."""
        self.__init__()  # type: ignore[misc]


_background = _Background()
atexit.register(_background.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_background.renew)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run in the background loop and wait.

    Raises:
        RuntimeError: When called from that loop itself, which would wait for ever.
    """
    if threading.current_thread().name == "mailwright" and _running():
        coroutine.close()
        msg = "send_sync cannot be called from Mailwright's own loop: await send() there"
        raise RuntimeError(msg)
    future = asyncio.run_coroutine_threadsafe(coroutine, _background.loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
