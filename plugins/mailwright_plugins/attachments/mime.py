"""Ready-made MIME parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import AttachmentError
from mailwright.spi import AttachmentSource, Fetching, RawPart, Settings


@frozen(kw_only=True)
class MimeSettings(Settings):
    """One whole part: headers, empty line, body."""

    content: str = field(repr=False, metadata={"title": "MIME part", "template": True})


async def resolve(settings: MimeSettings, fetching: Fetching) -> Sequence[RawPart]:
    """The part as it is; documents have bare line feeds, which the wire must not have."""
    text = settings.content.replace("\r\n", "\n").replace("\n", "\r\n")
    try:
        return [RawPart(text)]
    except UnicodeEncodeError as error:
        msg = f"content: a lone surrogate before position {error.end} is not text"
        raise AttachmentError(msg) from None


@hookimpl
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """One source."""
    yield AttachmentSource(name="mime", title="Ready-made MIME part", settings=MimeSettings, resolve=resolve)
