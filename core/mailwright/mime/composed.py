"""A composed message: octets that can be read again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import islice
from typing import Any, Final, cast

from attrs import evolve, field, frozen

from mailwright.errors import MessageError
from mailwright.mime.fields import BETWEEN_FIELDS, check_block, refold
from mailwright.mime.transfer import Base64, base64_lines
from mailwright.mime.tree import Leaf, Node, Segment, Structure, structure_of
from mailwright.model.text import FIELD_NAME
from mailwright.ports import Need

Offload = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments elsewhere, such as `asyncio.to_thread`."""

_STEPS_PER_TURN: Final = 24  # a megabyte read per change of thread


@frozen(eq=False, slots=False)  # without slots making one takes half the time
class ComposedMessage:
    """Finished octets, replayable and never changed; made by `compose`.

    Attributes:
        message_id: With angle brackets.
        size: Octets in all, known without reading attachments.
        needs: What a session must offer to take them.
    """

    message_id: str
    size: int
    needs: frozenset[Need]
    _segments: tuple[Segment, ...] = field(repr=False)  # the first is bytes and holds the whole header at least
    _head: int = field(repr=False)  # octets of the header block
    _tree: Node | None = field(repr=False)  # None: ready-made, one leaf
    _offload: Offload | None = field(default=None, repr=False)

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The top header block, field by field; values as written, folds included."""
        found = [field.partition(b":") for field in BETWEEN_FIELDS.split(self._first[: self._head])]
        return tuple([(name.decode(), value.removeprefix(b" ")) for name, _, value in found])

    @property
    def structure(self) -> Structure:
        """The MIME tree, for showing."""
        return structure_of(self._tree or self._leaf())

    def __bytes__(self) -> bytes:
        return b"".join(self) if len(self._segments) > 1 else self._first

    def __iter__(self) -> Iterator[bytes]:
        for segment in self._segments:
            if isinstance(segment, bytes):
                yield segment
            else:
                yield from segment

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for segment in self._segments:
            if isinstance(segment, bytes):
                yield segment
            elif self._offload is None or not segment.blocking:
                for chunk in segment:
                    yield chunk
            else:
                reading = segment.steps()
                while steps := await self._offload(_take, reading):
                    for step in steps:  # encoding holds the interpreter wherever it runs: no other thread for it
                        yield base64_lines(step)

    @property
    def _first(self) -> bytes:
        return cast("bytes", self._segments[0])

    def _leaf(self) -> Leaf:
        """A ready-made message as it is shown: what its header says, and all that follows."""
        values = {name.lower(): value for name, value in self.headers}
        content_type = values.get("content-type", b"text/plain").partition(b";")[0].strip()
        size = max(0, self.size - self._head - len(b"\r\n\r\n\r\n"))
        return Leaf((), b"", (content_type.decode("ascii", "replace").lower(), size, None, None), "8bit")

    def with_header(self, name: str, value: str, *, top: bool = True) -> ComposedMessage:
        """A copy with one more header field.

        Args:
            name: Field name.
            value: Written as given; where it holds no line end of its own it is folded at its blanks.
            top: Above the others, as trace fields and signatures stand; else below.

        Raises:
            MessageError: For a name that is none, and for values with control characters, a line over 998 octets, or
                anything but ASCII where the message itself holds nothing else.
        """
        if not FIELD_NAME.fullmatch(name):
            msg = f"headers: {name!r} is not a header name"
            raise MessageError(msg)
        line = f"{name}: {value}" if "\r\n" in value else refold(name, value)
        try:
            block = line.replace("\r\n\t", "\r\n ").encode("utf-8" if "smtputf8" in self.needs else "ascii")
        except UnicodeEncodeError:
            msg = f"headers: the value of {name} must be ASCII; encode it"
            raise MessageError(msg) from None
        check_block(block, fields=1)
        written, first, end = line.encode(), self._first, self._head
        whole = b"%b\r\n%b" % (written, first) if top else b"%b\r\n%b%b" % (first[:end], written, first[end:])
        added = len(written) + 2
        return evolve(
            self,
            size=self.size + added,
            segments=(whole, *self._segments[1:]),
            head=end + added,
            tree=self._tree or self._leaf(),
        )


def _take(reading: Iterator[bytes | memoryview]) -> list[bytes | memoryview]:
    return list(islice(reading, _STEPS_PER_TURN))


def total(segments: tuple[Segment, ...]) -> int:
    """Octets of a message."""
    if len(segments) == 1:
        return len(segments[0])  # type: ignore[arg-type]
    return sum([segment.size if isinstance(segment, Base64) else len(segment) for segment in segments])
