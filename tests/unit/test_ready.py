"""Messages that come ready-made: checked, completed, and otherwise left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, message_from_string
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, SMTPUTF8, EmailPolicy, compat32, default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Address, Envelope, Mailer
from mailwright.errors import AddressError, MailwrightError, MessageError
from mailwright.mime import ComposedMessage, Structure, octets_of, ready
from mailwright.mime.transfer import check_verbatim
from mailwright.model import Message
from mailwright.testing import ScriptedServer

LETTER = b"From: Ann <ann@x.org>\r\nTo: bo@y.org\r\nBcc: secret@z.org\r\nSubject: Hi\r\n\r\nHello\r\n"
DATE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def made(data: bytes, **options: Any) -> tuple[Message, ComposedMessage]:
    defaults: dict[str, Any] = {"author": None, "message_id": lambda domain: f"<1@{domain}>", "date": DATE}
    return ready(data, **(defaults | options))


def test_bcc_is_told_to_the_server_and_to_nobody_else() -> None:
    message, composed = made(LETTER)
    assert message.envelope == Envelope(sender="ann@x.org", recipients=("bo@y.org", "secret@z.org"))
    octets = bytes(composed)
    assert b"secret" not in octets
    assert composed.size == len(octets)
    assert octets.endswith(b"\r\n\r\nHello\r\n")


def test_what_is_missing_is_added() -> None:
    message, composed = made(b"To: bo@y.org\n\nHello\n", author=Address("me@x.org"))
    octets = bytes(composed)
    assert octets == (
        b"From: me@x.org\r\nTo: bo@y.org\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@x.org>\r\n\r\nHello\r\n"
    )
    assert message.message_id == composed.message_id == "<1@x.org>"


def test_empty_is_missing() -> None:
    message, composed = made(b"Message-ID:\r\nDate: \r\n" + LETTER)
    read = message_from_bytes(bytes(composed), policy=default)
    assert read.get_all("Message-ID") == ["<1@x.org>"] == [message.message_id]
    assert read.get_all("Date") == ["Fri, 02 Jan 2026 03:04:05 +0000"]


def test_lists_of_addresses_may_be_folded_with_tabs() -> None:
    message, composed = made(LETTER.replace(b"bo@y.org", b"Bo <bo@y.org>,\r\n\tCy\tD <cy@y.org>"))
    assert message.envelope is not None
    assert message.envelope.recipients == ("bo@y.org", "cy@y.org", "secret@z.org")
    assert b"<bo@y.org>,\r\n\tCy\tD" in bytes(composed)


def test_its_own_id_and_date_stay() -> None:
    letter = b"Message-ID: <own@id>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n" + LETTER
    message, composed = made(letter)
    assert message.message_id == composed.message_id == "<own@id>"
    assert bytes(composed).count(b"Date:") == 1


@pytest.mark.parametrize("more", [b"", b"X-Folded: a\r\n b:c\r\n\td\r\n", b"X-Long: y\r\n" * 1000])
def test_a_message_that_lacks_nothing_is_sent_as_it_came(more: bytes) -> None:
    letter = more + b"Message-ID: <own@id>\r\nDate: today\r\n" + LETTER.replace(b"Bcc: secret@z.org\r\n", b"")
    assert bytes(made(letter)[1]) is letter
    blank = letter.replace(b"Date:", b"Date\t :")
    assert bytes(made(blank)[1]) == letter


def test_what_a_ready_message_is_shows_when_asked() -> None:
    _, composed = made(b"content-type: Text/HTML; charset=utf-8\r\n" + LETTER)
    assert composed.structure == Structure("text/html", len(b"Hello"))
    signed = composed.with_header("Content-Type", "image/png", top=False)
    assert (signed.structure, dict(signed.headers)["Content-Type"]) == (composed.structure, b"image/png")
    assert made(LETTER)[1].structure.content_type == "text/plain"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (LETTER.replace(b"Hello", b"Hel\nlo"), "bare CR or LF"),
        (LETTER.replace(b"Hello", b"Hel\rlo"), "bare CR or LF"),
        (LETTER.replace(b"Hello", b"Hel\0lo"), "NUL"),
        (LETTER.replace(b"Hello", b"x" * 999), "998"),
        (b"From me@x.org Mon Jan  1\n" + LETTER.replace(b"\r\n", b"\n"), "not a header field"),
        (b"From: eve@x.org\r\n" + LETTER, "two From fields"),
        (LETTER.replace(b"To:", b"To: a@x.org\r\nto:"), "two to fields"),
        (b"Bcc: other@z.org\r\n" + LETTER, "two Bcc fields"),
        (b"Content-Type: text/plain\r\nContent-type: text/html\r\n" + LETTER, "two Content-type fields"),
        (LETTER.replace(b"bo@y.org", b"=?utf-8?q?b=C3=B6?=@y.org"), "encoded-word.*envelope of your own"),
        (b"Resent-To: eve@z.org\r\n" + LETTER, "Resent fields.*envelope of your own"),
        (LETTER.replace(b"Ann <ann@x.org>", b"ann@x.org (Ann)"), "comments.*write it as"),
        (LETTER.replace(b"Subject: Hi", b"Subject: Hi\r\n \r\n there"), "blanks"),
        (LETTER.replace(b"Hi", b"\xff"), "UTF-8"),
        (LETTER.replace(b"bo@y.org", b"team: bo@y.org;"), "envelope of your own"),
        (LETTER.replace(b"From: Ann <ann@x.org>\r\n", b""), "no From"),
        (b"From: ann@x.org\r\nSubject: Hi\r\n\r\nHello\r\n", "recipients"),
        (LETTER.replace(b"Ann <ann@x.org>", b""), "From field names nobody"),
        (b"Sender: ,\r\n" + LETTER, "Sender field names nobody"),
    ],
)
def test_what_cannot_be_sent_is_refused(data: bytes, wanted: str) -> None:
    with pytest.raises(MailwrightError, match=wanted):
        made(data)


def test_a_resent_message_goes_to_an_envelope_of_its_own() -> None:
    envelope = Envelope(sender="ann@x.org", recipients=("eve@z.org",))
    message, composed = made(b"Resent-To: eve@z.org\r\nResent-Bcc: ann@x.org\r\n" + LETTER, envelope=envelope)
    assert message.envelope == envelope
    assert b"Resent-Bcc" not in bytes(composed)


def test_an_envelope_of_its_own_needs_no_readable_recipients() -> None:
    envelope = Envelope(sender=None, recipients=("bo@y.org",))
    message, _ = made(LETTER.replace(b"bo@y.org", b"team: bo@y.org;"), envelope=envelope)
    assert message.envelope == envelope


@pytest.mark.parametrize("end", [b"\r\n", b"\r\n\r\n"])
def test_a_message_may_have_no_body(end: bytes) -> None:
    head = LETTER.partition(b"\r\n\r\n")[0]
    composed = made(head + end)[1]
    octets = bytes(composed)
    assert octets.endswith(b"\r\n\r\n")
    assert octets.count(b"\r\n\r\n") == 1
    assert composed.size == len(octets)


def test_needs_are_those_of_the_octets() -> None:
    assert made(LETTER)[1].needs == frozenset()
    assert made(LETTER.replace(b"Hello", "Grüße".encode()))[1].needs == {"8bitmime"}
    assert made(LETTER.replace(b"Hi", "Grüße".encode()))[1].needs == {"smtputf8"}


def legacy(subject: str) -> MIMEMultipart:
    message = MIMEMultipart()
    message["From"], message["To"], message["Subject"] = "ann@x.org", "bo@y.org", subject
    message.attach(MIMEText("Grüße\n", "plain", "utf-8"))
    return message


def test_the_old_classes_of_the_standard_library_are_messages_too() -> None:
    message, composed = made(octets_of(legacy("Grüße")))
    assert message.envelope == Envelope(sender="ann@x.org", recipients=("bo@y.org",))
    assert composed.needs == frozenset()
    read = message_from_bytes(bytes(composed), policy=default)
    assert read["Subject"] == "Grüße"
    assert read.get_payload(0).get_content() == "Grüße\n"


@pytest.mark.parametrize("policy", [default, SMTP, SMTPUTF8])
def test_the_standard_library_cannot_spoil_addresses(policy: EmailPolicy) -> None:
    """It folds commas into encoded-words, drops quotation marks, and encodes what stands before an ``@``."""
    people = [*(Address(f"{'u' * n}@x.org", f"Ün {n}") for n in range(1, 40)), Address("zoë@x.org", "Last, " * 20)]
    message = EmailMessage(policy=policy)
    message["From"], message["Subject"] = "Zoë <zoë@x.org>", "Grüße"
    message["TO"] = ", ".join(map(str, people))
    message["Cc"] = "team: ann@x.org;"
    message.set_content("Hello")
    octets = octets_of(message)
    assert b"\r\nCc: team: ann@x.org;" in octets
    known, composed = made(octets.replace(b"team: ann@x.org;", b"ann@x.org"))
    assert known.envelope == Envelope(sender="zoë@x.org", recipients=(*(one.email for one in people), "ann@x.org"))
    assert composed.needs == {"smtputf8"}
    read = message_from_string(bytes(composed).decode(), policy=default)
    found = [("".join(one.display_name.split()), one.addr_spec) for one in read["To"].addresses]
    assert found == [("".join(one.name.split()), one.email) for one in people]


def test_the_standard_library_does_not_smuggle_fields() -> None:
    with pytest.raises(MessageError, match=r"field of its own|cannot write"):
        octets_of(legacy("Hi\nBcc: eve@z.org"))


@pytest.mark.parametrize("policy", [compat32, default, SMTP])
@pytest.mark.parametrize("head", [b"", b"Content-Transfer-Encoding: 8bit\n"])
def test_eight_bit_text_may_leave_its_encoding_unsaid(policy: Any, head: bytes) -> None:
    text = b"From: ann@x.org\nTo: bo@y.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" + head
    octets = octets_of(message_from_bytes(text + "\nGrüße\n".encode(), policy=policy))
    assert octets.isascii()
    read = message_from_bytes(octets, policy=default)
    assert read.get_all("Content-Transfer-Encoding") == ["base64"]
    assert read.get_content() == "Grüße\n"


@pytest.mark.parametrize("charset", [b"", b"; charset=utf-8"])
def test_no_encoding_is_smuggled_in_where_one_is_unsaid(charset: bytes) -> None:
    message = message_from_bytes(b"From: ann@x.org\nContent-Type: text/plain" + charset + "\n\nGrüße\n".encode())
    message["Subject"] = "Hi\nContent-Transfer-Encoding: base64"
    with pytest.raises(MessageError):
        octets_of(message)


def test_what_the_standard_library_cannot_write_is_an_error_of_ours() -> None:
    message = EmailMessage()
    message["Subject"] = "Hi"
    message.set_payload("\udcff\ud800", charset=None)
    with pytest.raises(MessageError, match="cannot write"):
        octets_of(message)


@given(st.binary(max_size=300))
def test_any_octets_are_checked_or_refused(data: bytes) -> None:
    try:
        _, composed = made(data, author=Address("me@x.org"), envelope=Envelope(recipients=("a@x.org",)))
    except (MessageError, AddressError):
        return
    octets = bytes(composed)
    assert composed.size == len(octets)
    assert octets.endswith(b"\r\n")
    assert octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert b"\nBcc" not in octets


async def test_an_email_message_is_sent_as_it_is() -> None:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Bcc"] = "Zoë <zoe@x.org>", "bo@y.org", "carla@y.org"
    message["Subject"] = "Grüße"
    message.set_content("Grüße ☕\n")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="x-own", filename="a.bin")
    async with ScriptedServer(extensions=()) as server:
        async with Mailer({"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}) as mailer:
            receipt = await mailer.send(message)
            assert receipt.status == "sent"
            told = Envelope(sender=None, recipients=("only@y.org",))
            assert (await mailer.send(message, envelope=told)).status == "sent"
            with pytest.raises(MessageError, match="bare CR or LF"):
                await mailer.send(LETTER.replace(b"Hello", b"Hel\n.\nlo"))
        first, second = server.messages
    assert first.rcpt_to == ("bo@y.org", "carla@y.org")
    assert b"carla" not in first.raw
    assert b"Message-ID: <" in first.raw
    assert (second.mail_from, second.rcpt_to) == ("", ("only@y.org",))


async def test_ready_octets_go_through_send_many() -> None:
    async with ScriptedServer() as server:
        mailer = Mailer({"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"})
        receipts = [receipt async for receipt in mailer.send_many([LETTER, b"broken"])]
        await mailer.aclose()
    assert {receipt.index: receipt.status for receipt in receipts} == {0: "sent", 1: "failed"}
    assert len(server.messages) == 1


@pytest.mark.parametrize("message", ["Subject: x", {"to": "ann@example.org"}, None])
def test_what_is_no_message_is_named(message: Any) -> None:
    with pytest.raises(MessageError, match=f"^message: .*, not {type(message).__name__}$"):
        octets_of(message)


@given(st.lists(st.integers(0, 1001), max_size=6), st.booleans())
def test_lines_have_at_most_998_octets(lengths: list[int], ended: bool) -> None:
    data = b"\r\n".join(b"x" * length for length in lengths) + (b"\r\n" if ended else b"")
    if max(lengths, default=0) > 998:
        with pytest.raises(MessageError, match="longer than 998"):
            check_verbatim(data, field="message")
    else:
        check_verbatim(data, field="message")
