"""Who may use a session, and which: first come, first served, and one message ahead of its turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from mailwright.errors import SessionError

if TYPE_CHECKING:
    from mailwright.smtp import Transaction
    from mailwright.spi import Submission
    from mailwright.transport.session import Session


@frozen
class Lane:
    """The right to one session.

    Attributes:
        session: One that is open; None: open one.
        started: The transaction of this very message, whose commands are on the wire already.
    """

    session: Session | None = None
    started: Transaction | None = None


@define(eq=False)
class _Waiter:
    submission: Submission
    turn: asyncio.Future[Lane] = field(factory=lambda: asyncio.get_running_loop().create_future())


class Lanes:
    """The sessions of one connection, and the queue before them.

    Args:
        count: Sessions at one time.
        idle_s: Seconds after which a resting session is closed.

    Attributes:
        ahead: Messages whose commands rode behind another's dot.
    """

    def __init__(self, count: int, *, idle_s: float) -> None:
        self._count = self._free = count
        self._idle_s = idle_s
        self._idle: list[Session] = []
        self._waiting: deque[_Waiter] = deque()
        self._next: dict[Session, tuple[_Waiter, Transaction]] = {}
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self.ahead = 0

    async def enter(self, submission: Submission, limit_s: float) -> Lane:
        """Wait for a session or the right to open one, at most `limit_s` seconds. `leave` must follow.

        Raises:
            SessionError: All sessions were busy all the time.
        """
        if self._free and not self._waiting:
            self._free -= 1
            self._at_rest.clear()
            return Lane(self._rested())
        waiter = _Waiter(submission)
        self._waiting.append(waiter)
        timer = waiter.turn.get_loop().call_later(limit_s, _too_late, waiter.turn)
        try:
            return await waiter.turn
        except SessionError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
        except BaseException:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self._give_up(waiter.turn.result())
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
        finally:
            timer.cancel()

    def follow(self, session: Session) -> bytes:
        """The commands of the message that waits longest, to be written behind the dot on `session`; it is next there."""
        while self._waiting and self._waiting[0].turn.done():
            self._waiting.popleft()
        if not self._waiting:
            return b""
        begun = session.ahead(self._waiting[0].submission)
        if begun is None:
            return b""
        self.ahead += 1
        self._next[session] = (self._waiting.popleft(), begun[0])
        return begun[1]

    def leave(self, session: Session | None) -> None:
        """Pass the lane on: to the message that is next on this session, else to the one that waits longest, else rest.

        Args:
            session: Good for another message; None: there is none any more.
        """
        if session is not None and session in self._next:
            waiter, transaction = self._next.pop(session)
            if not waiter.turn.done():
                waiter.turn.set_result(Lane(session, transaction))
                return
            # Cancelled with its commands on the wire: without the body nothing is delivered, so hang up.
            session.abort()
            session = None
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(Lane(session))
                return
        self._free += 1
        if session is not None:
            session.rest(self._idle_s)
            self._idle.append(session)
        if self._free == self._count:
            self._at_rest.set()

    def lost(self, session: Session) -> None:
        """Whoever was next on a session that is gone waits again, before all others: nothing of theirs was said."""
        if session in self._next:
            waiter, _ = self._next.pop(session)
            if not waiter.turn.done():
                self._waiting.appendleft(waiter)

    def expects(self, session: Session) -> bool:
        """Whether a message is next on this session."""
        return session in self._next

    def _give_up(self, lane: Lane) -> None:
        if lane.session is not None and lane.started is not None:
            lane.session.abort()
            self.leave(None)
        else:
            self.leave(lane.session)

    def _rested(self) -> Session | None:
        """The session used last that is still good; what the server closed, or we, is forgotten."""
        while self._idle:
            session = self._idle.pop()
            if session.wake():
                return session
            session.abort()
        return None

    async def drained(self) -> list[Session]:
        """Wait until every message under way or waiting has ended; the sessions that rest."""
        await self._at_rest.wait()
        idle, self._idle = self._idle, []
        return idle


def _too_late(turn: asyncio.Future[Lane]) -> None:
    if not turn.done():
        message = "the time for this message is over: all sessions are busy"
        turn.set_exception(SessionError(message, code="ETIMEDOUT"))
