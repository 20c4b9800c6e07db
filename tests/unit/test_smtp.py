"""The pure SMTP ring: replies in any chunking, commands that cannot be split, dots, and the transaction's rules."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Envelope
from mailwright.errors import MailwrightError, SessionError
from mailwright.model import Reply
from mailwright.smtp import (
    Capabilities,
    DotStuffer,
    ProtocolError,
    ReplyParser,
    State,
    Transaction,
    closed,
    mail_from,
    rcpt_to,
)
from mailwright.smtp.commands import auth_lines, xtext


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.integers(0, 500), max_size=12))
def test_replies_are_the_same_in_any_chunking(places: list[int]) -> None:
    data = b"250-first\r\n250 2.1.0 second\r\n354 go\r\n550-5.1.1 no such\r\n550 5.1.1 user\r\n221\r\n"
    parser = ReplyParser()
    found = [reply for chunk in cut(data, places) for reply in parser.feed(chunk)]
    assert [(reply.code, reply.enhanced) for reply in found] == [(250, None), (354, None), (550, "5.1.1"), (221, None)]
    assert found[2].text == "no such user"
    assert not parser.pending


@pytest.mark.parametrize(
    "data",
    [
        b"000 x\r\n", b"-25 x\r\n", b"2_5 x\r\n", b" 25 x\r\n", b"25 x\r\n", b"250x\r\n", b"199 x\r\n", b"560 x\r\n",
        b"600 x\r\n", b"250 a\n", b"250-a\r\n550 b\r\n", b"250 a\rb\r\n", b"\r\n", b"hello\r\n", b"x" * 9000,
        b"250 " + b"x" * 9000 + b"\r\n", b"250-" + b"x" * 7000 + b"\r\n" + (b"250-" + b"x" * 7000 + b"\r\n") * 10,
    ],
)  # fmt: skip
def test_what_is_no_reply_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(ReplyParser().feed(data))


@given(st.binary(max_size=300))
def test_any_octets_are_replies_or_a_protocol_error(data: bytes) -> None:
    try:
        for reply in ReplyParser().feed(data):
            assert 200 <= reply.code <= 559
    except ProtocolError:
        pass


@given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"..", b".\r\n", b"x.y\r\n"]), max_size=30), st.integers(1, 7))
def test_dots_are_doubled_whatever_the_chunks(pieces: list[bytes], step: int) -> None:
    data = b"".join(pieces)
    whole, parts = DotStuffer(), DotStuffer()
    at_once = whole.feed(data)
    assert b"".join(parts.feed(data[i : i + step]) for i in range(0, len(data), step)) == at_once
    assert whole.end() == parts.end()
    wire = at_once + whole.end()
    assert closed(data) == wire
    assert wire.index(b"\r\n.\r\n" if not wire.startswith(b".\r\n") else b".\r\n") >= len(wire) - 5
    unstuffed = b"\r\n".join(line.removeprefix(b".") for line in at_once.split(b"\r\n"))
    assert unstuffed == data


@pytest.mark.parametrize(
    "mailbox",
    ["a\r\nDATA@h", "a> SIZE=1", "a b@h", "a<b@h", '"x\r\nRCPT TO:<e@x>"@h', "a\x00@h", '"a" b@h'],
)
def test_no_mailbox_can_end_a_command_or_add_a_parameter(mailbox: str) -> None:
    with pytest.raises(MailwrightError):
        rcpt_to(mailbox)
    with pytest.raises(MailwrightError):
        mail_from(mailbox)


def test_commands() -> None:
    assert mail_from(None, ["SIZE=5", "SMTPUTF8"]) == b"MAIL FROM:<> SIZE=5 SMTPUTF8\r\n"
    assert rcpt_to('"a b>c"@h') == b'RCPT TO:<"a b>c"@h>\r\n'
    for bad in ("SIZE=5 X=1", "A\r\nB", "", "=x", "ENVID=a b"):
        with pytest.raises(MailwrightError):
            mail_from("a@h", [bad])
    assert xtext("a+b=c d") == "a+2Bb+3Dc+20d"
    assert auth_lines("PLAIN", "eA==") == (b"AUTH", b"PLAIN", b"eA==")
    assert auth_lines("PLAIN", "") == (b"AUTH", b"PLAIN", b"=")
    assert auth_lines("XOAUTH2", "x" * 600) == (b"AUTH", b"XOAUTH2")


def test_capabilities_are_read_and_masked() -> None:
    found = Capabilities.parse(
        ["PIPELINING", "size 1000", "AUTH PLAIN login", "AUTH=OLD"], mask=["pipelining", "plain"]
    )
    assert "PIPELINING" not in found
    assert found.size == 1000
    assert found.mechanisms == {"LOGIN", "OLD"}
    for text in ("", "0", "x", "9" * 30, "²"):
        assert Capabilities.parse([f"SIZE {text}"]).size is None


CODES = st.sampled_from([250, 251, 252, 354, 421, 450, 451, 452, 500, 550, 552, 554, 220, 334, 235])


@given(
    codes=st.lists(CODES, min_size=12, max_size=12),
    recipients=st.integers(1, 4),
    pipelining=st.booleans(),
    lose_at=st.integers(0, 14),
)
def test_whatever_the_server_says_every_recipient_is_decided_and_nothing_is_guessed(
    codes: list[int], recipients: int, pipelining: bool, lose_at: int
) -> None:
    envelope = Envelope(recipients=[f"u{i}@x.org" for i in range(recipients)])
    transaction = Transaction(envelope, pipelining=pipelining)
    final: int | None = None
    replies = iter(codes)
    for step in range(40):
        if transaction.state is State.DONE:
            break
        if step == lose_at:
            transaction.lost(SessionError("gone"))
            break
        if transaction.state in {State.BODY, State.EMPTY}:
            transaction.dot_sent()
            final = None
        transaction.commands()
        code = next(replies, 451)
        was_final = transaction.state is State.FINAL
        try:
            transaction.receive(Reply(code=code))
        except ProtocolError as error:
            transaction.lost(error)
            break
        final = code if was_final else final
    report = transaction
    assert [status.address for status in report.statuses] == list(envelope.recipients)
    for status in report.statuses:
        if status.outcome == "accepted":
            assert final is not None
            assert final // 100 == 2
        if status.outcome == "rejected":
            assert status.permanent is (status.reply is not None and status.reply.code >= 500 and status.permanent)


def test_pipelined_commands_go_in_one_write_and_others_one_by_one() -> None:
    envelope = Envelope(sender="s@x", recipients=["a@x", "b@x"])
    assert Transaction(envelope, pipelining=True).commands().count(b"\r\n") == 4
    plain = Transaction(envelope)
    assert plain.commands() == b"MAIL FROM:<s@x>\r\n"
    assert plain.commands() == b""
    plain.receive(Reply(code=250))
    assert plain.commands() == b"RCPT TO:<a@x>\r\n"
