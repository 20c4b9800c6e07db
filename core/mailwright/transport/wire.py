"""The wire protocol that takes over once a session is greeted, encrypted and authenticated."""

from __future__ import annotations

import asyncio
from collections import deque

from mailwright.errors import MailwrightError, SessionError
from mailwright.model import Reply
from mailwright.smtp import ProtocolError, ReplyParser


class WireProtocol(asyncio.Protocol):
    """Replies in a queue, writes with back-pressure."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._error: MailwrightError | None = None

    @property
    def alive(self) -> bool:
        """Whether nothing broke."""
        return self._error is None and not self._transport.is_closing()

    @property
    def usable(self) -> bool:
        """Whether nothing broke and nothing unasked-for has arrived."""
        return self.alive and not self._replies and not self._parser.pending

    @property
    def has_reply(self) -> bool:
        """Whether a reply waits to be read, or none will come any more."""
        if self._error is None and not self._replies and self._transport.is_closing():
            self._fail(SessionError("the connection is closed"))
        return bool(self._replies) or self._error is not None

    def check(self) -> None:
        """Raise what broke the connection, if anything did."""
        if self._error is not None:
            raise self._error

    def data_received(self, data: bytes) -> None:
        """Collect replies."""
        if self._error is not None:
            return
        try:
            for reply in self._parser.feed(data):
                self._replies.append(reply)
        except ProtocolError as error:
            self._fail(error)
            self._transport.abort()
        self._wake()

    def eof_received(self) -> None:
        """The server will say nothing more: known before anything else is written."""
        self._fail(SessionError("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        reason = f": {exc}" if exc else ""
        self._fail(SessionError(f"the server closed the connection{reason}"))

    def pause_writing(self) -> None:
        """The kernel's buffer is full."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def write(self, data: bytes) -> None:
        """Send; nothing once the connection is lost."""
        if self._error is None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self, limit_s: float) -> None:
        """Wait until there is room for more, for at most `limit_s` seconds without progress."""
        while self._writable is not None and self._error is None:
            left = self._transport.get_write_buffer_size()
            done, _ = await asyncio.wait({self._writable}, timeout=limit_s)
            if not done and self._transport.get_write_buffer_size() >= left:
                msg = f"the server took nothing of the body for {limit_s:g} s"
                raise SessionError(msg, code="ETIMEDOUT")

    async def reply(self, limit_s: float) -> Reply:
        """The next reply.

        Raises:
            SessionError: None came within `limit_s`, or the connection is lost.
        """
        if not self._replies and self._error is None:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = loop.call_later(max(limit_s, 0), _end, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._replies:
            return self._replies.popleft()
        if self._error is not None:
            raise self._error
        msg = f"no answer within {limit_s:.3g} s"
        raise SessionError(msg, code="ETIMEDOUT")

    def close(self) -> None:
        """Close once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _fail(self, error: MailwrightError) -> None:
        self._error = self._error or error
        self.resume_writing()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and self.has_reply and not self._waiter.done():
            self._waiter.set_result(None)


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
