"""File names that are safe to receive, and the media types they suggest."""

from __future__ import annotations

import re
from typing import Final

from mailwright.errors import MessageError
from mailwright.model.text import SURROGATE

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INVISIBLE: Final = re.compile(
    "[\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)  # U+202E makes gpj.exe of exe.jpg
FALLBACK: Final = "attachment"

_TYPES: Final = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "avi": "video/x-msvideo",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "bz2": "application/x-bzip2",
    "css": "text/css",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eml": "message/rfc822",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "heic": "image/heic",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "log": "text/plain",
    "m4a": "audio/mp4",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "p7m": "application/pkcs7-mime",
    "p7s": "application/pkcs7-signature",
    "pdf": "application/pdf",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "toml": "application/toml",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "vcf": "text/vcard",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
    "zst": "application/zstd",
}


def clean_filename(name: str, *, field: str) -> str:
    """Take away what a file name must not bring along.

    Args:
        name: As given.
        field: For the error.

    Returns:
        The last path component, without characters that turn or hide text; ``attachment`` where nothing is left.

    Raises:
        MessageError: For control characters (C0, DEL, C1) and lone surrogates.
    """
    if not name.isprintable() and (found := _CONTROL.search(name) or SURROGATE.search(name)):
        msg = f"{field}: U+{ord(found.group()):04X} is not allowed in a file name"
        raise MessageError(msg)
    base = name.replace("\\", "/").rpartition("/")[2]
    if not base.isascii():
        base = _INVISIBLE.sub("", base)
    base = base.strip()
    return base if base.strip(".") else FALLBACK


def guess_type(filename: str) -> str | None:
    """The media type a file name suggests, from a fixed table: the same on every machine."""
    return _TYPES.get(filename.rpartition(".")[2].lower()) if "." in filename else None
