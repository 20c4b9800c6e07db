"""Attachments from files below the allowed folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import AttachmentError
from mailwright.spi import AttachmentSource, Fetching, Part, Settings


@frozen(kw_only=True)
class FileSettings(Settings):
    """A file of this machine."""

    path: str = field(metadata={"title": "File", "template": True, "description": "Below the attachment folder."})
    filename: str | None = field(default=None, metadata={"title": "File name", "template": True})
    content_type: str | None = field(default=None, metadata={"title": "MIME type", "template": True})


async def resolve(settings: FileSettings, fetching: Fetching) -> Sequence[Part]:
    """One part that is read when it is sent."""
    path = fetching.path(settings.path)
    if not path.is_file():
        msg = f"path: {settings.path}: no such file"
        raise AttachmentError(msg)
    return [Part(content=path, filename=settings.filename or path.name, content_type=settings.content_type or None)]


@hookimpl
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """One source."""
    yield AttachmentSource(name="file", title="File", settings=FileSettings, resolve=resolve)
