"""One transaction over the wire: the machine decides, this writes, waits and reads."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from mailwright.model import Timeouts
from mailwright.smtp import DotStuffer, ProtocolError, State, Transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailwright.ports import Composed
    from mailwright.transport.wire import WireProtocol

_wire = logging.getLogger("mailwright.wire")
ONE_WRITE: Final = 1 << 16
"""Bodies up to this many octets go in one write."""
CHUNK: Final = 1 << 19
IN_FLIGHT: Final = 8
"""Chunks without an answer: four megabytes on the wire keep any line busy."""


class Exchange:
    """Drives one `Transaction`.

    Args:
        transaction: The machine.
        protocol: The wire.
        composed: The octets.
        commit: Awaited just before the final dot.
        timeouts: For each stage.
        follow: The next transaction's commands, asked for when the final dot is written; they ride in the same write.

    Attributes:
        envelope_ms: From MAIL to the last answer before the body.
        message_ms: From the body's first octet to the final answer.
        octets: Of the body on the wire.
    """

    def __init__(
        self,
        transaction: Transaction,
        protocol: WireProtocol,
        *,
        composed: Composed,
        commit: Callable[[], Awaitable[None]],
        timeouts: Timeouts,
        follow: Callable[[], bytes] = bytes,
    ) -> None:
        self._transaction = transaction
        self._protocol = protocol
        self._composed = composed
        self._commit = commit
        self._timeouts = timeouts
        self._follow = follow
        self._followed = False
        self.envelope_ms = 0
        self.message_ms = 0
        self.octets = 0

    async def run(self) -> None:
        """Until every recipient is decided and the session is ready for the next MAIL, or an error is raised."""
        transaction = self._transaction
        started = time.perf_counter()
        await self._ask()
        asked = time.perf_counter()
        self.envelope_ms = round((asked - started) * 1000)
        if transaction.state is State.BODY:
            await (self._chunks() if transaction.chunking else self._body())
        elif transaction.state is State.EMPTY:
            self._protocol.write(b".\r\n")
            transaction.dot_sent()
        while transaction.state is State.FINAL:
            await self._receive(self._timeouts.reply)
        self.message_ms = round((time.perf_counter() - asked) * 1000)
        if transaction.dirty and not transaction.close and not self._followed:
            await self._reset()

    async def _ask(self) -> None:
        while self._transaction.state is State.ASKING:
            if commands := self._transaction.commands():
                if self._protocol.has_reply:
                    self._protocol.check()
                    raise ProtocolError("the server answered before it was asked")
                _wire.debug("C: %s", "MAIL RCPT DATA" if commands.count(b"\r\n") > 1 else commands[:4].decode("ascii"))
                self._protocol.write(commands)
            await self._receive(self._timeouts.command)

    async def _receive(self, limit_s: float) -> None:
        reply = await self._protocol.reply(limit_s)
        _wire.debug("S: %s %s", reply.code, reply.enhanced or "")
        self._transaction.receive(reply)

    async def _body(self) -> None:
        stuffer = DotStuffer()
        end: bytes
        if self._composed.size <= ONE_WRITE:
            end = stuffer.feed(bytes(self._composed)) + stuffer.end()
        else:
            async for chunk in self._composed:
                stuffed = stuffer.feed(chunk)
                self.octets += len(stuffed)
                self._protocol.write(stuffed)
                await self._protocol.drain(self._timeouts.data)
                if self._protocol.has_reply:
                    break
            end = stuffer.end()
        if not self._protocol.has_reply:
            await self._commit()
        if self._protocol.has_reply:  # an early refusal, or the connection is gone: the dot must not leave
            await self._receive(self._timeouts.command)
            return
        self._end(end)

    async def _chunks(self) -> None:
        """BDAT (RFC 3030), with at most `IN_FLIGHT` chunks unanswered; the last one waits for the commit."""
        pieces: list[bytes] = []
        held = 0
        left = self._composed.size
        async for piece in self._composed:
            pieces.append(piece)
            held += len(piece)
            if held < CHUNK or held >= left:
                continue
            await self._answered(IN_FLIGHT - 1)
            if self._transaction.state is State.DONE:
                return
            self._protocol.write(b"BDAT %d\r\n%b" % (held, b"".join(pieces)))
            self._transaction.chunk_sent()
            await self._protocol.drain(self._timeouts.data)
            self.octets += held
            left -= held
            pieces, held = [], 0
        await self._answered(0)
        if self._transaction.state is State.DONE:
            return
        await self._commit()
        self._protocol.check()
        self._end(b"BDAT %d LAST\r\n%b" % (held, b"".join(pieces)))

    async def _answered(self, most: int) -> None:
        """Read answers until at most `most` chunks are without one, and those that are there."""
        transaction = self._transaction
        while transaction.state is State.BODY and (transaction.chunks > most or self._protocol.has_reply):
            await self._receive(self._timeouts.data)

    def _end(self, end: bytes) -> None:
        """Write what ends the message, with the next one's commands behind it."""
        self.octets += len(end)
        _wire.debug("C: [%d octets]", self.octets)
        following = b"" if self._transaction.one_too_many else self._follow()
        self._followed = bool(following)
        self._protocol.write(end + following)
        self._transaction.dot_sent()

    async def _reset(self) -> None:
        """RSET; any answer but 2yz belonged to something else, so the session is out of step."""
        _wire.debug("C: RSET")
        self._protocol.write(b"RSET\r\n")
        reply = await self._protocol.reply(self._timeouts.command)
        _wire.debug("S: %s", reply.code)
        if reply.code // 100 != 2:
            raise ProtocolError(f"the server answered RSET with {reply}")
