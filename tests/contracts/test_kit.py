"""The contract kit itself: a good plugin passes, and each flaw is found by the law that is about it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import types
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve, frozen

from mailwright import Message, hookimpl
from mailwright.errors import HttpError
from mailwright.spi import (
    AuthMethod,
    AuthTarget,
    Capabilities,
    HttpRequest,
    Opening,
    Provider,
    RecipientStatus,
    Reply,
    Report,
    Secret,
    Settings,
    SmtpEndpoint,
    Submission,
)
from mailwright.testing import Delivered, HttpAnswer, HttpService, ReceivedRequest
from mailwright.testing.contracts import (
    CANARY,
    AuthContract,
    HooksContract,
    ProviderContract,
    TransportContract,
    leaks,
    run,
)
from mailwright.testing.contracts.importing import private_imports


def module(**names: Any) -> types.ModuleType:
    made = types.ModuleType("example")
    vars(made).update(names)
    return made


@frozen(kw_only=True)
class PostSettings(Settings):
    """An API that takes octets."""

    stream: str = "main"


class PostTransport:
    """Right in every way; the flawed ones below change one thing."""

    capabilities = Capabilities()

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self.closed = False

    async def deliver(self, submission: Submission) -> Report:
        left = submission.deadline - self._opening.clock.monotonic()
        envelope = submission.envelope
        try:
            async with asyncio.timeout(max(0.0, left)):
                request = await self._request(submission)
                await submission.commit()
                answer = await self._opening.http.request(request)
        except HttpError as error:
            outcome = "unknown" if error.request_sent else "rejected"
            return Report.all(envelope, outcome, stage="http", permanent=error.permanent, error=error)
        except TimeoutError:
            return Report.all(envelope, "unknown", stage="http", error=HttpError("too late", request_sent=True))
        return self._report(submission, answer.status, answer.headers, answer.body)

    async def _request(self, submission: Submission) -> HttpRequest:
        body = json.dumps(
            {
                "sender": submission.envelope.sender,
                "to": submission.envelope.recipients,
                "raw": base64.b64encode(bytes(submission.composed)).decode(),
            }
        )
        request = HttpRequest(method="POST", url="https://api.example.org/send", body=body.encode())
        assert self._opening.authenticator is not None
        return await self._opening.authenticator.sign(request)

    def _report(self, submission: Submission, status: int, headers: Any, body: bytes) -> Report:
        reply = Reply(protocol="http", code=status, text=body.decode("utf-8", "replace"))
        if status != 200:
            retry = float(headers["retry-after"]) if "retry-after" in headers else None
            report = Report.all(submission.envelope, "rejected", stage="http", permanent=reply.permanent, reply=reply)
            return Report(statuses=report.statuses, final=reply, retry_after_s=retry)
        try:
            refused = set(json.loads(body)["refused"])
        except (ValueError, KeyError):
            return Report.all(submission.envelope, "unknown", stage="http", reply=reply)
        statuses = tuple(
            RecipientStatus(address=address, outcome="rejected", permanent=True, stage="http", reply=reply)
            if address in refused
            else RecipientStatus(address=address, outcome="accepted", stage="http", reply=reply)
            for address in submission.envelope.recipients
        )
        return Report(statuses=statuses, final=reply)

    async def verify(self) -> AsyncIterator[str]:
        await self._opening.http.request(HttpRequest(method="GET", url="https://api.example.org/me"))
        yield "reached"

    async def aclose(self) -> None:
        self.closed = True


class PostService(HttpService):
    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        assert request.url.startswith("https://api.example.org/")
        if request.path == "/me":
            return HttpAnswer.json({})
        assert request.headers["authorization"].startswith("Basic ")
        mail = request.json()
        refused = sorted(self.refused & set(mail["to"]))
        taken = tuple(address for address in mail["to"] if address not in refused)
        answer = HttpAnswer.json({"refused": refused})
        if not taken:
            return answer
        raw = base64.b64decode(mail["raw"])
        return self.take(Delivered(sender=mail["sender"], recipients=taken, raw=raw), answer)

    def submits(self, request: ReceivedRequest) -> bool:
        return request.path == "/send"


def provider(transport: type = PostTransport, **changes: Any) -> types.ModuleType:
    record: dict[str, Any] = {
        "name": "post",
        "title": "Post",
        "settings": PostSettings,
        "target": lambda settings: AuthTarget(protocol="http", host="api.example.org"),
        "open": lambda settings, opening: transport(opening),
    }
    return module(mailwright_providers=hookimpl(lambda: [Provider(**{**record, **changes})]))


class TestGoodTransport(TransportContract):
    plugin = provider()
    document = {"auth": {"type": "basic", "username": "ann", "password": CANARY}}
    service = PostService


class TestGoodProvider(ProviderContract):
    plugin = provider()
    document = {"stream": "bulk"}


class Optimist(PostTransport):
    """Says accepted when the answer was lost."""

    async def deliver(self, submission: Submission) -> Report:
        report = await super().deliver(submission)
        if any(status.outcome == "unknown" for status in report.statuses):
            return Report.all(submission.envelope, "accepted", stage="http")
        return report


class Pessimist(PostTransport):
    """Says rejected when the answer was lost: somebody will send it twice."""

    async def deliver(self, submission: Submission) -> Report:
        report = await super().deliver(submission)
        if any(status.outcome == "unknown" for status in report.statuses):
            return Report.all(submission.envelope, "rejected", stage="http", permanent=False)
        return report


class Hasty(PostTransport):
    """Commits after the request."""

    async def deliver(self, submission: Submission) -> Report:
        answer = await self._opening.http.request(await self._request(submission))
        await submission.commit()
        return self._report(submission, answer.status, answer.headers, answer.body)


class Blocking(PostTransport):
    """Sleeps on the loop."""

    async def deliver(self, submission: Submission) -> Report:
        time.sleep(0.001)
        return await super().deliver(submission)


class Leaver(PostTransport):
    """Leaves a task behind when it is closed."""

    async def deliver(self, submission: Submission) -> Report:
        self.left = asyncio.ensure_future(asyncio.Event().wait())
        return await super().deliver(submission)


class Forgetful(PostTransport):
    """Tells only of those it likes."""

    async def deliver(self, submission: Submission) -> Report:
        report = await super().deliver(submission)
        return Report(statuses=tuple(status for status in report.statuses if status.outcome == "accepted"))


class Talker(PostTransport):
    """Shows the credential in its error."""

    async def deliver(self, submission: Submission) -> Report:
        report = await super().deliver(submission)
        request = await self._request(submission)
        return Report(statuses=report.statuses, error=HttpError(f"sent {dict(request.headers)}"))


class Stubborn(PostTransport):
    """Swallows its cancellation."""

    async def deliver(self, submission: Submission) -> Report:
        try:
            return await super().deliver(submission)
        except asyncio.CancelledError:
            return Report.all(submission.envelope, "unknown", stage="http")


class Deaf(PostTransport):
    """Does not hear how long the service wants to be left alone."""

    async def deliver(self, submission: Submission) -> Report:
        return evolve(await super().deliver(submission), retry_after_s=None)


class Raising(PostTransport):
    """Raises where it should report."""

    async def deliver(self, submission: Submission) -> Report:
        report = await super().deliver(submission)
        if report.final is not None and report.final.code == 503:
            raise HttpError("down")
        return report


FLAWS = [
    (Optimist, "test_in_doubt_is_unknown", "lost"),
    (Pessimist, "test_in_doubt_is_unknown", "cut"),
    (Hasty, "test_commit_comes_once_before_the_submission", None),
    (Hasty, "test_a_lost_lease_stops_it", None),
    (Blocking, "test_a_plain_message_is_accepted", None),
    (Leaver, "test_a_plain_message_is_accepted", None),
    (Forgetful, "test_outcomes_are_right_per_recipient", None),
    (Talker, "test_refused_before_is_rejected", "busy"),
    (Stubborn, "test_cancelling_is_clean", None),
    (Deaf, "test_refused_before_is_rejected", "busy"),
    (Raising, "test_refused_before_is_rejected", "down"),
]


@pytest.mark.parametrize(
    ("transport", "law", "trouble"), FLAWS, ids=[f"{flaw.__name__}-{law}" for flaw, law, _ in FLAWS]
)
def test_a_flawed_transport_breaks_its_law(transport: type, law: str, trouble: str | None) -> None:
    class Contract(TestGoodTransport):
        plugin = provider(transport)

    contract = Contract()
    [record] = Contract.records()
    arguments = [record, trouble] if trouble else [record]
    with pytest.raises((AssertionError, HttpError, pytest.fail.Exception)):
        getattr(contract, law)(*arguments)


@frozen(kw_only=True)
class Open(Settings):
    """A password that is no secret."""

    password: str = ""


@frozen(kw_only=True)
class Vague(Settings):
    """Says what is wrong, but not where."""

    count: int = 1

    def __attrs_post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("that will not do")


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"name": "My Service"}, "test_its_names_can_be_typed"),
        ({"title": ""}, "test_it_has_a_title"),
        ({"settings": Open}, "test_secrets_are_secret"),
        ({"settings": Vague}, "test_generated_documents_round_trip_or_are_refused_by_path"),
        ({"auth": ("nothing",)}, "test_the_auth_it_names_is_there"),
        (
            {"open": None, "endpoint": lambda settings: SmtpEndpoint(host="mail.example.org", port=25, tls="none")},
            "test_smtp_is_encrypted_by_default",
        ),
        ({"explain": lambda reply: reply.code}, "test_explain_takes_any_reply"),
        (
            {"target": lambda settings: AuthTarget(protocol="http", host=settings.stream)},
            "test_its_target_and_endpoint_are_sound",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flawed_provider_breaks_its_law(changes: dict[str, Any], law: str) -> None:
    class Contract(ProviderContract):
        plugin = provider(**changes)

    [record] = Contract.records()
    with pytest.raises(Exception, match=r"\w"):
        getattr(Contract(), law)(record)


@frozen(kw_only=True)
class TokenSettings(Settings):
    """A token."""

    token: Secret


@frozen
class Careless:
    """Says the token to anyone, shows it, and reveals it at once."""

    token: str

    async def sasl(self, offer: Any) -> Any:
        from mailwright.sasl import XOAuth2

        return XOAuth2("ann", self.token)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        return HttpRequest(method=request.method, url=request.url + "?token=" + self.token, headers=request.headers)

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        return False

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    "law",
    [
        "test_no_credential_over_an_open_link",
        "test_it_picks_what_the_server_offers",
        "test_signing_adds_and_changes_nothing_else",
    ],
)
def test_a_careless_method_breaks_its_law(law: str) -> None:
    class Contract(AuthContract):
        plugin = module(
            mailwright_auth_methods=hookimpl(
                lambda: [
                    AuthMethod(
                        name="careless",
                        title="Careless",
                        settings=TokenSettings,
                        protocols=frozenset({"smtp", "http"}),
                        open=lambda settings, target, opening: Careless(settings.token.reference),
                    )
                ]
            )
        )
        document = {"token": CANARY}

    [record] = Contract.records()
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        getattr(Contract(), law)(record)


def hook(function: Any, name: str = "mailwright_before_compose") -> type[HooksContract]:
    class Contract(HooksContract):
        plugin = module(**{name: hookimpl(function)})
        examples = 10

        def every(self, law: Any, values: Any, *, shrink: bool = True) -> None:
            super().every(law, values, shrink=False)

    return Contract


def good_before_compose(message: Message) -> Message:
    return message.replace(headers=[*message.headers, ("X-Example", "yes")])


class TestGoodHook(HooksContract):
    plugin = module(mailwright_before_compose=hookimpl(good_before_compose))


class Rewritten:
    """Octets whose size lies."""

    def __init__(self, made: Any) -> None:
        self.message_id = made.message_id
        self.size = made.size + 1
        self.made = made

    def __iter__(self) -> Any:
        return iter(self.made)

    def __bytes__(self) -> bytes:
        return bytes(self.made)


def rewritten(composed: Any) -> Rewritten:
    return Rewritten(composed)


def test_flawed_hooks_break_their_laws() -> None:
    with pytest.raises(Exception, match=r"\w"):
        hook(lambda message: {"subject": "x"})().test_before_compose_keeps_mail_sound()
    with pytest.raises(Exception, match=r"\w"):
        hook(rewritten, "mailwright_before_send")().test_before_send_keeps_octets_sound()
    with pytest.raises(Exception, match=r"\w"):
        hook(lambda receipt: receipt.accepted[0], "mailwright_after_send")().test_observers_stand_every_outcome()


def test_a_misspelt_hook_or_argument_is_named() -> None:
    with pytest.raises(AssertionError, match="unknown hook"):
        hook(lambda message: None, "mailwright_before_composing")().test_the_host_takes_it()
    with pytest.raises(AssertionError, match="mesage"):
        hook(lambda mesage: None)().test_the_host_takes_it()


def test_a_hang_is_found() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="hangs"):
        run(hang(), limit_s=0.05)


def test_leaks_are_found_in_disguise() -> None:
    from urllib.parse import quote

    for shown in (
        CANARY,
        quote(CANARY, safe=""),
        *(base64.b64encode(b"x" * n + CANARY.encode()).decode() for n in range(4)),
    ):
        assert leaks(f"at {shown} there"), shown
    assert not leaks("nothing to see", "***")


def test_private_imports_are_found(tmp_path: Any) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "import mailwright.net\nfrom mailwright import hookimpl, Mailer\nfrom mailwright.spi import Settings\n"
        "from mailwright.testing.contracts import run\nfrom mailwright import lifecycle\n"
        "def f():\n    from mailwright.transport.pool import Pool\n"
    )
    assert list(private_imports(file)) == [
        "line 1: mailwright.net",
        "line 5: mailwright.lifecycle",
        "line 7: mailwright.transport.pool",
    ]
