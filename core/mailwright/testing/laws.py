"""Laws every composed message obeys. Plugin authors check theirs with `hold`; each law raises AssertionError."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime
from itertools import count
from typing import Final, cast

from mailwright.mime import ComposedMessage, compose
from mailwright.mime.names import clean_filename
from mailwright.mime.plain import plain_text
from mailwright.model import Address, Message, Part
from mailwright.ports import Need

_ALWAYS: Final = ("from", "date", "message-id", "mime-version", "content-type")
_LENIENT: Final = {"strict": False} if "strict" in inspect.signature(getaddresses).parameters else {}
_FIELD: Final = re.compile(rb"([!-9;-~]+):(?: |\r\n[ \t]|$)")


def fixed_tokens(start: int = 1) -> Callable[[], str]:
    """A source of tokens that counts: the same message composes to the same octets."""
    numbers = count(start)
    return lambda: f"{next(numbers):032x}"


def composed(message: Message, *, abilities: frozenset[Need] = frozenset()) -> ComposedMessage:
    """Compose with `fixed_tokens`."""
    return compose(message, token=fixed_tokens(), abilities=abilities)


def size_is_length(message: Message) -> None:
    """`size`, known beforehand, is the number of octets."""
    made = composed(message)
    assert made.size == len(bytes(made))


def replay_is_equal(message: Message) -> None:
    """Reading again, and reading asynchronously, yields the same octets."""
    made = composed(message)

    async def read() -> bytes:
        return b"".join([chunk async for chunk in made])

    assert bytes(made) == b"".join(made) == asyncio.run(read())


def same_arguments_same_octets(message: Message) -> None:
    """Composition depends on nothing but its arguments."""
    assert bytes(composed(message)) == bytes(composed(message))


def lines_are_sound(message: Message) -> None:
    """Seven-bit; no NUL, no bare CR or LF, no line over 998 octets; CRLF at the end (RFC 5322 §2.1, §2.3)."""
    made = composed(message)
    octets = bytes(made)
    bare = octets.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare
    assert b"\0" not in octets
    assert octets.endswith(b"\r\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    head, _, body = octets.partition(b"\r\n\r\n")
    assert body.isascii() or "8bitmime" in made.needs
    assert head.isascii() or "smtputf8" in made.needs


def fields_are_the_intended(message: Message) -> None:
    """The header block holds the fields that were meant, each once, and never Bcc."""
    head = bytes(composed(message)).partition(b"\r\n\r\n")[0]
    names = []
    for line in head.split(b"\r\n"):
        if line[:1] in {b" ", b"\t"}:
            assert line.strip(), "a folded line of blanks"
            continue
        found = _FIELD.match(line + b" ")
        assert found, line
        names.append(found.group(1).decode().lower())
    assert len(names) == len(set(names))
    assert "bcc" not in names
    meant = {*_ALWAYS, *(name.lower() for name, _ in message.headers)}
    for name, present in (
        ("to", message.to),
        ("cc", message.cc),
        ("sender", message.sender),
        ("reply-to", message.reply_to),
        ("subject", message.subject),
        ("references", message.references),
        ("in-reply-to", message.in_reply_to),
        ("auto-submitted", message.auto_submitted),
    ):
        if present:
            meant.add(name)
    optional = {"content-transfer-encoding", "x-priority", "importance", "priority"}
    optional |= {name for name in names if name.startswith("list-")}
    assert meant <= set(names) <= meant | optional


def recipients_are_exact(message: Message) -> None:
    """A reader finds exactly the addresses that were written, in their order."""
    fields = dict(_fields(composed(message)))
    for name, meant in (("to", message.to), ("cc", message.cc), ("reply-to", message.reply_to)):
        raw = fields.get(name, "")
        found = [_bare(email) for _, email in _mailboxes(raw)] if raw else []
        assert found == [_bare(address.email) for address in meant], (name, raw)


def text_round_trips(message: Message) -> None:
    """Subject, display names, own fields and the date come back as they were written."""
    fields = dict(_fields(composed(message)))
    assert decoded(fields.get("subject", "")) == message.subject
    for name, value in message.headers:
        assert decoded(fields[name.lower()]) == value
    for name, meant in (("from", (message.from_,)), ("to", message.to), ("cc", message.cc)):
        if raw := fields.get(name):
            names = [decoded(part) for part, _ in _mailboxes(raw)]
            assert names == [cast("Address", address).name for address in meant], raw
    assert parsedate_to_datetime(fields["date"]) == cast("object", message.date and message.date.replace(microsecond=0))
    assert fields["message-id"] == message.message_id


def content_round_trips(message: Message) -> None:
    """The standard library's parser finds bodies and attachments, without defects, octet for octet."""
    parsed = message_from_bytes(bytes(composed(message)), policy=policy.default)
    leaves = [part for part in parsed.walk() if not part.is_multipart()]
    assert not [defect for part in parsed.walk() for defect in part.defects]
    own = [part for part in leaves if part.get_content_disposition() is None]
    bodies = {part.get_content_type(): cast("bytes", part.get_payload(decode=True)).decode() for part in own}
    text = message.text if message.text is not None or message.html is None else plain_text(message.html) or None
    for kind, meant in (("text/plain", text), ("text/html", message.html)):
        if isinstance(meant, str):
            assert _unified(bodies[kind]) == _unified(meant)
    found = [part for part in leaves if part.get_content_disposition() is not None]
    meant_parts = [part for part in message.attachments if isinstance(part, Part)]
    assert len(found) == len(meant_parts)
    for part, wanted in zip(found, meant_parts, strict=True):
        content = wanted.content.encode() if isinstance(wanted.content, str) else wanted.content
        assert part.get_payload(decode=True) == content
        meant_name = clean_filename(wanted.filename, field="filename") if wanted.filename else None
        assert part.get_filename() == meant_name


LAWS: Final[tuple[Callable[[Message], None], ...]] = (
    size_is_length,
    replay_is_equal,
    same_arguments_same_octets,
    lines_are_sound,
    fields_are_the_intended,
    recipients_are_exact,
    text_round_trips,
    content_round_trips,
)


def hold(message: Message) -> None:
    """Check every law.

    Args:
        message: Prepared: with From, Date and Message-ID, its parts in memory.

    Raises:
        AssertionError: From the first law that does not hold.
    """
    for law in LAWS:
        law(message)


def decoded(raw: str) -> str:
    """Decode the encoded-words of an unfolded field, as RFC 2047 §6.2 says; plain text stays as it is."""
    if "=?" not in raw:
        return raw
    pieces = decode_header(raw)
    return "".join(piece if isinstance(piece, str) else piece.decode(charset or "ascii") for piece, charset in pieces)


def _fields(made: ComposedMessage) -> Iterator[tuple[str, str]]:
    """Unfolded (RFC 5322 §2.2.3), not decoded."""
    for name, value in made.headers:
        text = value.decode()
        yield name.lower(), text.replace("\r\n ", " ").removeprefix(" ")


def _mailboxes(raw: str) -> list[tuple[str, str]]:
    """Names and addresses, as the lenient reader of the standard library finds them.

    The strict one takes a quoted ``[`` for a comment or a route and finds nothing.
    """
    return getaddresses([raw], **_LENIENT)


def _bare(email: str) -> str:
    """Without the quotation marks that readers differ about."""
    return email.replace('"', "").replace("\\", "")


def _unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
