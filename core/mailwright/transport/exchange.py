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
            await self._body()
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
