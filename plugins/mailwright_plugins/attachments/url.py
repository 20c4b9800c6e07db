"""Attachments from URLs: ``data:``, and files from the web through the guarded fetch that core hands in."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import AttachmentError
from mailwright.spi import AttachmentSource, Content, Fetching, Part, Settings

MAX_BYTES = 50 * 1000 * 1000
MAX_NAME = 100
_SNIFFED = 8192
_NOTHING_SAID = frozenset({"application/octet-stream", "binary/octet-stream", "application/force-download"})
_EXTENDED = re.compile(r"(?:^|;)\s*filename\*\s*=\s*([\w-]{1,20})'[\w-]*'([^\s;]+)", re.IGNORECASE)
_PLAIN = re.compile(r'(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_TOKEN = re.compile(r"[\w!#$&^.+-]+", re.ASCII)
_NOT_URL = re.compile(r"[^!-~ ]|#|%(?![0-9A-Fa-f]{2})")
"""Blanks may stand, they are common in hand-written ones; behind a # browsers see no content."""
_CHARSETS = ("utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252")
_EXTENSIONS = {
    "application/json": "json", "application/pdf": "pdf", "image/gif": "gif", "image/jpeg": "jpg", "image/png": "png",
    "image/svg+xml": "svg", "image/webp": "webp", "text/calendar": "ics", "text/csv": "csv", "text/html": "html",
    "text/plain": "txt",
}  # fmt: skip


@frozen(kw_only=True)
class UrlSettings(Settings):
    """A URL."""

    url: str = field(metadata={"title": "URL", "template": True})
    filename: str | None = field(default=None, metadata={"title": "File name", "template": True})

    def __attrs_post_init__(self) -> None:
        """What is no template is found when the document is loaded."""
        if isinstance(self.url, str) and not self.url.lstrip().startswith("{{"):
            scheme_of(self.url)


def scheme_of(url: str) -> str:
    """``http``, ``https`` or ``data``. Raises `AttachmentError` for any other."""
    scheme = url.partition(":")[0].lower()
    if scheme not in {"http", "https", "data"}:
        msg = f"url: {scheme[:20]!r} is not a scheme for attachments; use https, http or a data: URL"
        raise AttachmentError(msg)
    return scheme


def parse_data_url(url: str, *, max_bytes: int = MAX_BYTES) -> tuple[str, bytes | str]:
    """Type and content of a ``data:`` URL (RFC 2397), in linear time; text of a known charset comes as text.

    Raises:
        AttachmentError: With the place where the URL is none, or when it is too large.
    """
    head, comma, body = url[5:].partition(",")
    if not comma:
        msg = "url: a data: URL needs a comma before its content"
        raise AttachmentError(msg)
    if len(body) > 3 * max_bytes:
        raise _too_large(max_bytes)
    media, charset, is_base64 = _header(head)
    content = _from_base64(body) if is_base64 else _from_percent(body, offset=len(url) - len(body))
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    if charset is None:
        return media, content
    try:
        return media, content.decode(charset)
    except UnicodeDecodeError as error:
        msg = f"url: octet {error.start} of its content is not {charset}"
        raise AttachmentError(msg) from None


def _header(head: str) -> tuple[str, str | None, bool]:
    """Media type, charset of text, whether base64; ``;base64`` is always the last."""
    media, *parameters = head.split(";")
    is_base64 = bool(parameters) and parameters[-1].strip().lower() == "base64"
    if is_base64:
        parameters.pop()
    media = media or "text/plain"
    if not _TYPE.fullmatch(media):
        msg = f"url: {media[:80]!r} is not a media type"
        raise AttachmentError(msg)
    charset = None
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or not _TOKEN.fullmatch(name):
            msg = f"url: {parameter[:80]!r} is not a parameter such as charset=utf-8"
            raise AttachmentError(msg)
        if name.lower() == "charset" and media.lower().startswith("text/"):
            charset = value.strip('"').lower()
    if charset is not None and charset not in _CHARSETS:
        msg = f"url: charset {charset[:40]!r} is not one of {', '.join(_CHARSETS)}"
        raise AttachmentError(msg)
    return media, charset, is_base64


def _from_base64(body: str) -> bytes:
    """Percent-encoding and line ends are allowed (RFC 2397 §2, §4); anything else foreign is refused."""
    text = "".join(body.split())
    for escape, char in (("%2B", "+"), ("%2b", "+"), ("%2F", "/"), ("%2f", "/"), ("%3D", "="), ("%3d", "=")):
        text = text.replace(escape, char)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one, and so is what it says of other scripts
        msg = f"url: its base64 is broken: {error}"
        raise AttachmentError(msg) from None


def _from_percent(body: str, *, offset: int) -> bytes:
    if (found := _NOT_URL.search(body)) is not None:
        hint = "; write %25 for a percent sign" if found.group() == "%" else "; percent-encode it"
        msg = f"url: {found.group()!r} at position {offset + found.start()} does not belong into a URL{hint}"
        raise AttachmentError(msg)
    return unquote_to_bytes(body)


def _too_large(max_bytes: int) -> AttachmentError:
    return AttachmentError(f"url: larger than {max_bytes} bytes")


def _named_by_server(headers: Mapping[str, str]) -> str:
    """The name in Content-Disposition (RFC 6266), its extended form first."""
    field = headers.get("content-disposition", "")[:4000]
    if found := _EXTENDED.search(field):
        charset = "utf-8" if found[1].lower() == "utf-8" else "latin-1"
        return unquote_to_bytes(found[2]).decode(charset, "replace")
    found = _PLAIN.search(field)
    if found is None:
        return ""
    return re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]


def clean_name(name: str) -> str:
    """A name that came from outside, as a name: no path, nothing that hides, at most 100 characters."""
    base = name.replace("\\", "/").rpartition("/")[2]
    base = "".join(char for char in base if char.isprintable() and char not in '<>:"|?*\ufffd').strip(" .")
    stem, dot, extension = base.rpartition(".")
    if len(base) > MAX_NAME and dot and len(extension) <= 10:
        return stem[: MAX_NAME - len(extension) - 1] + "." + extension
    return base[:MAX_NAME]


def _type_of(headers: Mapping[str, str], content: bytes | Content, name: str) -> str | None:
    """What the server says, if it is a plain token/token; else what the octets say; else None: the name decides."""
    said = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _TYPE.fullmatch(said) and not said.startswith(("multipart/", "message/")) and said not in _NOTHING_SAID:
        return said
    if name.rpartition(".")[2].lower() in _EXTENSIONS.values():
        return None
    return _sniffed(content if isinstance(content, bytes) else next(content.chunks(_SNIFFED), b""))


def _sniffed(start: bytes) -> str | None:
    """By puremagic; never HTML, which a recipient's program would run."""
    import puremagic  # noqa: PLC0415 - only where nobody says what it is

    try:
        found = str(puremagic.from_string(start[:_SNIFFED], mime=True))
    except (puremagic.PureError, ValueError):
        return None
    good = _TYPE.fullmatch(found) and not found.startswith(("multipart/", "message/", "text/html", "application/xhtml"))
    return found if good else None


async def _from_web(settings: UrlSettings, fetching: Fetching) -> Part:
    fetched = await fetching.get(settings.url)
    path = settings.url.partition("#")[0].partition("?")[0].partition("://")[2].partition("/")[2]
    served = clean_name(_named_by_server(fetched.headers)) or clean_name(
        unquote_to_bytes(path.rstrip("/").rpartition("/")[2]).decode("utf-8", "replace")
    )
    media = _type_of(fetched.headers, fetched.content, settings.filename or served)
    name = settings.filename or served or "attachment"
    if "." not in name and not settings.filename:
        name += f".{_EXTENSIONS.get(media or '', 'bin')}"
    return Part(content=fetched.content, filename=name, content_type=media)


async def resolve(settings: UrlSettings, fetching: Fetching) -> Sequence[Part]:
    """One part."""
    if scheme_of(settings.url) != "data":
        return [await _from_web(settings, fetching)]
    limit = MAX_BYTES if fetching.max_bytes is None else fetching.max_bytes
    media, content = parse_data_url(settings.url, max_bytes=limit)
    filename = settings.filename or f"attachment.{_EXTENSIONS.get(media.lower(), 'bin')}"
    return [Part(content=content, filename=filename, content_type=media)]


@hookimpl
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """One source."""
    yield AttachmentSource(name="url", title="From a URL", settings=UrlSettings, resolve=resolve)
