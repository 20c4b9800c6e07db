"""What may stand in a header: the checks every field of a message passes before anything else sees it."""

from __future__ import annotations

import re

from mailwright.errors import MessageError

FORBIDDEN_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 §2.2: printable ASCII except colon

COMPOSER_OWNED = frozenset({
    "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references",
    "mime-version", "received", "return-path", "dkim-signature", "auto-submitted",
    "x-priority", "importance", "priority", "list-unsubscribe", "list-unsubscribe-post",
    "list-id", "list-help", "list-subscribe", "list-post", "list-owner", "list-archive",
})  # fmt: skip


def _no_text(field: str, value: object) -> MessageError:
    return MessageError(f"{field}: text, not {type(value).__name__}")


def check_text(field: str, value: str) -> str:
    """Refuse what no header may hold; everything else can be encoded and comes back the same.

    Args:
        field: Name of the field, for the error.
        value: Text for one header value.

    Returns:
        The same text.

    Raises:
        MessageError: For C0 controls (line ends and tab among them), DEL and lone surrogates (RFC 5322 §2.2, RFC 2047).
    """
    if not isinstance(value, str):
        raise _no_text(field, value)
    if value.isprintable():
        return value
    if found := FORBIDDEN_CONTROL.search(value):
        msg = f"{field}: control character U+{ord(found.group()):04X} at position {found.start()} is not allowed"
        raise MessageError(msg)
    if found := SURROGATE.search(value):
        msg = f"{field}: lone surrogate U+{ord(found.group()):04X} at position {found.start()} is not text"
        raise MessageError(msg)
    return value


def check_body(field: str, value: str) -> str:
    """Refuse text that no charset can carry (lone surrogates) and NUL, which RFC 5322 §2.1 forbids."""
    if not isinstance(value, str):
        raise _no_text(field, value)
    if "\x00" in value:
        msg = f"{field}: NUL at position {value.index(chr(0))} is not allowed in a message"
        raise MessageError(msg)
    return check_encodable(field, value)


def check_encodable(field: str, value: str) -> str:
    """Refuse text that no charset can carry: lone surrogates."""
    if value.isascii():
        return value
    try:
        value.encode("utf-16-le")  # the quickest look for surrogates: Latin letters are only copied
    except UnicodeEncodeError as error:
        msg = f"{field}: lone surrogate U+{ord(value[error.start]):04X} at position {error.start} is not text"
        raise MessageError(msg) from None
    return value


def check_header(name: str, value: str) -> tuple[str, str]:
    """Refuse header names outside RFC 5322 §2.2 and fields that the composer writes itself."""
    if not isinstance(name, str) or not FIELD_NAME.fullmatch(name):
        msg = f"headers: {name!r} is not a header name (1 to 76 printable ASCII characters, no space, no colon)"
        raise MessageError(msg)
    lowered = name.lower()
    if lowered in COMPOSER_OWNED or lowered.startswith(("content-", "resent-")):
        msg = f"headers: {name} is written by Mailwright; use the message's own field for it"
        raise MessageError(msg)
    if not isinstance(value, str):
        msg = f"headers: the value of {name} must be text, not {type(value).__name__}"
        raise MessageError(msg)
    return name, check_text(f"headers: {name}", value)
