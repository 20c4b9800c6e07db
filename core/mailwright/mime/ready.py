"""Messages that come ready-made, as octets or as the standard library's object: checked, then sent as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from mailwright.errors import AddressError, MailwrightError, MessageError
from mailwright.mime.composed import ComposedMessage
from mailwright.mime.fields import BETWEEN_FIELDS, check_block, date_time, mailboxes
from mailwright.mime.transfer import check_verbatim
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
_NEEDED: Final = _FILLED | {"from"}
_CR: Final = 0x0D
_BLANKS: Final = b" \t"
_CRLF: Final = b"\r\n"
_END: Final = b"\r\n\r\n"  # of the header
_NOTHING: Final[frozenset[Need]] = frozenset()
_REMEMBERED: Final = 8192
"""Octets of a header, at most, whose names `_shape` remembers: others' headers may be as long as they like."""

_BLANK: Final = Message()

Field = tuple[bytes, bytes, bytes]
"""Its name, the colon, and its value."""


@frozen
class _Shape:
    """What a header is made of.

    Attributes:
        names: Of its fields, in lower case.
        places: Where each of them stands, the last one of several.
        whole: It has what it needs, and nothing that is not sent.
    """

    names: tuple[str, ...]
    places: dict[str, int]
    whole: bool


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
    head, end, body = data.partition(_END)
    fields, _ = _fields(head)
    _shape_of(fields, len(head))
    values = list[object](message.values())
    if _encoded_anew(message):
        values.append(None)
    if len(fields) != len(values):
        msg = "message: a header value would make a field of its own; the message is refused"
        raise MessageError(msg)
    return b"\r\n".join(map(_people, fields, values)) + end + body


def _encoded_anew(message: StandardMessage) -> bool:
    """Whether it is 8-bit text that the standard library encodes, and says so in one more field, at the end."""
    payload = message.get_payload()
    unsaid = "content-transfer-encoding" not in message and message.get_param("charset") is not None
    return unsaid and isinstance(payload, str) and not payload.isascii()


def _people(field: Field, value: object) -> bytes:
    """A field of addresses in our own writing.

    The standard library folds commas into encoded-words (gh-100884) and encodes what stands before an ``@``.
    """
    line = b"".join(field)
    if not getattr(value, "addresses", ()) or any(group.display_name for group in value.groups):  # type: ignore[attr-defined]
        return line
    try:
        people = [Address(one.addr_spec, one.display_name) for one in value.addresses]  # type: ignore[attr-defined]
    except AddressError:  # told where the envelope is made
        return line
    return mailboxes(field[0].rstrip(_BLANKS).decode(), people).encode()


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
    if _CR not in data:
        data = data.replace(b"\n", b"\r\n")
    check_verbatim(data, field="message")
    end = data.find(_END)
    head = data[:end] if end >= 0 else data.removesuffix(b"\r\n")
    fields, folded = _fields(head)
    shape = _shape_of(fields, len(head))
    places = shape.places
    from_ = _first("From", fields[places["from"]][2]) if "from" in places else _author(author)
    known = fields[places["message-id"]][2].strip().decode("utf-8", "replace") if "message-id" in places else ""
    if shape.whole and known and fields[places["date"]][2].strip():
        block = head
        if folded:
            _check(block, len(fields))
    else:
        kept, names = _kept(fields, shape.names, bcc=bcc)
        if "from" not in places:
            kept.insert(0, mailboxes("From", (from_,)).encode())
        if "date" not in names:
            kept.append(f"Date: {date_time(date)}".encode())
        if not known:
            known = message_id(from_.domain)
            kept.append(f"Message-ID: {known}".encode())
        block = b"\r\n".join(kept)
        _check(block, len(kept))
    if envelope is None:
        envelope = _envelope({name: fields[place][2] for name, place in places.items()}, from_)
    # other people's ids may be odd; they are sent as they are, and not made part of our model
    own = known if is_message_id(known) else None
    message = _BLANK.with_checked(message_id=own, from_=from_, date=date, envelope=envelope)
    body = len(data) - len(head) - len(_END)
    if body <= 0 or (body == len(_CRLF) and data.endswith(_CRLF)):
        octets = block + _END
    elif not data.endswith(_CRLF):
        octets = b"%b%b\r\n" % (block, data[len(head) :])
    else:
        octets = data if block is head else block + data[len(head) :]
    needs = _NOTHING if octets.isascii() else _needs(octets, block)
    return message, ComposedMessage(known, len(octets), needs, (octets,), len(block), None)


def _fields(head: bytes) -> tuple[list[Field], bool]:
    """A header's fields, and whether any of them is folded."""
    lines = head.split(b"\r\n")
    folded = min(lines) < b"!"  # a line begins with a blank, or there is none
    if folded:
        lines = BETWEEN_FIELDS.split(head) if head else []
    return [line.partition(b":") for line in lines], folded


def _shape_of(fields: list[Field], size: int) -> _Shape:
    """What a header of `size` octets is made of."""
    names = tuple([name for name, colon, _ in fields if colon])
    shape = None
    if len(names) == len(fields):
        shape = _shape(names) if size <= _REMEMBERED else _shape.__wrapped__(names)
    if shape is None:
        wrong = next(field for field in fields if not field[1] or not _NAME.fullmatch(field[0].rstrip(_BLANKS)))
        msg = f"message: {b''.join(wrong)[:60]!r} is not a header field"
        raise MessageError(msg)
    return shape


@lru_cache(maxsize=64)  # a program that makes messages makes them with the same few fields
def _shape(names: tuple[bytes, ...]) -> _Shape | None:
    """None: one of them is no name."""
    written = [name.rstrip(_BLANKS) for name in names]
    if not all(map(_NAME.fullmatch, written)):
        return None
    places: dict[str, int] = {}
    for place, name in enumerate(written):
        lower = name.decode().lower()
        if lower in places and lower in _ONCE:
            msg = f"message: two {name.decode()} fields; readers would disagree about which one counts (RFC 5322 §3.6)"
            raise MessageError(msg)
        places[lower] = place
    whole = _OWN.isdisjoint(places) and places.keys() >= _NEEDED and written == [*names]
    return _Shape(tuple([name.decode().lower() for name in written]), places, whole)


def _kept(fields: list[Field], names: tuple[str, ...], *, bcc: bool) -> tuple[list[bytes], set[str]]:
    """What is sent of a header: no blanks before the colon, nothing that is empty, secret or another's to write."""
    kept = [
        (name, b"%b:%b" % (written.rstrip(_BLANKS), value))
        for name, (written, _, value) in zip(names, fields, strict=True)
        if (name not in _OWN or (bcc and name == "bcc")) and (name not in _FILLED or value.strip())
    ]
    return [line for _, line in kept], {name for name, _ in kept}


def _check(block: bytes, fields: int) -> None:
    check_block(block.replace(b"\r\n\t", b"\r\n "), fields=fields)


def _author(author: Address | None) -> Address:
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


def _needs(octets: bytes, block: bytes) -> frozenset[Need]:
    try:
        block.decode()
    except UnicodeDecodeError:
        msg = "message: the header holds octets that are not UTF-8"
        raise MessageError(msg) from None
    found: set[Need] = set()
    if not block.isascii():
        found.add("smtputf8")
    if not octets[len(block) :].isascii():
        found.add("8bitmime")
    return frozenset(found)
