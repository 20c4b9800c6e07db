"""What a transport owes: the truth about every recipient, whatever the service does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from attrs import evolve, frozen
from hypothesis import strategies as st

from mailwright import mime
from mailwright.documents import structure_connection
from mailwright.errors import LeaseLost, MailwrightError
from mailwright.model import Envelope, Message, Report
from mailwright.routing import author_of, endpoint_of, merged_limits
from mailwright.spi import Authenticator, Provider, Secret, Submission, Transport
from mailwright.system import SystemClock
from mailwright.testing.contracts.auth import opening_for
from mailwright.testing.contracts.plugin import PluginContract
from mailwright.testing.contracts.running import leaks, run
from mailwright.testing.laws import fixed_tokens
from mailwright.testing.services import IN_DOUBT, REFUSED_BEFORE, RETRY_AFTER_S, HttpService, Service, Trouble
from mailwright.testing.strategies import messages
from mailwright.vetting import Kind

_LIMIT_S = 20.0


@frozen(kw_only=True)
class Opened:
    """A service, and a transport that leads to it."""

    service: Service
    transport: Transport
    author: str | None


class TransportContract(PluginContract):
    """For providers with a transport of their own: HTTP APIs, and anything else that is not SMTP.

    Attributes:
        service: Makes the local server, an `HttpService` usually.
        document: The connection document beside the provider's name; use `CANARY` for its secrets.
    """

    kind: ClassVar[Kind | None] = "provider"
    service: ClassVar[Callable[[], Service]]
    examples: ClassVar[int] = 10

    # -- all is well

    def test_accepted_is_delivered(self, record: Provider[Any]) -> None:
        """Generated messages: accepted ones are there, once, for exactly their recipients; others are not there."""

        async def law(message: Message) -> None:
            async with self.opened(record) as opened:
                report, _ = await _deliver(opened, message)
                taken = opened.service.delivered
                _complete(report, message.recipients)
                if all(status.outcome == "accepted" for status in report.statuses):
                    told = sorted(address for one in taken for address in one.recipients)
                    assert told == sorted(_envelope(message).recipients)
                else:
                    assert not taken, "not reported as accepted, and yet delivered"
                    assert all(status.permanent for status in report.statuses), "only what it cannot carry is refused"

        self.every(lambda message: run(law(message)), messages(), shrink=False)

    def test_a_plain_message_is_accepted(self, record: Provider[Any]) -> None:
        """Text to two people goes through, octet for octet where the service gets octets."""

        async def law() -> None:
            async with self.opened(record) as opened:
                message = _plain("ann@example.org", "bo@example.org")
                report, octets = await _deliver(opened, message)
                assert [status.outcome for status in report.statuses] == ["accepted", "accepted"], _told(report)
                [taken] = opened.service.delivered
                if opened.transport.capabilities.content == "mime" and taken.raw is not None:
                    assert taken.raw == octets, "the octets were changed on their way"

        run(law())

    def test_commit_comes_once_before_the_submission(self, record: Provider[Any]) -> None:
        """``submission.commit`` is awaited exactly once, before anything that could deliver is said."""

        async def law() -> None:
            async with self.opened(record) as opened:
                seen: list[bool] = []

                async def commit() -> None:
                    seen.append(opened.service.submitted.is_set() or bool(opened.service.delivered))

                await _deliver(opened, _plain("ann@example.org"), commit=commit)
                assert seen == [False], "await submission.commit() once, just before the request that delivers"

        run(law())

    def test_a_lost_lease_stops_it(self, record: Provider[Any]) -> None:
        """When ``commit`` raises `LeaseLost`, nothing is delivered."""

        async def law() -> None:
            async with self.opened(record) as opened:

                async def commit() -> None:
                    raise LeaseLost("another worker has it")

                with contextlib.suppress(LeaseLost):
                    report, _ = await _deliver(opened, _plain("ann@example.org"), commit=commit)
                    assert [status.outcome for status in report.statuses] == ["rejected"]
                assert not opened.service.delivered

        run(law())

    def test_messages_at_one_time_keep_apart(self, record: Provider[Any]) -> None:
        """Ten at once: each report is about its own recipient."""

        async def law() -> None:
            async with self.opened(record) as opened:
                opened.service.refuse("r3@example.org")
                names = [f"r{number}@example.org" for number in range(10)]
                reports = await asyncio.gather(*(_deliver(opened, _plain(name)) for name in names))
                for name, (report, _) in zip(names, reports, strict=True):
                    wanted = "rejected" if name == "r3@example.org" else "accepted"
                    assert [(status.address, status.outcome) for status in report.statuses] == [(name, wanted)]

        run(law())

    # -- recipients

    def test_outcomes_are_right_per_recipient(self, record: Provider[Any]) -> None:
        """Any part of the recipients refused: they are rejected for good, the others accepted where that is possible."""

        async def law(refused: frozenset[int]) -> None:
            async with self.opened(record) as opened:
                names = [f"r{number}@example.org" for number in range(4)]
                for number in refused:
                    opened.service.refuse(names[number])
                report, _ = await _deliver(opened, _plain(*names))
                _complete(report, names)
                per_recipient = opened.transport.capabilities.per_recipient
                for number, status in enumerate(report.statuses):
                    bad = number in refused if per_recipient else bool(refused)
                    assert status.outcome == ("rejected" if bad else "accepted"), _told(report)
                    assert status.permanent is (True if bad else None), _told(report)

        self.every(lambda refused: run(law(refused)), st.frozensets(st.integers(0, 3)), shrink=False)

    # -- trouble

    @pytest.mark.parametrize("trouble", REFUSED_BEFORE)
    def test_refused_before_is_rejected(self, record: Provider[Any], trouble: Trouble) -> None:
        """Busy, down, unreachable: rejected for the moment. A wrong login: rejected for good. Never unknown."""

        async def law() -> None:
            async with self.opened(record, trouble) as opened:
                report, _ = await _deliver(opened, _plain("ann@example.org"))
                [status] = report.statuses
                assert status.outcome == "rejected", _told(report)
                assert status.permanent is (trouble == "login"), _told(report)
                told = trouble == "busy" and isinstance(opened.service, HttpService)
                assert report.retry_after_s in ({RETRY_AFTER_S} if told else {None, RETRY_AFTER_S}), (
                    "Retry-After is lost"
                )
                assert not leaks(report, report.error, getattr(report.error, "message", ""), opened.transport)
                assert not opened.service.delivered

        run(law())

    @pytest.mark.parametrize("trouble", IN_DOUBT)
    def test_in_doubt_is_unknown(self, record: Provider[Any], trouble: Trouble) -> None:
        """An answer that never came, or not whole: unknown, so that nobody sends it twice."""

        async def law() -> None:
            async with self.opened(record, trouble) as opened:
                report, _ = await _deliver(opened, _plain("ann@example.org", "bo@example.org"), within_s=1.0)
                assert [status.outcome for status in report.statuses] == ["unknown", "unknown"], _told(report)
                assert not leaks(report, report.error, getattr(report.error, "message", ""), opened.transport)

        run(law())

    def test_garbage_is_no_failure_to_deliver(self, record: Provider[Any]) -> None:
        """An answer that makes no sense: unknown, or accepted where its status says so; never rejected."""

        async def law() -> None:
            async with self.opened(record, "garbage") as opened:
                report, _ = await _deliver(opened, _plain("ann@example.org"))
                assert [status.outcome for status in report.statuses] != ["rejected"], _told(report)

        run(law())

    def test_cancelling_is_clean(self, record: Provider[Any]) -> None:
        """Cancelled while the service says nothing: it ends at once, leaves nothing, and the next message goes through."""

        async def law() -> None:
            async with self.opened(record, "hang") as opened:
                task = asyncio.create_task(_deliver(opened, _plain("ann@example.org")))
                await opened.service.submitted.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await opened.service.make(None)
                report, _ = await _deliver(opened, _plain("bo@example.org"))
                assert [status.outcome for status in report.statuses] == ["accepted"], _told(report)

        run(law())

    def test_closing_twice_is_fine(self, record: Provider[Any]) -> None:
        """`aclose` before anything was sent, after it, and again."""

        async def law() -> None:
            async with self.opened(record) as opened:
                await _deliver(opened, _plain("ann@example.org"))
                await opened.transport.aclose()
                await opened.transport.aclose()
            async with self.opened(record) as opened:
                await opened.transport.aclose()

        run(law())

    def test_verify_tells_its_steps(self, record: Provider[Any]) -> None:
        """`verify` yields text for each step; where nobody is there, it raises a Mailwright error. It delivers nothing."""

        async def law() -> None:
            async with self.opened(record) as opened:
                steps = [step async for step in opened.transport.verify()]
                assert steps
                assert all(isinstance(step, str) and step for step in steps)
                assert not leaks(*steps)
                assert not opened.service.delivered
            async with self.opened(record, "unreachable") as opened:
                with pytest.raises(MailwrightError):
                    [step async for step in opened.transport.verify()]

        run(law())

    def test_logs_hold_no_secrets(self, record: Provider[Any], caplog: pytest.LogCaptureFixture) -> None:
        """At DEBUG level, in good and bad days."""
        caplog.set_level("DEBUG")
        troubles: Sequence[Trouble | None] = (None, "login", "busy")

        async def law() -> None:
            for trouble in troubles:
                async with self.opened(record, trouble) as opened:
                    await _deliver(opened, _plain("ann@example.org"))

        run(law())
        assert not leaks(caplog.text)

    # -- what the laws use

    @contextlib.asynccontextmanager
    async def opened(self, record: Provider[Any], trouble: Trouble | None = None) -> AsyncIterator[Opened]:
        """A fresh service, and a fresh transport that leads to it."""
        async with type(self).service() as service:
            await service.make(trouble)
            registry = self.registry()
            document = {"provider": record.name, **self.given(record), **service.document}
            connection = structure_connection(document, registry)

            async def reveal(secret: Secret) -> str:
                return secret.reference

            opening = opening_for(connection.info, http=service.http, reveal=reveal)
            authenticator: Authenticator | None = None
            user = None
            if connection.auth is not None:
                method = registry.auth_method(connection.auth[0])
                authenticator = method.open(connection.auth[1], record.target(connection.settings), opening)
                user = method.user(connection.auth[1])
            if record.open is not None:
                opening = evolve(opening, authenticator=authenticator)
                transport = record.open(connection.settings, opening)
            else:
                from mailwright.transport import SmtpTransport  # noqa: PLC0415 - APIs do without

                transport = SmtpTransport(
                    endpoint_of(record, connection),
                    connection,
                    limits=merged_limits(record.limits, connection.limits),
                    authenticator=authenticator,
                    clock=opening.clock,
                    explain=record.explain,
                )
            author = author_of(connection, user)
            try:
                yield Opened(service=service, transport=transport, author=author.email if author else None)
            finally:
                await transport.aclose()


async def _nothing() -> None:
    """Commit without books."""


async def _deliver(
    opened: Opened, message: Message, *, commit: Callable[[], Any] = _nothing, within_s: float = _LIMIT_S
) -> tuple[Report, bytes]:
    capabilities = opened.transport.capabilities
    composed = mime.compose(message, token=fixed_tokens(), bcc=capabilities.recipients == "headers")
    submission = Submission(
        composed=composed,
        message=message,
        envelope=_envelope(message),
        idempotency_key=composed.message_id,
        deadline=SystemClock().monotonic() + within_s,
        commit=commit,
    )
    report = await opened.transport.deliver(submission)
    assert isinstance(report, Report), f"deliver returned {type(report).__name__}, not a Report"
    return report, bytes(composed)


def _plain(*to: str) -> Message:
    return Message(
        from_="zoe@example.org",
        to=to,
        subject="Law",
        text="It holds.",
        message_id="<law@example.org>",
        date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def _envelope(message: Message) -> Envelope:
    return Envelope(sender=message.from_, recipients=message.recipients)


def _complete(report: Report, recipients: Sequence[Any]) -> None:
    told = [status.address for status in report.statuses]
    wanted = list(Envelope(recipients=tuple(recipients)).recipients)
    assert told == wanted, f"one status for each recipient of the envelope, in order: {told}, wanted {wanted}"


def _told(report: Report) -> str:
    return f"{report.statuses} {report.error!r}"
