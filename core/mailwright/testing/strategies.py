"""Hypothesis strategies for mail: addresses, header text, bodies, attachments, whole messages, hostile text.

from hypothesis import given
from mailwright.testing.laws import hold
from mailwright.testing.strategies import messages

@given(messages())
def test_my_hook_keeps_mail_sound(message):
hold(my_hook(message))
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from mailwright.errors import AddressError
from mailwright.model import Address, Calendar, Message, Part, Priority, RawPart

_ATEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+/=?^_`{|}~-"
_LDH = "abcdefghijklmnopqrstuvwxyz0123456789"
_IDN = ("bücher.example", "пример.example", "例え.テスト", "παράδειγμα.example", "مثال.example")
_NASTY_NAMES = (
    "Doe, Jane",
    'The "Boss"',
    "back\\slash",
    "<evil@example.com>",
    "a@example.com>, <b@example.com",
    "=?utf-8?q?a=40evil=2Ecom=3E=2C?=",
    "(comment)",
    "group: a@example.com;",
    " leading and trailing ",
    "two  blanks",
    "'quoted'",
    "\u202egnp.exe",
    "🧑‍🚀 crew",
)
_HOSTILE = (
    "=?utf-8?q?a=0ABcc=3A_x=40y?=",
    "=?utf-8?b?DQpCY2M6IHhAeQ==?=",
    "=?",
    "?=",
    "\r\n.\r\n",
    "\r\nBcc: x@example.com\r\n",
    "\n.\n",
    "\x85",
    "\u2028",
    "\u2029",
    "--=_",
    "From ",
    ".",
    "..",
    "\t",
    "=\r\n",
    "=0A",
    "%0D%0A",
    "{{7*7}}",
    "\u202e",
    "\ufeff",
    "\U0010ffff",
)


def header_text(*, max_size: int = 200) -> st.SearchStrategy[str]:
    """Text that a header may hold: anything but C0 controls, DEL and lone surrogates."""
    anything = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\x7f"]), max_size=max_size
    )
    ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=max_size)
    return st.one_of(ascii_text, anything, st.sampled_from(_NASTY_NAMES))


def display_names() -> st.SearchStrategy[str]:
    """Names of people, kind and nasty."""
    return st.one_of(st.just(""), st.sampled_from(_NASTY_NAMES), header_text(max_size=80))


def hostile_text(*, line_ends: bool = True) -> st.SearchStrategy[str]:
    """Text made of what has broken mail software: encoded-words, dots, separators, look-alikes of header fields.

    Args:
        line_ends: With CR, LF and tab; without them it may stand in a header.
    """
    pieces = [piece for piece in _HOSTILE if line_ends or not set(piece) & {"\r", "\n", "\t"}]
    return st.lists(st.one_of(st.sampled_from(pieces), header_text(max_size=20)), max_size=20).map("".join)


@st.composite
def addresses(draw: st.DrawFn, *, eai: bool = False) -> Address:
    """Mailboxes: plain, quoted local parts, internationalised domains.

    Args:
        eai: Also local parts outside ASCII (RFC 6531).
    """
    atoms = st.lists(st.text(_ATEXT, min_size=1, max_size=12), min_size=1, max_size=3).map(".".join)
    quoted = st.text(
        st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=12
    )
    locals_ = [atoms, quoted.map(lambda text: f'"{text}"')]
    if eai:
        locals_.append(st.sampled_from(["grüße", "почта", "用户", "用户.名", "ñandú"]))
    label = st.text(_LDH, min_size=1, max_size=12)
    plain = st.lists(label, min_size=1, max_size=3).map(lambda labels: ".".join((*labels, "example")))
    domain = draw(st.one_of(plain, st.sampled_from(_IDN)))
    try:
        return Address(f"{draw(st.one_of(locals_))}@{domain}", draw(display_names()))
    except AddressError:
        return Address("fallback@example.org", draw(display_names()))


def bodies(*, max_size: int = 400) -> st.SearchStrategy[str]:
    """Texts of messages: every line end, long lines, dots, other scripts; no NUL, no lone surrogates."""
    anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=max_size)
    long_lines = st.integers(0, 2100).map(lambda size: "long " * (size // 5) + "x" * (size % 5))
    solid = st.integers(900, 1100).map(lambda size: "x" * size)
    return st.one_of(anything, hostile_text(), long_lines, solid)


def filenames() -> st.SearchStrategy[str]:
    """File names as people and attackers give them, without controls."""
    return st.one_of(
        st.sampled_from(
            ["report.pdf", "über uns.txt", "../../etc/passwd", "C:\\x\\y.doc", "...", 'a"b.txt', "🎉.png", "=?x?="]
        ),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=120),
    )


@st.composite
def attachments(draw: st.DrawFn) -> Part:
    """Parts with bytes or text in memory."""
    content: Any = draw(st.one_of(st.binary(max_size=300), bodies(max_size=120)))
    kind = draw(st.sampled_from([None, "application/pdf", "image/png", "text/plain", "text/csv"]))
    name = draw(st.none() | filenames().filter(lambda text: not text.lower().endswith(".eml")))
    return Part(
        content=content,
        filename=name,
        content_type=kind,
        disposition=draw(st.sampled_from([None, "attachment", "inline"])),
        description=draw(st.none() | header_text(max_size=60)),
    )


@st.composite
def inline_images(draw: st.DrawFn) -> Part:
    """Parts with a Content-ID, which HTML shows."""
    return Part(
        content=draw(st.binary(min_size=1, max_size=100)),
        content_type=draw(st.sampled_from(["image/png", "image/svg+xml"])),
        content_id=draw(st.from_regex(r"[a-z0-9]{1,20}(@[a-z]{1,10}\.example)?", fullmatch=True)),
        disposition=draw(st.sampled_from([None, "inline", "attachment"])),
        filename=draw(st.none() | st.just("logo.png")),
    )


@st.composite
def embedded_messages(draw: st.DrawFn) -> Part:
    """Forwarded messages: message/rfc822, plain ones."""
    subject = draw(st.text("abc =?", max_size=40))
    body = draw(st.text("abc.\n-", max_size=80))
    return Part(content=f"From: a@example.org\nSubject: {subject}\n\n{body}\n".encode(), filename="forwarded.eml")


@st.composite
def raw_parts(draw: st.DrawFn) -> RawPart:
    """Ready-made MIME parts: header fields, empty line, body in any encoding."""
    name = draw(st.text(_LDH, min_size=1, max_size=20))
    body = b64encode(draw(st.binary(max_size=50)))
    head = f"Content-Type: application/x-{name}\r\nContent-Transfer-Encoding: base64\r\nX-Own: {name}\r\n\r\n"
    return RawPart(head.encode() + body + draw(st.sampled_from([b"", b"\r\n"])))


@st.composite
def headers(draw: st.DrawFn, *, max_size: int = 3) -> list[tuple[str, str]]:
    """Fields of an author's own: names that nobody else writes, any text."""
    names = st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True).filter(
        lambda name: name.lower() != "x-priority"
    )
    chosen = draw(st.lists(names, max_size=max_size, unique_by=str.lower))
    return [(name, draw(st.one_of(header_text(), hostile_text(line_ends=False)))) for name in chosen]


@st.composite
def list_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `Message` that make it one of a mailing list: List-* with or without one click."""
    path = draw(st.text(_LDH, min_size=1, max_size=300))
    one_click = draw(st.booleans())
    return {
        "list_unsubscribe": [f"https://example.org/u/{path}", "mailto:leave@example.org"][: draw(st.integers(1, 2))],
        "one_click": one_click,
        "list_headers": {"id": "news.example.org", "help": f"https://example.org/{path}"},
        "auto_submitted": "auto-generated",
    }


def moments() -> st.SearchStrategy[datetime]:
    """Dates with a zone of whole minutes."""
    zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zones)  # noqa: DTZ001 - the zone comes beside


@st.composite
def messages(draw: st.DrawFn, *, eai: bool = False) -> Message:
    """Whole messages, prepared: ready to be composed.

    Args:
        eai: With addresses that need SMTPUTF8.
    """
    people = st.lists(addresses(eai=eai), max_size=4)
    parts = st.one_of(attachments(), attachments(), inline_images(), embedded_messages(), raw_parts())
    html = draw(st.none() | bodies().map(lambda text: f"<p>{text}</p>"))
    calendar = draw(
        st.none() | st.just(Calendar(content="BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n", method="REQUEST"))
    )
    ids = st.from_regex(r"[a-z0-9.]{1,60}@[a-z]{1,20}\.example", fullmatch=True).filter(lambda text: ".." not in text)
    return Message(
        from_=draw(addresses(eai=eai)),
        sender=draw(st.none() | addresses(eai=eai)),
        to=(draw(addresses(eai=eai)), *draw(people)),
        cc=draw(people),
        bcc=draw(people),
        reply_to=draw(people),
        subject=draw(header_text()),
        html=html,
        text=draw(st.none() | bodies() | (st.nothing() if html is None else st.just(False))),
        attachments=draw(st.lists(parts, max_size=3, unique_by=_content_id)),
        calendar=calendar,
        priority=draw(st.sampled_from(Priority)),
        headers=draw(headers()),
        message_id=f"<{draw(ids)}>",
        date=draw(moments()),
        references=[f"<{item}>" for item in draw(st.lists(ids, max_size=30))],
        in_reply_to=[f"<{item}>" for item in draw(st.lists(ids, max_size=2))],
        **draw(st.just({}) | list_fields()),
    )


def _content_id(part: Part | RawPart) -> object:
    return getattr(part, "content_id", None) or id(part)
