"""``data:`` URLs in HTML become inline parts (RFC 2397, RFC 2392): most mail readers block the former."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from html import unescape
from typing import Final

from mailwright.model import Part

_BEFORE: Final = re.compile(r"""(?:(?:\bsrc|\bbackground)\s{0,8}=\s{0,8}|\burl\(\s{0,8})(["']?)\Z""", re.IGNORECASE)
_SCHEME: Final = re.compile("data:image/")
_TYPE: Final = re.compile(r"data:(image/[a-z0-9.+-]{1,64})((?:;[a-z0-9=.-]{1,64})*)", re.IGNORECASE)
_UNQUOTED_END: Final = re.compile(r"[\s\"'>)]")
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LOOK_BACK: Final = 32
_HEADER: Final = 300


def extract_images(html: str, *, token: str) -> tuple[str, tuple[Part, ...]]:
    """Replace images by references to parts. Time linear in the length; nothing is fetched or opened.

    Args:
        html: As written.
        token: Makes the Content-IDs unique.

    Returns:
        The HTML with ``cid:`` URLs, and the parts, equal images once. What is no sound image stays as it is.
    """
    parts: dict[str, Part] = {}
    out: list[str] = []
    copied = position = 0
    missing: set[str] = set()
    while found := _SCHEME.search(html, position):
        start = found.start()
        before = _BEFORE.search(html[max(0, start - _LOOK_BACK) : start])
        quote = before.group(1) if before else None
        if quote is None or quote in missing:
            position = start + 5
            continue
        end = _end(html, start, quote)
        if end < 0:
            missing.add(quote)
            position = start + 5
            continue
        position = end
        if reference := _reference(html[start:end], parts, token):
            out += (html[copied:start], reference)
            copied = end
    return ("".join((*out, html[copied:])) if out else html), tuple(parts.values())


def _end(html: str, start: int, quote: str) -> int:
    if quote:
        return html.find(quote, start)
    found = _UNQUOTED_END.search(html, start)
    return found.start() if found else -1


def _content(data: str, *, base64: bool) -> bytes | None:
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - most HTML holds no images

    try:
        if base64:
            digits = b"".join(unquote_to_bytes(unescape(data)).split()).rstrip(b"=")
            if digits.translate(None, _BASE64):  # `a2b_base64` would pass over them
                return None
            return a2b_base64(digits + b"=" * (-len(digits) % 4))
        return unquote_to_bytes(unescape(data))  # an SVG as text; in HTML its & stands as &amp;
    except (Error, ValueError):
        return None


def _reference(url: str, parts: dict[str, Part], token: str) -> str | None:
    known = parts.get(url)
    if known is None:
        comma = url.find(",", 0, _HEADER)
        kind = _TYPE.fullmatch(url, 0, comma) if comma > 0 else None
        if kind is None:
            return None
        content = _content(url[comma + 1 :], base64=kind.group(2).lower().endswith(";base64"))
        if not content:
            return None
        content_type = kind.group(1).lower()
        extension = content_type.removeprefix("image/").partition("+")[0]
        number = len(parts) + 1
        known = Part(
            content=content,
            filename=f"image{number}.{'jpg' if extension == 'jpeg' else extension}",
            content_type=content_type,
            content_id=f"image{number}.{token}@inline",
        )
        parts[url] = known
    return f"cid:{known.content_id}"
