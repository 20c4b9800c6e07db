"""One message's life, with a transport that answers as told: retries, fail-over, staging, hooks, the sync twin."""

from __future__ import annotations

import asyncio
import os
import types
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from mailwright import Connection, Mailer, Message, Registry, SendError, Veto, hookimpl
from mailwright.errors import ConfigurationError, MailwrightError, SessionError
from mailwright.spi import (
    AuthTarget,
    Capabilities,
    Limits,
    Opening,
    Provider,
    RecipientStatus,
    Reply,
    Report,
    Settings,
    Submission,
)


@define
class FakeClock:
    """Time that passes only when somebody sleeps."""

    slept: list[float] = field(factory=list)

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@frozen(kw_only=True)
class FakeSettings(Settings):
    """Which fake transport."""

    key: str = "a"


Answer = Callable[[str], tuple[str, int]]


def accept(address: str) -> tuple[str, int]:
    return "accepted", 250


@define(slots=False)
class FakeTransport:
    """Takes one answer function a delivery; keeps the submissions."""

    answers: deque[Answer | MailwrightError] = field(factory=deque)
    submissions: list[Submission] = field(factory=list)
    closed: int = 0
    capabilities: Capabilities = field(factory=Capabilities)

    async def deliver(self, submission: Submission) -> Report:
        self.submissions.append(submission)
        answer = self.answers.popleft() if self.answers else accept
        if isinstance(answer, MailwrightError):
            return Report.all(submission.envelope, "rejected", stage="connect", permanent=False, error=answer)
        await submission.commit()
        statuses = []
        for address in submission.envelope.recipients:
            outcome, code = answer(address)
            statuses.append(
                RecipientStatus(
                    address=address,
                    outcome=outcome,  # type: ignore[arg-type]
                    permanent=code >= 500 if outcome == "rejected" else None,
                    stage="rcpt",
                    reply=Reply(code=code),
                )
            )
        return Report(statuses=tuple(statuses))

    async def verify(self) -> AsyncIterator[str]:
        yield "connected"

    async def aclose(self) -> None:
        self.closed += 1


@define
class World:
    """A registry with a fake provider and its transports by key."""

    clock: FakeClock = field(factory=FakeClock)
    transports: dict[str, FakeTransport] = field(factory=dict)
    limits: Limits = field(factory=Limits)
    hooks: dict[str, Any] = field(factory=dict)

    def transport(self, key: str = "a") -> FakeTransport:
        return self.transports.setdefault(key, FakeTransport())

    def mailer(self, *keys: str, retries: int = 0, further: dict[str, Any] | None = None, **connection: Any) -> Mailer:
        def open_(settings: FakeSettings, opening: Opening) -> FakeTransport:
            return self.transport(settings.key)

        def target(settings: FakeSettings) -> AuthTarget:
            return AuthTarget(protocol="http", host="api.example")

        record = Provider(name="fake", settings=FakeSettings, target=target, limits=self.limits, open=open_)
        module = types.ModuleType("fake")
        module.mailwright_providers = hookimpl(lambda: [record])  # type: ignore[attr-defined]
        for name, implementation in self.hooks.items():
            setattr(module, name, hookimpl(implementation))
        routes = [
            Connection(provider="fake", settings=FakeSettings(key=key), from_="me@x.org", **connection)  # type: ignore[arg-type]
            for key in keys or ("a",)
        ]
        routes[1:] = [evolve(route, **(further or {})) for route in routes[1:]]
        registry = Registry([module], installed=False, environ={})
        return Mailer(routes, registry=registry, retries=retries, clock=self.clock)


def reject(code: int, *addresses: str) -> Answer:
    return lambda address: ("rejected", code) if not addresses or address in addresses else ("accepted", 250)


MESSAGE = Message(to="a@x.org, b@x.org", subject="s", text="t")


async def test_a_message_is_composed_once_and_delivered() -> None:
    world = World()
    async with world.mailer() as mailer:
        receipt = await mailer.send(MESSAGE)
    assert receipt.status == "sent"
    assert world.transport().closed == 1
    octets = bytes(world.transport().submissions[0].composed)
    assert b"From: me@x.org\r\n" in octets
    assert b"Date: Fri, 02 Jan 2026" in octets


async def test_only_those_refused_for_the_moment_are_tried_again() -> None:
    world = World()
    world.transport().answers.extend([reject(451, "b@x.org")])
    async with world.mailer(retries=3) as mailer:
        receipt = await mailer.send(MESSAGE)
    assert (receipt.status, receipt.attempts) == ("sent", 2)
    assert [s.envelope.recipients for s in world.transport().submissions] == [("a@x.org", "b@x.org"), ("b@x.org",)]
    assert len({s.composed.message_id for s in world.transport().submissions}) == 1
    assert world.clock.slept == [1.0]


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("kinds", [("headers", "envelope"), ("envelope", "headers")])
async def test_bcc_is_shown_to_no_transport_that_would_pass_it_on(kinds: tuple[str, str], ready: bool) -> None:
    world = World()
    for key, kind in zip("ab", kinds, strict=True):
        world.transport(key).capabilities = Capabilities(recipients=kind)  # type: ignore[arg-type]
    world.transport("a").answers.extend([SessionError("down")])
    octets = b"From: me@x.org\r\nTo: a@x.org\r\nBcc: b@x.org\r\n\r\nt\r\n"
    async with world.mailer("a", "b") as mailer:
        receipt = await mailer.send(octets if ready else Message(to="a@x.org", bcc="b@x.org", text="t"))
    assert receipt.status == "sent"
    for key, kind in zip("ab", kinds, strict=True):
        [submission] = world.transport(key).submissions
        assert (b"\r\nBcc: b@x.org\r\n" in bytes(submission.composed)) is (kind == "headers")
        assert submission.envelope.recipients == ("a@x.org", "b@x.org")
        assert submission.composed.message_id == receipt.message_id


async def test_ready_octets_are_not_failed_over_to_an_api_that_composes_by_itself() -> None:
    world = World()
    world.transport("b").capabilities = Capabilities(content="message")
    world.transport("a").answers.extend([SessionError("down")])
    async with world.mailer("a", "b") as mailer:
        with pytest.raises(SendError, match="down"):
            await mailer.send(b"From: me@x.org\r\nTo: a@x.org\r\n\r\nt\r\n")
    assert not world.transport("b").submissions


@pytest.mark.parametrize(("asked_s", "slept"), [(7.0, [7.0]), (61.0, [])])
async def test_a_server_is_left_alone_as_it_asks_but_nobody_waits_for_hours(asked_s: float, slept: list[float]) -> None:
    world = World()
    world.transport().answers.extend([reject(451)])
    plain = world.transport().deliver

    async def deliver(submission: Submission) -> Report:
        return evolve(await plain(submission), retry_after_s=asked_s)

    world.transport().deliver = deliver  # type: ignore[method-assign]
    async with world.mailer(retries=1) as mailer:
        if slept:
            assert (await mailer.send(MESSAGE)).attempts == 2
        else:
            with pytest.raises(SendError) as caught:
                await mailer.send(MESSAGE)
            assert caught.value.permanent is False
    assert world.clock.slept == slept


async def test_retries_end() -> None:
    world = World()
    world.transport().answers.extend([reject(451)] * 9)
    async with world.mailer(retries=3) as mailer:
        with pytest.raises(SendError) as caught:
            await mailer.send(MESSAGE)
    assert caught.value.receipt.attempts == 4
    assert caught.value.permanent is False


async def test_permanent_rejections_are_not_repeated() -> None:
    world = World()
    world.transport().answers.append(reject(550))
    async with world.mailer(retries=3) as mailer:
        with pytest.raises(SendError) as caught:
            await mailer.send(MESSAGE)
    assert (caught.value.receipt.attempts, caught.value.permanent) == (1, True)


async def test_unknown_is_never_repeated_and_is_none() -> None:
    world = World()
    world.transport().answers.append(lambda address: ("unknown", 250))
    async with world.mailer("a", "b", retries=3) as mailer:
        with pytest.raises(SendError) as caught:
            await mailer.send(MESSAGE)
    assert caught.value.permanent is None
    assert caught.value.receipt.attempts == 1
    assert "b" not in world.transports or not world.transport("b").submissions


async def test_the_next_connection_is_used_where_nothing_was_delivered() -> None:
    world = World()
    world.transport("a").answers.append(SessionError("refused"))
    async with world.mailer("a", "b") as mailer:
        receipt = await mailer.send(MESSAGE)
    assert receipt.status == "sent"
    assert receipt.attempts == 2
    assert world.clock.slept == []


async def test_staging_redirects_or_lets_only_some_through() -> None:
    world = World()
    async with world.mailer(redirect_to=("dev@x.org",)) as mailer:
        receipt = await mailer.send(MESSAGE)
    assert receipt.envelope.recipients == ("dev@x.org",)
    async with world.mailer(allow_recipients=("b@x.org",)) as mailer:
        receipt = await mailer.send(MESSAGE)
    assert receipt.status == "partial"
    assert world.transport().submissions[-1].envelope.recipients == ("b@x.org",)


@pytest.mark.parametrize("further", [{"allow_recipients": ("staging.org",)}, {"redirect_to": ("dev@x.org",)}])
async def test_connections_that_keep_staging_quiet_differently_are_not_mixed(further: dict[str, Any]) -> None:
    world = World()
    name = next(iter(further))
    with pytest.raises(ConfigurationError, match=rf"\$\.connection\[1\]\.{name}"):
        async with world.mailer("a", "b", further=further):
            pass
    assert not world.transport("b").submissions


async def test_a_message_is_not_failed_over_to_who_takes_less() -> None:
    world = World()
    world.transport("a").answers.append(SessionError("refused"))
    async with world.mailer("a", "b", further={"limits": Limits(size=10)}) as mailer:
        with pytest.raises(SendError, match="refused"):
            await mailer.send(MESSAGE)
    assert not world.transport("b").submissions


async def test_provider_limits_are_checked_before_anything_leaves() -> None:
    world = World(limits=Limits(recipients=1))
    async with world.mailer() as mailer:
        with pytest.raises(MailwrightError, match="2 recipients, the provider takes 1"):
            await mailer.send(MESSAGE)
    assert world.transport().submissions == []


async def test_hooks_see_and_change_the_message_on_its_way() -> None:
    seen: list[str] = []

    def before_compose(message: Message) -> Message:
        return message.replace(subject="changed", to="other@x.org")

    def before_send(composed: Any) -> Any:
        return composed.with_header("X-Signed", "yes")

    async def after_send(receipt: Any, connection: Any) -> None:
        seen.append(f"{receipt.status} {connection.provider}")

    world = World(
        hooks={
            "mailwright_before_compose": before_compose,
            "mailwright_before_send": before_send,
            "mailwright_after_send": after_send,
        }
    )
    async with world.mailer() as mailer:
        await mailer.send(MESSAGE)
    submission = world.transport().submissions[0]
    assert bytes(submission.composed).startswith(b"X-Signed: yes\r\n")
    assert b"Subject: changed\r\n" in bytes(submission.composed)
    assert submission.envelope.recipients == ("other@x.org",)
    assert seen == ["sent fake"]


async def test_a_veto_is_told_to_observers_and_raised() -> None:
    seen: list[str] = []

    def veto(message: Message) -> None:
        raise Veto("no")

    def failed(error: MailwrightError) -> None:
        seen.append(error.code)

    world = World(hooks={"mailwright_before_compose": veto, "mailwright_send_failed": failed})
    async with world.mailer() as mailer:
        with pytest.raises(Veto):
            await mailer.send(MESSAGE)
    assert seen == ["EVETO"]


async def test_send_many_yields_every_outcome_and_raises_for_none() -> None:
    world = World()
    world.transport().answers.append(reject(550))
    messages = [MESSAGE, Message(subject="no recipient"), *[MESSAGE] * 50]
    async with world.mailer() as mailer:
        receipts = [receipt async for receipt in mailer.send_many(messages, concurrency=4)]
    assert sorted(receipt.index for receipt in receipts) == list(range(52))
    by_index = {receipt.index: receipt for receipt in receipts}
    assert by_index[0].status == "failed"
    assert by_index[1].status == "failed"
    assert "no recipients" in str(by_index[1].error)
    assert by_index[51].status == "sent"


def test_the_sync_twin_closes_after_each_call_unless_kept_open() -> None:
    world = World()
    mailer = world.mailer()
    assert mailer.send_sync(MESSAGE).status == "sent"
    assert world.transport().closed == 1
    with mailer:
        mailer.send_sync(MESSAGE)
        mailer.send_sync(MESSAGE)
        assert world.transport().closed == 1
    assert world.transport().closed == 2


async def test_the_sync_twin_works_beside_a_running_loop() -> None:
    receipt = await asyncio.to_thread(World().mailer().send_sync, MESSAGE)
    assert receipt.status == "sent"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_the_sync_twin_survives_a_fork() -> None:
    mailer = World().mailer()
    mailer.send_sync(MESSAGE)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if mailer.send_sync(MESSAGE).status == "sent" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("connection", [None, 5, [None], [{"provider": "sandbox"}, Path("support.toml")]])
def test_what_is_no_connection_is_said_at_once(connection: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^connection: a Connection, a document, the name of a saved one, or a"
    ):
        Mailer(connection)


async def test_a_name_that_is_a_file_is_told_how_files_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"connections add mail\.toml.*load_connection\('mail\.toml'\)"):
        await Mailer("mail.toml").send(MESSAGE)
