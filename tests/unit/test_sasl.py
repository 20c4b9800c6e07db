"""SASL machines: right octets, one choice, no secret shown, nothing sent where others listen."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from mailwright.errors import AuthError
from mailwright.sasl import (
    CramMd5,
    External,
    Login,
    OAuthBearer,
    Plain,
    ScramSha1,
    ScramSha256,
    XOAuth2,
    passwords,
    server_end_point,
    tokens,
)
from mailwright.sasl.saslprep import saslprep
from mailwright.spi import SaslOffer

CANARY = "canary-9876"


def offer(*mechanisms: str, private: bool = True, bound: bool = False) -> SaslOffer:
    bindings = {"tls-server-end-point": b"B" * 32} if bound else {}
    return SaslOffer(
        mechanisms=frozenset(mechanisms),
        encrypted=private,
        private=private,
        host="h",
        port=25,
        channel_bindings=bindings,
    )


def test_plain() -> None:
    assert Plain("tim", "tanstaaftanstaaf").start() == b"\0tim\0tanstaaftanstaaf"  # RFC 4616 §4
    assert Plain("ä", "ö").step(b"") == "\0ä\0ö".encode()


def test_login_answers_two_questions_only() -> None:
    machine = Login("ann", CANARY)
    assert machine.start() is None
    assert [machine.step(b"Username:"), machine.step(b"Password:")] == [b"ann", CANARY.encode()]
    with pytest.raises(AuthError, match="third time"):
        machine.step(b"again:")


def test_cram_md5() -> None:
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"  # RFC 2195 §3
    assert CramMd5("tim", "tanstaaftanstaaf").step(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_bearer_tokens() -> None:
    assert XOAuth2("u@x", "T").start() == b"user=u@x\x01auth=Bearer T\x01\x01"
    assert XOAuth2("u@x", "T").step(b'{"status":"401"}') == b""
    assert OAuthBearer("u,=x", "T", "h", 25).start() == b"n,a=u=2C=3Dx,\x01host=h\x01port=25\x01auth=Bearer T\x01\x01"
    assert OAuthBearer("u", "T").step(b"{}") == b"\x01"


def test_the_strongest_mechanism_both_have() -> None:
    assert passwords("u", "p", offer("CRAM-MD5", "LOGIN", "PLAIN")).name == "PLAIN"
    assert passwords("u", "p", offer("CRAM-MD5", "LOGIN")).name == "LOGIN"
    assert passwords("u", "p", offer("CRAM-MD5")).name == "CRAM-MD5"
    assert tokens("u", "t", offer("PLAIN", "OAUTHBEARER", "XOAUTH2")).name == "XOAUTH2"
    assert tokens("u", "t", offer("OAUTHBEARER")).name == "OAUTHBEARER"
    with pytest.raises(AuthError, match="offers PLAIN; an access token needs"):
        tokens("u", "t", offer("PLAIN"))
    with pytest.raises(AuthError, match="offers no authentication"):
        passwords("u", "p", offer())


def test_nothing_leaves_over_a_link_that_is_not_private() -> None:
    for choose in (passwords, tokens):
        with pytest.raises(AuthError, match="not encrypted"):
            choose("u", CANARY, offer("PLAIN", "XOAUTH2", private=False))


@pytest.mark.parametrize("machine", [Plain, Login, CramMd5, XOAuth2, OAuthBearer, ScramSha1, ScramSha256])
def test_controls_are_refused_and_secrets_are_not_shown(machine: type[Plain]) -> None:
    assert CANARY not in repr(machine("u", CANARY))
    for bad in ("a\x01b", "a\r\nb", "a\0b", ""):
        with pytest.raises(AuthError):
            machine("u", bad)
        with pytest.raises(AuthError):
            machine(bad, "p")


FIRST_256 = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def scram(**options: Any) -> ScramSha256:
    machine = ScramSha256("user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO", **options)
    machine.start()
    return machine


def test_scram_sha_256() -> None:  # RFC 7677 §3
    machine = scram()
    assert machine.start() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert machine.step(FIRST_256) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert machine.complete is False
    assert machine.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    assert machine.complete is True
    with pytest.raises(AuthError, match="third time"):
        machine.step(b"")


def test_scram_sha_1() -> None:  # RFC 5802 §5
    machine = ScramSha1("user", "pencil", nonce="fyko+d2lbbFgONRv9qkxdawL")
    machine.start()
    first = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    assert machine.step(first) == (
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    machine.step(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    assert machine.complete


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        (b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "our nonce"),
        (b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "our nonce"),
        (FIRST_256.replace(b"i=4096", b"i=1"), "iterations"),
        (FIRST_256.replace(b"i=4096", b"i=999999999"), "iterations"),
        (b"m=ext," + FIRST_256, "none"),
        (b"", "none"),
        (b"\xff\x00", "none"),
    ],
)
def test_scram_refuses_a_challenge_that_proves_nothing(challenge: bytes, reason: str) -> None:
    with pytest.raises(AuthError, match=reason):
        scram().step(challenge)


@pytest.mark.parametrize("last", [b"v=AAAA", b"v=!", b"", b"x", b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="])
def test_scram_refuses_a_server_that_does_not_know_the_password(last: bytes) -> None:
    machine = scram()
    machine.step(FIRST_256)
    with pytest.raises(AuthError, match="not who it says"):
        machine.step(last)
    assert not machine.complete


def test_scram_hears_the_servers_refusal() -> None:
    machine = scram()
    machine.step(FIRST_256)
    assert machine.step(b"e=invalid-proof") == b""
    assert not machine.complete


def test_scram_flags_tell_what_both_sides_can() -> None:
    assert scram().start().startswith(b"n,,")
    assert scram(binding=b"B").start().startswith(b"y,,")
    bound = scram(binding=b"B" * 32, plus=True)
    assert bound.name == "SCRAM-SHA-256-PLUS"
    assert bound.start().startswith(b"p=tls-server-end-point,,")
    proof = bound.step(FIRST_256)
    header = base64.b64decode(proof.removeprefix(b"c=").partition(b",")[0])
    assert header == b"p=tls-server-end-point,," + b"B" * 32
    with pytest.raises(AuthError, match="no TLS session"):
        ScramSha256("u", "p", plus=True)


def test_scram_escapes_the_user_and_never_repeats_a_nonce() -> None:
    assert ScramSha1("a,b=c", "p", nonce="n").start() == b"n,,n=a=2Cb=3Dc,r=n"
    assert ScramSha1("u", "p").start() != ScramSha1("u", "p").start()


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_scram_answers_any_octets_or_refuses_them(first: bytes, second: bytes) -> None:
    machine = scram()
    try:
        machine.step(first)
        machine.step(second)
    except AuthError:
        pass
    assert not machine.complete


def test_scram_comes_first_and_bound_before_that() -> None:
    every = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN", "CRAM-MD5"]
    assert passwords("u", "p", offer(*every)).name == "SCRAM-SHA-256"
    assert passwords("u", "p", offer(*every, bound=True)).name == "SCRAM-SHA-256-PLUS"
    assert passwords("u", "p", offer("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", bound=True)).name == "SCRAM-SHA-1-PLUS"
    assert passwords("u", "p", offer("SCRAM-SHA-1", "PLAIN", bound=True)).name == "SCRAM-SHA-1"
    with pytest.raises(AuthError, match="a password needs SCRAM"):
        passwords("u", "p", offer("SCRAM-SHA-256-PLUS"))


def test_external() -> None:
    assert External().start() == b""
    assert External("ann@x").step(b"") == b"ann@x"
    with pytest.raises(AuthError):
        External("a\0b")


@pytest.mark.parametrize(
    ("given", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep(given: str, prepared: str) -> None:  # RFC 4013 §3
    assert saslprep(given) == prepared


@pytest.mark.parametrize("given", ["\x07", "\u0627\u0031", "\u00ad", "\ue000", ""])
def test_saslprep_refuses(given: str) -> None:
    with pytest.raises(ValueError, match=r"left|allowed|directions"):
        saslprep(given)


def certificate(key: Any, algorithm: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    when = dt.datetime(2026, 1, 1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, when, when + dt.timedelta(days=1))
    return made.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_channel_bindings_use_the_certificates_own_hash(algorithm: str) -> None:
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
        der = certificate(key, getattr(hashes, algorithm.upper())())
        assert server_end_point(der) == hashlib.new(algorithm, der).digest()


def test_no_channel_binding_where_none_is_defined() -> None:
    assert server_end_point(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None
    assert server_end_point(b"") is None
    assert server_end_point(b"\x30\x82\xff\xff\x00") is None
