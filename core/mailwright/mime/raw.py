"""Ready-made MIME parts and embedded messages: checked, then sent byte for byte."""

from __future__ import annotations

import re
from typing import Final

from mailwright.errors import MessageError
from mailwright.mime.transfer import Encoding, check_verbatim
from mailwright.mime.tree import Leaf
from mailwright.model import RawPart

_FIELD: Final = re.compile(rb"([!-9;-~]+):[ \t]*(.*)", re.DOTALL)
_PARAMETER: Final = re.compile(rb';\s*([^\s=;"]++)\s*=\s*("[^"]*+"|[^\s;"]*+)')
_ENCODED: Final = frozenset({b"quoted-printable", b"base64"})
_COMPOSITE: Final = ("multipart/", "message/")
_MAX_BOUNDARY: Final = 70  # RFC 2046 §5.1.1


def raw_leaf(part: RawPart, *, field: str) -> Leaf:
    """Check a ready-made part.

    Args:
        part: Header fields, an empty line, body.
        field: For errors.

    Returns:
        A leaf that holds exactly these octets.

    Raises:
        MessageError: Without the empty line; for a header line that is none, a bare CR or LF, NUL, a line over
            998 octets, and an encoding that contradicts the octets.
    """
    data = part.content
    check_verbatim(data, field=field)
    if data.startswith(b"\r\n"):
        head = b""
    else:
        head, separator, _ = data.partition(b"\r\n\r\n")
        if not separator:
            msg = f"{field}: no empty line between the part's header fields and its body"
            raise MessageError(msg)
    values = _values(head, field) if head else {}
    encoding = _encoding(values, data, field)
    content_type = values.get(b"content-type", b"text/plain").partition(b";")[0].strip().decode("ascii").lower()
    if content_type.startswith(_COMPOSITE) and values.get(b"content-transfer-encoding", b"").lower() in _ENCODED:
        msg = f"{field}: {content_type} must not be encoded (RFC 2045 §6.4)"
        raise MessageError(msg)
    if content_type.startswith("multipart/"):
        _check_boundary(values[b"content-type"], data[len(head) :], field)
    return Leaf((), data, (content_type, len(data) - len(head), None, None), encoding)


def _values(head: bytes, field: str) -> dict[bytes, bytes]:
    """Unfolded values by lower-case name; what says what the part is stands there once, or readers would disagree."""
    found: dict[bytes, bytes] = {}
    if not head.isascii():
        msg = f"{field}: header fields must be ASCII"
        raise MessageError(msg)
    blank = [line for line in head.split(b"\r\n") if not line.strip()]
    unfolded = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
    for line in (*blank, *unfolded.split(b"\r\n")):
        match = _FIELD.fullmatch(line)
        if match is None:
            msg = f"{field}: {line[:60]!r} is not a header field"
            raise MessageError(msg)
        name = match.group(1).lower()
        if name in found and name.startswith(b"content-"):
            msg = f"{field}: two {match.group(1).decode()} fields; readers would disagree about which one counts"
            raise MessageError(msg)
        found[name] = match.group(2).strip()
    return found


def _check_boundary(content_type: bytes, body: bytes, field: str) -> None:
    """A multipart part names its boundary, and its body begins and ends with it (RFC 2046 §5.1.1)."""
    named = [text.strip(b'"') for name, text in _PARAMETER.findall(content_type) if name.lower() == b"boundary"]
    if len(named) != 1 or not 1 <= len(named[0]) <= _MAX_BOUNDARY:
        msg = f"{field}: multipart, but its Content-Type names no boundary"
        raise MessageError(msg)
    delimiter = b"\r\n--" + named[0]
    if delimiter not in body or delimiter + b"--" not in body:
        msg = f"{field}: its boundary {named[0].decode()!r} does not begin and end parts in its body"
        raise MessageError(msg)


def _encoding(values: dict[bytes, bytes], data: bytes, field: str) -> Encoding:
    """What needs the part makes: its own encoding says nothing about boundaries in it."""
    encoding = values.get(b"content-transfer-encoding", b"7bit").lower()
    if encoding not in {b"7bit", b"8bit", *_ENCODED}:
        msg = f"{field}: Content-Transfer-Encoding must be 7bit, 8bit, quoted-printable or base64"
        raise MessageError(msg)
    if encoding != b"8bit" and not data.isascii():
        msg = f"{field}: octets over 127, but Content-Transfer-Encoding does not say 8bit"
        raise MessageError(msg)
    return "7bit" if data.isascii() else "8bit"


def embedded(data: bytes, *, field: str) -> tuple[Encoding, bytes]:
    """A message/* body: never encoded (RFC 2046 §5.2.1), so it must be sound; bare LF of Unix files become CRLF.

    Raises:
        MessageError: For NUL, a bare CR, a line over 998 octets.
    """
    if b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    check_verbatim(data, field=field)
    return ("7bit" if data.isascii() else "8bit"), data
