"""The laws of `mailwright.testing.laws` over generated messages, and laws of the composer's own parts."""

from __future__ import annotations

import binascii
import json
import os
import quopri
import re
import shutil
import subprocess
from base64 import b64encode
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwright.errors import MessageError
from mailwright.mime import compose
from mailwright.mime.fields import check_block, header_block, mailboxes, refold, unstructured
from mailwright.mime.images import extract_images
from mailwright.mime.names import clean_filename
from mailwright.mime.params import with_parameter
from mailwright.mime.plain import plain_text
from mailwright.mime.transfer import (
    STEP,
    Base64,
    base64_lines,
    base64_size,
    encode_text,
    unified,
)
from mailwright.mime.words import encoded_words
from mailwright.model import Address, Message, Part
from mailwright.testing import laws
from mailwright.testing.readers import Reader, installed
from mailwright.testing.strategies import (
    addresses,
    bodies,
    display_names,
    filenames,
    header_text,
    hostile_text,
    messages,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(600)  # hundreds of messages through every parser, on machines that do other work, too
THOROUGH = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


EXAMPLES = int(os.environ.get("MAILWRIGHT_EXAMPLES", "100"))
BRIEF = settings(THOROUGH, max_examples=max(20, EXAMPLES // 5))


PIECES = ["A: b", "\r\n", "\r", "\n", " ", "\t", "\0", "!", "ü", "\xa0", "x" * 990, "\r\n ", "\r\n c"]


@settings(THOROUGH, max_examples=EXAMPLES * 10)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), min_size=1, max_size=4))
def test_a_header_block_is_what_its_check_lets_through(fields: list[str]) -> None:
    """The short look that most headers get never takes what the long one refuses, nor the other way round."""
    try:
        check_block("\r\n".join(fields).encode(), fields=len(fields))
    except MessageError as error:
        with pytest.raises(MessageError, match=re.escape(error.message)):
            header_block(fields)
    else:
        assert header_block(fields) == "\r\n".join(fields).encode()


@settings(THOROUGH, max_examples=EXAMPLES)
@given(message=messages())
def test_every_message_obeys_every_law(message: Message) -> None:
    laws.hold(message)


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
@BRIEF
@given(message=messages())
def test_every_message_obeys(law: Callable[[Message], None], message: Message) -> None:
    law(message)


@pytest.mark.parametrize(
    "values",
    [
        {"to": ["Jürgen <jürgen@example.org>", "Åsa <asa@example.org>"]},
        {"references": f"<{'r' * 60}@example.org>"},
        {"headers": {f"X-{'h' * 60}": "é" * 40}},
        {"attachments": [Part(content=b"x", filename=name) for name in ("a;b.txt", ");", "a=b, c.txt")]},
    ],
    ids=lambda values: next(iter(values)),
)
def test_laws_hold_where_chance_seldom_looks(values: dict[str, Any]) -> None:
    rest = {"to": "bo@example.org", "text": "x", "message_id": "<1@example.org>"}
    date = datetime(2026, 11, 2, tzinfo=UTC)
    laws.hold(Message(from_="Ann <ann@example.org>", date=date, **(rest | values)))


def test_the_judges_are_here() -> None:
    """A parser that is not built on the standard library's reads along in every run."""
    assert set(installed()) == {"standard library", "rust"}


@pytest.mark.parametrize("reader", installed().values(), ids=installed())
def test_readers_object_to_what_is_wrong(reader: Reader) -> None:
    """The judges judge: a wrong octet anywhere is noticed."""
    message = Message(
        from_="Ann <ann@example.org>", to="bo@example.org", subject="über", text="Grüße\n", html="<p>Grüße",
        attachments=[Part(content=b"\x00\x01" * 40, filename="ü.bin")], date=datetime(2026, 11, 2, tzinfo=UTC),
        message_id="<1@example.org>",
    )  # fmt: skip
    laws.readers_agree(message, readers={"r": reader})
    octets = bytes(laws.composed(message))
    for old, new in (
        (b"ann@", b"eve@"),
        (b"w7xiZXI=", b"w7xiZXg="),
        (b"<1@", b"<2@"),
        (b"AAEA", b"AAEB"),
        (b"%C3%BC", b"%C3%BD"),
    ):
        assert octets.count(old)
        wrong = octets.replace(old, new, 1)
        with pytest.raises(AssertionError):
            laws.readers_agree(message, readers={"r": lambda _, wrong=wrong: reader(wrong)})


@pytest.mark.parametrize(
    "law", [laws.size_is_length, laws.lines_are_sound, laws.fields_are_the_intended, laws.recipients_are_exact]
)
@BRIEF
@given(message=messages(eai=True))
def test_internationalised_addresses_obey(law: Callable[[Message], None], message: Message) -> None:
    law(message)


@BRIEF
@given(messages(eai=True))
def test_smtputf8_is_needed_only_for_addresses(message: Message) -> None:
    written = (message.from_, message.sender, *message.to, *message.cc, *message.reply_to)
    needed = any(address is not None and address.needs_smtputf8 for address in written)
    assert ("smtputf8" in laws.composed(message).needs) == needed


@BRIEF
@given(messages())
def test_eight_bit_only_when_asked(message: Message) -> None:
    assert laws.composed(message).needs == frozenset()
    asked = laws.composed(message, abilities=frozenset({"8bitmime"}))
    assert asked.needs <= {"8bitmime"}
    assert bytes(asked).isascii() == (asked.needs == frozenset())


@BRIEF
@given(messages())
def test_eight_bit_and_binary_mean_the_same(message: Message) -> None:
    """Whatever a session takes, the parts a reader finds hold the same octets."""
    message = laws.readable(message)
    plain = bytes(laws.composed(message))
    asked = bytes(laws.composed(message, abilities=frozenset({"8bitmime", "binarymime"})))
    for name, read in installed().items():
        found = [(part.content_type, part.filename, _no_end(part.content)) for part in read(asked).parts]
        assert found == [(part.content_type, part.filename, _no_end(part.content)) for part in read(plain).parts], name


def _no_end(content: bytes | None) -> bytes | None:
    return content and content.removesuffix(b"\n").removesuffix(b"\r")


@THOROUGH
@given(st.lists(addresses(), min_size=1, max_size=60))
def test_exactly_n_recipients(people: list[Address]) -> None:
    folded = mailboxes("To", people)
    assert max(map(len, folded.split("\r\n"))) <= 998
    raw = folded.removeprefix("To:").replace("\r\n ", " ").strip(" ")
    assert len(getaddresses([raw])) == len(people)


@given(st.one_of(header_text(), hostile_text(line_ends=False), display_names()))
def test_words_decode_alone_and_together(text: str) -> None:
    words = encoded_words(text)
    assert all(len(word) <= 75 for word in words)
    pieces = [_decoded_word(word) for word in words]
    assert "".join(pieces) == text
    for word in words[:-1]:
        assert "=" not in word.split("?")[3] or word[8] == "Q"


def _decoded_word(word: str) -> str:
    _, charset, kind, content, end = word.split("?")
    assert (charset, end) == ("utf-8", "=")
    return (binascii.a2b_base64(content) if kind == "B" else binascii.a2b_qp(content, header=True)).decode()


@given(st.text("abc-", min_size=1, max_size=60), st.one_of(header_text(max_size=1200), st.text("a =?", max_size=300)))
def test_folding_unfolds_to_the_text(name: str, text: str) -> None:
    folded = unstructured(name, text)
    assert max(map(len, folded.split("\r\n"))) <= 998
    value = folded.removeprefix(f"{name}:").replace("\r\n ", " ").removeprefix(" ")
    assert laws.decoded(value) == text
    again = refold(name, value)
    assert again.removeprefix(f"{name}:").replace("\r\n ", " ").removeprefix(" ") == value
    assert all(map(str.strip, again.split("\r\n")))


@given(
    st.one_of(st.text(max_size=400), st.text("aé🎉", min_size=50, max_size=900))
    .filter(lambda text: text.isprintable())
    .map(lambda text: text.strip() or "x")  # as file names are, see `clean_filename`
)
def test_parameters_come_back_and_never_split_a_character(text: str) -> None:
    field = with_parameter("Content-Disposition", "attachment", "filename", text)
    pieces = re.findall(r"filename\*(\d+)\*=([^;\r\n]*)", field)
    assert [int(number) for number, _ in pieces] == list(range(len(pieces)))
    assert len(pieces) <= 9
    for index, (_, piece) in enumerate(pieces):
        unquote_to_bytes(piece.removeprefix("utf-8''") if index == 0 else piece).decode()  # each piece whole characters
    assert max(map(len, field.split("\r\n"))) <= 998
    read = message_from_bytes(f"{field}\r\n\r\n".encode(), policy=policy.default)
    assert read.get_filename() == text


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "7bit": bytes,
    "quoted-printable": quopri.decodestring,
    "base64": binascii.a2b_base64,
}


@given(
    st.one_of(
        bodies(max_size=3000),
        st.text("aé=\t \n\x0c", max_size=400),
        st.text("=\u0416x", min_size=70, max_size=400),
        st.text("abcdefghijkl=éÿ\x80", max_size=400),
    )
)
def test_text_encodings_invert(text: str) -> None:
    unix = unified(text)
    encoding, body, size = encode_text(unix)
    assert DECODERS[encoding](body) == unix.replace("\n", "\r\n").encode()
    assert size == len(unix.encode())
    lines = body.split(b"\r\n")
    assert max(map(len, lines)) <= (78 if encoding == "7bit" else 76)
    assert body.isascii()
    assert b"\n" not in b"".join(lines)
    assert b"\r" not in b"".join(lines)
    if encoding == "quoted-printable":
        assert all(line[-1:] not in {b" ", b"\t"} for line in lines)


@given(st.text("\0\r\n a", max_size=40))
def test_what_is_not_encoded_is_looked_at_once_more(text: str) -> None:
    if "\r" in text or "\0" in text:
        with pytest.raises(MessageError, match="NUL or a bare CR"):
            encode_text(text)
    else:
        assert encode_text(text) == ("7bit", text.replace("\n", "\r\n").encode(), len(text))


@THOROUGH
@given(st.integers(0, 3 * STEP + 100), st.lists(st.integers(1, 70_000), min_size=1, max_size=6))
def test_chunking_never_matters(size: int, cuts: list[int]) -> None:
    content = bytes(range(251)) * (size // 251) + bytes(size % 251)

    class Cut:
        size = len(content)

        def chunks(self, step: int) -> Iterator[bytes]:
            position, turn = 0, 0
            while position < len(content):
                cut = cuts[turn % len(cuts)] if turn < 40 else len(content)
                yield content[position : position + cut]
                position, turn = position + cut, turn + 1

    whole = base64_lines(content)
    assert len(whole) == base64_size(size)
    assert b"".join(Base64(Cut(), size, "x")) == whole == b"".join(Base64(content, size, "x"))
    assert binascii.a2b_base64(whole) == content


@given(filenames())
def test_file_names_are_safe_and_stable(name: str) -> None:
    clean = clean_filename(name, field="filename")
    assert clean
    assert not set(clean) & set("/\\\u202e\u202d\u2066\u2069")
    assert clean.strip(".")
    assert clean_filename(clean, field="filename") == clean


@given(st.one_of(bodies(), st.text("<>ab/=\"' &!-\n#;", max_size=300)))
def test_any_text_reads_as_html(text: str) -> None:
    found = plain_text(text)
    assert not found or found.endswith("\n")
    assert "\x00" not in found or "\x00" in text


@given(st.text("<>imgsrcdata:/;base64,=\"' (url)QUJD", max_size=400))
def test_any_html_survives_image_extraction(html: str) -> None:
    out, parts = extract_images(html, token="t")
    assert parts or out == html


@given(hostile_text())
def test_hostile_text_is_refused_or_round_trips(text: str) -> None:
    try:
        message = Message(
            from_="a@example.org", subject=text, message_id="<1@x.org>", date=datetime(2026, 11, 2, tzinfo=UTC), text=""
        )
    except MessageError:
        assert set(text) & {chr(code) for code in (*range(32), 127)}
    else:
        laws.fields_are_the_intended(message)
        laws.text_round_trips(message)


@BRIEF
@given(messages(), st.integers(0, 3))
def test_boundaries_avoid_the_parts(message: Message, hits: int) -> None:
    """A token that occurs in a body is never the boundary."""
    taken = "\n".join(f"--=_m{number:032x}" for number in range(hits))
    made = compose(message.replace(text=taken, html="<p>x", attachments=[]), token=laws.fixed_tokens(0))
    assert f'boundary="=_a{hits:032x}"'.encode() in dict(made.headers)["Content-Type"]


PARSERS = r"""
const { createRequire } = require('module');
const need = createRequire(process.env.MAILWRIGHT_NODE_PARSERS + '/');
const PostalMime = need('postal-mime').default || need('postal-mime');
const { simpleParser } = need('mailparser');
const people = list => (list || []).map(one => [one.name || '', one.address || '']);
const readers = {
    'postal-mime': async raw => {
        const mail = await PostalMime.parse(raw);
        return { subject: mail.subject || '', to: people(mail.to), cc: people(mail.cc), id: mail.messageId,
                 parts: mail.attachments.map(part => Buffer.from(part.content).toString('base64')) };
    },
    mailparser: async raw => {
        const mail = await simpleParser(raw, { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
        return { subject: mail.subject || '', to: people(mail.to && mail.to.value), cc: people(mail.cc && mail.cc.value),
                 id: mail.messageId, parts: mail.attachments.map(part => part.content.toString('base64')) };
    }
};
const lines = require('readline').createInterface({ input: process.stdin });
(async () => {
    for await (const line of lines) {
        const { reader, raw } = JSON.parse(line);
        try { console.log(JSON.stringify(await readers[reader](Buffer.from(raw, 'base64')))); }
        catch (error) { console.log(JSON.stringify({ error: String(error) })); }
    }
})();
"""


@pytest.fixture(scope="module")
def node() -> Iterator[subprocess.Popen[str]]:
    """Parsers from npm, in the folder that MAILWRIGHT_NODE_PARSERS names (postal-mime, mailparser)."""
    program, folder = shutil.which("node"), os.environ.get("MAILWRIGHT_NODE_PARSERS")
    if not program or not folder:
        pytest.skip("needs node and MAILWRIGHT_NODE_PARSERS")
    with subprocess.Popen(
        [program, "-e", PARSERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.terminate()


@pytest.mark.parametrize("reader", ["postal-mime", "mailparser"])
@settings(THOROUGH, max_examples=EXAMPLES)
@given(message=messages())
def test_parsers_from_npm_agree(node: subprocess.Popen[str], reader: str, message: Message) -> None:
    """Addresses, subject, Message-ID and attachments; names and subject but for the blanks that readers fold together."""
    message = laws.readable(message)
    assert node.stdin is not None
    assert node.stdout is not None
    node.stdin.write(json.dumps({"reader": reader, "raw": b64encode(bytes(laws.composed(message))).decode()}) + "\n")
    node.stdin.flush()
    found = json.loads(node.stdout.readline())
    assert "error" not in found
    for name, meant in (("to", message.to), ("cc", message.cc)):
        assert len(found[name]) == len(meant)
        for (_, email), address in zip(found[name], meant, strict=True):
            local, _, domain = email.rpartition("@")
            assert local == address.local_part
            assert Address(f"x@{domain}").domain == address.domain
    assert found["subject"].split() == message.subject.split()
    assert found["id"] == message.message_id
    wanted = [
        b64encode(part.content).decode()
        for part in laws.meant_parts(message)
        if part
        and part.disposition
        and part.content is not None
        # these two show inline texts as part of the body
        and (part.disposition == "attachment" or not part.content_type.startswith("text/"))
    ]
    assert [one for one in wanted if one not in found["parts"]] == []
