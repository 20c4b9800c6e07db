"""The node: outcome, result storage, stop on error, asynchronous runs; the given state is never changed."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from attrs import define, field, frozen

from mailwright.errors import (
    ConfigurationError,
    DocumentError,
    FlowStopped,
    MailwrightError,
    SendError,
    SessionError,
)
from mailwright.model import Envelope, Message, Receipt, RecipientStatus, Reply, Secret, Settings
from mailwright.model.delivery import failure
from mailwright.node import FlowState, NodeOutcome, SendEmailNode, check_node, load_node


@frozen(kw_only=True)
class Text(Settings):
    content: str
    filename: str = "a.txt"


class Catalogue:
    def provider_settings(self, name: str) -> type[Settings]:
        return Settings

    def auth_settings(self, name: str) -> type[Settings]:
        return Settings

    def attachment_settings(self, name: str) -> type[Settings]:
        return Text

    def names(self, kind: str) -> tuple[str, ...]:
        return ()


@define
class FakeMailer:
    """Answers each recipient as told."""

    rejected: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    error: Exception | None = None
    gate: asyncio.Event | None = None
    sent: list[Message] = field(factory=list)

    async def send(self, message: Message) -> Receipt:
        self.sent.append(message)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        receipt = Receipt(
            message_id=message.message_id or "<made@example.org>",
            envelope=Envelope(sender="me@example.org", recipients=message.recipients),
            statuses=tuple(self._status(address.email) for address in message.recipients),
        )
        if not receipt.accepted:
            cause = failure(receipt)
            raise SendError(cause.message, receipt=receipt, cause=cause)
        return receipt

    def _status(self, address: str) -> RecipientStatus:
        if address in self.rejected:
            return RecipientStatus(
                address=address, outcome="rejected", permanent=True, stage="rcpt", reply=Reply(code=550, text="no")
            )
        outcome = "unknown" if address in self.unknown else "accepted"
        return RecipientStatus(address=address, outcome=outcome, stage="final")


NODE = {
    "connection": "support",
    "to": "{{ input.to }}",
    "subject": "Hello {{ input.name }}",
    "content": "<p>{{ input.name }}</p>",
    "store_result": {"in": "context", "key": "mail.result"},
}
STATE = FlowState(input={"to": ["ann@example.org", "bo@example.org"], "name": "Ann"}, context={"mail": {"kept": 1}})
REGISTRY: Any = Catalogue()


def load(change: dict[str, Any] | None = None, **options: Any) -> SendEmailNode:
    return load_node(NODE | (change or {}), registry=REGISTRY, **options)


async def run(change: dict[str, Any] | None = None, state: FlowState = STATE, **fake: Any) -> NodeOutcome:
    return await load(change).run(state, mailer=FakeMailer(**fake))


class TestSending:
    async def test_what_is_sent(self) -> None:
        mailer = FakeMailer()
        change = {
            "from": "Me <me@example.org>", "cc": "{{ 'cy@example.org' }}", "replyTo": "r@example.org", "priority": "{{ 'high' }}",
            "headers": {"X-N": "{{ 5 }}"}, "text": "own", "in_reply_to": "<a@b>", "references": ["<a@b> <c@d>"],
            "attachments": [{"type": "text", "content": "{{ input.name }}"}], "tags": ["t"],
            "envelope": {"from": "bounce@example.org", "to": "{{ input.to }}"},
        }  # fmt: skip
        outcome = await load(change, mailer=mailer).run(STATE)
        assert outcome.ok
        (message,) = mailer.sent
        assert [address.email for address in message.to] == ["ann@example.org", "bo@example.org"]
        assert str(message.from_) == "Me <me@example.org>"
        assert message.subject == "Hello Ann"
        assert (message.html, message.text) == ("<p>Ann</p>", "own")
        assert message.priority.value == "high"
        assert message.headers == (("X-N", "5"),)
        assert message.attachments == (Text(content="Ann"),)
        assert message.references == ("<a@b>", "<c@d>")
        assert message.envelope == Envelope(
            sender="bounce@example.org", recipients=["ann@example.org", "bo@example.org"]
        )
        assert message.tags == ("t",)

    async def test_concurrent_runs_do_not_meet(self) -> None:
        node, mailer = load(), FakeMailer()
        states = [FlowState(input={"to": f"n{i}@example.org", "name": str(i)}) for i in range(50)]
        outcomes = await asyncio.gather(*(node.run(state, mailer=mailer) for state in states))
        assert [outcome.result["accepted"] for outcome in outcomes] == [[f"n{i}@example.org"] for i in range(50)]


class TestResult:
    async def test_stored_and_the_given_state_untouched(self) -> None:
        before = copy.deepcopy((STATE.input, STATE.context))
        outcome = await run()
        assert outcome.state.context["mail"] == {"kept": 1, "result": outcome.result}
        assert outcome.changes == (("context", "mail.result", outcome.result),)
        assert outcome.result["status"] == "sent"
        json.dumps(outcome.result)
        assert (STATE.input, STATE.context) == before
        outcome.state.context["mail"]["kept"] = 2
        assert STATE.context["mail"]["kept"] == 1

    async def test_state_is_copied_when_it_is_made(self) -> None:
        mine = {"a": {"b": [1]}}
        state = FlowState(input=mine)
        mine["a"]["b"].append(2)
        assert state.input == {"a": {"b": [1]}}

    async def test_an_existing_value_is_replaced(self) -> None:
        outcome = await run({"store_result": {"in": "input", "key": "name"}})
        assert outcome.state.input["name"] == outcome.result

    async def test_missing_levels_are_made(self) -> None:
        outcome = await run({"store_result": {"in": "input", "key": "a.b.c"}})
        assert outcome.state.input["a"]["b"]["c"] == outcome.result

    async def test_none_stores_nothing(self) -> None:
        outcome = await run({"store_result": {"in": "none"}})
        assert outcome.changes == ()
        assert outcome.state == STATE

    @pytest.mark.parametrize("key", ["to.result", "name.result", "to.x"])
    async def test_a_path_into_something_without_keys_is_an_error_before_sending(self, key: str) -> None:
        mailer = FakeMailer()
        node = load({"store_result": {"in": "input", "key": key}})
        outcome = await node.run(STATE, mailer=mailer)
        assert mailer.sent == []
        assert not outcome.ok
        assert "$.store_result.key" in str(outcome.error)
        assert outcome.changes == ()
        assert [p.path for p in check_node(node.document, STATE, registry=REGISTRY)] == ["$.store_result.key"]


class TestFailure:
    async def test_everybody_refused(self) -> None:
        outcome = await run(rejected=("ann@example.org", "bo@example.org"))
        assert not outcome.ok
        assert isinstance(outcome.error, SendError)
        result = outcome.state.context["mail"]["result"]
        assert result["status"] == "failed"
        assert result["error"]["code"] == "EENVELOPE"
        assert result["error"]["responseCode"] == 550

    async def test_unknown_is_no_success(self) -> None:
        outcome = await run(unknown=("ann@example.org", "bo@example.org"))
        assert not outcome.ok
        assert outcome.result["status"] == "unknown"
        assert outcome.error is not None
        assert outcome.error.permanent is None

    async def test_partial(self) -> None:
        assert (await run(rejected=("bo@example.org",))).ok
        outcome = await run({"fail_on": "any"}, rejected=("bo@example.org",))
        assert not outcome.ok
        assert outcome.result["status"] == "partial"
        assert outcome.result["accepted"] == ["ann@example.org"]
        assert outcome.result["error"]["responseCode"] == 550

    async def test_no_session(self) -> None:
        outcome = await run(error=SessionError("connect ECONNREFUSED"))
        assert outcome.result["status"] == "failed"
        assert outcome.result["error"] == {
            "code": "ESOCKET", "message": "connect ECONNREFUSED", "command": "CONN", "permanent": False, "stage": "connect",
        }  # fmt: skip

    async def test_stop_on_error(self) -> None:
        with pytest.raises(FlowStopped) as caught:
            await run({"stop_on_error": True}, error=SessionError("down"))
        assert caught.value.outcome.state.context["mail"]["result"]["status"] == "failed"
        assert caught.value.code == "ESOCKET"

    @pytest.mark.parametrize(
        ("data", "path"),
        [
            ({"to": "not an address", "name": "x"}, "$.to: "),
            ({"to": 5, "name": "x"}, "$.to: "),
            ({"to": [], "name": "x"}, "$.to: "),
            ({"to": "a@x.org\r\nBcc: e@x.org", "name": "x"}, "$.to: "),
            ({"to": "a@x.org", "name": "x\r\nBcc: e@x.org"}, "$.subject: "),
            ({"to": "a@x.org", "nme": "x"}, "$.subject: "),
            ({"to": "a@x.org", "name": "\x00"}, "$.subject: "),
        ],
    )
    async def test_t03_bad_data_obeys_stop_on_error_too(self, data: dict[str, Any], path: str) -> None:
        mailer = FakeMailer()
        state = FlowState(input=data)
        outcome = await load().run(state, mailer=mailer)
        assert not outcome.ok
        assert path in str(outcome.error)
        assert outcome.state.context["mail"]["result"]["status"] == "failed"
        with pytest.raises(FlowStopped):
            await load({"stop_on_error": True}).run(state, mailer=mailer)
        assert mailer.sent == []
        assert check_node(NODE, state, registry=REGISTRY)[0].path + ": " == path

    async def test_every_bad_value_at_once(self) -> None:
        outcome = await run(state=FlowState(input={"to": "nobody", "name": "a\nb"}))
        assert "$.to: " in str(outcome.error)
        problems = check_node(
            NODE | {"cc": "{{ input.cc }}"}, FlowState(input={"to": "x", "cc": "y", "name": "n"}), registry=REGISTRY
        )
        assert [(p.path, p.code) for p in problems] == [("$.to", "bad-address"), ("$.cc", "bad-address")]

    async def test_without_a_connection(self) -> None:
        node = load_node({"to": "a@x.org"}, registry=REGISTRY)
        assert "$.connection" in str((await node.run()).error)
        assert [p.path for p in check_node({"to": "a@x.org"}, registry=REGISTRY)] == ["$.connection"]
        assert (await node.run(mailer=FakeMailer())).ok


class TestAsynchronous:
    async def test_goes_on_at_once(self) -> None:
        gate = asyncio.Event()
        seen: list[NodeOutcome] = []
        mailer = FakeMailer(gate=gate)
        node = load({"execute_async": True, "from": "me@example.org"}, mailer=mailer, on_result=seen.append)
        outcome = await node.run(STATE)
        queued = outcome.state.context["mail"]["result"]
        assert set(queued) == {"status", "id", "messageId"}
        assert queued["status"] == "queued"
        assert queued["messageId"].endswith("@example.org>")
        assert seen == []
        gate.set()
        final = await outcome.wait()
        assert final.ok
        assert final.result["messageId"] == queued["messageId"]
        assert final.result["id"] == queued["id"]
        assert final.state.context["mail"]["result"]["status"] == "sent"
        assert seen == [final]
        assert mailer.sent[0].message_id == queued["messageId"]

    @pytest.mark.parametrize("error", [SessionError("down"), RuntimeError("a bug")])
    async def test_a_later_failure_stops_nothing(self, error: Exception) -> None:
        outcome = await run({"execute_async": True, "stop_on_error": True}, error=error)
        assert outcome.ok
        final = await outcome.wait()
        assert not final.ok
        assert isinstance(final.error, MailwrightError)
        assert final.result["status"] == "failed"

    async def test_what_is_wrong_before_does_stop(self) -> None:
        with pytest.raises(FlowStopped):
            await run({"execute_async": True, "stop_on_error": True}, state=FlowState(input={"to": "x", "name": "y"}))

    async def test_cancelled_waiting_does_not_cancel_sending(self) -> None:
        gate = asyncio.Event()
        mailer = FakeMailer(gate=gate)
        outcome = await load({"execute_async": True}, mailer=mailer).run(STATE)
        waiting = asyncio.create_task(outcome.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        gate.set()
        assert (await outcome.wait()).ok

    async def test_leaving_waits(self) -> None:
        mailer = FakeMailer(gate=asyncio.Event())
        async with load({"execute_async": True}, mailer=mailer) as node:
            outcome = await node.run(STATE)
            asyncio.get_running_loop().call_soon(mailer.gate.set)
        assert outcome._later is not None
        assert outcome._later.done()

    @pytest.mark.parametrize("later", [False, True])
    async def test_a_callback_may_wait_and_what_it_raises_is_logged(
        self, later: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []

        async def told(outcome: NodeOutcome) -> None:
            await asyncio.sleep(0)
            seen.append(outcome.result["status"])
            raise RuntimeError("a bug of the caller")

        outcome = await load({"execute_async": later}, mailer=FakeMailer(), on_result=told).run(STATE)
        assert (await outcome.wait()).ok
        assert seen == ["sent"]
        assert "a bug of the caller" in caplog.text

    async def test_waiting_for_a_plain_outcome(self) -> None:
        outcome = await run()
        assert await outcome.wait() is outcome


class TestLoading:
    def test_document_and_templates_together(self) -> None:
        with pytest.raises(DocumentError) as caught:
            load({"subject": "{{ input.name", "priority": "urgent"})
        assert {problem.path for problem in caught.value.problems} == {"$.subject", "$.priority"}

    def test_from_a_file(self, tmp_path) -> None:
        file = tmp_path / "node.json"
        file.write_text(json.dumps(NODE))
        assert load_node(file, registry=REGISTRY).document == load().document
        assert check_node(file, registry=REGISTRY) == []
        file.write_text("{")
        assert [problem.code for problem in check_node(file, registry=REGISTRY)] == ["syntax"]

    def test_a_loaded_document_can_be_checked(self) -> None:
        assert check_node(load().document, STATE, registry=REGISTRY) == []
        assert [p.path for p in check_node(load().document, FlowState(), registry=REGISTRY)] == [
            "$.to",
            "$.subject",
            "$.content",
        ]

    def test_sync(self) -> None:
        outcome = load({"execute_async": True}, mailer=FakeMailer()).run_sync(STATE)
        assert outcome.result["status"] == "sent"


def test_secrets_stay_out_of_outcomes() -> None:
    assert "s3cret" not in repr(Secret("s3cret"))


def test_a_state_is_a_flow_state() -> None:
    node = load_node(NODE)
    with pytest.raises(ConfigurationError, match=r"^state: a FlowState\(input=…, context=…\), not dict$"):
        node.run_sync({"input": {}})
    with pytest.raises(ConfigurationError, match=r"^state: a FlowState"):
        check_node(NODE, {"input": {}})
