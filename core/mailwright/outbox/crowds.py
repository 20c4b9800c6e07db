"""An account whose server hangs must not have all of a worker's places: others have work to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

_LONGEST_S: Final = 60.0


class Crowd:
    """Messages of one account that one worker has under way.

    Args:
        most: So many; further ones wait at the door while others end.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._since = 0.0
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def place(self, patience_s: float) -> AsyncIterator[float]:
        """For the time of an ``async with``: a place (0), or the seconds after which to ask again.

        Args:
            patience_s: Seconds without an end after which nobody waits at the door any more.
        """
        while self._inside >= self._most:
            quiet = self._now() - self._since
            if quiet >= patience_s:
                yield min(quiet, _LONGEST_S)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s - quiet):
                    await self._news.wait()
        if not self._inside:
            self._since = self._now()
        self._inside += 1
        try:
            yield 0.0
        finally:
            self._inside -= 1
            self._news.set()
            self._news = asyncio.Event()

    def moved(self) -> None:
        """Tell that the server did something: one attempt came to an end."""
        self._since = self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
