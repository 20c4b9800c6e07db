"""Trees, fields, streaming: what `compose` makes of a message."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from mailwright.errors import AttachmentError, MessageError
from mailwright.mime import ComposedMessage, Structure, compose, with_text
from mailwright.mime.fields import date_time
from mailwright.model import Address, Calendar, Message, Part, RawPart
from mailwright.ports import Composed, Need
from mailwright.testing.laws import fixed_tokens

WHEN = datetime(2026, 11, 2, 15, 4, 5, tzinfo=UTC)


def made(*, abilities: frozenset[Need] = frozenset(), offload: Any = None, **fields: Any) -> ComposedMessage:
    given: dict[str, Any] = {
        "from_": "ann@example.org",
        "to": "bo@example.org",
        "date": WHEN,
        "message_id": "<1@example.org>",
    }
    return compose(Message(**{**given, **fields}), token=fixed_tokens(), abilities=abilities, offload=offload)


def shape(tree: Structure) -> Any:
    kind = tree.content_type.removeprefix("multipart/")
    return (kind, *map(shape, tree.children)) if tree.children else kind


PART = Part(content=b"x", filename="x.pdf")
LOGO = Part(content=b"x", content_id="logo", content_type="image/png")
INVITATION = Calendar(content="BEGIN:VCALENDAR\nEND:VCALENDAR\n", method="REQUEST")


@pytest.mark.parametrize(
    ("fields", "tree"),
    [
        ({}, "text/plain"),
        ({"text": "t"}, "text/plain"),
        ({"html": "<p>h", "text": False}, "text/html"),
        ({"html": "<p>h"}, ("alternative", "text/plain", "text/html")),
        ({"html": "<img src=x>"}, "text/html"),
        ({"html": "<p>h", "text": "t"}, ("alternative", "text/plain", "text/html")),
        ({"text": "t", "calendar": INVITATION}, ("alternative", "text/plain", "text/calendar")),
        ({"calendar": INVITATION}, "text/calendar"),
        ({"text": "t", "attachments": [PART]}, ("mixed", "text/plain", "application/pdf")),
        ({"attachments": [PART]}, ("mixed", "application/pdf")),
        (
            {"html": "<p>h", "attachments": [LOGO]},
            ("alternative", "text/plain", ("related", "text/html", "image/png")),
        ),
        ({"text": "t", "attachments": [LOGO]}, ("mixed", "text/plain", "image/png")),
        (
            {"html": "<p>h", "calendar": INVITATION, "attachments": [LOGO, PART, RawPart(b"\r\nraw")]},
            (
                "mixed",
                ("alternative", "text/plain", ("related", "text/html", "image/png"), "text/calendar"),
                "application/pdf",
                "text/plain",
            ),
        ),
    ],
)
def test_the_tree_follows_the_content(fields: dict[str, Any], tree: Any) -> None:
    composed = made(**fields)
    assert shape(composed.structure) == tree
    parsed = message_from_bytes(bytes(composed), policy=policy.default)
    assert not [defect for part in parsed.walk() for defect in part.defects]
    assert parsed.get_content_type().endswith(tree if isinstance(tree, str) else tree[0])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 79, "quoted-printable"),
        ("Schöne Grüße, bis bald in der alten Stadt\n", "quoted-printable"),
        ("Привет, мир\n", "base64"),
    ],
)
def test_the_encoding_is_the_shortest_that_is_safe(text: str, encoding: str) -> None:
    fields = dict(made(text=text).headers)
    assert fields["Content-Transfer-Encoding"] == encoding.encode()


def test_abilities_of_the_session_are_used() -> None:
    eight = made(text="Привет\n", abilities=frozenset({"8bitmime"}))
    assert eight.needs == {"8bitmime"}
    assert dict(eight.headers)["Content-Transfer-Encoding"] == b"8bit"
    data = bytes(range(256))
    binary = made(attachments=[Part(content=data)], abilities=frozenset({"8bitmime", "binarymime"}))
    assert binary.needs == {"binarymime"}
    assert data in bytes(binary)


def test_multiparts_say_what_their_parts_need() -> None:
    """RFC 2045 §6.4: a relay that converts messages reads it there."""
    eight: frozenset[Need] = frozenset({"8bitmime"})
    parsed = message_from_bytes(bytes(made(text="Привет\n", html="<p>Привет", attachments=[PART], abilities=eight)))
    stated = [(part.get_content_type(), part["Content-Transfer-Encoding"]) for part in parsed.walk()]
    assert stated == [
        ("multipart/mixed", "8bit"), ("multipart/alternative", "8bit"), ("text/plain", "8bit"), ("text/html", "8bit"),
        ("application/pdf", "base64"),
    ]  # fmt: skip
    binary = made(text="t", attachments=[PART], abilities=frozenset({"8bitmime", "binarymime"}))
    assert dict(binary.headers)["Content-Transfer-Encoding"] == b"binary"
    assert "Content-Transfer-Encoding" not in dict(made(text="t", attachments=[PART]).headers)


def test_smtputf8_only_for_addresses_and_words_are_still_encoded() -> None:
    composed = made(to=[Address("почта@example.org", "Имя")], subject="Тема")
    head = bytes(composed).partition(b"\r\n\r\n")[0]
    assert composed.needs == {"smtputf8"}
    assert "<почта@example.org>".encode() in head
    assert "Имя".encode() not in head
    assert "Тема".encode() not in head


@pytest.mark.parametrize(
    ("priority", "lines"),
    [
        ("high", [b"X-Priority: 1 (Highest)", b"Importance: High", b"Priority: urgent"]),
        ("low", [b"X-Priority: 5 (Lowest)", b"Importance: Low", b"Priority: non-urgent"]),
        ("normal", []),
    ],
)
def test_priority(priority: str, lines: list[bytes]) -> None:
    head = bytes(made(priority=priority)).split(b"\r\n")
    assert [line for line in head if b"riority:" in line or b"Importance:" in line] == lines


def test_structured_values_stay_whole() -> None:
    ids = [f"<{'a' * 200}{number}@example.org>" for number in range(5)]
    composed = made(references=ids, in_reply_to=ids[-1], headers={"X-Token": "t" * 500}, auto_submitted="auto-replied")
    written = bytes(composed)
    assert all(item.encode() in written for item in (*ids, "t" * 500))
    assert b"\r\nAuto-Submitted: auto-replied\r\n" in written


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC), "Mon, 02 Nov 2026 03:04:05 +0000"),
        (
            datetime(2024, 2, 29, 23, 59, 59, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            "Thu, 29 Feb 2024 23:59:59 +0545",
        ),
        (datetime(999, 1, 1, 0, 0, tzinfo=timezone(-timedelta(minutes=30))), "Tue, 01 Jan 0999 00:00:00 -0030"),
        (datetime(2026, 1, 1, 12, 0, tzinfo=timezone(timedelta(seconds=90))), "Thu, 01 Jan 2026 11:58:30 +0000"),
    ],
)
def test_dates(moment: datetime, written: str) -> None:
    assert date_time(moment) == written


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_dates_at_the_ends_of_time_are_refused(moment: datetime) -> None:
    odd = timezone(timedelta(seconds=90 if moment == datetime.min else -90))
    with pytest.raises(MessageError, match=r"^date: .* is not in the years 1 to 9999"):
        made(date=moment.replace(tzinfo=odd))


@pytest.mark.parametrize("missing", ["from_", "date", "message_id"])
def test_what_prepare_fixes_must_be_there(missing: str) -> None:
    with pytest.raises(MessageError, match=missing.strip("_")):
        made(**dict[str, Any]({missing: None}))


def test_unread_content_is_refused() -> None:
    with pytest.raises(MessageError, match=r"attachments\[0\]\.content: not read yet"):
        made(attachments=[Part(content=iter([b"x"]))])


class Zeros:
    """Content of any size that is nowhere."""

    def __init__(self, size: int) -> None:
        self.size = size

    def chunks(self, step: int) -> Iterator[bytes]:
        zeros = bytes(step)
        for start in range(0, self.size, step):
            yield zeros[: self.size - start]


def test_two_hundred_mebibytes_in_constant_memory() -> None:
    composed = made(text="t", attachments=[Part(content=Zeros(200 << 20), filename="zeros.bin")])
    tracemalloc.start()
    octets = sum(map(len, composed))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert octets == composed.size
    assert peak < 1 << 20


def test_file_reads_leave_the_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 8192)
    turns = []

    async def offload(function: Callable[..., Any], *args: Any) -> Any:
        turns.append(function)
        return await asyncio.to_thread(function, *args)

    composed = made(text="t", attachments=[Part(content=path)], offload=offload)

    async def read() -> bytes:
        return b"".join([chunk async for chunk in composed])

    assert asyncio.run(read()) == bytes(composed)
    assert len(turns) > 1
    assert composed.structure.children[1].filename == "data.bin"


@pytest.mark.parametrize("change", [b"", b"longer than before"])
def test_a_file_that_changes_is_an_error(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"before")
    composed = made(attachments=[Part(content=path)])
    path.write_bytes(change)
    with pytest.raises(AttachmentError, match="its size changed"):
        bytes(composed)
    path.unlink()
    with pytest.raises(AttachmentError, match=r"attachments\[0\]: No such file"):
        bytes(composed)
    with pytest.raises(AttachmentError, match=r"attachments\[0\]: No such file"):
        made(attachments=[Part(content=path)])


def test_later_headers_go_above_or_below() -> None:
    composed: Composed = made(text="t")
    signed = composed.with_header("DKIM-Signature", "v=1; b=" + "a" * 70 + " " + "b" * 70)
    below = signed.with_header("X-Below", "1\r\n\t2", top=False)
    octets = bytes(below)
    assert octets.startswith(b"DKIM-Signature: v=1;")
    assert b"\r\nX-Below: 1\r\n\t2\r\n\r\nt\r\n" in octets
    assert below.size == len(octets)
    assert bytes(composed) in octets.replace(b"X-Below: 1\r\n\t2\r\n", b"")
    assert signed.message_id == composed.message_id


def test_it_is_composed_for_the_port() -> None:
    composed: Composed = made(text="t")
    assert composed.size == len(bytes(composed))
    assert composed.needs == frozenset()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "names no boundary"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n", "does not begin and end"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n", "does not begin and end"),
        (b'Content-Type: multipart/mixed;\r\n boundary="b c"\r\n\r\n--b c\r\n\r\nx\r\n--b c--\r\n', None),
        (b"Content-Type: multipart/mixed; boundary=b\r\nX-Own: 1\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", None),
        (b'Content-Type: multipart/mixed; x="a;boundary=q"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n', None),
        (
            b"Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
            "names no boundary",
        ),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\nx\r\n--b--\r\n", None),
    ],
)
def test_ready_made_multiparts_have_their_boundary(part: bytes, says: str | None) -> None:
    if says is None:
        assert part in bytes(made(text="x", attachments=[RawPart(part)]))
    else:
        with pytest.raises(MessageError, match=says):
            made(text="x", attachments=[RawPart(part)])


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"Content-Type: text/plain\r\ncontent-type: text/html", "two content-type fields"),
        (b"Content-Transfer-Encoding:\r\n binary", "must be 7bit, 8bit"),
        (b"Content-Type : text/html", "is not a header field"),
        (b"Content-Type: text/html\r\n \t", "is not a header field"),
        (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", "must not be encoded"),
        (b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: BASE64", "must not be encoded"),
        (b"Content-Transfer-Encoding:\r\n\t8bit", None),
        (b"Content-Type:\r\n text/html;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: 8BIT", None),
    ],
)
def test_ready_made_headers_read_one_way_only(head: bytes, says: str | None) -> None:
    part = RawPart(head + b"\r\n\r\n" + ("Grüße" if says is None else "x").encode())
    if says is None:
        assert made(text="x", attachments=[part]).needs == {"8bitmime"}
    else:
        with pytest.raises(MessageError, match=says):
            made(text="x", attachments=[part])


@pytest.mark.parametrize(
    ("data", "content"),
    [
        ("QUJD", b"ABC"), ("QUI", b"AB"), ("QQ==", b"A"), ("QU JD%0A", b"ABC"), ("QUJD&#10;QUJD", b"ABCABC"), ("QU&#43;v", b"AO\xaf"),
        ("QUJ@D", None), ("QUJ-", None), ("QQ==QQ==", None), ("Q", None), ("", None),
    ],
)  # fmt: skip
def test_images_are_read_as_browsers_do(data: str, content: bytes | None) -> None:
    """Octets that are no base64 are not passed over: the image would be another one."""
    html = f'<img src="data:image/png;base64,{data}">'
    found = [part for part in message_from_bytes(bytes(made(html=html, text="t"))).walk() if part["Content-ID"]]
    assert [part.get_payload(decode=True) for part in found] == ([] if content is None else [content])


def test_the_derived_text_is_the_same_for_services_that_compose_by_themselves() -> None:
    html = Message(from_="a@example.org", to="b@example.org", html="<h1>Hi</h1><p>there</p>")
    text = with_text(html).text
    assert isinstance(text, str)
    assert "there" in text
    assert with_text(html.replace(text="own")).text == "own"
    assert with_text(html.replace(text=False)).text is False
    assert with_text(html.replace(html="<p></p>")).text is False
