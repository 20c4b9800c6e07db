"""Put a message together: header block, tree, boundaries, final check."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mailwright.errors import MessageError
from mailwright.mime.composed import ComposedMessage, Offload, total
from mailwright.mime.fields import author, check_fields, date_time, fold, header_block, mailboxes, unstructured
from mailwright.mime.images import extract_images
from mailwright.mime.parts import part_leaf
from mailwright.mime.raw import raw_leaf
from mailwright.mime.transfer import Encoding, encode_text, unified
from mailwright.mime.tree import Leaf, Multi, Node, multipart_fields, needs_of, segments, verbatim
from mailwright.model import Message, Part, Priority, RawPart
from mailwright.ports import Need

_PRIORITY: Final = {
    Priority.HIGH: ("X-Priority: 1 (Highest)", "Importance: High", "Priority: urgent"),
    Priority.LOW: ("X-Priority: 5 (Lowest)", "Importance: Low", "Priority: non-urgent"),
}
_NORMAL: Final = Priority.NORMAL  # an enum's members are slow to reach
_TRIES: Final = 8
_STRUCTURED: Final = 900  # stretches of other people's header fields stay whole up to this


def compose(
    message: Message,
    *,
    token: Callable[[], str],
    bcc: bool = False,
    abilities: frozenset[Need] = frozenset(),
    offload: Offload | None = None,
) -> ComposedMessage:
    """Turn a prepared message into octets.

    Args:
        message: With from_, message_id and date; its attachments are `Part` or `RawPart` with replayable content.
        token: Thirty-two fresh hexadecimal digits, for boundaries and Content-IDs.
        bcc: Write the Bcc field, for transports that read recipients from the header.
        abilities: What the session is known to take; empty: 7-bit safe.
        offload: Runs file reads outside the event loop in asynchronous iteration, such as `asyncio.to_thread`.

    Returns:
        Immutable, replayable octets of known size. The same arguments give the same octets.

    Raises:
        MessageError: Names the field that cannot be written.
        AttachmentError: For a file that is not there.
    """
    if message.message_id is None or message.date is None or message.from_ is None:
        missing = "from" if message.from_ is None else "date" if message.date is None else "message_id"
        msg = f"{missing}: not set; prepare the message first"
        raise MessageError(msg)
    root = _tree(message, token, eight_bit="8bitmime" in abilities, binary="binarymime" in abilities)
    fields = _fields(message, bcc=bcc)
    plain = verbatim(root)
    needs = needs_of(plain)
    if isinstance(root, Leaf):
        boundary = ""
        fields += root.fields
    else:
        boundary = _fresh_boundary(plain, token)
        fields += multipart_fields(root, boundary, needs)
    head = header_block(fields)
    if not head.isascii():
        _check_smtputf8(message, head.decode(), bcc=bcc)
        needs |= {"smtputf8"}
    octets = segments(head, root, boundary)
    return ComposedMessage(message.message_id, total(octets), needs, octets, len(head), root, offload)


def with_text(message: Message) -> Message:
    """The message with the plain text that `compose` would derive, for services that compose by themselves."""
    if message.text is not None or message.html is None:
        return message
    return message.with_checked(text=_derived(message.html) or False)


def _derived(html: str) -> str | None:
    from mailwright.mime.plain import plain_text  # noqa: PLC0415 - most messages bring their own text

    return plain_text(html) or None


def _fields(message: Message, *, bcc: bool) -> list[str]:
    """The top header block without the root's Content-* fields."""
    from_, sender = message.from_, message.sender
    assert from_ is not None and message.date is not None  # noqa: PT018 - compose has looked
    fields = [author("From", from_.name, from_.email)]
    if sender is not None:
        fields.append(author("Sender", sender.name, sender.email))
    if message.reply_to:
        fields.append(mailboxes("Reply-To", message.reply_to))
    if message.to:
        fields.append(mailboxes("To", message.to))
    if message.cc:
        fields.append(mailboxes("Cc", message.cc))
    if bcc and message.bcc:
        fields.append(mailboxes("Bcc", message.bcc))
    if message.subject:
        fields.append(unstructured("Subject", message.subject))
    fields += (f"Date: {date_time(message.date)}", f"Message-ID: {message.message_id}", "MIME-Version: 1.0")
    if message.in_reply_to:
        fields.append(fold("In-Reply-To", message.in_reply_to))
    if message.references:
        fields.append(fold("References", message.references))
    if message.priority is not _NORMAL:
        fields += _PRIORITY[message.priority]
    if message.list_headers or message.list_unsubscribe:
        fields += _list_fields(message)
    if message.auto_submitted:
        fields.append(f"Auto-Submitted: {message.auto_submitted}")
    if message.headers:
        fields += [unstructured(name, value, longest=_STRUCTURED) for name, value in message.headers]
    return fields


def _list_fields(message: Message) -> list[str]:
    """RFC 2369, RFC 2919, RFC 8058."""
    fields = [
        f"List-{name.upper() if name == 'id' else name.title()}: <{value}>" for name, value in message.list_headers
    ]
    if message.list_unsubscribe:
        *urls, last = message.list_unsubscribe
        fields.append(fold("List-Unsubscribe", [*(f"<{url}>," for url in urls), f"<{last}>"]))
        if message.one_click:
            fields.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    return fields


def _check_smtputf8(message: Message, text: str, *, bcc: bool) -> None:
    """Only addresses may bring non-ASCII characters into the header block (RFC 6532)."""
    written = (
        message.from_,
        message.sender,
        *message.reply_to,
        *message.to,
        *message.cc,
        *(message.bcc if bcc else ()),
    )
    allowed = {char for address in written if address is not None for char in address.email}
    if found := next((char for char in text if not char.isascii() and char not in allowed), None):
        msg = f"headers: U+{ord(found):04X} was not encoded; the message is refused"
        raise MessageError(msg)


def _tree(message: Message, token: Callable[[], str], *, eight_bit: bool, binary: bool) -> Node:
    html = message.html
    images: tuple[Part, ...] = ()
    if html is not None and "data:image/" in html:
        html, images = extract_images(html, token=token())
    if not message.attachments and not images:
        return _body(message, html, (), eight_bit=eight_bit) or _text_leaf("text", "plain", "", eight_bit=eight_bit)
    related: list[Leaf] = []
    mixed: list[Leaf] = []
    seen: set[str] = set()
    for index, part in enumerate((*images, *message.attachments)):
        field = f"attachments[{max(0, index - len(images))}]"
        if isinstance(part, RawPart):
            mixed.append(raw_leaf(part, field=field))
            continue
        if not isinstance(part, Part):
            msg = f"{field}: {type(part).__name__} is not resolved; prepare the message first"
            raise MessageError(msg)
        if part.content_id is not None:
            if part.content_id in seen:
                msg = f"{field}.content_id: {part.content_id!r} is used twice"
                raise MessageError(msg)
            seen.add(part.content_id)
        leaf = part_leaf(part, field=field, binary=binary)
        (related if html is not None and part.content_id and part.disposition != "attachment" else mixed).append(leaf)
    body = _body(message, html, tuple(related), eight_bit=eight_bit)
    if not mixed:
        assert body is not None
        return body
    return Multi("mixed", (body, *mixed) if body is not None else tuple(mixed))


def _body(message: Message, html: str | None, related: tuple[Leaf, ...], *, eight_bit: bool) -> Node | None:
    """Text, HTML and invitation: alternatives, the plainest first (RFC 2046 §5.1.4)."""
    text = message.text
    if text is None and html is not None:
        text = _derived(html)
    found: list[Node] = []
    if isinstance(text, str):
        found.append(_text_leaf("text", "plain", text, eight_bit=eight_bit))
    if html is not None:
        leaf = _text_leaf("html", "html", html, eight_bit=eight_bit)
        found.append(Multi("related", (leaf, *related)) if related else leaf)
    if message.calendar is not None:
        calendar = message.calendar
        method = f"; method={calendar.method}"
        found.append(_text_leaf("calendar", "calendar", calendar.content, parameter=method, eight_bit=eight_bit))
    if len(found) > 1:
        return Multi("alternative", tuple(found))
    return found[0] if found else None


def _text_leaf(field: str, subtype: str, text: str, *, eight_bit: bool, parameter: str = "") -> Leaf:
    encoding, body, size = encode_text(unified(text), eight_bit=eight_bit)
    fields = _text_fields(subtype, parameter, encoding)
    if parameter:
        check_fields(fields, field=field)
    return Leaf(fields, body, (f"text/{subtype}", size, None, None), encoding)


@lru_cache(maxsize=64, typed=True)
def _text_fields(subtype: str, parameter: str, encoding: Encoding) -> tuple[str, str]:
    return f"Content-Type: text/{subtype}; charset=utf-8{parameter}", f"Content-Transfer-Encoding: {encoding}"


def _fresh_boundary(plain: list[Leaf], token: Callable[[], str]) -> str:
    for _ in range(_TRIES):
        fresh = token()
        needle = fresh.encode()
        if not [leaf for leaf in plain if needle in leaf.body]:  # streams are base64
            return fresh
    msg = f"attachments: every one of {_TRIES} boundaries occurs in the parts; the source of randomness is broken"
    raise MessageError(msg)
