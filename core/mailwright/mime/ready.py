"""Messages that come ready-made, as octets or as the standard library's object: checked, then sent as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from mailwright.errors import AddressError, MailwrightError, MessageError
from mailwright.mime.composed import ComposedMessage, total
from mailwright.mime.fields import BETWEEN_FIELDS, check_block, date_time, mailboxes
from mailwright.mime.transfer import check_verbatim
from mailwright.mime.tree import Leaf, needs_of
from mailwright.model import Address, Envelope, Message
from mailwright.model.message import is_message_id
from mailwright.ports import Need

if TYPE_CHECKING:
    from email.message import Message as StandardMessage

_NAME: Final = re.compile(rb"[!-9;-~]+")
_ONCE: Final = frozenset({
    "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references",
    "mime-version", "content-type", "content-transfer-encoding",
})  # fmt: skip
"""Twice, readers would disagree about which one counts (RFC 5322 §3.6)."""
_OWN: Final = frozenset({"bcc", "resent-bcc", "return-path"})
"""Never sent: the first two are secrets, the third is the last server's to write."""
_RESENT: Final = frozenset({"resent-to", "resent-cc", "resent-bcc"})
"""Who gets it this time, instead of To, Cc and Bcc (RFC 5322 §3.6.6)."""
_FILLED: Final = frozenset({"date", "message-id"})
"""Empty, they count as missing."""

Field = tuple[str, bytes]
"""Its name in lower case, and the whole of it."""


def octets_of(message: StandardMessage | bytes) -> bytes:
    """Octets of the standard library's message, seven-bit; bytes stay as they are.

    Raises:
        MessageError: It cannot be written, or writing it would make header fields that it does not have.
    """
    if isinstance(message, (bytes, bytearray)):
        return bytes(message)
    if not hasattr(message, "as_bytes"):
        msg = f"message: a Message, one of the standard library's, or octets, not {type(message).__name__}"
        raise MessageError(msg)
    from email.errors import MessageError as StandardError  # noqa: PLC0415 - for its own messages only

    try:
        data = message.as_bytes(policy=message.policy.clone(linesep="\r\n", cte_type="7bit"))
    except (UnicodeError, ValueError, LookupError, AttributeError, TypeError, StandardError) as error:
        msg = f"message: the standard library cannot write it: {error}"
        raise MessageError(msg) from error
    head, end, body = data.partition(b"\r\n\r\n")
    fields = _fields(head)
    if len(fields) != len(message.keys()):
        msg = "message: a header value would make a field of its own; the message is refused"
        raise MessageError(msg)
    return b"\r\n".join(map(_people, fields, message.values())) + end + body


def _people(field: Field, value: object) -> bytes:
    """A field of addresses in our own writing.

    The standard library folds commas into encoded-words (gh-100884) and encodes what stands before an ``@``.
    """
    name, line = field
    if not getattr(value, "addresses", ()) or any(group.display_name for group in value.groups):  # type: ignore[attr-defined]
        return line
    try:
        people = [Address(one.addr_spec, one.display_name) for one in value.addresses]  # type: ignore[attr-defined]
    except AddressError:  # told where the envelope is made
        return line
    return mailboxes(line[: len(name)].decode(), people).encode()


def ready(
    data: bytes,
    *,
    author: Address | None,
    message_id: Callable[[str], str],
    date: datetime,
    envelope: Envelope | None = None,
    bcc: bool = False,
) -> tuple[Message, ComposedMessage]:
    """Check a ready-made message and complete its header: From, Date and Message-ID where they are missing.

    Args:
        data: The whole message. Line ends that are all bare LF, as in Unix files, become CRLF.
        author: From, where it is missing.
        message_id: Makes a Message-ID for a domain.
        date: Date, where it is missing.
        envelope: Who; default: what Sender or From, and To, Cc and Bcc say.
        bcc: Keep the Bcc field, for transports that read recipients from the header.

    Returns:
        What is known of the message, and its octets: body untouched, Bcc and Return-Path left out of the header.

    Raises:
        MessageError: For line ends of several kinds, NUL, a line over 998 octets, or a header that is none.
        AddressError: The header's addresses do not make an envelope.
    """
    if b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    check_verbatim(data, field="message")
    head, _, body = data.partition(b"\r\n\r\n")
    head, body = head.removesuffix(b"\r\n"), body.removesuffix(b"\r\n")
    fields = _fields(head)
    values = _values(fields)
    for empty in [name for name in _FILLED if name in values and not values[name].strip()]:
        del values[empty]
        fields = [field for field in fields if field[0] != empty]
    kept = [line for name, line in fields if name not in _OWN or (bcc and name == "bcc")]
    from_ = _author(values, author)
    if "from" not in values:
        kept.insert(0, mailboxes("From", (from_,)).encode())
    if "date" not in values:
        kept.append(f"Date: {date_time(date)}".encode())
    if "message-id" in values:
        known = values["message-id"].strip().decode("utf-8", "replace")
    else:
        known = message_id(from_.domain)
        kept.append(f"Message-ID: {known}".encode())
    block = b"\r\n".join(kept)
    check_block(block.replace(b"\r\n\t", b"\r\n "), fields=len(kept))
    message = _known(known, from_=from_, date=date, envelope=envelope or _envelope(values, from_))
    leaf = Leaf(
        (),
        body,
        (_content_type(values.get("content-type", b"text/plain")), len(body), None, None),
        "7bit" if body.isascii() else "8bit",
    )
    needs = needs_of(leaf) | _header_needs(block)
    segments = (b"\r\n\r\n%b\r\n" % body if body else b"\r\n\r\n",)
    composed = ComposedMessage(known, total(block, segments), needs, block, segments, leaf)
    return message, composed


def _fields(head: bytes) -> list[Field]:
    found: list[Field] = []
    for line in BETWEEN_FIELDS.split(head) if head else ():
        raw, colon, value = line.partition(b":")
        name = _name(raw) if colon else None
        if name is None:
            msg = f"message: {line[:60]!r} is not a header field"
            raise MessageError(msg)
        found.append((name, line if len(raw) == len(name) else raw.rstrip(b" \t") + b":" + value))
    return found


@lru_cache(maxsize=256)
def _name(raw: bytes) -> str | None:
    """A field's name in lower case, blanks before the colon left out; None where it is none."""
    bare = raw.rstrip(b" \t")
    return bare.decode().lower() if _NAME.fullmatch(bare) else None


def _values(fields: list[Field]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, line in fields:
        if name in found and name in _ONCE:
            msg = f"message: two {line[: len(name)].decode()} fields; readers would disagree about which one counts (RFC 5322 §3.6)"
            raise MessageError(msg)
        found[name] = line[len(name) + 1 :]
    return found


def _author(values: dict[str, bytes], author: Address | None) -> Address:
    if "from" in values:
        return _first("From", values["from"])
    if author is None:
        msg = "message: no From field, and neither the connection nor its credential names an author"
        raise MessageError(msg)
    return author


def _envelope(values: dict[str, bytes], from_: Address) -> Envelope:
    if not _RESENT.isdisjoint(values):
        msg = "message: it has Resent fields, so To, Cc and Bcc are not its envelope; hand in an envelope of your own"
        raise AddressError(msg)
    sender = _first("Sender", values["sender"]) if "sender" in values else from_
    recipients = [
        address for name in ("to", "cc", "bcc") if name in values for address in _addresses(name.title(), values[name])
    ]
    return Envelope(sender=sender, recipients=recipients)


@lru_cache(maxsize=64)  # one author has many messages
def _first(name: str, value: bytes) -> Address:
    addresses = _addresses(name, value)
    if not addresses:
        msg = f"message: the {name} field names nobody"
        raise AddressError(msg)
    return addresses[0]


def _addresses(name: str, value: bytes) -> list[Address]:
    text = value.replace(b"\r\n", b"").replace(b"\t", b" ").decode("utf-8", "replace").strip()
    try:
        found = list(Address.parse_list(text)) if text else []
        if "=?" in text and (spoilt := [one.email for one in found if "=?" in one.email]):  # RFC 2047 §5
            msg = f"{spoilt[0]!r}: an encoded-word stands in an address"
            raise AddressError(msg)
    except MailwrightError as error:
        advice = "write it as Ann <ann@example.org>" if name == "From" else "hand in an envelope of your own"
        msg = f"message: the {name} field cannot be read: {error.message}; {advice}"
        raise AddressError(msg) from error
    return found


def _header_needs(block: bytes) -> frozenset[Need]:
    if block.isascii():
        return frozenset()
    try:
        block.decode()
    except UnicodeDecodeError:
        msg = "message: the header holds octets that are not UTF-8"
        raise MessageError(msg) from None
    return frozenset({"smtputf8"})


@lru_cache(maxsize=64)
def _content_type(value: bytes) -> str:
    return value.strip().partition(b";")[0].strip().decode("ascii", "replace").lower()


_BLANK: Final = Message()


def _known(message_id: str, **values: Any) -> Message:
    """Other people's ids may be odd; they are sent as they are, and not made part of our model."""
    return _BLANK.with_checked(message_id=message_id if is_message_id(message_id) else None, **values)
