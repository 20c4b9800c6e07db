"""Sessions that all workers of one ledger share: `limits.connections` is an account's, not each worker's.

A worker holds a part of them, asked for once a second, not for each message. Alone it has all of them, and asking costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from mailwright.errors import MailwrightError
from mailwright.spi import SharingLedger

if TYPE_CHECKING:
    from mailwright.spi import Ledger

_log = logging.getLogger("mailwright.outbox")
_EVERY_S: Final = 1.0
_LEASE_S: Final = 15.0
_KEPT_S: Final = 30.0
"""So long a session rests before it is closed (`mailwright.transport`)."""
Retire = Callable[[str], Awaitable[None]]


class Shares:
    """The parts of one worker.

    Args:
        ledger: Divides them.
        retire: Closes the resting sessions of an account: they are to be opened elsewhere.
        every_s: How often the ledger is asked, in seconds; default: once a second.
    """

    def __init__(self, ledger: Ledger, retire: Retire, *, every_s: float | None = None) -> None:
        self._ledger = ledger if isinstance(ledger, SharingLedger) else None
        self._retire = retire
        self._every_s = every_s or _EVERY_S
        self._holder = os.urandom(8).hex()
        self._doors: dict[str, _Door] = {}
        if self._ledger is None:
            _log.warning("limits.connections holds for each worker: this ledger does not share it among them")

    @contextlib.asynccontextmanager
    async def place(self, key: str, most: int, *, patience_s: float) -> AsyncIterator[bool]:
        """For the time of an ``async with``: the right to send over one more session; False: others have them all.

        Args:
            key: The account.
            most: Its sessions over all workers.
            patience_s: How long to wait where this worker has none.
        """
        if self._ledger is None:
            yield True
            return
        door = self._doors.get(key)
        if door is None:
            door = self._doors[key] = _Door(key, self._ledger, self._holder, self._retire)
        door.most = most
        if not await door.enter(patience_s):
            yield False
            return
        try:
            yield True
        finally:
            await door.leave()

    async def run(self) -> None:
        """Keep what is held, and give up what is not needed; until it is cancelled."""
        asking: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(self._every_s)
                for key, door in tuple(self._doors.items()):
                    if not door.busy:  # one account whose sessions take long to close keeps no other waiting
                        asking.add(task := asyncio.create_task(self._refresh(key, door)))
                        task.add_done_callback(asking.discard)
        finally:
            for task in tuple(asking):
                task.cancel()

    async def _refresh(self, key: str, door: _Door) -> None:
        with contextlib.suppress(MailwrightError):  # the ledger is away: what is held is held
            if not await door.refresh():
                self._doors.pop(key, None)

    async def aclose(self) -> None:
        """Give up everything."""
        doors, self._doors = self._doors, {}
        for door in doors.values():
            with contextlib.suppress(MailwrightError):
                await door.give_up()


class _Door:
    """One account's.

    Attributes:
        most: Sessions over all workers.
    """

    def __init__(self, key: str, ledger: SharingLedger, holder: str, retire: Retire) -> None:
        self._key = key
        self._ledger = ledger
        self._holder = holder
        self._retire = retire
        self._lock = asyncio.Lock()
        self._allowed: int | None = None
        self._inside = 0
        self._open = 0
        self._used = self._now()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.most = 0

    async def enter(self, patience_s: float) -> bool:
        self._used = self._now()
        if self._allowed is None:
            self._inside += 1  # so that it is wanted
            try:
                await self.refresh()
            finally:
                self._inside -= 1
        since = self._now()
        while not self._admits:
            if self._now() - since > patience_s and not self._allowed:
                return False
            await self._turn(patience_s)
        self._inside += 1
        self._open = min(self.most, max(self._open, self._inside))
        return True

    @property
    def busy(self) -> bool:
        """Whether the ledger is being asked."""
        return self._lock.locked()

    @property
    def _admits(self) -> bool:
        if self._allowed is None or self._open > self._allowed:
            return False  # first what is open closes
        return self._allowed >= self.most or self._inside < self._allowed

    async def _turn(self, limit_s: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn, max(limit_s, 0.01))
        except TimeoutError:
            return
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)

    async def leave(self) -> None:
        self._used = self._now()
        self._inside -= 1
        if self._allowed is not None and self._open > self._allowed and not self._inside:
            with contextlib.suppress(MailwrightError):
                await self.refresh()
        self._call()

    def _call(self) -> None:
        """Whose turn it is; those called look themselves whether there is room."""
        room = len(self._waiting) if (self._allowed or 0) >= self.most else max(0, (self._allowed or 0) - self._inside)
        while self._waiting and room:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    async def refresh(self) -> bool:
        """Ask for what is needed; whether this account is still in use."""
        async with self._lock:
            if self._allowed is not None and self._open > self._allowed and not self._inside:
                await self._retire(self._key)
                self._open = 0
            wanted = min(self.most, self._inside + len(self._waiting))
            rests = self._now() - self._used < _KEPT_S
            if not wanted and not rests:
                self._open = 0
            self._allowed = await self._ledger.share(
                self._key, self._holder, using=self._open, wanted=max(wanted, int(rests)), most=self.most,
                lease_s=_LEASE_S,
            )  # fmt: skip
        self._call()
        return bool(self._inside or self._waiting) or self._now() - self._used < _KEPT_S  # somebody may have come since

    async def give_up(self) -> None:
        await self._ledger.share(self._key, self._holder, using=0, wanted=0, most=self.most, lease_s=_LEASE_S)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
