"""Files from the web for one run: each URL fetched once, whole, spooled, before a session opens."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from mailwright.errors import AttachmentError, HttpError
from mailwright.ports import Fetched, HttpRequest
from mailwright.prepare import spool

if TYPE_CHECKING:
    from mailwright.ports import Http

MAX_BYTES: Final = 50_000_000
"""Octets of one file where nobody says less."""
AT_ONCE: Final = 8
KEPT: Final = 64
"""Files kept for the next message of a run; beyond 1 MiB each they are in temporary files."""
_OK: Final = 200
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Fetcher:
    """Fetches over the guarded HTTP, for one message or one bulk run.

    Args:
        http: The guarded policy.
        max_bytes: Limit of one file.
    """

    def __init__(self, http: Http, *, max_bytes: int | None) -> None:
        self._http = http
        self._max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: OrderedDict[str, asyncio.Task[Fetched]] = OrderedDict()
        self._waiting: dict[str, int] = {}

    async def get(self, url: str) -> Fetched:
        """A whole file; whoever asks for the same URL at the same time or later in the run shares it.

        Raises:
            AttachmentError: ``url: …``; transient failures are tried again when the URL is asked for again.
        """
        task = self._tasks.get(url)
        if task is None:
            task = self._tasks[url] = asyncio.create_task(self._fetch(url))
            self._trim()
        self._tasks.move_to_end(url)
        self._waiting[url] = self._waiting.get(url, 0) + 1
        try:
            return await asyncio.shield(task)
        except AttachmentError as error:
            if not error.permanent and self._tasks.get(url) is task:
                del self._tasks[url]
            raise AttachmentError(error.message, permanent=error.permanent) from error  # each place adds its own path
        finally:
            self._left(url, task)

    def _left(self, url: str, task: asyncio.Task[Fetched]) -> None:
        self._waiting[url] -= 1
        if self._waiting[url]:
            return
        del self._waiting[url]
        if not task.done():  # nobody wants it any more
            task.cancel()
            self._tasks.pop(url, None)

    def _trim(self) -> None:
        for url in [url for url, task in self._tasks.items() if task.done()][: max(0, len(self._tasks) - KEPT)]:
            del self._tasks[url]

    async def _fetch(self, url: str) -> Fetched:
        shown = url.partition("?")[0][:200]
        try:
            async with (
                self._turns,
                self._http.stream(HttpRequest(method="GET", url=url), max_bytes=self._max_bytes) as stream,
            ):
                if stream.status != _OK:
                    msg = f"url: {shown}: the server answered {stream.status}; only a complete file is attached"
                    raise AttachmentError(msg, permanent=stream.status not in _TRANSIENT)
                return Fetched(headers=stream.headers, content=await spool(stream))
        except HttpError as error:
            msg = f"url: {error.message}"
            raise AttachmentError(msg, permanent=error.permanent) from None
