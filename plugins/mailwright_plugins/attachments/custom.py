"""Attachments of text with a MIME type of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import AttachmentError
from mailwright.spi import AttachmentSource, Fetching, Part, Settings


@frozen(kw_only=True)
class CustomSettings(Settings):
    """Text, declared as something."""

    content: str = field(repr=False, metadata={"title": "Content", "template": True})
    content_type: str = field(metadata={"title": "MIME type", "template": True})
    filename: str | None = field(default=None, metadata={"title": "File name", "template": True})


async def resolve(settings: CustomSettings, fetching: Fetching) -> Sequence[Part]:
    """One part, its text in UTF-8; only ``text/*`` says so in its type."""
    content: str | bytes = settings.content
    if not settings.content_type.lower().startswith("text/"):
        try:
            content = settings.content.encode()
        except UnicodeEncodeError as error:
            msg = f"content: a lone surrogate at position {error.start} is not text"
            raise AttachmentError(msg) from None
    return [Part(content=content, filename=settings.filename, content_type=settings.content_type)]


@hookimpl
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """One source."""
    yield AttachmentSource(name="custom", title="Custom MIME type", settings=CustomSettings, resolve=resolve)
