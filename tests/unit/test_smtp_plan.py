"""Which transactions a message needs at a server: nothing is sent that it cannot take, and nobody is left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Envelope
from mailwright.errors import MessageError
from mailwright.model import Dsn, RecipientStatus, Reply, Report
from mailwright.smtp import Capabilities, Job, Leg, Plan, further, plain_leg, plan, rcpt_to, server_id


def capabilities(*lines: str) -> Capabilities:
    return Capabilities.parse(lines)


def job(*recipients: str, sender: str | None = "s@x", **options: Any) -> Job:
    return Job(envelope=Envelope(sender=sender, recipients=recipients or ("a@x",)), **{"size": 10, **options})


@pytest.mark.parametrize(
    ("lines", "options", "reason"),
    [
        (["SIZE 9"], {}, "takes 9"),
        ([], {"needs": frozenset({"smtputf8"})}, "SMTPUTF8"),
        ([], {"sender": "ö@x"}, "return path"),
        ([], {"needs": frozenset({"8bitmime"})}, "8BITMIME"),
        (["CHUNKING"], {"needs": frozenset({"binarymime"})}, "BINARYMIME"),
        (["BINARYMIME"], {"needs": frozenset({"binarymime"})}, "CHUNKING"),
        ([], {"require_tls": True, "encrypted": True}, "REQUIRETLS"),
        (["REQUIRETLS"], {"require_tls": True}, "REQUIRETLS"),
        ([], {"dsn": Dsn()}, "DSN"),
    ],
)
def test_what_a_server_cannot_take_is_refused_before_mail(lines: list[str], options: Any, reason: str) -> None:
    with pytest.raises(MessageError, match=reason) as caught:
        plan(job(**options), capabilities(*lines))
    assert (caught.value.permanent, caught.value.stage) == (True, "mail")


OFFERS = ["SIZE", "SIZE 9", "SIZE 10", "SIZE 0", "SMTPUTF8", "LIMITS RCPTMAX=1", "LIMITS", "8BITMIME", "DSN"]


@given(
    st.lists(st.sampled_from(OFFERS), max_size=4),
    st.sampled_from([None, "s@x", "ö@x"]),
    st.lists(st.sampled_from(["a@x", "b@y", "ö@x"]), min_size=1, max_size=3),
)
def test_the_short_look_at_a_plain_message_says_what_the_long_one_does(
    lines: list[str], sender: str | None, recipients: list[str]
) -> None:
    wanted, offered = job(*recipients, sender=sender), capabilities(*lines)
    if (leg := plain_leg(wanted.envelope, wanted.size, offered)) is not None:
        assert plan(wanted, offered) == Plan(legs=(leg,))


def test_the_short_look_is_enough_for_plain_messages() -> None:
    assert plain_leg(job().envelope, 10, capabilities("SIZE 10", "8BITMIME", "PIPELINING")) is not None


def test_binary_octets_go_where_they_are_taken() -> None:
    [leg] = plan(job(needs=frozenset({"binarymime"})), capabilities("CHUNKING", "BINARYMIME")).legs
    assert leg.mail == ("BODY=BINARYMIME",)


def test_smtputf8_is_for_those_who_need_it() -> None:
    found = plan(job("ö@x", "a@x"), capabilities("SMTPUTF8", "SIZE"))
    assert [(leg.envelope.recipients, leg.mail) for leg in found.legs] == [
        (("a@x",), ("SIZE=10",)),
        (("ö@x",), ("SIZE=10", "SMTPUTF8")),
    ]
    [leg] = plan(job("ö@x", "a@x", sender="ü@x"), capabilities("SMTPUTF8")).legs
    assert leg.mail == ("SMTPUTF8",)
    found = plan(job("ö@x", "a@x"), capabilities())
    assert [status.address for status in found.refused] == ["ö@x"]
    assert [leg.envelope.recipients for leg in found.legs] == [("a@x",)]


def test_dsn_parameters() -> None:
    wanted = Dsn(notify=frozenset({"success", "delay"}), ret="headers", envid="a b+c")
    [leg] = plan(job("a+b@x", dsn=wanted), capabilities("DSN")).legs
    assert leg.mail == ("RET=HDRS", "ENVID=a+20b+2Bc")
    assert rcpt_to("a+b@x", leg.rcpt("a+b@x")) == b"RCPT TO:<a+b@x> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;a+2Bb@x\r\n"
    never = Leg(envelope=Envelope(recipients="ö@x"), dsn=Dsn(notify=frozenset()))
    assert never.rcpt("ö@x") == ("NOTIFY=NEVER",)
    plain = Leg(envelope=Envelope(recipients="a@x"))
    assert plain.rcpt("a@x") == ()


def test_limits_are_read() -> None:
    found = capabilities("LIMITS MAILMAX=5 RCPTMAX=2 X=y")
    assert (found.limit("MAILMAX"), found.limit("RCPTMAX"), found.limit("X"), found.limit("Y")) == (5, 2, None, None)
    assert [len(leg.envelope.recipients) for leg in plan(job("a@x", "b@x", "c@x"), found).legs] == [2, 1]


@given(
    st.lists(st.sampled_from([f"{letter}{n}@x" for letter in "aö" for n in range(6)]), min_size=1, unique=True),
    st.integers(0, 4),
    st.booleans(),
)
def test_everybody_is_in_exactly_one_place(recipients: list[str], most: int, utf8: bool) -> None:
    lines = [f"LIMITS RCPTMAX={most}"] + (["SMTPUTF8"] if utf8 else [])
    found = plan(job(*recipients), capabilities(*lines))
    planned = [address for leg in found.legs for address in leg.envelope.recipients]
    assert sorted(planned + [status.address for status in found.refused]) == sorted(recipients)
    assert all(leg.envelope.recipients and (not most or len(leg.envelope.recipients) <= most) for leg in found.legs)


def status(address: str, reply: Reply | None = None, *, stage: Any = "rcpt") -> RecipientStatus:
    outcome: Any = "rejected" if reply else "accepted"
    return RecipientStatus(address=address, outcome=outcome, permanent=False, stage=stage, reply=reply)


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        (Reply(code=452, enhanced="4.5.3"), True),
        (Reply(code=452), True),
        (Reply(code=552, enhanced="5.5.3"), True),
        (Reply(code=452, enhanced="4.2.2"), False),
        (Reply(code=451), False),
        (Reply(code=550), False),
    ],
)
def test_one_recipient_too_many_asks_for_a_further_transaction(reply: Reply, again: bool) -> None:
    leg = Leg(envelope=Envelope(recipients=["a@x", "b@x"]), mail=("SIZE=10",))
    found = further(leg, Report(statuses=(status("a@x"), status("b@x", reply))))
    assert (found is not None) is again
    if found is not None:
        assert (found.envelope.recipients, found.mail) == (("b@x",), ("SIZE=10",))
    assert further(leg, Report(statuses=(status("a@x", reply), status("b@x", reply)))) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2.0.0 Ok: queued as 4ABC", "4ABC"),
        ("OK id=1tFabc-0001-Xy", "1tFabc-0001-Xy"),
        ("<a@b.prod.outlook.com> [InternalId=1, Hostname=h] 1 bytes", "<a@b.prod.outlook.com>"),
        ("Ok 0100018c0f3c-1234-4321-abcd-0123456789ab-000000", "0100018c0f3c-1234-4321-abcd-0123456789ab-000000"),
        ("fine", None),
    ],
)
def test_the_servers_own_name_for_a_message(text: str, found: str | None) -> None:
    assert server_id(Reply(code=250, text=text)) == found
    assert server_id(Reply(code=550, text=text)) is None
    assert server_id(None) is None


@given(
    st.lists(st.builds("{}@{}.org".format, st.integers(0, 30), st.sampled_from("abCcde")), min_size=1, unique=True),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_a_transaction_has_so_many_domains(addresses: list[str], domains: int, most: int | None) -> None:
    said = f"LIMITS RCPTDOMAINMAX={domains}" + (f" RCPTMAX={most}" if most else "")
    legs = plan(job(*addresses), capabilities(said)).legs
    assert sorted(address for leg in legs for address in leg.envelope.recipients) == sorted(addresses)
    for leg in legs:
        assert len({address.rpartition("@")[2].lower() for address in leg.envelope.recipients}) <= domains
        assert len(leg.envelope.recipients) <= (most or len(addresses))
