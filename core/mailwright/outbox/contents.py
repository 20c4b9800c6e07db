"""Contents by SHA-256: what 100 000 messages share is stored once, in pieces of a megabyte, compressed."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailwright.errors import QueueError
from mailwright.model import Content
from mailwright.prepare import spool

if TYPE_CHECKING:
    from mailwright.ports import Clock
    from mailwright.spi import Ledger

PIECE: Final = 1 << 20
INLINE: Final = 4096
"""Octets up to which a content stays in the message's own row."""
_FRESH_S: Final = 600.0
_REMEMBERED: Final = 1000


class Contents:
    """Contents of one ledger.

    Args:
        ledger: Keeps them.
        clock: Tells how long ago one was put there.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: OrderedDict[str, float] = OrderedDict()
        self._read: OrderedDict[str, bytes] = OrderedDict()

    async def put(self, content: bytes | Path | Content) -> list[str]:
        """Store; returns the names of its pieces."""
        names = []
        async for piece in _pieces(content):
            small = len(piece) <= 1 << 16
            name = _name(piece) if small else await asyncio.to_thread(_name, piece)
            names.append(name)
            if self._known.get(name, -_FRESH_S) + _FRESH_S <= self._clock.monotonic():
                packed = _pack(piece) if small else await asyncio.to_thread(_pack, piece)
                await self._keep(name, packed)
                self._remember(name)
        return names

    async def _keep(self, name: str, packed: bytes) -> None:
        await self._ledger.put_contents({name: packed})

    def gathering(self) -> Gathered:
        """What is put there is kept for one write later, in a transaction of the caller's."""
        return Gathered(self._ledger, self._clock)

    def _remember(self, name: str) -> None:
        self._known[name] = self._clock.monotonic()
        self._known.move_to_end(name)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def get(self, names: list[str]) -> bytes | Content:
        """Read; more than a megabyte goes to a temporary file.

        Raises:
            QueueError: One is missing or is not what its name says.
        """
        if len(names) == 1:
            return await self._piece(names[0])
        return await spool(self._each(names))

    async def _each(self, names: list[str]) -> AsyncIterator[bytes]:
        for name in names:
            yield await self._piece(name)

    async def _piece(self, name: str) -> bytes:
        if (known := self._read.get(name)) is not None:
            self._read.move_to_end(name)
            return known
        try:
            packed = await self._ledger.content(name)
        except KeyError:
            msg = f"content {name[:12]} is missing"
            raise QueueError(msg, permanent=True) from None
        piece = _unpack(packed) if len(packed) <= 1 << 16 else await asyncio.to_thread(_unpack, packed)
        if _name(piece) != name:
            msg = f"content {name[:12]} is not what it was"
            raise QueueError(msg, permanent=True)
        self._read[name] = piece
        while len(self._read) > 8:  # at most eight megabytes: the attachment that a newsletter shares
            self._read.popitem(last=False)
        return piece


class Gathered(Contents):
    """Contents of one message that are not written yet.

    Attributes:
        pieces: By name, packed.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        super().__init__(ledger, clock)
        self.pieces: dict[str, bytes] = {}

    async def _keep(self, name: str, packed: bytes) -> None:
        self.pieces[name] = packed


async def _pieces(content: bytes | Path | Content) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, max(len(content), 1), PIECE):
            yield content[start : start + PIECE]
        return
    reading = _file(content) if isinstance(content, Path) else content.chunks(PIECE)  # noqa: ASYNC240
    while (piece := await asyncio.to_thread(next, reading, None)) is not None:
        yield piece


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _name(piece: bytes) -> str:
    return hashlib.sha256(piece).hexdigest()


def _pack(piece: bytes) -> bytes:
    packed = zlib.compress(piece, 1)
    return b"z" + packed if len(packed) < len(piece) else b"." + piece


def _unpack(packed: bytes) -> bytes:
    try:
        if packed[:1] == b"z":
            engine = zlib.decompressobj()
            return engine.decompress(packed[1:], PIECE)
    except zlib.error:
        return b""  # its name tells that it is not what it was
    return packed[1:]
