"""The node over an outbox, and what ``on_unknown`` does where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, Outbox, load_node
from mailwright.testing import Fault, ScriptedServer

NODE: dict[str, Any] = {
    "from": "me@example.org", "to": "{{ input.to }}", "subject": "Hi", "content": "x",
    "store_result": {"in": "context", "key": "mail"},
}  # fmt: skip
STATE = FlowState(input={"to": "ann@example.org"})


def connection(server: ScriptedServer) -> dict[str, Any]:
    return {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}


class TestOutbox:
    async def test_queued_durably_and_the_final_result_asked_for_later(self, tmp_path: Path) -> None:
        async with ScriptedServer() as server:
            saved = {"support": connection(server)}
            async with Outbox(f"sqlite:///{tmp_path}/outbox.db", connections=saved) as outbox:
                document = NODE | {"connection": "support", "execute_async": True}
                outcome = await load_node(document, connections=saved, outbox=outbox).run(STATE)
                queued = outcome.state.context["mail"]
                assert queued.keys() == {"status", "id", "messageId"}
                assert (outcome.ok, queued["status"], server.commands) == (True, "queued", [])
                async with outbox.worker():
                    final = await outcome.wait()
                receipt = await outbox.result(queued["id"])
        assert (final.ok, final.result["status"], final.result["id"]) == (True, "sent", queued["id"])
        assert final.state.context["mail"]["messageId"] == queued["messageId"]
        assert receipt is not None
        assert receipt.message_id == queued["messageId"]
        assert len(server.messages) == 1

    async def test_an_inline_connection_is_refused(self, tmp_path: Path) -> None:
        async with ScriptedServer() as server, Outbox(f"sqlite:///{tmp_path}/outbox.db") as outbox:
            document = NODE | {"connection": connection(server), "execute_async": True}
            outcome = await load_node(document, outbox=outbox).run(STATE)
            assert (outcome.ok, server.commands) == (False, [])
        assert "$.connection: an outbox sends over saved connections" in str(outcome.error)

    async def test_what_is_not_asynchronous_goes_directly(self, tmp_path: Path) -> None:
        async with ScriptedServer() as server, Outbox(f"sqlite:///{tmp_path}/outbox.db") as outbox:
            outcome = await load_node(NODE | {"connection": connection(server)}, outbox=outbox).run(STATE)
            assert outcome.result["status"] == "sent"


class TestUnknown:
    @pytest.fixture(autouse=True)
    def no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailwright.sending.attempts.BACKOFF_S", (0.0,))

    @pytest.mark.parametrize(("choice", "status", "copies"), [("hold", "unknown", 1), ("retry", "sent", 2)])
    async def test_held_or_sent_again_with_the_same_id(self, choice: str, status: str, copies: int) -> None:
        async with ScriptedServer(faults=[Fault(stage="final", kind="accept-drop", times=1)]) as server:
            document = NODE | {"connection": connection(server), "on_unknown": choice}
            outcome = await load_node(document).run(STATE)
            ids = [line for m in server.messages for line in m.raw.splitlines() if line.startswith(b"Message-ID")]
        assert outcome.result["status"] == status
        assert (len(ids), len(set(ids))) == (copies, 1)

    async def test_a_later_refusal_does_not_make_it_undelivered(self) -> None:
        answers = iter([None, "550 5.1.1 gone"])
        async with ScriptedServer(
            faults=[Fault(stage="final", kind="accept-drop", times=1)], replies={"rcpt": lambda address: next(answers)}
        ) as server:
            outcome = await load_node(NODE | {"connection": connection(server), "on_unknown": "retry"}).run(STATE)
        assert outcome.result["status"] == "unknown"
        assert outcome.error is not None
        assert outcome.error.permanent is None

    async def test_retries_end(self) -> None:
        async with ScriptedServer(faults=[Fault(stage="final", kind="accept-drop")]) as server:
            outcome = await load_node(NODE | {"connection": connection(server), "on_unknown": "retry"}).run(STATE)
        assert (outcome.result["status"], outcome.result["attempts"]) == ("unknown", 4)
