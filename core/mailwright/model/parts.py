"""What a message is made of, beside its text: parts and invitations. Checked when made, immutable afterwards."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from mailwright.errors import MessageError
from mailwright.model.settings import Settings
from mailwright.model.text import check_body, check_encodable, check_text

_TOKEN = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"  # noqa: S105 - RFC 2045 §5.1 token, not a credential
_CONTENT_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}")
_CONTENT_ID = re.compile(r"[!#-'*+./0-9=?A-Z^-~-]+(?:@[!#-'*+./0-9=?A-Z^-~-]+)?")


@runtime_checkable
class Content(Protocol):
    """Bytes that can be read again, of known size: what `prepare` turns one-shot content into."""

    @property
    def size(self) -> int:
        """Octets in all."""
        ...

    def chunks(self, step: int) -> Iterator[bytes]:
        """Read from the start, `step` octets at a time; only the last chunk may be shorter."""
        ...


AnyContent: TypeAlias = "bytes | str | Path | Content | Iterable[bytes] | AsyncIterable[bytes]"
Disposition = Literal["attachment", "inline"]


def _content_type(value: str | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _CONTENT_TYPE.fullmatch(value):
        msg = f"content_type: {value!r} is not a media type such as application/pdf (without parameters)"
        raise MessageError(msg)
    if value.lower().startswith("multipart/"):
        msg = "content_type: a part of its own cannot be multipart/*; give a ready MIME part instead"
        raise MessageError(msg)
    return value


def _content_id(value: str | None) -> str | None:
    if value is None:
        return None
    bare = check_text("content_id", value).removeprefix("<").removesuffix(">")
    if len(value) - len(bare) not in {0, 2} or not _CONTENT_ID.fullmatch(bare):
        msg = f"content_id: {value!r} is not an id such as logo or logo@example.org"
        raise MessageError(msg)
    return bare


def _filename(value: str | None) -> str | None:
    return None if value is None else check_text("filename", value)


def _description(value: str | None) -> str | None:
    return None if value is None else check_text("description", value)


def _octets(value: bytes | str) -> bytes:
    if isinstance(value, str):
        return check_encodable("content", value).encode()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        msg = f"content: bytes or text, not {type(value).__name__}"
        raise MessageError(msg)
    return bytes(value)


@frozen(kw_only=True)
class Part:
    """One attachment or inline part.

    Args:
        content: ``bytes``, ``str`` (text, never a path), a `pathlib.Path`, or an iterable or async iterable of bytes
            (read once by `prepare`).
        filename: Name for the recipient; path parts are removed. Default: the path's name, if content is a path.
        content_type: ``type/subtype``; default: from the file name, else ``text/plain`` for text, else
            ``application/octet-stream``.
        content_id: Makes it an inline part that HTML shows as ``cid:…``; without angle brackets.
        disposition: ``attachment`` or ``inline``; default: inline when there is a content_id.
        description: Content-Description.

    Raises:
        MessageError: Names the field.
    """

    content: AnyContent = field(repr=False)
    filename: str | None = field(default=None, converter=_filename)
    content_type: str | None = field(default=None, converter=_content_type)
    content_id: str | None = field(default=None, converter=_content_id)
    disposition: Disposition | None = None
    description: str | None = field(default=None, converter=_description)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.content, (bytearray, memoryview)):
            object.__setattr__(self, "content", bytes(self.content))
        if isinstance(self.content, str):
            check_encodable("content", self.content)
        if not isinstance(self.content, (bytes, str, Path, Content, Iterable, AsyncIterable)):
            msg = f"content: bytes, str, Path or an iterable of bytes, not {type(self.content).__name__}"
            raise MessageError(msg)
        if self.disposition not in (None, "attachment", "inline"):
            msg = f"disposition: attachment or inline, not {self.disposition!r}"
            raise MessageError(msg)


@frozen
class RawPart:
    """A ready-made MIME part (headers, empty line, body), sent byte for byte after validation.

    Args:
        content: The whole part. Text is encoded as UTF-8.
    """

    content: bytes = field(repr=False, converter=_octets)


@frozen(kw_only=True)
class Calendar:
    """An invitation: one ``text/calendar`` alternative with its method (RFC 6047 §2.4).

    Args:
        content: The iCalendar object.
        method: ``REQUEST``, ``REPLY``, ``CANCEL``, ``PUBLISH``, …; must equal the object's METHOD.

    Raises:
        MessageError: For a method that is none, or not the one in the object.
    """

    content: str = field(repr=False)
    method: str = "PUBLISH"

    def __attrs_post_init__(self) -> None:
        check_body("calendar", self.content)
        if not isinstance(self.method, str) or not re.fullmatch(r"[A-Z-]{1,32}", self.method):
            msg = f"calendar: {self.method!r} is not an iTIP method such as REQUEST"
            raise MessageError(msg)
        found = re.search(
            r"(?:^|\r)METHOD(?:;[^:\r\n]*)?:[ \t]*([A-Za-z-]*)", self.content, re.MULTILINE | re.IGNORECASE
        )
        if found and found.group(1).upper() != self.method:
            msg = f"calendar: method is {self.method}, but the object says METHOD:{found.group(1)} (RFC 6047 §2.4)"
            raise MessageError(msg)


Attachment: TypeAlias = "Part | RawPart | Settings"
