"""A finished message taken apart: which attachments of its outermost multipart/mixed can travel by themselves.

Works on the octets, so that what hooks made of them is what is sent. Everything but the attachments taken out keeps its octets;
messages that are signed or encrypted as a whole are not touched.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from itertools import pairwise
from typing import Final

from attrs import evolve, field, frozen

from mailwright.spi import Composed

MAX_HEAD: Final = 1 << 20
_SIGNED: Final = ("dkim-signature", "arc-seal")


@frozen(kw_only=True)
class Piece:
    """One part of the outermost multipart.

    Attributes:
        start: Of its delimiter line.
        body: Where its content begins.
        end: Where its content ends.
        head: Its header.
        size: Octets of its content, decoded.
    """

    start: int
    body: int
    end: int
    head: EmailMessage = field(repr=False)
    size: int = 0

    @property
    def encoding(self) -> str:
        """Of the transfer, in lower case."""
        return str(self.head.get("content-transfer-encoding", "7bit")).strip().lower()

    @property
    def travels(self) -> bool:
        """Whether it is an attachment that can be decoded piece by piece."""
        plain = self.head.get_content_maintype() not in {"multipart", "message"}
        return plain and self.head.get_content_disposition() == "attachment" and self.encoding == "base64"


async def pieces_of(composed: Composed) -> tuple[Piece, ...]:
    """The parts of a message; none where it cannot be taken apart. Memory: one header and a few chunks."""
    top = _parsed((await _head(composed, 0, composed.size))[0])
    boundary = top.get_boundary()
    if top.get_content_type() != "multipart/mixed" or not boundary or any(name in top for name in _SIGNED):
        return ()
    marks = await _marks(composed, boundary.encode())
    found = []
    for (start, after), (end, _) in pairwise(marks):
        block, whole = await _head(composed, after, end)
        if not whole:
            return ()
        piece = Piece(start=start, body=after + len(block) + 4, end=end, head=_parsed(block))
        found.append(evolve(piece, size=await _size(composed, piece)) if piece.travels else piece)
    return tuple(found)


async def _head(composed: Composed, start: int, end: int) -> tuple[bytes, bool]:
    """What stands before the first empty line, and whether there is one."""
    head = b""
    async with aclosing(_between(composed, start, end)) as chunks:
        async for chunk in chunks:
            head += chunk
            if b"\r\n\r\n" in head or len(head) > MAX_HEAD:
                break
    block, separator, _ = head.partition(b"\r\n\r\n")
    return block, bool(separator)


async def _marks(composed: Composed, boundary: bytes) -> list[tuple[int, int]]:
    """Offsets of each delimiter line (RFC 2046 §5.1.1), and of what follows it."""
    line = re.compile(rb"\r\n--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?=\r\n)")
    found: list[tuple[int, int]] = []
    offset, rest = 0, b""
    keep = len(boundary) + 64
    async for chunk in composed:
        data = rest + chunk
        last = 0
        for match in line.finditer(data):
            found.append((offset + match.start(), offset + match.end() + 2))
            last = match.end()  # its line end may begin the next delimiter
        cut = max(last, len(data) - keep)
        offset += cut
        rest = data[cut:]
    return found


def _parsed(block: bytes) -> EmailMessage:
    parsed = BytesHeaderParser(policy=default).parsebytes(block + b"\r\n\r\n")
    assert isinstance(parsed, EmailMessage)
    return parsed


async def _between(composed: Composed, start: int, end: int) -> AsyncGenerator[bytes, None]:
    """The octets of a range."""
    offset = 0
    async for chunk in composed:
        piece = chunk[max(0, start - offset) : max(0, end - offset)]
        if piece:
            yield piece
        offset += len(chunk)
        if offset >= end:
            return


async def content(composed: Composed, piece: Piece) -> AsyncGenerator[bytes, None]:
    """An attachment's decoded octets."""
    rest = b""
    async for chunk in _between(composed, piece.body, piece.end):
        data = rest + chunk.translate(None, b"\r\n")
        cut = len(data) // 4 * 4
        rest = data[cut:]
        yield base64.b64decode(data[:cut], validate=True)
    if rest:
        raise binascii.Error("incomplete base64")


async def _size(composed: Composed, piece: Piece) -> int:
    """Nothing, where it is not what it says: then it stays where it is."""
    try:
        return sum([len(chunk) async for chunk in content(composed, piece)])
    except ValueError:
        return 0


async def without(composed: Composed, taken: Sequence[Piece]) -> bytes:
    """The message without some of its parts."""
    kept, offset = [], 0
    for piece in sorted(taken, key=lambda one: one.start):
        kept += [chunk async for chunk in _between(composed, offset, piece.start)]
        offset = piece.end
    return b"".join([*kept, *[chunk async for chunk in _between(composed, offset, composed.size)]])
