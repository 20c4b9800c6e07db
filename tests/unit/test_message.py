"""Messages are checked when they are made, and name the field that is wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from mailwright import Envelope, Message, Part, RawPart, compose
from mailwright.errors import AddressError, MessageError
from mailwright.model import Calendar, Dsn, Receipt, RecipientStatus, Reply, Report, Secret


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"subject": "a\r\nBcc: x@y.z"}, r"subject: control character U\+000D at position 1"),
        ({"subject": "a\ud800"}, r"subject: lone surrogate U\+D800"),
        ({"subject": 5}, "subject: text, not int"),
        ({"html": b"x"}, "html: text, not bytes"),
        ({"text": "a\x00b"}, "text: NUL at position 1"),
        ({"text": True}, "text: text, not bool"),
        ({"attachments": 1.5}, "attachments: a list, not float"),
        ({"list_unsubscribe": [None]}, "list_unsubscribe: text, or a list of texts, not NoneType"),
        ({"tags": 5}, "tags: text, or a list of texts, not int"),
        ({"text": False}, "HTML only, but there is no html"),
        ({"from_": "a@x.org, b@x.org"}, "from: one address, not 2"),
        ({"headers": {"Bcc": "x@y.z"}}, "Bcc is written by Mailwright"),
        ({"headers": {"content-TYPE": "x"}}, "written by Mailwright"),
        ({"headers": {"X A": "x"}}, "not a header name"),
        ({"headers": {"X-A\r\nBcc": "x"}}, "not a header name"),
        ({"headers": {"X-A": "b\nc"}}, r"headers: X-A: control character U\+000A"),
        ({"headers": {"X-A": 5}}, "must be text, not int"),
        ({"message_id": "<a b@x>"}, "message_id"),
        ({"message_id": "<a@x>\r\nX: y"}, "message_id"),
        ({"references": "<a@x> nonsense"}, "references"),
        ({"date": datetime(2026, 1, 1)}, "time zone"),
        ({"priority": "urgent"}, "urgent"),
        ({"one_click": True}, "one https: URL"),
        ({"list_unsubscribe": "https://x.org/<a>"}, "percent-encode"),
        ({"list_unsubscribe": "javascript:x"}, "must start with"),
        ({"list_unsubscribe": "https:x.org/u"}, "must start with https://"),
        ({"list_headers": {"help": "http:x"}}, "list_headers.help.*must start with https://"),
        ({"list_headers": {"id": "a b"}}, "list_headers.id"),
        ({"options": 5}, "options: a mapping"),
        ({"attachments": ["x"]}, r"attachments\[0\]"),
        ({"auto_submitted": "yes"}, "auto_submitted"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Message(**fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"content": b"", "content_type": "text"}, "media type"),
        ({"content": b"", "content_type": "text/plain\r\nX: y"}, "media type"),
        ({"content": b"", "content_type": "multipart/mixed"}, "cannot be multipart"),
        ({"content": b"", "content_id": "a>\r\nb"}, "content_id"),
        ({"content": b"", "filename": "a\nb"}, r"filename: control character U\+000A"),
        ({"content": b"", "disposition": "other"}, "attachment or inline"),
        ({"content": 5}, "content: bytes"),
    ],
)
def test_wrong_parts_are_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        Part(**fields)


def test_messages_are_deeply_immutable() -> None:
    headers = {"X-A": "1"}
    message = Message(to=["a@x.org"], headers=headers, attachments=[Part(content=bytearray(b"x"))])
    headers["X-A"] = "2"
    assert message.headers == (("X-A", "1"),)
    assert isinstance(message.to, tuple)
    part = message.attachments[0]
    assert isinstance(part, Part)
    assert part.content == b"x"
    with pytest.raises(AttributeError):
        message.subject = "other"  # type: ignore[misc]
    hash(message)


def test_recipients_are_counted_once() -> None:
    message = Message(to="a@x.org, A <a@x.org>", cc="b@x.org", bcc="a@x.org, c@x.org")
    assert [address.email for address in message.recipients] == ["a@x.org", "b@x.org", "c@x.org"]


def test_envelopes() -> None:
    assert Envelope(sender="", recipients=["a@x.org", "a@x.org"]) == Envelope(recipients="a@x.org")
    with pytest.raises(AddressError, match="no recipients"):
        Envelope(recipients=[])
    with pytest.raises(AddressError):
        Envelope(recipients=["a@b> SIZE=1"])


def test_replies_cannot_forge_lines_or_drive_a_terminal() -> None:
    reply = Reply(code=250, text="\x1b[2J\r" + "x" * 5000)
    assert "\x1b" not in str(reply)
    assert "\r" not in str(reply)
    assert len(reply.text) < 2100


def test_secrets_never_show() -> None:
    secret = Secret("hunter2-canary")
    assert "canary" not in f"{secret} {secret!r}"


def test_other_small_records() -> None:
    assert RawPart("X: ä\r\n\r\n").content == "X: ä\r\n\r\n".encode()
    with pytest.raises(MessageError, match="method"):
        Calendar(content="x", method="a b")
    with pytest.raises(MessageError, match=r"dsn\.notify"):
        Dsn(notify={"often"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"headers": "X-A: 1"}, "headers: a mapping, or a list of pairs"),
        ({"headers": [("X-A",)]}, "headers: each must be a pair"),
        ({"headers": ["ab"]}, "headers: each must be a pair"),
        ({"list_headers": [("help", "https://a.org"), ("help", "https://b.org")]}, "list_headers: each at most once"),
        ({"list_headers": {"id": 5}}, r"list_headers\.id"),
        ({"references": 5}, "references: message ids, not int"),
        ({"references": ["<a@b.org>", 5]}, "references: text, not int"),
        ({"in_reply_to": "<a b>"}, "in_reply_to: '<a' is not an id"),
        ({"message_id": 5}, "message_id: text, not int"),
        ({"calendar": "BEGIN:VCALENDAR"}, "calendar: Calendar, not str"),
        ({"envelope": "a@b.org"}, "envelope: Envelope, not str"),
        ({"dsn": "success"}, "dsn: Dsn, not str"),
        ({"auto_submitted": []}, "auto_submitted: auto-generated or auto-replied"),
        ({"html": b"<p>"}, "html: text, not bytes"),
        ({"text": True}, "text: text, not bool"),
        ({"attachments": 1.5}, "attachments: a list, not float"),
        ({"list_unsubscribe": [None]}, "list_unsubscribe: text, or a list of texts, not NoneType"),
        ({"tags": 5}, "tags: text, or a list of texts, not int"),
    ],
)
def test_values_of_another_type_are_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(MessageError, match=f"^{says}"):
        Message(**fields)


def test_what_is_no_message_is_named() -> None:
    with pytest.raises(MessageError, match=r"^message: a Message, not dict"):
        compose({"to": "ann@example.org"})  # type: ignore[arg-type]
    with pytest.raises(AddressError, match="text or a list, not dict"):
        Message(to={"ann@example.org": "Ann"})  # type: ignore[arg-type]


def test_parts_of_another_type_are_named() -> None:
    with pytest.raises(MessageError, match="content: bytes or text, not int"):
        RawPart(5)  # type: ignore[arg-type]
    for make in (lambda: RawPart("\ud800"), lambda: Part(content="\ud800")):
        with pytest.raises(MessageError, match=r"content: lone surrogate U\+D800 at position 0"):
            make()
    with pytest.raises(MessageError, match="disposition: attachment or inline"):
        Part(content=b"", disposition={})  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="content_id: text, not int"):
        Part(content=b"", content_id=5)  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="calendar: 5 is not an iTIP method"):
        Calendar(content="x", method=5)  # type: ignore[arg-type]
    assert Dsn(notify="success").notify == {"success"}


def status(address: str, outcome: Any, *, permanent: bool | None = None) -> RecipientStatus:
    reply = Reply(code=250 if outcome == "accepted" else 550, text="x")
    return RecipientStatus(address=address, outcome=outcome, permanent=permanent, stage="rcpt", reply=reply)


def test_receipts_merge_reports_per_recipient() -> None:
    envelope = Envelope(sender="s@x.org", recipients=["a@x.org", "b@x.org"])
    receipt = Receipt(message_id="<1@x>", envelope=envelope, statuses=())
    first = receipt.merge(
        Report(statuses=(status("a@x.org", "accepted"), status("b@x.org", "rejected", permanent=False)))
    )
    assert (first.status, first.attempts) == ("partial", 1)
    second = first.merge(Report(statuses=(status("b@x.org", "accepted"),)))
    assert (second.status, second.attempts) == ("sent", 2)
    result = first.to_result()
    assert result["rejectedErrors"][0]["responseCode"] == 550
    assert result["envelope"] == {"from": "s@x.org", "to": ["a@x.org", "b@x.org"]}


def test_unknown_is_neither_sent_nor_failed() -> None:
    envelope = Envelope(recipients=["a@x.org"])
    receipt = Receipt(message_id="<1@x>", envelope=envelope, statuses=())
    lost = receipt.merge(Report.all(envelope, "unknown", stage="final"))
    assert lost.status == "unknown"
    assert lost.permanent is None
    assert lost.to_result()["error"]["permanent"] is None
