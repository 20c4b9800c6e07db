"""The wire protocol by itself."""

from __future__ import annotations

import asyncio
from typing import cast

from mailwright.model import Reply
from mailwright.transport.wire import WireProtocol


class Transport:
    """Takes everything."""

    def is_closing(self) -> bool:
        return False


class Waiting:
    """Notes what the protocol tells."""

    close = False

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.advanced = 0

    def receive(self, reply: Reply) -> bool:
        self.replies.append(reply)
        return False

    def advance(self) -> None:
        self.advanced += 1

    def wake(self) -> None:
        raise AssertionError


def arrive(protocol: WireProtocol, octets: bytes) -> None:
    protocol.get_buffer(-1)[: len(octets)] = octets
    protocol.buffer_updated(len(octets))


async def test_part_of_an_answer_buys_no_time() -> None:
    """`advance` is what sets the next deadline: an answer in drips has no more time than another."""
    protocol, waiting = WireProtocol(cast("asyncio.Transport", Transport())), Waiting()
    protocol.ask(waiting)
    for octet in b"250-one\r\n250 tw":
        arrive(protocol, bytes([octet]))
    assert (waiting.replies, waiting.advanced) == ([], 0)
    arrive(protocol, b"o\r\n250 ok\r\n25")
    assert ([reply.text for reply in waiting.replies], waiting.advanced) == (["one two", "ok"], 1)
