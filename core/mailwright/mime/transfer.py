"""Content transfer encodings (RFC 2045 §6): the best for each text, and base64 that streams."""

from __future__ import annotations

import struct
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from attrs import frozen

from mailwright.errors import AttachmentError, MessageError

if TYPE_CHECKING:
    from mailwright.model import Content

Encoding = Literal["7bit", "8bit", "binary", "quoted-printable", "base64"]

try:
    from pybase64 import b64encode as _pybase64
except ImportError:
    _encode: Callable[..., bytes] = lambda data: b2a_base64(data, newline=False)  # noqa: E731
else:
    _encode = cast("Callable[..., bytes]", _pybase64)

MAX_LINE: Final = 998
_SOFT: Final = 78  # longer lines are encoded: RFC 5322 §2.1.1 wants no more, and relays re-wrap
_LINE: Final = 57  # octets in a base64 line of 76
STEP: Final = 768 * _LINE  # a step's input, encoded and split form fit the second-level cache
_SPLIT: Final = struct.Struct("76s" * 768)


def canonical(text: str) -> str:
    """The text with CRLF line ends, whatever line ends it has."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n")


def longest_line(data: bytes) -> int:
    """Octets of the longest line of canonical data, without its line end."""
    if len(data) <= _SOFT:
        return len(data)
    return max(map(len, data.split(b"\r\n")))


def encode_text(data: bytes, *, characters: int, eight_bit: bool = False) -> tuple[Encoding, bytes]:
    """Choose the encoding of a text by looking at it once.

    Args:
        data: Canonical text in UTF-8.
        characters: How many these are.
        eight_bit: The session takes 8BITMIME.

    Returns:
        The encoding's name and the encoded text, not ending with a line end that `data` has not.
    """
    if data.isascii():
        if longest_line(data) <= _SOFT:
            return "7bit", data
        return "quoted-printable", quoted_printable(data)
    if eight_bit and longest_line(data) <= MAX_LINE:
        return "8bit", data
    # Quoted-printable makes three octets of one: with more than a sixth of them outside ASCII base64 is shorter. A
    # character outside ASCII has two octets at least, so twice the surplus is about their number.
    if (len(data) - characters) * 12 > len(data):
        return "base64", base64_lines(data)[:-2]
    return "quoted-printable", quoted_printable(data)


def quoted_printable(data: bytes) -> bytes:
    """Quoted-printable (RFC 2045 §6.7) of canonical text; lines of at most 76 octets."""
    encoded = b2a_qp(data, istext=True)
    return encoded if b"\n" in data else encoded.replace(b"=\n", b"=\r\n")  # b2a_qp takes its line end from the data


def base64_lines(data: bytes | memoryview) -> bytes:
    """Base64 in lines of 76 characters, CRLF behind each."""
    if len(data) == STEP:
        return b"\r\n".join(_SPLIT.unpack(_encode(data))) + b"\r\n"
    if len(data) > STEP:
        view = memoryview(data)
        return b"".join([base64_lines(view[start : start + STEP]) for start in range(0, len(data), STEP)])
    encoded = _encode(data)
    whole = len(encoded) // 76
    lines = struct.unpack_from("76s" * whole, encoded) if whole else ()
    rest = encoded[whole * 76 :]
    return b"\r\n".join((*lines, rest, b"") if rest else (*lines, b""))


def base64_size(size: int) -> int:
    """Octets that `base64_lines` makes of `size` octets."""
    encoded = (size + 2) // 3 * 4
    return encoded + (encoded + 75) // 76 * 2


@frozen
class Base64:
    """Content that is encoded while it is read, as often as it is read.

    Args:
        content: Where the octets come from.
        length: How many they are; reading another number is an error.
        name: For errors.
    """

    content: bytes | Path | Content
    length: int
    name: str

    @property
    def size(self) -> int:
        """Encoded octets."""
        return base64_size(self.length)

    @property
    def blocking(self) -> bool:
        """Whether reading may wait for a disk."""
        return not isinstance(self.content, bytes)

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self.content, bytes):
            view = memoryview(self.content)
            for start in range(0, len(view), STEP):
                yield base64_lines(view[start : start + STEP])
            return
        for chunk in _aligned(self._read()):
            yield base64_lines(chunk)

    def _read(self) -> Iterator[bytes]:
        source = (
            _file_chunks(self.content) if isinstance(self.content, Path) else cast("Content", self.content).chunks(STEP)
        )
        seen = 0
        try:
            for chunk in source:
                seen += len(chunk)
                if seen > self.length:
                    break
                yield chunk
        except OSError as error:
            msg = f"{self.name}: {error.strerror or error}"
            raise AttachmentError(msg) from error
        if seen != self.length:
            msg = f"{self.name}: its size changed while it was read ({self.length} octets before)"
            raise AttachmentError(msg)


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(STEP):
            yield chunk


def _aligned(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole steps, however the source cuts them."""
    pending = bytearray()
    for chunk in chunks:
        if not pending and len(chunk) == STEP:
            yield chunk
            continue
        pending += chunk
        whole = len(pending) - len(pending) % STEP
        for start in range(0, whole, STEP):
            yield bytes(pending[start : start + STEP])
        del pending[:whole]
    if pending:
        yield bytes(pending)


def check_verbatim(data: bytes, *, field: str) -> None:
    """Make sure that octets we did not encode may travel as they are.

    Raises:
        MessageError: For NUL, a bare CR or LF, or a line over 998 octets; names the field.
    """
    ends = data.count(b"\r\n")
    if data.count(b"\n") != ends or data.count(b"\r") != ends:
        msg = f"{field}: line ends must be CRLF; there is a bare CR or LF"
        raise MessageError(msg)
    if b"\0" in data:
        msg = f"{field}: NUL at octet {data.index(0)} is not allowed in a message"
        raise MessageError(msg)
    if len(data) > MAX_LINE and longest_line(data) > MAX_LINE:
        msg = f"{field}: a line is longer than {MAX_LINE} octets (RFC 5322 §2.1.1)"
        raise MessageError(msg)
