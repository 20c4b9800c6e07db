"""One attachment → one leaf.

Attachments are base64 even when they are text: readers change the line ends of any other encoding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mailwright.errors import AttachmentError, MessageError
from mailwright.mime.fields import check_fields, unstructured
from mailwright.mime.names import clean_filename, guess_type
from mailwright.mime.params import with_parameter
from mailwright.mime.raw import embedded
from mailwright.mime.transfer import Base64, Encoding, base64_lines
from mailwright.mime.tree import Leaf
from mailwright.model import Content, Part

_EAGER: Final = 1 << 16  # content up to this is encoded once, at once; more each time it is read
_REFUSED: Final = frozenset({"message/partial", "message/external-body"})


def part_leaf(part: Part, *, field: str, binary: bool) -> Leaf:
    """Make a leaf of an attachment or inline part.

    Args:
        part: With content that can be read again.
        field: For errors.
        binary: The session takes BINARYMIME.

    Raises:
        MessageError: Names `field` and what is wrong.
    """
    content = part.content
    if isinstance(content, str):
        content = content.encode()
    filename = part.filename
    if filename is None and isinstance(content, Path):
        filename = content.name
    if filename:
        filename = clean_filename(filename, field=f"{field}.filename")
    content_type = _content_type(part, filename, field)
    if content_type.startswith("message/") and not isinstance(content, bytes):
        content = _read(content, field)
    encoding, body, size = _encoded(content, content_type, field, binary=binary)
    disposition = part.disposition or ("inline" if part.content_id else "attachment")
    charset = "; charset=utf-8" if content_type.startswith("text/") and _is_utf8(part.content) else ""
    fields = [
        f"Content-Type: {content_type}{charset}",
        with_parameter("Content-Disposition", disposition, "filename", filename)
        if filename
        else f"Content-Disposition: {disposition}",
        f"Content-Transfer-Encoding: {encoding}",
    ]
    if part.content_id:
        fields.append(f"Content-ID: <{part.content_id}>")
    if part.description:
        fields.append(unstructured("Content-Description", part.description))
    check_fields(fields, field=field)
    return Leaf(tuple(fields), body, (content_type, size, filename, disposition), encoding)


def is_message(part: Part) -> bool:
    """Whether a part is a message of its own, by its type or by its file's name."""
    if part.content_type:
        return part.content_type.lower().startswith("message/")
    name = part.filename or (part.content.name if isinstance(part.content, Path) else None)
    return name is not None and guess_type(name) == "message/rfc822"


def _content_type(part: Part, filename: str | None, field: str) -> str:
    if part.content_type:
        content_type = part.content_type.lower()
        if content_type in _REFUSED or content_type.startswith("multipart/"):
            msg = f"{field}.content_type: {content_type} is not sent; give a ready MIME part instead"
            raise MessageError(msg)
        return content_type
    guessed = guess_type(filename) if filename else None
    return guessed or ("text/plain" if isinstance(part.content, str) else "application/octet-stream")


def _encoded(content: object, content_type: str, field: str, *, binary: bool) -> tuple[Encoding, bytes | Base64, int]:
    if isinstance(content, bytes):
        if content_type.startswith("message/"):
            encoding, body = embedded(content, field=f"{field}.content")
            return encoding, body, len(body)
        if binary:
            return "binary", content, len(content)
        if len(content) <= _EAGER:
            return "base64", base64_lines(content)[:-2], len(content)
        return "base64", Base64(content, len(content), field), len(content)
    size = _size(content, field)
    assert isinstance(content, (Path, Content))
    return "base64", Base64(content, size, field), size


def _size(content: object, field: str) -> int:
    if isinstance(content, Path):
        try:
            return content.stat().st_size
        except OSError as error:
            msg = f"{field}: {error.strerror or error}"
            raise AttachmentError(msg) from error
    if isinstance(content, Content):
        return content.size
    msg = f"{field}.content: not read yet; prepare the message first"
    raise MessageError(msg)


def _read(content: object, field: str) -> bytes:
    _size(content, field)
    try:
        return content.read_bytes() if isinstance(content, Path) else b"".join(content.chunks(1 << 16))  # type: ignore[attr-defined]
    except OSError as error:
        msg = f"{field}: {error.strerror or error}"
        raise AttachmentError(msg) from error


def _is_utf8(content: object) -> bool:
    if isinstance(content, str):
        return True
    if not isinstance(content, bytes):
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
