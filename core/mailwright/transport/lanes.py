"""Who may use a session, and which: first come, first served, and some messages ahead of their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define

from mailwright.errors import SessionError
from mailwright.transport.watch import NEVER, Watchdog

if TYPE_CHECKING:
    from mailwright.spi import Submission
    from mailwright.transport.exchange import Exchange
    from mailwright.transport.session import Session

TOGETHER: Final = 8
"""Messages of one session that may be without an answer, where each of them may repeat: of half a megabyte at most, so
four megabytes in all."""


@define(eq=False)
class Lane:
    """The right to one session, for one message.

    Attributes:
        submission: Whose.
        until: How long it waits for its turn, on the loop's clock.
        turn: Done when it has its turn; None: it had not to wait.
        session: One that is open; None: open one.
        started: The transaction of this very message, whose commands are on the wire already.
        shared: Whether the session is others', too: write the whole message at once.
        heir: The next message's transaction, whose commands ride behind this one's last octet: the right is its, now; do
            not `leave` it.
    """

    submission: Submission
    until: float
    turn: asyncio.Future[None] | None = None
    session: Session | None = None
    started: Exchange | None = None
    shared: bool = False
    heir: Exchange | None = None

    @property
    def has_turn(self) -> bool:
        """Whether it waits no more, and nothing went wrong."""
        turn = self.turn
        return turn is None or (turn.done() and not turn.cancelled() and turn.exception() is None)

    @property
    def is_behind(self) -> bool:
        """Whether another message is under way before it."""
        session, started = self.session, self.started
        return session is not None and started is not None and session.is_behind(started)

    @property
    def is_gone(self) -> bool:
        """Cancelled, or too late."""
        return self.turn is None or self.turn.done()

    def give(self, session: Session | None) -> None:
        """Its turn has come."""
        assert self.turn is not None
        self.session = session
        self.turn.set_result(None)


class Lanes:
    """The sessions of one connection, and the queue before them.

    Args:
        count: Sessions at one time.
        per_session: Messages that one session carries.
        idle_s: Seconds after which a resting session is closed.

    Attributes:
        ahead: Messages begun before the one before them was answered.
    """

    def __init__(self, count: int, *, per_session: int, idle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = self._free = count
        self._per_session = per_session
        self._idle_s = idle_s
        self._idle: list[Session] = []
        self._waiting: deque[Lane] = deque()
        self._begun: set[Lane] = set()
        self._ending: dict[Session, Lane] = {}
        self._users: dict[Session, int] = {}
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._watch: Watchdog | None = None
        self._first_due = NEVER
        self.ahead = 0

    # -- coming

    async def enter(self, submission: Submission, until: float, *, again: bool = False) -> Lane:
        """Wait for a session or the right to open one. `leave` must follow.

        Args:
            submission: Who waits.
            until: How long, on the loop's clock.
            again: It had its turn before, and comes before all others.

        Raises:
            SessionError: All sessions were busy all the time.
        """
        lane = Lane(submission, until)
        if self._free and not self._waiting:
            self._free -= 1
            self._at_rest.clear()
            lane.session = self._rested()
            return lane
        turn = lane.turn = self._loop.create_future()
        (self._waiting.appendleft if again else self._waiting.append)(lane)
        if self._ending:
            self._join()
        for session in self._users:
            self._invite(session)
        if until < self._first_due:
            self._watch_for(until)
        try:
            await turn
        except BaseException:
            self._give_up(lane)
            raise
        finally:
            self._begun.discard(lane)
        return lane

    def _give_up(self, lane: Lane) -> None:
        """Cancelled, or too late: what was its own is for others."""
        session, started = lane.session, lane.started
        if session is not None and started is not None:
            # Without the body nothing is delivered, so hang up; but not on the message before this one.
            if lane.is_behind:
                started.abandon(lambda: self.break_off(lane))
            else:
                self.break_off(lane)
        elif not lane.has_turn:
            if lane in self._waiting:
                self._waiting.remove(lane)
        elif session is None or not lane.shared or self.part(session):
            if session is not None and not session.usable:
                session.abort()
                session = None
            self.leave(session)

    def _watch_for(self, until: float) -> None:
        """Look whose time is over at `until`, which is before any other time set."""
        if self._watch is None:
            self._watch = Watchdog(self._look)
        self._first_due = until
        self._watch.set(until)

    def _look(self) -> None:
        """Tell those whose time is over."""
        now = self._loop.time()
        waiting = [*self._waiting, *(lane for lane in self._begun if lane.is_behind)]
        for lane in waiting:
            if lane.until <= now and lane.turn is not None and not lane.turn.done():
                message = "the time for this message is over: all sessions are busy"
                lane.turn.set_exception(SessionError(message, code="ETIMEDOUT"))
        self._watch_for(min((lane.until for lane in waiting if lane.until > now), default=NEVER))

    def break_off(self, lane: Lane) -> None:
        """Cancelled: with half a message on the wire hang up; where others depend on the session, let them end."""
        session, heir = lane.session, lane.heir
        assert session is not None
        lane.started = None  # it knows this lane: no cycles
        if heir is not None:
            if session.is_behind(heir):  # else ours is answered, and the session the next one's
                session.abort()
            return
        if self.shares(session):
            session.spoil()
            if not self.part(session):
                return
        self.forget(session)
        session.abort()
        self.leave(None)

    def _rested(self) -> Session | None:
        """The session used last that is still good; what the server closed, or we, is forgotten."""
        while self._idle:
            session = self._idle.pop()
            if session.wake():
                return session
            session.abort()
        return None

    def spare(self, most: int) -> bool:
        """Take the right to open one more session while there are fewer than `most`; `leave` must follow."""
        for session in [session for session in self._idle if not session.usable]:
            self._idle.remove(session)
            session.abort()
        if self._free <= len(self._idle) or self._count - self._free + len(self._idle) >= most:
            return False
        self._free -= 1
        self._at_rest.clear()
        return True

    # -- one after the other on a session

    def follow(self, lane: Lane) -> bytes:
        """What rides behind a message's last octet: the commands of the message that waits longest.

        Where both may repeat, and the server takes whole messages, those who wait write theirs by themselves instead.
        """
        session, submission = lane.session, lane.submission
        assert session is not None
        if session.spent(self._per_session):
            return b""
        if submission.may_repeat and session.shares(submission):
            self._users[session] = 1
            self._invite(session)
            return b""
        if (begun := self._begin(session, lane)) is not None:
            return begun.commands()
        self._ending[session] = lane
        return b""

    def _join(self) -> None:
        """Whoever came too late to ride behind a last octet may still be said before its answer is there."""
        while self._waiting and self._ending:
            session = next(iter(self._ending))
            lane = self._ending.pop(session)
            if session.in_step and (begun := self._begin(session, lane)) is not None:
                begun.advance()

    def _begin(self, session: Session, before: Lane | None = None) -> Exchange | None:
        """Begin the message that waits longest on its behalf; None where it has to do that by itself.

        Args:
            session: Where.
            before: Of the message before it, if that one is not over yet.

        Returns:
            Its transaction, whose commands are to be written.
        """
        self._forget_the_gone()
        if not self._waiting:
            return None
        first = self._waiting[0]
        exchange = session.begin(first.submission, first.until, partial(self.follow, first), first.turn)
        if exchange is None:
            return None
        self._waiting.popleft()
        first.session, first.started = session, exchange
        self._begun.add(first)
        if before is not None:
            before.heir = exchange
            self.ahead += 1
        return exchange

    def forget(self, session: Session) -> None:
        """It is about to close: nobody may ride on it."""
        self._ending.pop(session, None)

    # -- together on a session

    def shares(self, session: Session) -> bool:
        """Whether several messages use this session."""
        return session in self._users

    def _invite(self, session: Session) -> None:
        """Those who wait longest, as long as they may come along."""
        while self._users[session] < TOGETHER and not session.spent(self._per_session):
            self._forget_the_gone()
            if not self._waiting:
                return
            first = self._waiting[0].submission
            if not (first.may_repeat and session.shares(first)):
                return
            self._users[session] += 1
            session.sent += 1
            self.ahead += 1
            guest = self._waiting.popleft()
            guest.shared = True
            guest.give(session)

    def part(self, session: Session) -> bool:
        """One of several leaves; whether it was the last one: then the session is its alone, and `leave` must follow."""
        self._users[session] -= 1
        if self._users[session]:
            self._invite(session)
            return False
        del self._users[session]
        return True

    # -- going

    def leave(self, session: Session | None) -> None:
        """Pass the lane on: to the message that waits longest, else rest.

        Args:
            session: Good for another message; None: there is none any more.
        """
        if session is not None:
            self._ending.pop(session, None)
        self._forget_the_gone()
        if self._waiting:
            if session is not None and (begun := self._begin(session)) is not None:
                begun.advance()
            else:
                self._waiting.popleft().give(session)
            return
        self._free += 1
        if session is not None:
            session.rest(self._idle_s)
            self._idle.append(session)
        if self._free == self._count:
            self._at_rest.set()

    def _forget_the_gone(self) -> None:
        while self._waiting and self._waiting[0].is_gone:
            self._waiting.popleft()

    async def drained(self) -> None:
        """Wait until every message under way or waiting has ended."""
        while self._free < self._count:
            await self._at_rest.wait()
        if self._watch is not None:
            self._watch.stop()
            self._first_due = NEVER

    def resting(self) -> list[Session]:
        """The sessions that rest, taken away."""
        idle, self._idle = self._idle, []
        return idle
