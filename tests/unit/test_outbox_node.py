"""Asynchronous nodes and the outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, Outbox, load_node
from mailwright.testing import ScriptedServer

NODE: dict[str, Any] = {
    "connection": "support", "to": "a@example.org", "subject": "s", "content": "<p>t</p>", "execute_async": True,
    "store_result": {"in": "context", "key": "mail"},
}  # fmt: skip


def saved(port: int) -> dict[str, Any]:
    return {"support": {"provider": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "from": "me@example.org"}}


@pytest.mark.parametrize("how", ["handed in", "environment"])
async def test_an_asynchronous_run_goes_to_the_outbox(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/outbox.db"
    async with ScriptedServer() as server, Outbox(url, connections=saved(server.port)) as outbox:
        if how == "environment":
            monkeypatch.setenv("MAILWRIGHT_OUTBOX", url)
            node = load_node(NODE, connections=saved(server.port))
        else:
            node = load_node(NODE, connections=saved(server.port), outbox=outbox)
        outcome = await node.run(FlowState())
        assert outcome.ok
        assert outcome.result["status"] == "queued"
        assert outcome.state.context["mail"] == outcome.result
        job = await outbox.job(outcome.result["id"])
        assert job is not None
        assert (job.state, job.message_id, job.on_unknown) == ("queued", outcome.result["messageId"], "retry")
        assert server.messages == []
        async with asyncio.timeout(20), outbox.worker():
            final = await outcome.wait()
        assert (final.ok, final.result["status"], final.result["accepted"]) == (True, "sent", ["a@example.org"])
        assert len(server.messages) == 1


async def test_an_inline_connection_is_not_queued(tmp_path: Path) -> None:
    document = NODE | {
        "connection": {"provider": "smtp", "host": "127.0.0.1", "port": 9, "tls": "none"},
        "from": "m@x.org",
    }
    async with Outbox(f"sqlite:///{tmp_path}/outbox.db") as outbox:
        outcome = await load_node(document, outbox=outbox).run(FlowState())
    assert not outcome.ok
    assert outcome.error is not None
    assert outcome.error.message.startswith("$.connection: an outbox sends over saved connections")


def test_the_sync_twin_returns_when_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILWRIGHT_OUTBOX", f"sqlite:///{tmp_path}/outbox.db")
    node = load_node(NODE, connections=saved(9))
    assert node.run_sync().result["status"] == "queued"
