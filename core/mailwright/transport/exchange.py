"""One transaction over the wire: the machine decides, this writes and waits."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from mailwright.smtp import DotStuffer, State, Transaction, closed
from mailwright.spi import no_commit
from mailwright.transport.watch import NEVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mailwright.model import Reply, Timeouts
    from mailwright.ports import Composed
    from mailwright.smtp import Leg
    from mailwright.spi import Commit
    from mailwright.transport.wire import WireProtocol

_wire = logging.getLogger("mailwright.wire")
ONE_WRITE: Final = 1 << 16
"""Bodies up to this many octets go in one write."""
CHUNK: Final = 1 << 19
IN_FLIGHT: Final = 8
"""Chunks without an answer: four megabytes on the wire keep any line busy."""
_ASKING, _BODY, _EMPTY, _FINAL, _RESET, _DONE = State  # an enum's members are slow to reach


class Exchange:
    """Drives one `Transaction`. Answers are taken as they arrive.

    A short body is written where the server asks for it, and the task wakes at the end only; for a longer one, and where
    somebody must be told before the final dot, it wakes for the body, too.

    Args:
        transaction: The machine.
        protocol: The wire.
        composed: The octets.
        leg: What was planned.
        timeouts: For each stage.
        until: When the time for the message is over, on the loop's clock.
        attended: The task writes the body.
        follow: The next transaction's commands, asked for when the final dot is written; they ride in the same write. By
            default there are none.

    Attributes:
        octets: Of the body on the wire.
        receive: Takes the next answer; tells whether it was the last.
        waiter: What its task waits for until there is something to do for it.
    """

    def __init__(
        self,
        transaction: Transaction,
        protocol: WireProtocol,
        composed: Composed,
        *,
        leg: Leg,
        timeouts: Timeouts,
        until: float,
        attended: bool = True,
        follow: Callable[[], bytes] = bytes,
    ) -> None:
        self.transaction = transaction
        self.leg = leg
        self._follow = follow
        self._protocol = protocol
        self._composed = composed
        self._timeouts = timeouts
        self._until = until
        self._attended = attended or composed.size > ONE_WRITE or transaction.chunking
        self.waiter: asyncio.Future[None] | None = None
        self._abandoned: Callable[[], None] | None = None
        self._broken: Exception | None = None
        self._shown = _wire.isEnabledFor(logging.DEBUG)
        self.receive = partial(_receive_and_show, transaction) if self._shown else transaction.receive
        self._started = self._asked = perf_counter()
        self.octets = 0

    @property
    def times_ms(self) -> tuple[int, int]:
        """Milliseconds from MAIL to the last answer before the body, and from the body's first octet until now."""
        asked = self._asked
        return round((asked - self._started) * 1000), round((perf_counter() - asked) * 1000) if self.octets else 0

    # -- for the protocol

    @property
    def close(self) -> bool:
        """Whether the session ends with it."""
        return self.transaction.close

    def advance(self) -> None:
        """Ask on; a short body and a lone dot need nobody; another body is for the task."""
        state = self.transaction.state
        if self._abandoned is not None:
            self.wake()
        elif state is _BODY and not self._attended:
            if self.waiter is None or not self.waiter.done():  # else its task was told of something meanwhile
                self._short_body()
        elif state is _ASKING:
            if commands := self.commands():
                self._protocol.write(commands)
            self._protocol.expect(self, self._timeouts.command, self._until)
        elif state is _EMPTY:
            self._protocol.write(b".\r\n")
            self.transaction.dot_sent()
            self._protocol.expect(self, self._timeouts.reply, self._until)
        elif state is _FINAL or state is _RESET:
            self._protocol.expect(self, self._timeouts.reply, self._until)
        else:
            self._protocol.expect(self, NEVER, self._until)  # instead of what was due of the one before
            self.wake()

    def wake(self) -> None:
        """There is something to do for the task."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
            self.waiter = None
        elif self._abandoned is not None:
            abandoned, self._abandoned = self._abandoned, None
            abandoned()

    # -- for the lanes

    def abandon(self, ended: Callable[[], None]) -> None:
        """The task is gone: say no more; `ended` is called when the turn comes, or the connection is lost."""
        self.waiter, self._abandoned = None, ended

    # -- for the task

    def commands(self) -> bytes:
        """What to write now; nothing while an answer is awaited."""
        commands = self.transaction.commands()
        if self._shown and commands:
            _wire.debug("C: %s", " ".join(dict.fromkeys(line[:4].decode("ascii") for line in commands.splitlines())))
        return commands

    async def run(self, commit: Commit) -> None:
        """Until every recipient is decided, or an error is raised. The first commands are on the wire.

        Args:
            commit: Awaited just before the final dot.
        """
        transaction = self.transaction
        while transaction.state is _ASKING:
            await self._answer(self._timeouts.command)
        if self._broken is not None:
            raise self._broken
        if transaction.state is _BODY:
            self._asked = perf_counter()
            if transaction.chunking:
                await self._chunks(commit)
            else:
                await self._body(commit)
        await self._ended()

    async def run_at_once(self, commit: Commit) -> None:
        """The whole message behind others; nothing is on the wire before the commit."""
        composed = self._composed
        small = composed.size <= ONE_WRITE
        octets = bytes(composed) if small else b"".join([piece async for piece in composed])
        await self._committed(commit)
        self._protocol.check()
        self.octets = len(octets)
        self._protocol.ask(self)
        self._protocol.write_soon(b"%bBDAT %d LAST\r\n%bRSET\r\n" % (self.commands(), len(octets), octets))
        if self._shown:
            _wire.debug("C: [%d octets] RSET", self.octets)
        self.transaction.dot_sent()
        self._asked = perf_counter()
        async with asyncio.timeout_at(self._until):
            await self._ended()

    async def _ended(self) -> None:
        """Wait for the last answer."""
        while self.transaction.state is not _DONE:
            await self._answer(self._timeouts.reply)

    async def _answer(self, limit_s: float) -> None:
        """Wait until the protocol wakes us."""
        protocol = self._protocol
        protocol.check()
        protocol.expect(self, limit_s, self._until)
        waiter = self.waiter = self._protocol.create_future()
        try:
            await waiter
        finally:
            self.waiter = None

    async def _committed(self, commit: Commit) -> None:
        """Pass the point of no return."""
        if commit is not no_commit:
            self._protocol.expect(self, NEVER, self._until)
            async with asyncio.timeout_at(self._until):
                await commit()

    def _short_body(self) -> None:
        """The whole of it, in one write."""
        self._asked = perf_counter()
        try:
            octets = bytes(self._composed)
        except Exception as error:  # noqa: BLE001 - an attachment that changed, a plugin's mistake: for the task
            self._broken = error
            self.wake()
            return
        self._end(closed(octets))
        self._protocol.expect(self, self._timeouts.reply, self._until)

    async def _body(self, commit: Commit) -> None:
        stuffer: DotStuffer | None = None
        octets = b""
        if self._composed.size <= ONE_WRITE:
            octets = bytes(self._composed)
        else:
            stuffer = DotStuffer()
            await self._stream(stuffer)
        if self.transaction.state is _BODY:
            self._protocol.check()
            await self._committed(commit)
        if self.transaction.state is _BODY:  # no early refusal
            self._protocol.check()
            self._end(closed(octets) if stuffer is None else stuffer.end())

    async def _stream(self, stuffer: DotStuffer) -> None:
        """All but the dot; an early refusal ends it."""
        self._protocol.expect(self, NEVER, self._until)
        async with asyncio.timeout_at(self._until):
            async for chunk in _sliced(self._composed):
                stuffed = stuffer.feed(chunk)
                self.octets += len(stuffed)
                self._protocol.write(stuffed)
                await self._protocol.drain(self._timeouts.data)
                if self.transaction.state is not _BODY or not self._protocol.alive:
                    break

    async def _chunks(self, commit: Commit) -> None:
        """BDAT (RFC 3030), with at most `IN_FLIGHT` chunks unanswered; the last one waits for the commit."""
        self._protocol.expect(self, NEVER, self._until)
        async with asyncio.timeout_at(self._until):
            last = await self._all_but_the_last()
        if self.transaction.state is _BODY:
            await self._committed(commit)
        if self.transaction.state is _BODY:
            self._protocol.check()
            self._end(b"BDAT %d LAST\r\n%b" % (len(last), last))

    async def _all_but_the_last(self) -> bytes:
        transaction = self.transaction
        pieces: list[bytes] = []
        held = 0
        left = self._composed.size
        async for piece in _sliced(self._composed):
            pieces.append(piece)
            held += len(piece)
            if held < CHUNK or held >= left:
                continue
            await self._unanswered(IN_FLIGHT - 1)
            if transaction.state is not _BODY:
                return b""
            self._protocol.write(b"BDAT %d\r\n%b" % (held, b"".join(pieces)))
            transaction.chunk_sent()
            await self._protocol.drain(self._timeouts.data)
            self.octets += held
            left -= held
            pieces, held = [], 0
        await self._unanswered(0)
        return b"".join(pieces)

    async def _unanswered(self, most: int) -> None:
        """Wait until at most `most` chunks are without an answer."""
        transaction = self.transaction
        while transaction.state is _BODY and transaction.chunks > most:
            await self._answer(self._timeouts.data)
        self._protocol.expect(self, NEVER, self._until)

    def _end(self, end: bytes) -> None:
        """Write what ends the message, and the next one's commands in the same write."""
        self.octets += len(end)
        if self._shown:
            _wire.debug("C: [%d octets]", self.octets)
        self._protocol.write(end + self._following())

    def _following(self) -> bytes:
        """What rides behind the last octet of this message, which is on its way now."""
        follow, self._follow = self._follow, bytes  # once; and it may know this exchange: no cycles
        following = b"" if self.transaction.one_too_many else follow()
        self.transaction.dot_sent()
        return following


def _receive_and_show(transaction: Transaction, reply: Reply) -> bool:
    _wire.debug("S: %s %s", reply.code, reply.enhanced or "")
    return transaction.receive(reply)


async def _sliced(composed: Composed) -> AsyncIterator[bytes]:
    """Pieces of a chunk at most: a text comes in one, and only what is written bit by bit shows progress."""
    async for piece in composed:
        if len(piece) <= CHUNK:
            yield piece
            continue
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]
