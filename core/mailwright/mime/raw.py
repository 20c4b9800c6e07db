"""Ready-made MIME parts and embedded messages: checked, then sent byte for byte."""

from __future__ import annotations

import re
from typing import Final

from mailwright.errors import MessageError
from mailwright.mime.transfer import Encoding, check_verbatim
from mailwright.mime.tree import Leaf
from mailwright.model import RawPart

_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_ENCODING: Final = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t]*([!-~]+)", re.IGNORECASE | re.MULTILINE)
_BOUNDARY: Final = re.compile(rb';\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)
_TYPE: Final = re.compile(rb"^content-type[ \t]*:(?:\s*)([!-:<-~]+)", re.IGNORECASE | re.MULTILINE)


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
    for index, line in enumerate(head.split(b"\r\n") if head else ()):
        if (line[:1] in (b" ", b"\t") and index and line.strip()) or _FIELD.match(line):
            continue
        msg = f"{field}: {line[:60]!r} is not a header field"
        raise MessageError(msg)
    if not head.isascii():
        msg = f"{field}: header fields must be ASCII"
        raise MessageError(msg)
    encoding = _encoding(head, data, field)
    kind = _TYPE.search(head)
    content_type = kind.group(1).decode().lower() if kind else "text/plain"
    if content_type.startswith("multipart/"):
        _check_boundary(head, data, field)
    return Leaf((), data, (content_type, len(data) - len(head), None, None), encoding)


def _check_boundary(head: bytes, data: bytes, field: str) -> None:
    """A multipart part names its boundary, and its body begins and ends with it (RFC 2046 §5.1.1)."""
    found = _BOUNDARY.search(head.replace(b"\r\n", b""))
    if found is None:
        msg = f"{field}: multipart, but its Content-Type names no boundary"
        raise MessageError(msg)
    delimiter = b"\r\n--" + (found.group(1) or found.group(2))
    body = data[len(head) :]
    if delimiter not in body or delimiter + b"--" not in body:
        msg = f"{field}: its boundary {delimiter[4:].decode()!r} does not begin and end parts in its body"
        raise MessageError(msg)


def _encoding(head: bytes, data: bytes, field: str) -> Encoding:
    """What needs the part makes: its own encoding says nothing about boundaries in it."""
    found = _ENCODING.findall(head)
    encoding = found[0].lower() if found else b"7bit"
    if len(found) > 1 or encoding not in {b"7bit", b"8bit", b"quoted-printable", b"base64"}:
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
