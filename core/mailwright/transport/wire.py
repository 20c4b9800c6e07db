"""The wire protocol that takes over once a session is greeted, encrypted and authenticated."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from mailwright.errors import MailwrightError, SessionError
from mailwright.model import Reply
from mailwright.smtp import ProtocolError, ReplyParser
from mailwright.transport.watch import NEVER, Watchdog


class Asked(Protocol):
    """Whoever waits for answers."""

    @property
    def close(self) -> bool:
        """Whether the session ends with it."""
        ...

    @property
    def receive(self) -> Callable[[Reply], bool]:
        """Takes the next answer; tells whether it was the last. Raises `ProtocolError` for one that does not fit."""
        ...

    def advance(self) -> None:
        """Go on after some answers; all that had arrived are taken."""
        ...

    def wake(self) -> None:
        """It is answered, or the connection is lost."""
        ...


READ: Final = 1 << 14
"""Octets read at a time, into one buffer: a fresh one for each read costs more than the reading."""


class WireProtocol(asyncio.BufferedProtocol):
    """Answers go to whoever asked first, as they arrive; writes with back-pressure; one timer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._buffer = memoryview(bytearray(READ))
        self._parser = ReplyParser()
        self._asked: deque[Asked] = deque()
        self._unasked = False
        self._unwritten: list[bytes] = []
        self._writable: asyncio.Future[None] | None = None
        self._error: MailwrightError | None = None
        self._watch = Watchdog(self._too_late)
        self._limit_s = self._until = NEVER
        self._rested: Callable[[], None] | None = None

    @property
    def alive(self) -> bool:
        """Whether nothing broke."""
        return self._error is None and not self._transport.is_closing()

    @property
    def usable(self) -> bool:
        """Whether nothing broke, no answer is owed and nothing unasked-for has arrived."""
        return self.in_step and not self._asked and not self._parser.pending

    @property
    def owes(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._asked)

    @property
    def in_step(self) -> bool:
        """Whether nothing broke and nothing unasked-for has arrived."""
        return self.alive and not self._unasked

    def check(self) -> None:
        """Raise what broke the connection, if anything did."""
        if self._error is None and self._transport.is_closing():
            self.fail(SessionError("the connection is closed"))
        if self._error is not None:
            raise self._error

    # -- what the server says

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what comes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Something came: give each answer to whoever is first; then let who is first then go on."""
        if self._error is not None:
            return
        taken = False
        try:
            for reply in self._parser.feed(bytes(self._buffer[:nbytes])):
                taken = True
                if not self._asked:
                    self._unasked = True
                    return
                first = self._asked[0]
                if first.receive(reply):
                    self._asked.popleft()
                    first.wake()
                    if first.close:
                        self.fail(SessionError(f"the server closed the session: {reply}"))
                        return
            if taken and self._asked:  # part of an answer buys no time
                self._asked[0].advance()
        except ProtocolError as error:
            self.fail(error)
            self._transport.abort()

    def eof_received(self) -> None:
        """The server will say nothing more: known before anything else is written."""
        self.fail(SessionError("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        reason = f": {exc}" if exc else ""
        self.fail(SessionError(f"the server closed the connection{reason}"))

    def fail(self, error: MailwrightError) -> None:
        """Nothing that comes will be believed; whoever waits hears of it."""
        self._error = self._error or error
        self._watch.stop()
        self.resume_writing()
        asked, self._asked = self._asked, deque()
        for one in asked:
            one.wake()

    def is_behind(self, one: Asked) -> bool:
        """Whether others are to be answered before it."""
        return one in self._asked and self._asked[0] is not one

    # -- what is due

    def expect(self, one: Asked, limit_s: float, until: float) -> None:
        """If `one` is first: its next answer is due within `limit_s` seconds, and before `until` on the loop's clock."""
        if not self._asked or self._asked[0] is not one:
            return
        self._limit_s, self._until = limit_s, until
        due = self._loop.time() + limit_s
        self._watch.set(min(until, due))

    def rest(self, limit_s: float, leave: Callable[[], None]) -> None:
        """Call `leave` after `limit_s` seconds without work."""
        self._rested = leave
        self._watch.set(self._loop.time() + limit_s)

    def wake(self) -> None:
        """There is work."""
        self._rested = None
        self._watch.set(NEVER)

    def _too_late(self) -> None:
        if self._rested is not None:
            self._rested()
        elif not self._asked:
            return
        elif self._loop.time() >= self._until:
            self.fail(SessionError("the time for this message is over", code="ETIMEDOUT", command="CONN"))
        else:
            self.fail(SessionError(f"no answer within {self._limit_s:.3g} s", code="ETIMEDOUT"))

    # -- what is said

    def ask(self, one: Asked) -> None:
        """Its answers come after those that are owed now; its commands are written by the caller."""
        self._asked.append(one)

    def create_future(self) -> asyncio.Future[None]:
        """Of its event loop."""
        return self._loop.create_future()

    async def command(self, line: bytes, limit_s: float) -> Reply:
        """Write one command; its answer.

        Raises:
            SessionError: None came within `limit_s`, or the connection is lost.
        """
        one = _Single(self, self._loop.create_future())
        self.check()
        self.ask(one)
        self.write(line)
        self.expect(one, limit_s, NEVER)
        return await one.answer

    def write(self, data: bytes) -> None:
        """Send; nothing once the connection is lost."""
        if self._unwritten:
            data = b"".join((*self._unwritten, data))
            self._unwritten.clear()
        if self._error is None and not self._transport.is_closing():
            self._transport.write(data)

    def write_soon(self, data: bytes) -> None:
        """Send, in one write with what others have to say in this turn of the loop."""
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(data)

    def _flush(self) -> None:
        if self._unwritten:
            self.write(b"")

    def pause_writing(self) -> None:
        """The kernel's buffer is full."""
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    async def drain(self, limit_s: float) -> None:
        """Wait until there is room for more, for at most `limit_s` seconds without progress."""
        while self._writable is not None and self._error is None:
            left = self._transport.get_write_buffer_size()
            done, _ = await asyncio.wait({self._writable}, timeout=limit_s)
            if not done and self._transport.get_write_buffer_size() >= left:
                msg = f"the server took nothing of the body for {limit_s:g} s"
                raise SessionError(msg, code="ETIMEDOUT")

    def close(self) -> None:
        """Close once everything is written."""
        self._watch.stop()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._watch.stop()
        self._transport.abort()


class _Single:
    """One command and its answer."""

    close = False

    def __init__(self, protocol: WireProtocol, answer: asyncio.Future[Reply]) -> None:
        self._protocol = protocol
        self.answer = answer

    def receive(self, reply: Reply) -> bool:
        if not self.answer.done():
            self.answer.set_result(reply)
        return True

    def advance(self) -> None:
        pass

    def wake(self) -> None:
        if not self.answer.done():
            try:
                self._protocol.check()
            except MailwrightError as error:
                self.answer.set_exception(error)
