"""Two judges that share no code with the signer: dkimpy, and OpenDKIM where Debian's package is installed."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailwright_dkim import DkimError, DkimKey, DkimSigner
from mailwright_dkim.__main__ import main
from mailwright_dkim.canonical import body_hash, split
from mailwright_dkim.plugin import VARIABLE, load

from mailwright import Mailer, Message, Part, Registry
from mailwright.errors import PluginError
from mailwright.testing import ScriptedServer
from mailwright.testing.contracts import HooksContract
from mailwright.testing.laws import composed
from mailwright.testing.strategies import messages

OPENDKIM = shutil.which("opendkim", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def pem(key: Any, *, password: bytes | None = None) -> bytes:
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    found: bytes = key.private_bytes(form, kind, hidden)
    return found


@cache
def private(kind: str) -> bytes:
    made: Callable[[], Any] = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "short": lambda: rsa.generate_private_key(65537, 1024),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    }[kind]
    return pem(made())


@cache
def keys(domain: str = "example.org") -> tuple[DkimKey, ...]:
    return tuple(
        DkimKey(domain=domain, selector=f"{kind}.s2026", private_key=private(kind)) for kind in ("rsa", "ed25519")
    )


def signed(message: Message, used: tuple[DkimKey, ...] | None = None) -> bytes:
    result = DkimSigner(used or keys()).sign(composed(message))
    assert result is not None
    return bytes(result)


def verdicts(octets: bytes, used: tuple[DkimKey, ...] | None = None) -> list[bool]:
    """What dkimpy says of each signature."""
    records = {f"{key.selector}._domainkey.{key.domain}.".encode(): key.record.encode() for key in used or keys()}
    count = octets.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
    judge = dkim.DKIM(octets)

    def verdict(index: int) -> bool:
        try:
            return bool(judge.verify(idx=index, dnsfunc=lambda name, timeout=5: records.get(name)))
        except dkim.ValidationError:  # of the body
            return False

    return [verdict(index) for index in range(count)]


def plain(**changes: Any) -> Message:
    usual: dict[str, Any] = {
        "from_": "Zoë <zoe@news.example.org>", "to": "ann@example.net", "subject": "Grüße", "text": "Hello  there\n\n\n",
        "html": "<p>Grüße</p>", "message_id": "<1@example.org>", "date": datetime(2026, 11, 2, tzinfo=UTC),
        "list_unsubscribe": "https://example.org/u", "one_click": True,
    }  # fmt: skip
    return Message(**{**usual, **changes})


def opendkim(octets: bytes, folder: Path, used: tuple[DkimKey, ...]) -> str:
    """What OpenDKIM would write into Authentication-Results."""
    if OPENDKIM is None:
        pytest.skip("needs opendkim")
    public, config, mail = folder / "keys", folder / "conf", folder / "mail"
    public.write_text("".join(f"{key.selector}._domainkey.{key.domain} {key.record}\n" for key in used))
    config.write_text(f"TestPublicKeys {public}\nMode v\nSyslog no\nMinimumKeyBits 1024\n")
    mail.write_bytes(octets)
    done = subprocess.run(
        [OPENDKIM, "-x", str(config), "-t", str(mail), "-vv"], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout


@given(messages())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_dkimpy_verifies_every_signature(message: Message) -> None:
    used = keys(message.from_.domain.lower()) if message.from_ else keys()
    assert verdicts(signed(message, used), used) == [True, True]


@given(st.binary(max_size=400), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=300)
def test_the_body_hash_does_not_depend_on_chunks(noise: bytes, cuts: random.Random) -> None:
    blanks = noise.translate(bytes(b"a \t\r\nb \n"[octet % 8] for octet in range(256)))
    body = re.sub(rb"\r|\n", b"\r\n", blanks) + b"\r\n"  # as every message's ends
    whole = body_hash([body])
    chunks, at = [], 0
    while at < len(body):
        step = cuts.randint(1, 7)
        chunks.append(body[at : at + step])
        at += step
    assert body_hash(chunks) == whole
    relaxed = dkim.canonicalization.Relaxed.canonicalize_body(body)
    assert whole == dkim.HASH_ALGORITHMS[b"rsa-sha256"](relaxed).digest()


@given(st.integers(1, 9))
@settings(deadline=None, max_examples=9)
def test_the_header_block_ends_where_it_ends(step: int) -> None:
    octets = b"A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore\r\n"
    block, body = split(octets[at : at + step] for at in range(0, len(octets), step))
    assert (block, b"".join(body)) == (b"A: b\r\nC: d\r\n", b"body\r\n\r\nmore\r\n")


def test_opendkim_verifies_both(tmp_path: Path) -> None:
    said = opendkim(signed(plain()), tmp_path, keys())
    assert len(re.findall(r"dkim=pass", said)) == 2, said
    assert "a=rsa-sha256" in said
    assert "a=ed25519-sha256" in said


def test_opendkim_sees_one_changed_octet(tmp_path: Path) -> None:
    said = opendkim(signed(plain()).replace(b"Hello", b"Jello"), tmp_path, keys())
    assert "dkim=pass" not in said
    assert "dkim=fail" in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"From: ", b"From: mallory@example.com\r\nFrom: "),
        (b"Subject: ", b"Subject: another\r\nSubject: "),
        (b"List-Unsubscribe: <https://example.org/u>", b"List-Unsubscribe: <https://example.com/u>"),
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click", b"List-Unsubscribe-Post: List-Unsubscribe=Never"),
        (b"Message-ID: <1@", b"Message-ID: <2@"),
        (b"MIME-Version: 1.0\r\n", b"MIME-Version: 1.0\r\nReply-To: mallory@example.com\r\n"),
        (b"Hello  there", b"Hello, there"),
    ],
)
def test_what_is_covered_cannot_change(old: bytes, new: bytes) -> None:
    octets = signed(plain())
    assert octets.count(old) == 1
    assert verdicts(octets.replace(old, new)) == [False, False]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hello  there", b"Hello there"),
        (b"Subject: ", b"subject:  "),
        (b"MIME-Version:", b"X-Spam: no\r\nMIME-Version:"),
    ],
)
def test_what_relays_do_is_forgiven(old: bytes, new: bytes) -> None:
    assert verdicts(signed(plain()).replace(old, new)) == [True, True]


def test_bcc_is_never_covered() -> None:
    message = plain(bcc="secret@example.net")
    assert b"bcc" not in signed(message).lower()


def test_the_time_limit_is_written() -> None:
    result = DkimSigner(keys()[:1], expires_s=600, now=lambda: 1_795_000_000.5).sign(composed(plain()))
    assert result is not None
    assert b"t=1795000000;\r\n x=1795000600;" in bytes(result)


def test_a_file_is_signed_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * 20_000)
    message = plain(attachments=[Part(content=path)])
    assert verdicts(signed(message)) == [True, True]
    largest = max(map(len, composed(message)))
    assert largest < path.stat().st_size / 10


def test_an_author_without_a_key_goes_unsigned_or_nowhere() -> None:
    stranger = composed(plain(from_="ann@example.com"))
    lookalike = composed(plain(from_="ann@notexample.org"))
    assert DkimSigner(keys()).sign(stranger) is None
    assert DkimSigner(keys()).sign(lookalike) is None
    with pytest.raises(DkimError, match=r"no key signs for example\.com; there are keys for example\.org"):
        DkimSigner(keys(), require=True).sign(stranger)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"private_key": b"nonsense"}, r"private_key of s\._domainkey\.example\.org: not a private key in PEM"),
        ({"private_key": "ec"}, "neither RSA nor Ed25519"),
        ({"private_key": "encrypted"}, "it is encrypted"),
        ({"selector": "a b"}, "not a selector such as"),
        ({"selector": "a;d=evil"}, "not a selector such as"),
        ({"domain": "exa mple.org"}, "is no domain"),
        ({"domain": ""}, "is no domain"),
    ],
)
def test_a_bad_key_is_a_loud_error(changes: dict[str, Any], said: str) -> None:
    known = {"ec": private("ec"), "encrypted": pem(ed25519.Ed25519PrivateKey.generate(), password=b"x")}
    given_key = changes.get("private_key", private("ed25519"))
    changes = {**changes, "private_key": known.get(given_key, given_key) if isinstance(given_key, str) else given_key}
    with pytest.raises(DkimError, match=said):
        DkimKey(**{"domain": "example.org", "selector": "s", **changes})


class Octets:
    """Ready-made octets, in chunks."""

    message_id, needs = "<1@example.org>", frozenset[Any]()

    def __init__(self, octets: bytes, step: int) -> None:
        self.octets, self.step, self.size = octets, step, len(octets)

    def __iter__(self) -> Any:
        return (self.octets[at : at + self.step] for at in range(0, len(self.octets), self.step))

    def __bytes__(self) -> bytes:
        return self.octets

    def with_header(self, name: str, value: str, *, top: bool = True) -> Octets:
        return Octets(f"{name}: {value}\r\n".encode() + self.octets, self.step)


@pytest.mark.parametrize("author", [b"a@example.org, b@example.org", b"Zo\xeb <zoe@example.org>", b"nobody:;", b""])
def test_an_author_nobody_can_read_stops_the_message_in_words(author: bytes) -> None:
    with pytest.raises(DkimError, match="names no one author"):
        DkimSigner(keys()).sign(Octets(b"From: " + author + b"\r\n\r\nHello\r\n", 7))  # type: ignore[arg-type]


ODD_HEADERS = [
    (b"Subject: x", b"Subject:\r\n x \r\n\t y  "), (b"Subject: x\r\n", b""), (b"Subject: x", b"Subject:"),
    (b"From:", b"fRoM:"), (b"zoe@example.org", b"=?utf-8?q?Zo=C3=AB?= <zoe@Example.ORG>"),
    (b"zoe@example.org", b'"Zoe, \\"x\\" <a@evil.example>" <zoe@example.org>'), (b"Subject: x", b"Subject: x\r\nSubject: y"),
]  # fmt: skip
ODD_BODIES = [
    b"", b"\r\n", b"\r\n" * 9, b" \t \r\n\t\r\n", b"a \t\r\n b\t c  \r\n\r\n \r\n", b"x" * 998 + b"\r\n", "Grüße \r\n".encode()
]  # fmt: skip


@pytest.mark.parametrize("change", ODD_HEADERS, ids=repr)
def test_both_judges_agree_on_odd_letters_however_they_are_cut(change: tuple[bytes, bytes], tmp_path: Path) -> None:
    head = b"From: zoe@example.org\r\nTo: ann@example.net\r\nSubject: x\r\nDate: Mon, 02 Nov 2026 00:00:00 +0000\r\n"
    for number, body in enumerate(ODD_BODIES):
        octets = head.replace(*change) + b"\r\n" + body
        made = [
            bytes(DkimSigner(keys(), now=lambda: 1_767_312_000.0).sign(Octets(octets, step))) for step in (1, 3, 4096)
        ]  # type: ignore[arg-type]
        assert made[0] == made[1] == made[2]
        assert verdicts(made[0]) == [True, True], body
        if OPENDKIM is not None:
            folder = tmp_path / str(number)
            folder.mkdir()
            said = opendkim(made[0], folder, keys())
            assert (said.count("dkim=pass"), said.count("dkim=fail")) == (2, 0), said


def test_a_key_does_not_show_itself() -> None:
    assert "PRIVATE" not in repr(keys())


def test_domains_of_other_scripts_sign_as_a_labels() -> None:
    used = keys("bücher.example")
    assert used[0].domain == "xn--bcher-kva.example"
    assert verdicts(signed(plain(from_="zoe@bücher.example"), used), used) == [True, True]


@pytest.fixture
def document(tmp_path: Path) -> Path:
    (tmp_path / "rsa.pem").write_bytes(private("rsa"))
    path = tmp_path / "dkim.toml"
    path.write_text('[[keys]]\ndomain = "example.org"\nselector = "r1"\nprivate_key_file = "rsa.pem"\n')
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('selector = "r1"', 'selecter = "r1"', r"\$\.keys\[0\]\.selecter: not a setting"),
        ('selector = "r1"\n', "", r"\$\.keys\[0\]\.selector: missing"),
        ('selector = "r1"', "selector = 1", r"\$\.keys\[0\]\.selector: str, not int"),
        ('"rsa.pem"', '"gone.pem"', r"\$\.keys\[0\]\.private_key_file: gone\.pem: No such file"),
        ('private_key_file = "rsa.pem"', 'private_key_env = "NOT_SET_HERE"', "the environment has no NOT_SET_HERE"),
        ('"rsa.pem"', '"dkim.toml"', r"\$\.keys\[0\]\.private_key of r1\._domainkey\.example\.org: not a private key"),
        ("[[keys]]", "[keys]", r"\$\.keys: write a"),
        ("[[keys]]", 'require = "yes"\n[[keys]]', r"\$\.require: bool, not str"),
        ("[[keys]]", "[[keys", "dkim.toml"),
    ],
)
def test_the_file_says_what_is_wrong_where(document: Path, old: str, new: str, said: str) -> None:
    text = document.read_text()
    assert old in text
    document.write_text(text.replace(old, new))
    with pytest.raises(DkimError, match=said):
        load(document)


def test_records_are_printed(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(document)]) == 0
    assert capsys.readouterr().out.startswith('r1._domainkey.example.org TXT "v=DKIM1; k=rsa; p=MII')
    assert main([str(document.with_name("gone"))]) == 1
    assert main([]) == 2


async def test_mail_leaves_signed(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user does: the installed plugin, a file, a server."""
    monkeypatch.setenv(VARIABLE, str(document))
    async with ScriptedServer() as server:
        connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
        async with Mailer(connection, registry=Registry()) as mailer:
            await mailer.send(plain(message_id=None, date=None))
        (received,) = server.messages
        assert verdicts(received.raw, (load(document).keys[0],)) == [True]


async def test_a_bad_file_sends_nothing(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(document.with_name("gone.toml")))
    async with ScriptedServer() as server:
        connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
        async with Mailer(connection, registry=Registry()) as mailer:
            with pytest.raises(PluginError, match=r"MAILWRIGHT_DKIM: .*gone\.toml: No such file"):
                await mailer.send(plain())
        assert not server.messages
        assert not server.sessions


class TestContract(HooksContract):
    """What every plugin with hooks owes."""

    plugin = "mailwright_dkim.plugin"

    @pytest.fixture(autouse=True)
    def _keys(self, document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        document.write_text(document.read_text().replace("example.org", "org"))
        monkeypatch.setenv(VARIABLE, str(document))
