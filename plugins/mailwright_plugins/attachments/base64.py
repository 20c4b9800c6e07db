"""Attachments given in base64."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import AttachmentError
from mailwright.spi import AttachmentSource, Fetching, Part, Settings

_FOREIGN = re.compile(r"[^A-Za-z0-9+/=]")


@frozen(kw_only=True)
class Base64Settings(Settings):
    """Octets in base64 (RFC 4648 §4)."""

    content: str = field(repr=False, metadata={"title": "Base64", "template": True})
    filename: str | None = field(default=None, metadata={"title": "File name", "template": True})
    content_type: str | None = field(default=None, metadata={"title": "MIME type", "template": True})

    def __attrs_post_init__(self) -> None:
        """What is no template is found when the document is loaded."""
        if isinstance(self.content, str) and "{{" not in self.content:
            check(self.content)


def decode(text: str) -> bytes:
    """Decode strictly; line ends and blanks between the letters are allowed.

    Raises:
        AttachmentError: With the place of the first wrong character.
    """
    return base64.b64decode(check(text))


def check(text: str) -> str:
    """The letters without blanks, if they are base64. Raises `AttachmentError`."""
    compact = "".join(text.split())
    if (found := _FOREIGN.search(compact)) is not None:
        place = text.index(found.group())
        msg = f"content: {found.group()!r} at position {place} is not base64"
        raise AttachmentError(msg)
    padding = len(compact) - len(letters := compact.rstrip("="))
    if padding > 2 or "=" in letters:
        msg = f"content: '=' at position {text.index('=')} is not base64: one or two may stand at the end"
        raise AttachmentError(msg)
    if len(compact) % 4:
        msg = f"content: not base64: it ends at position {len(text)} in the middle of a group of four letters"
        raise AttachmentError(msg)
    return compact


async def resolve(settings: Base64Settings, fetching: Fetching) -> Sequence[Part]:
    """One part."""
    if (
        fetching.max_bytes is not None
        and len(settings.content) * 3 // 4 > fetching.max_bytes + len(settings.content) // 8
    ):
        msg = f"an attachment is larger than the limit of {fetching.max_bytes} bytes"
        raise AttachmentError(msg)
    content = decode(settings.content)
    return [Part(content=content, filename=settings.filename, content_type=settings.content_type or None)]


@hookimpl
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """One source."""
    yield AttachmentSource(name="base64", title="Base64", settings=Base64Settings, resolve=resolve)
