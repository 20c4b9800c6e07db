"""Attachments of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.spi import AttachmentSource, Fetching, Part, Settings


@frozen(kw_only=True)
class TextSettings(Settings):
    """Text as a file."""

    content: str = field(repr=False, metadata={"title": "Text", "template": True})
    filename: str = field(default="attachment.txt", metadata={"title": "File name", "template": True})


async def resolve(settings: TextSettings, fetching: Fetching) -> Sequence[Part]:
    """One part of the type its name says, in UTF-8."""
    return [Part(content=str(settings.content), filename=settings.filename)]


@hookimpl
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """One source."""
    yield AttachmentSource(name="text", title="Text", settings=TextSettings, resolve=resolve)
