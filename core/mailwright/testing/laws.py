"""Laws every composed message obeys. Plugin authors check theirs with `hold`; each law raises AssertionError."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime
from itertools import count
from time import process_time
from typing import Final, cast

from attrs import evolve

from mailwright.mime import ComposedMessage, compose, is_message
from mailwright.mime.fields import refold
from mailwright.mime.names import clean_filename, guess_type
from mailwright.mime.plain import plain_text
from mailwright.model import Address, Message, Part
from mailwright.ports import Need
from mailwright.testing.readers import Reader, ReadPart, installed

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
        ("list-unsubscribe", message.list_unsubscribe),
        ("list-unsubscribe-post", message.one_click),
        *((f"list-{name}", text) for name, text in message.list_headers),
    ):
        if present:
            meant.add(name)
    optional = {"content-transfer-encoding", "x-priority", "importance", "priority"}
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


def readers_agree(message: Message, *, readers: Mapping[str, Reader] | None = None) -> None:
    """Independent parsers find the same: subject, names, addresses, Message-ID, bodies, attachments octet for octet.

    Blanks in names are not compared (readers fold them together), nor addresses that `readable` leaves out:
    `recipients_are_exact` looks at those.

    Args:
        message: Prepared, its parts in memory, without ``data:`` images.
        readers: By name; default: `mailwright.testing.readers.installed`.
    """
    message = readable(message)
    octets = bytes(composed(message))
    for name, read in (installed() if readers is None else readers).items():
        found = read(octets)
        assert found.subject == message.subject, name
        assert found.message_id == message.message_id, name
        for field, meant in (
            ("from", (cast("Address", message.from_),)),
            ("to", message.to),
            ("cc", message.cc),
            ("reply-to", message.reply_to),
        ):
            people = [("".join(one.split()), email) for one, email in found.mailboxes[field]]
            assert people == [("".join(one.name.split()), one.email) for one in meant], (name, field)
        _same_parts(found.parts, meant_parts(message), name)


def readable(message: Message) -> Message:
    """The message without addresses that parsers are known to differ about.

    Few take ``"quoted"@``, some decode ``=?`` before the ``@``, and beside raw UTF-8 some decode no name any more.
    """

    def plain(people: Iterable[Address]) -> list[Address]:
        return [one for one in people if one.email.isascii() and '"' not in one.email and "=?" not in one.email]

    kept = {field: plain(getattr(message, field)) for field in ("to", "cc", "reply_to")}
    author = plain([cast("Address", message.from_)]) or [Address("author@example.org", message.from_.name)]  # type: ignore[union-attr]
    return message.replace(from_=author[0], **kept)


def meant_parts(message: Message) -> list[ReadPart | None]:
    """What a parser should find below the header, in the order of the tree; None for ready-made parts."""
    text = message.text
    if text is None and message.html is not None:
        text = plain_text(message.html) or None
    calendar = message.calendar.content if message.calendar else None
    related: list[ReadPart | None] = []
    mixed: list[ReadPart | None] = []
    for part in message.attachments:
        inline = isinstance(part, Part) and part.content_id and part.disposition != "attachment"
        (related if inline and message.html is not None else mixed).append(_meant_part(part))
    found: list[ReadPart | None] = [
        *_meant_body("text/plain", text or None if text is False else text),
        *_meant_body("text/html", message.html),
        *related,
        *_meant_body("text/calendar", calendar),
    ]
    return [*(found or ([] if message.attachments else [*_meant_body("text/plain", "")])), *mixed]


def _meant_body(kind: str, text: str | None) -> Iterator[ReadPart]:
    if text is not None:
        yield ReadPart(content_type=kind, content=text.encode())


def _meant_part(part: object) -> ReadPart | None:
    if not isinstance(part, Part):
        return None
    content = part.content.encode() if isinstance(part.content, str) else part.content
    filename = clean_filename(part.filename, field="filename") if part.filename else None
    guessed = "message/rfc822" if is_message(part) else guess_type(filename) if filename else None
    default = "text/plain" if isinstance(part.content, str) else "application/octet-stream"
    return ReadPart(
        content_type=(part.content_type or guessed or default).lower(),
        disposition=part.disposition or ("inline" if part.content_id else "attachment"),
        filename=filename,
        content_id=part.content_id,
        content=None if is_message(part) else cast("bytes", content),
    )


def _same_parts(found: Sequence[ReadPart], meant: Sequence[ReadPart | None], name: str) -> None:
    assert len(found) == len(meant), (name, [one.content_type for one in found])
    for one, wanted in zip(found, meant, strict=True):
        if wanted is None:
            continue
        body = wanted.disposition is None
        assert (one.content_type, one.disposition) == (wanted.content_type, wanted.disposition), name
        if body:
            assert _unified((one.content or b"").decode()) == _unified((wanted.content or b"").decode()), name
        else:
            assert (one.filename, one.content_id, one.content) == (wanted.filename, wanted.content_id, wanted.content)


def chunking_never_matters(message: Message) -> None:
    """Attachments that come in odd pieces give the octets that they give whole."""
    whole, pieces = [], []
    for part in message.attachments:
        if isinstance(part, Part) and isinstance(part.content, bytes) and not is_message(part):
            sample = evolve(part, content_type="application/octet-stream")
            whole.append(sample)
            pieces += [evolve(sample, content=Pieces(part.content))]
    assert bytes(composed(message.replace(attachments=pieces))) == bytes(composed(message.replace(attachments=whole)))


class Pieces:
    """Replayable content that comes in pieces of one octet, then two, then three, and so on."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        """Octets in all."""
        return len(self._content)

    def chunks(self, step: int) -> Iterator[bytes]:
        """Read from the start."""
        position, length = 0, 1
        while position < len(self._content):
            yield self._content[position : position + length]
            position, length = position + length, min(length + 1, step)


def folding_is_idempotent(message: Message) -> None:
    """A field that was unfolded folds to the same value again; free text and ids to the same octets."""
    for name, raw in composed(message).headers:
        blank = "" if raw.startswith(b"\r\n") else " "
        folded = f"{name}:{blank}{raw.decode()}"
        text = folded.removeprefix(f"{name}:").replace("\r\n ", " ").removeprefix(" ")
        again = refold(name, text)
        unfolded = again.removeprefix(f"{name}:").replace("\r\n ", " ").removeprefix(" ")
        assert unfolded == text
        assert refold(name, unfolded) == again
        if name.lower() in {"subject", "references", "in-reply-to"} or name in dict(message.headers):
            assert again == folded


def linear_time(work: Callable[[str], object], piece: str, *, small: int = 20_000, times: int = 16) -> None:
    """Work on a hostile text `times` as long takes about `times` as long, not its square.

    Measured in CPU time, the best of three; allowed is six times too much, so that it never fails by chance.

    Args:
        work: Takes the text.
        piece: Repeated to make it.
        small: Characters of the short text.
        times: How much longer the long one is.
    """

    def cost(size: int) -> float:
        text = piece * (size // len(piece))
        spent = []
        for _ in range(3):
            start = process_time()
            work(text)
            spent.append(process_time() - start)
        return min(spent)

    assert cost(small * times) < times * 6 * max(cost(small), 0.002), piece


LAWS: Final[tuple[Callable[[Message], None], ...]] = (
    size_is_length,
    replay_is_equal,
    same_arguments_same_octets,
    lines_are_sound,
    fields_are_the_intended,
    recipients_are_exact,
    text_round_trips,
    readers_agree,
    chunking_never_matters,
    folding_is_idempotent,
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
