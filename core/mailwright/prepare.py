"""Before composing: attachments resolved, one-shot content spooled, Message-ID and Date fixed.

From here on everything can be read again and has a known size, so a retry sends the same message.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from mailwright import mime
from mailwright.errors import AttachmentError, MailwrightError, MessageError
from mailwright.model import Address, Content, Message, Part, RawPart, Settings

if TYPE_CHECKING:
    from mailwright.mime import ComposedMessage
    from mailwright.ports import Clock, Entropy, Fetching
    from mailwright.registry import Registry

IN_MEMORY: Final = 1 << 20
"""Octets of one-shot content kept in memory; more goes to a temporary file."""
MAX_SOURCES: Final = 100
"""Attachments of one message that a plugin has to fetch or read."""


class Spooled:
    """Content in an unnamed temporary file; any number of readers at once, closed when nobody holds it any more."""

    def __init__(self) -> None:
        handle, path = tempfile.mkstemp(prefix="mailwright-")
        Path(path).unlink()
        self._handle = handle
        self._size = 0
        weakref.finalize(self, os.close, handle)

    @property
    def size(self) -> int:
        """Octets written."""
        return self._size

    def write(self, chunk: bytes) -> None:
        """Append."""
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._handle, view, self._size)
            self._size += written
            view = view[written:]

    def chunks(self, step: int) -> Iterator[bytes]:
        """Read from the start, `step` octets at a time."""
        position = 0
        while position < self._size:
            chunk = os.pread(self._handle, step, position)
            while chunk and len(chunk) < step and position + len(chunk) < self._size:
                more = os.pread(self._handle, step - len(chunk), position + len(chunk))
                if not more:
                    break
                chunk += more
            if not chunk:
                msg = "a spooled attachment is shorter than it was"
                raise AttachmentError(msg)
            position += len(chunk)
            yield chunk


async def spool(content: Iterable[bytes] | AsyncIterable[bytes], *, max_bytes: int | None = None) -> bytes | Spooled:
    """Read one-shot content to its end.

    Args:
        content: Chunks of bytes.
        max_bytes: Refuse more than this many octets.

    Returns:
        Bytes up to 1 MiB, else a temporary file.

    Raises:
        AttachmentError: When a chunk is not bytes, or there are too many.
    """
    kept: list[bytes] = []
    size = 0
    target: Spooled | None = None
    async for chunk in _each(content):
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            msg = f"an attachment's chunks must be bytes, not {type(chunk).__name__}"
            raise AttachmentError(msg)
        size += len(chunk)
        _check_size(size, max_bytes)
        kept.append(bytes(chunk))
        if target is None and size > IN_MEMORY:
            target = Spooled()
        if target is not None:
            await asyncio.to_thread(target.write, b"".join(kept))
            kept.clear()
    return b"".join(kept) if target is None else target


async def _each(content: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(content, AsyncIterable):
        async for chunk in content:
            yield chunk
        return
    source = iter(content)

    def following() -> list[bytes]:
        return [*islice(source, 1)]

    while chunks := await asyncio.to_thread(following):  # a file or socket may block
        yield chunks[0]


def _check_size(size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        msg = f"an attachment is larger than the limit of {max_bytes} bytes"
        raise AttachmentError(msg)


def new_message_id(domain: str, entropy: Entropy) -> str:
    """The author's domain and 128 random bits."""
    if domain[:1] == "[":
        domain = domain.strip("[]").replace(":", ".")
    return f"<{entropy.token()}@{domain}>"


def stamp(message: Message, *, clock: Clock, entropy: Entropy) -> Message:
    """Fix Date and Message-ID where the message has none."""
    date, message_id = message.date, message.message_id
    if date is not None and message_id is not None:
        return message
    if message_id is None:
        message_id = new_message_id(message.from_.domain if message.from_ else "localhost", entropy)
    return message.with_checked(date=date or clock.now(), message_id=message_id)


async def prepare(
    message: Message,
    *,
    registry: Registry,
    fetching: Fetching | None,
    clock: Clock,
    entropy: Entropy,
    author: Address | None = None,
) -> Message:
    """Make a message ready to be composed. Idempotent.

    Args:
        message: As written.
        registry: Resolves attachments that are still settings.
        fetching: What attachment sources may use; None: there is no attachment.
        clock: For Date.
        entropy: For Message-ID.
        author: From, where the message has none.

    Returns:
        A message whose content can be read again and has a known size.

    Raises:
        MessageError: No author, or no recipient.
        AttachmentError: Names the attachment by its place.
    """
    if message.from_ is None:
        if author is None:
            msg = "from: nobody is named as author, neither by the message nor by the connection nor by its credential"
            raise MessageError(msg)
        message = evolve(message, from_=author)
    if not (message.to or message.cc or message.bcc or message.envelope):
        msg = "no recipients: give at least one address in to, cc or bcc"
        raise MessageError(msg, code="EENVELOPE")
    if message.attachments:
        assert fetching is not None
        message = evolve(message, attachments=await _resolve_all(message, registry, fetching))
    return stamp(message, clock=clock, entropy=entropy)


async def _resolve_all(message: Message, registry: Registry, fetching: Fetching) -> tuple[Part | RawPart, ...]:
    if (count := sum(isinstance(item, Settings) for item in message.attachments)) > MAX_SOURCES:
        msg = f"$.attachments: {count} to be fetched or read, at most {MAX_SOURCES} in one message"
        raise AttachmentError(msg)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_resolve(item, index, registry, fetching))
                for index, item in enumerate(message.attachments)
            ]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(part for task in tasks for part in task.result())


async def _resolve(
    item: Part | RawPart | Settings, index: int, registry: Registry, fetching: Fetching
) -> list[Part | RawPart]:
    try:
        parts = [item] if isinstance(item, (Part, RawPart)) else await _from_source(item, registry, fetching)
        return [await _replayable(part, fetching.max_bytes) for part in parts]
    except MailwrightError as error:
        error.args = (f"$.attachments[{index}]: {error.message}",)
        raise
    except OSError as error:
        msg = f"$.attachments[{index}]: {error.strerror or error}"
        raise AttachmentError(msg) from error


async def _from_source(settings: Settings, registry: Registry, fetching: Fetching) -> list[Part | RawPart]:
    parts = list(await registry.source_of(settings).resolve(settings, fetching))
    for part in parts:
        if not isinstance(part, (Part, RawPart)):
            msg = f"the plugin gave {type(part).__name__}, not a Part"
            raise AttachmentError(msg)
    return parts


async def _replayable(part: Part | RawPart, max_bytes: int | None) -> Part | RawPart:
    if isinstance(part, RawPart):
        _check_size(len(part.content), max_bytes)
        return part
    content = part.content
    if isinstance(content, Path):
        size = (await asyncio.to_thread(content.stat)).st_size
        _check_size(size, max_bytes)
        if mime.is_message(part):  # composed verbatim, so it is checked as a whole: read it here, off the loop
            return evolve(
                part, content=await asyncio.to_thread(content.read_bytes), filename=part.filename or content.name
            )
        return part
    if isinstance(content, (bytes, str)):
        _check_size(len(content), max_bytes)
        return part
    if isinstance(content, Content):
        _check_size(content.size, max_bytes)
        return part
    return evolve(part, content=await spool(content, max_bytes=max_bytes))


def compose(message: Message) -> ComposedMessage:
    """Turn a message into octets, without a mailer.

    Args:
        message: With an author; its parts are bytes, text or paths (else ``await mailer.prepare(message)`` first).

    Returns:
        Replayable octets with `size` and `message_id`. Bcc is not in them.

    Raises:
        MessageError: Names the field.
    """
    from mailwright.system import SystemClock, SystemEntropy  # noqa: PLC0415 - only this convenience needs them

    if not isinstance(message, Message):
        msg = f"message: a Message, not {type(message).__name__}; Message(to=…, subject=…, text=…) makes one"
        raise MessageError(msg)
    entropy = SystemEntropy()
    for index, item in enumerate(message.attachments):
        if not isinstance(item, (Part, RawPart)) or not isinstance(item.content, (bytes, str, Path, Content)):
            msg = f"attachments[{index}]: not read yet; await mailer.prepare(message) first"
            raise MessageError(msg)
    return mime.compose(
        stamp(message, clock=SystemClock(), entropy=entropy), token=entropy.token, offload=asyncio.to_thread
    )
