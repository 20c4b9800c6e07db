"""Content transfer encodings (RFC 2045 §6): the best for each text, and base64 that streams."""

from __future__ import annotations

import struct
from binascii import b2a_base64
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
_SPLIT: Final = struct.Struct("76s" * 768 + "0s")  # the empty last piece makes join end the last line too
_AS_IT_IS: Final = bytes((0x09, 0x0A, *range(0x20, 0x7F)))
ESCAPE: Final = tuple(b"=%02X" % octet for octet in range(256))
_LATIN: Final = tuple(b"".join([ESCAPE[octet] for octet in chr(code).encode()]) for code in range(256))
_CR: Final = 0x0D
_EQUALS: Final = 0x3D
_QP_LINE: Final = 76
_BLANKS: Final = (b" ", b"\t")


def unified(text: str) -> str:
    """The text with bare line feeds, whatever line ends it has."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def encode_text(text: str, *, eight_bit: bool = False) -> tuple[Encoding, bytes, int]:
    """Choose the encoding of a text by looking at it once.

    Args:
        text: What `unified` made.
        eight_bit: The session takes 8BITMIME.

    Returns:
        The encoding's name, the encoded text, not ending with a line end that `text` has not, and its octets in UTF-8.

    Raises:
        MessageError: For NUL or CR in a text that is not encoded.
    """
    if text.isascii():
        data = text.encode()
        lines = data.split(b"\n")
        if data.isascii() and max(map(len, lines)) <= _SOFT:
            _check(data)
            return "7bit", b"\r\n".join(lines), len(data)
    elif eight_bit:
        data = text.encode()
        lines = data.split(b"\n")
        if max(map(len, lines)) <= MAX_LINE:
            _check(data)
            return "8bit", b"\r\n".join(lines), len(data)
    try:
        data, escapes = text.encode("latin-1"), _LATIN  # half the time: one octet for each letter to escape
    except UnicodeEncodeError:
        data, escapes = text.encode(), ESCAPE
    escaped = data.translate(None, _AS_IT_IS)
    in_utf8 = len(escaped) if escapes is ESCAPE or escaped.isascii() else len(escaped.decode("latin-1").encode())
    size = len(data) - len(escaped) + in_utf8
    # Quoted-printable makes three octets of one: with more than a sixth of them to escape base64 is shorter.
    if in_utf8 * 6 > size:
        data = text.encode()
        _check(data)
        return "base64", base64_lines(data.replace(b"\n", b"\r\n"))[:-2], size
    return "quoted-printable", _quoted_printable(_escaped(data, escaped, escapes)), size


def _check(data: bytes) -> None:
    """The last look at what travels as it is: no NUL, no bare CR, and so no bare LF either."""
    if _CR in data or 0 in data:
        msg = "NUL or a bare CR in a text; the message is refused"
        raise MessageError(msg)


def _escaped(data: bytes, escaped: bytes, escapes: tuple[bytes, ...]) -> bytes:
    """Every octet of `escaped` as quoted-printable writes it.

    A text in one language escapes few different octets. Then replacing these one after another and cutting the long
    lines takes no longer than `binascii.b2a_qp`, and a third of that where lines are short.
    """
    data = data.replace(b"=", b"=3D")  # first: every escape brings another
    while escaped:
        octet = escaped[:1]
        data = data.replace(octet, escapes[escaped[0]])
        escaped = escaped.translate(None, octet)
    return data


def _quoted_printable(data: bytes) -> bytes:
    """Quoted-printable (RFC 2045 §6.7), lines of at most 76 octets."""
    given = data.split(b"\n")
    if [*map(bytes.rstrip, given)] != given:  # a blank at a line's end is encoded, so that no relay strips it
        given = [line[:-1] + ESCAPE[line[-1]] if line.endswith(_BLANKS) else line for line in given]
    return b"\r\n".join([line if len(line) <= _QP_LINE else _cut(line) for line in given])


def _cut(line: bytes) -> bytes:
    """Lines of at most 76 octets, an equals sign behind each but the last, none of them in an escape."""
    lines: list[bytes] = []
    start, last = 0, len(line) - _QP_LINE
    while start < last:
        stop = start + _QP_LINE - 1
        if line[stop - 1] == _EQUALS:
            stop -= 1
        elif line[stop - 2] == _EQUALS:
            stop -= 2
        lines.append(line[start:stop])
        start = stop
    lines.append(line[start:])
    return b"=\r\n".join(lines)


def base64_lines(data: bytes | memoryview) -> bytes:
    """Base64 in lines of 76 characters, CRLF behind each."""
    if len(data) == STEP:
        return b"\r\n".join(_SPLIT.unpack(_encode(data)))
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
        return map(base64_lines, self.steps())

    def steps(self) -> Iterator[bytes | memoryview]:
        """What is to be encoded, `STEP` octets at a time."""
        if isinstance(self.content, bytes):
            view = memoryview(self.content)
            return (view[start : start + STEP] for start in range(0, len(view), STEP))
        return _aligned(self._read())

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
    if data.replace(b"\r", b"").replace(b"\n", b"\r\n") != data:  # half the time of counting CR, LF and CRLF
        msg = f"{field}: line ends must be CRLF; there is a bare CR or LF"
        raise MessageError(msg)
    if 0 in data:
        msg = f"{field}: NUL at octet {data.index(0)} is not allowed in a message"
        raise MessageError(msg)
    start = 0
    while len(data) - start > MAX_LINE:  # from line start to line start, as far as one line may reach
        start = data.rfind(b"\n", start, start + MAX_LINE + 2) + 1
        if not start:
            msg = f"{field}: a line is longer than {MAX_LINE} octets (RFC 5322 §2.1.1)"
            raise MessageError(msg)
