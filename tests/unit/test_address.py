"""Mailboxes: the small strict grammar, and everything it refuses (security table A3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Address, MailwrightError
from mailwright.errors import AddressError


@pytest.mark.parametrize(
    ("text", "email", "name"),
    [
        ("ann@example.org", "ann@example.org", ""),
        ("Ann <ann@example.org>", "ann@example.org", "Ann"),
        ('"Ann, B. (x)" <ann@example.org>', "ann@example.org", "Ann, B. (x)"),
        ('"a \\"quoted\\" name" <ann@example.org>', "ann@example.org", 'a "quoted" name'),
        ("Jörg Müller <joerg@exämple.org>", "joerg@xn--exmple-cua.org", "Jörg Müller"),
        ("jörg@example.org", "jörg@example.org", ""),
        ('"a b"@example.org', '"a b"@example.org', ""),
        ('"plain"@example.org', "plain@example.org", ""),
        ('"a@b>c"@example.org', '"a@b>c"@example.org', ""),
        ('X <"a<b>"@example.org>', '"a<b>"@example.org', "X"),
        ("o'brien+tag@sub.example.org", "o'brien+tag@sub.example.org", ""),
        ("root@localhost", "root@localhost", ""),
        (f"{'a' * 64}@{'b' * 31}-{'b' * 31}.org", f"{'a' * 64}@{'b' * 31}-{'b' * 31}.org", ""),
        ("=?utf-8?q?a=40evil=2Ecom=3E?=@ok.com", "=?utf-8?q?a=40evil=2Ecom=3E?=@ok.com", ""),
    ],
)
def test_accepted(text: str, email: str, name: str) -> None:
    assert Address.parse(text) == Address(email, name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a(b(c)d)@x", "comments"),
        ("(x)evil@e(y)@ok", "comments"),
        ("Ann (her) <a@x.org>", "comments"),
        ('G:"a;b"<x@y>;', "groups"),
        ("G:a@x.org;", "groups"),
        ("<@route.org:a@x.org>", "groups and source routes"),
        ("a@ok (x).evil.com", "comments"),
        ("a@ok\r\n .com", "U\\+000D"),
        ('"a@evil.com> "x@ok.com', "angle bracket"),
        ("a@b@c", "more than one"),
        ("a@x.org.", "ends with a dot"),
        ("a..b@x.org", "dots"),
        (".a@x.org", "dots"),
        ("a@-x.org", "host name"),
        ("a@x.org-", "host name"),
        ("a@x-.org", "host name"),
        ("a@x_y.org", "host name"),
        ("a@" + "b" * 64 + ".org", "host name"),
        ("a" * 65 + "@x.org", "64 octets"),
        ("ä" * 33 + "@x.org", "64 octets"),
        ("a@" + ".".join(["b" * 60] * 5), "254|host name"),
        ("a@[127.0.0.1]", "literals"),
        ("no-at", "no '@'"),
        ("@x.org", "before"),
        ("a@", "behind"),
        ('"open@x.org', "not closed"),
        ("a@x.org\x00", "U\\+0000"),
        ("a\u202e@x.org", "U\\+202E"),
        ("a\ud800@x.org", "U\\+D800"),
        ("a@x.org> SIZE=1", "angle bracket"),
        ("", "found 0"),
        ("a@x.org, b@x.org", "found 2"),
    ],
)
def test_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        Address.parse(text)


def test_lists_split_at_commas_and_semicolons_outside_quotes() -> None:
    found = Address.parse_list('"x, y; z" <a@x.org>; b@x.org, ,c@x.org;')
    assert [address.email for address in found] == ["a@x.org", "b@x.org", "c@x.org"]


def test_literals_on_request() -> None:
    assert Address("a@[192.0.2.1]", allow_literals=True).email == "a@[192.0.2.1]"
    assert Address("a@[ipv6:2001:DB8::1]", allow_literals=True).email == "a@[IPv6:2001:db8::1]"
    with pytest.raises(AddressError, match="not an address literal"):
        Address("a@[x]", allow_literals=True)


@pytest.mark.parametrize("domain", ["ex\u00adample.org", "ｅxample.org", "faß.de", "İstanbul.org"])
def test_one_idna_mapping_shown_to_the_caller(domain: str) -> None:
    address = Address(f"a@{domain}")
    assert address.email.isascii()
    assert Address(address.email) == address


@pytest.mark.parametrize("hostile", ["(", '"', ",", "<", ";", "a@b,", '"\\', "@", "\\", "<a@"])
def test_a_megabyte_of_specials_is_answered_in_one_pass(hostile: str) -> None:
    text = hostile * (1_000_000 // len(hostile))
    try:
        Address.parse_list(text)
    except MailwrightError as error:
        assert len(str(error)) < 400  # noqa: PT017 - both outcomes are right; the message stays short


@given(st.text(max_size=80))
def test_whatever_is_accepted_stays_the_same_mailbox(text: str) -> None:
    try:
        found = Address.parse_list(text)
    except AddressError:
        return
    for address in found:
        assert Address.parse(str(address)) == address
        assert Address(address.email).email == address.email
        assert not any(ord(char) < 32 for char in address.email)


@given(st.text(max_size=60), st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.org", fullmatch=True))
def test_any_display_name_round_trips_or_is_refused(name: str, email: str) -> None:
    try:
        address = Address(email, name)
    except AddressError:
        return
    if name.isprintable():
        assert Address.parse(str(address)) == address
