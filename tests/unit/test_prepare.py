"""Preparing: one-shot content becomes replayable, ids are fixed, files stay below their root."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailwright.errors import AttachmentError
from mailwright.model import Content, Message, Part
from mailwright.prepare import IN_MEMORY, Spooled, spool, stamp


class FixedClock:
    """Always the same time."""

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class FixedEntropy:
    """Always the same token."""

    def token(self) -> str:
        return "0" * 32


async def test_small_content_stays_in_memory() -> None:
    assert await spool(iter([b"a", b"b"])) == b"ab"


async def test_large_content_goes_to_an_unnamed_file_and_can_be_read_again() -> None:
    chunks = [os.urandom(300_001) for _ in range(5)]

    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    spooled = await spool(source())
    assert isinstance(spooled, Spooled)
    assert isinstance(spooled, Content)
    whole = b"".join(chunks)
    assert spooled.size == len(whole) > IN_MEMORY
    for step in (1 << 16, 77_777):
        pieces = list(spooled.chunks(step))
        assert b"".join(pieces) == whole
        assert {len(piece) for piece in pieces[:-1]} == {step}
    handle = spooled._handle
    del spooled
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


async def test_limits_and_wrong_chunks_are_errors() -> None:
    with pytest.raises(AttachmentError, match="limit of 3 bytes"):
        await spool(iter([b"ab", b"cd"]), max_bytes=3)
    with pytest.raises(AttachmentError, match="must be bytes, not str"):
        await spool(iter(["text"]))  # type: ignore[list-item]


def test_stamping_is_idempotent_and_uses_the_authors_domain() -> None:
    once = stamp(Message(from_="a@example.org"), clock=FixedClock(), entropy=FixedEntropy())
    assert once.message_id == "<" + "0" * 32 + "@example.org>"
    assert once.date == datetime(2026, 1, 2, tzinfo=UTC)
    assert stamp(once, clock=FixedClock(), entropy=FixedEntropy()) is once


def test_parts_take_no_text_for_a_path() -> None:
    assert Part(content="/etc/passwd").content == "/etc/passwd"
    assert isinstance(Part(content=Path("x")).content, Path)
