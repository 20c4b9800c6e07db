"""P01, P02 for what plugins declare: whatever an outsider's code does, the error names it, and nothing known is lost."""

from __future__ import annotations

import asyncio
import sys
import threading
import types
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import frozen

from mailwright import Dsn, Mailer, Message, Registry, connection_schema, hookimpl
from mailwright.errors import HttpError, LeaseLost, MailwrightError, PluginError, SendError
from mailwright.guards import guarded
from mailwright.model import Envelope
from mailwright.spi import (
    AttachmentSource,
    AuthMethod,
    AuthTarget,
    Capabilities,
    ConnectionInfo,
    Opening,
    Provider,
    RecipientStatus,
    Report,
    SecretScheme,
    Settings,
    SmtpEndpoint,
    Submission,
)
from mailwright.system import SystemClock
from mailwright.testing import Sandbox
from mailwright.testing.contracts import CANARY
from mailwright.testing.laws import composed

MESSAGE = Message(
    from_="zoe@example.org", to="ann@example.org, bo@example.org", text="x", message_id="<law@example.org>"
)


@frozen(kw_only=True)
class Nothing(Settings):
    """No settings."""


@frozen(kw_only=True)
class Unknowable(Settings):
    """A type nobody can tell."""

    x: NoSuchType = None  # type: ignore[name-defined] # noqa: F821


class Undecorated(Settings):
    """Not a record."""

    x: int = 1


def host(hook: str, *records: Any) -> Registry:
    module = types.ModuleType("nasty")
    setattr(module, hook, hookimpl(lambda: [*records]))
    return Registry([module], installed=False, environ={})


def provider(**changes: Any) -> Provider[Nothing]:
    record: dict[str, Any] = {
        "name": "nasty",
        "title": "Nasty",
        "settings": Nothing,
        "target": lambda settings: AuthTarget(protocol="http", host="api.example.org"),
        "endpoint": lambda settings: SmtpEndpoint(host="mail.example.org", port=465, tls="tls"),
    }
    return Provider(**{**record, **changes})


# -- declared: left out, and the host goes on


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 7}, {"name": None}, {"name": ""}, {"name": "two words"}, {"name": "a\x1b[31m\nb"}, {"title": None},
        {"aliases": None}, {"aliases": "gmail"}, {"aliases": (7,)}, {"domains": None}, {"auth": "basic"}, {"note": 1},
        {"limits": None}, {"settings": None}, {"settings": dict}, {"settings": Unknowable}, {"settings": Undecorated},
        {"explain": None}, {"advise": 3}, {"target": None}, {"endpoint": "mail.example.org"}, {"unavailable": None},
    ],
    ids=repr,
)  # fmt: skip
def test_p02_a_record_nobody_could_use_leaves_its_plugin_out(changes: dict[str, Any]) -> None:
    registry = host("mailwright_providers", provider(**changes))
    [info] = [info for info in registry.plugins if info.name == "nasty"]
    assert info.status == "broken"
    assert next(iter(changes)) in info.reason or "is no name" in info.reason or "types of" in info.reason
    assert info.reason.isprintable()
    assert registry.provider("gmail").name == "gmail"
    assert "gmail" in registry.names("provider")
    assert connection_schema(registry=registry)["properties"]


def endless() -> Any:
    while True:
        yield provider()


async def asynchronous() -> Any:
    return []


def unwise() -> Any:
    raise RuntimeError("a \x1b[31mred\nword " + 1000 * "x")
    yield


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (endless, "more than 10000"), (asynchronous, "is async"), (lambda: 7, "returned int"), (unwise, "a [31mred word xxx"),
        (lambda: sys.exit(3), "SystemExit: 3"), (lambda: pytest.skip("x"), "Skipped"),
    ],
)  # fmt: skip
def test_p02_a_record_hook_that_misbehaves_leaves_its_plugin_out(function: Any, told: str) -> None:
    module = types.ModuleType("nasty")
    module.mailwright_providers = hookimpl(function)  # type: ignore[attr-defined]
    registry = Registry([module], installed=False, environ={})
    [info] = [info for info in registry.plugins if info.name == "nasty"]
    assert (info.status, info.reason.isprintable(), len(info.reason) < 300) == ("broken", True, True)
    assert told in info.reason


# -- in use: named, and nothing else breaks


def boom(*given: Any) -> Any:
    raise KeyError(CANARY)


async def boom_later(*given: Any) -> Any:
    raise KeyError(CANARY)


async def leave(*given: Any) -> Any:
    sys.exit(3)


async def nothing(*given: Any) -> Any:
    return None


class Deliverer:
    """Accepts everything."""

    capabilities: Any = Capabilities()

    async def deliver(self, submission: Submission) -> Any:
        await submission.commit()
        return Report.all(submission.envelope, "accepted", stage="http")

    async def verify(self) -> AsyncIterator[str]:
        yield "ready"

    async def aclose(self) -> None:
        pass


def opens(**changes: Any) -> dict[str, Any]:
    return {"endpoint": None, "open": lambda settings, opening: type("Changed", (Deliverer,), changes)()}


def send(record: Provider[Any]) -> Any:
    registry = host("mailwright_providers", record)
    return Mailer({"provider": "nasty"}, registry=registry, retries=0).send_sync(MESSAGE)


def test_p01_a_good_transport_is_left_alone() -> None:
    assert [status.outcome for status in send(provider(**opens())).statuses] == ["accepted", "accepted"]


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": boom}, {"endpoint": lambda settings: None}, {"endpoint": None, "open": boom},
        {"endpoint": None, "open": lambda settings, opening: None}, opens(capabilities=None),
    ],
)  # fmt: skip
def test_p01_a_provider_that_cannot_be_opened_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=r"plugin nasty \(handed in\)"):
        send(provider(**changes))


async def raises_after_commit(self: Any, submission: Submission) -> Any:
    await submission.commit()
    raise KeyError("x")


async def request_was_sent(self: Any, submission: Submission) -> Any:
    raise HttpError("lost", request_sent=True)


async def others(self: Any, submission: Submission) -> Any:
    await submission.commit()
    return Report(statuses=(RecipientStatus(address="evil@example.net", outcome="accepted", stage="http"),))


async def one_of_two(self: Any, submission: Submission) -> Any:
    await submission.commit()
    return Report(statuses=(RecipientStatus(address="bo@example.org", outcome="accepted", stage="http"),))


@pytest.mark.parametrize(
    ("deliver", "outcomes"),
    [
        (boom_later, ["rejected", "rejected"]),
        (leave, ["rejected", "rejected"]),
        (raises_after_commit, ["unknown", "unknown"]),
        (request_was_sent, ["unknown", "unknown"]),
        (nothing, ["unknown", "unknown"]),
        (others, ["unknown", "unknown"]),
        (one_of_two, ["unknown", "accepted"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_p01_whatever_deliver_does_every_recipient_has_an_outcome(deliver: Any, outcomes: list[str]) -> None:
    told = "plugin nasty"
    try:
        receipt = send(provider(**opens(deliver=deliver)))
    except SendError as error:
        receipt = error.receipt
        told = error.message
    assert [status.address for status in receipt.statuses] == ["ann@example.org", "bo@example.org"]
    assert [status.outcome for status in receipt.statuses] == outcomes
    assert "plugin nasty" in told or told == "lost"


def submission(commit: Any = nothing, left_s: float = -0.99) -> Submission:
    return Submission(
        composed=composed(MESSAGE.replace(date=datetime(2026, 1, 2, tzinfo=UTC))),
        message=MESSAGE,
        envelope=Envelope(sender=MESSAGE.from_, recipients=MESSAGE.recipients),
        idempotency_key="law",
        deadline=SystemClock().monotonic() + left_s,
        commit=commit,
    )


RELEASE = threading.Event()


async def hangs(self: Any, submission: Submission) -> Any:
    await asyncio.Event().wait()


async def commits_and_hangs(self: Any, submission: Submission) -> Any:
    await submission.commit()
    await asyncio.Event().wait()


async def swallows(self: Any, submission: Submission) -> Any:
    while not RELEASE.is_set():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize(
    ("deliver", "outcome"), [(hangs, "rejected"), (commits_and_hangs, "unknown"), (swallows, "rejected")]
)
async def test_p01_a_transport_past_its_deadline_is_cancelled_or_abandoned(
    deliver: Any, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    RELEASE.clear()
    monkeypatch.setattr("mailwright.guards.GRACE_S", 0.05)
    record = guarded(provider(**opens(deliver=deliver)), "plugin nasty (handed in)")
    opening = Opening(
        connection=ConnectionInfo(provider="nasty"),
        http=None,
        clock=SystemClock(),
        reveal=boom_later,  # type: ignore[arg-type]
    )
    given = submission(left_s=0.0)
    report = await record.open(Nothing(), opening).deliver(given)
    assert [status.outcome for status in report.statuses] == [outcome, outcome]
    assert "did not end by its deadline" in report.error.message
    RELEASE.set()


async def test_p01_a_lost_lease_goes_through() -> None:
    async def lost() -> None:
        raise LeaseLost("another worker has it")

    record = guarded(provider(**opens()), "plugin nasty (handed in)")
    opening = Opening(
        connection=ConnectionInfo(provider="nasty"),
        http=None,
        clock=SystemClock(),
        reveal=boom_later,  # type: ignore[arg-type]
    )
    with pytest.raises(LeaseLost):
        await record.open(Nothing(), opening).deliver(submission(commit=lost, left_s=5.0))


@pytest.mark.parametrize("changes", [{"explain": boom}, {"advise": boom}, {"advise": lambda *given: 7}])
def test_p01_advice_and_explanations_change_nothing(changes: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(tls="none", login=False) as box:
        box.refuse("ann@example.org", "550 5.1.1 unknown")
        box.refuse("bo@example.org", "550 5.1.1 unknown")
        place = {"endpoint": lambda settings: SmtpEndpoint(host=box.host, port=box.port, tls="none")}
        with pytest.raises(SendError, match=r"5\.1\.1"):
            send(provider(**place, **changes))
    assert "plugin nasty (handed in)" in caplog.text


class Credential:
    """Right in every way."""

    async def sasl(self, offer: Any) -> Any:
        from mailwright.sasl import Plain

        return Plain("ann", CANARY)

    async def sign(self, request: Any) -> Any:
        return request

    async def refused(self, reply: Any, challenge: bytes | None) -> bool:
        return False

    async def aclose(self) -> None:
        pass


async def away(*given: Any) -> Any:
    raise ConnectionResetError("the vault is away")


def test_p01_a_vault_that_is_away_is_no_permanent_failure() -> None:
    opened = type("Away", (Credential,), {"sasl": away})
    record = AuthMethod(name="nasty", settings=Nothing, protocols=frozenset({"smtp"}), open=lambda *given: opened())
    with Sandbox(tls="none") as box, pytest.raises(SendError, match="ConnectionResetError") as caught:
        Mailer(
            {**box.connection, "auth": {"type": "nasty"}}, registry=host("mailwright_auth_methods", record), retries=0
        ).send_sync(MESSAGE)
    assert caught.value.permanent is False


class Machine:
    name = "PLAIN"

    def start(self) -> Any:
        raise KeyError(CANARY)

    step = start


async def broken_machine(*given: Any) -> Any:
    return Machine()


@pytest.mark.parametrize(
    "changes",
    [
        {"open": boom},
        {"open": lambda *given: None},
        {"user": boom},
        {"user": lambda settings: 7},
        *({"open": lambda *given, sasl=sasl: type("Bad", (Credential,), {"sasl": sasl})()}
          for sasl in (boom_later, nothing, leave, broken_machine)),
    ],
)  # fmt: skip
def test_p01_an_auth_method_that_fails_is_named_and_its_words_are_not_shown(changes: dict[str, Any]) -> None:
    record: dict[str, Any] = {
        "name": "nasty", "settings": Nothing, "protocols": frozenset({"smtp"}), "open": lambda *given: Credential(),
    }  # fmt: skip
    registry = host("mailwright_auth_methods", AuthMethod(**{**record, **changes}))
    with Sandbox(tls="none") as box:
        connection = {**box.connection, "auth": {"type": "nasty"}}
        with pytest.raises(MailwrightError, match=r"plugin nasty \(handed in\)") as caught:
            Mailer(connection, registry=registry, retries=0).send_sync(MESSAGE)
        if "sasl" in caught.value.message or "start" in caught.value.message:
            assert CANARY not in caught.value.message
        assert not box.messages


@pytest.mark.parametrize("resolve", [boom, boom_later, nothing, leave, lambda *given: "text"])
def test_p01_an_attachment_source_that_fails_is_named_with_the_attachment(resolve: Any) -> None:
    registry = host("mailwright_attachment_sources", AttachmentSource(name="nasty", settings=Nothing, resolve=resolve))
    with Sandbox(tls="none", login=False) as box:
        message = MESSAGE.replace(attachments=[Nothing()])
        with pytest.raises(PluginError, match=r"\$\.attachments\[0\].*plugin nasty \(handed in\)"):
            Mailer(box.connection, registry=registry).send_sync(message)
        assert not box.messages


@pytest.mark.parametrize(
    ("reveal", "told"), [(boom_later, "nasty:key"), (nothing, "plugin nasty"), (leave, "plugin nasty")]
)
def test_p01_a_secret_scheme_that_fails_shows_no_value(reveal: Any, told: str) -> None:
    registry = host("mailwright_secret_schemes", SecretScheme(name="nasty", reveal=reveal))
    with Sandbox(tls="none") as box:
        auth = {"type": "basic", "username": "ann", "password": "nasty:key"}
        with pytest.raises(MailwrightError, match=told) as caught:
            Mailer({**box.connection, "auth": auth}, registry=registry, retries=0).send_sync(MESSAGE)
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "ability"), [({"dsn": Dsn(notify=["failure"])}, "dsn"), ({"require_tls": True}, "requiretls")]
)
def test_abilities_a_transport_lacks_are_refused_not_ignored(ask: dict[str, Any], ability: str) -> None:
    def sent(**changes: Any) -> Any:
        registry = host("mailwright_providers", provider(**opens(**changes)))
        return Mailer({"provider": "nasty"}, registry=registry, retries=0).send_sync(MESSAGE.replace(**ask))

    with pytest.raises(SendError, match="cannot be asked for here") as caught:
        sent()
    assert caught.value.permanent
    assert sent(capabilities=Capabilities(extensions=frozenset({ability}))).status == "sent"


def test_a_replacement_that_is_not_carried_is_told(caplog: pytest.LogCaptureFixture) -> None:
    module = types.ModuleType("signer")
    module.mailwright_before_send = hookimpl(lambda composed: composed.with_header("X-Signed", "yes"))  # type: ignore[attr-defined]
    module.mailwright_providers = hookimpl(lambda: [provider(**opens(capabilities=Capabilities(content="message")))])  # type: ignore[attr-defined]
    Mailer({"provider": "nasty"}, registry=Registry([module], installed=False, environ={})).send_sync(MESSAGE)
    assert "provider nasty: what a before_send hook made of the octets" in caplog.text
