"""Hostile templates in a process of their own: a limit that holds, and nothing of ours to be found there."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, load_node
from mailwright.errors import TemplateError
from mailwright.templates import render
from mailwright.templates.fields import assembled
from mailwright.templates.isolated import RenderProcess
from mailwright.testing import ScriptedServer

STATE = FlowState(
    input={"to": ["a@example.org", "b@example.org"], "name": "Ann <&>", "when": dt.date(2026, 1, 2)}, context={"n": 1}
)
NODE: dict[str, Any] = {
    "connection": {"provider": "sandbox"}, "from": "me@example.org", "to": "{{ input.to }}", "cc": ["c@example.org", "{{ 'd@example.org' }}"],
    "subject": "Hi {{ input.name }}", "content": "<p>{{ input.name }} {{ input.when }}</p>", "headers": {"X-N": "{{ context.n }}"},
    "attachments": [{"type": "text", "content": "{{ input.name }}", "filename": "a.txt"}],
    "envelope": {"from": "bounce@example.org", "to": "{{ input.to }}"},
}  # fmt: skip
BURN = (
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}"
)


async def test_the_same_as_here() -> None:
    document = load_node(NODE).document
    process = RenderProcess(document, timeout_s=20)
    try:
        for _ in range(2):
            found, problems = assembled(document, await process.render(STATE))
            here = render(document, STATE)
            assert problems == []
            assert (found.subject, found.content, found.attachments) == (here.subject, here.content, here.attachments)
            assert list(found.to) == list(here.to)
            assert list(found.cc) == list(here.cc)
            assert found.headers == here.headers
        found, problems = assembled(document, await process.render(FlowState()))
        assert {problem.path for problem in problems} >= {"$.to", "$.subject", "$.content"}
    finally:
        await process.aclose()


async def test_what_never_ends_is_ended_and_the_next_state_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("{% if input.burn %}" + BURN + "{% endif %}<p>{{ input.name }}</p>")
    document = load_node(NODE | {"content": {"file": "a.html"}}, attach_root=tmp_path).document
    process = RenderProcess(document, timeout_s=0.3)
    try:
        with pytest.raises(TemplateError, match=r"longer than 0\.3 s"):
            await process.render(FlowState(input={**STATE.input, "burn": True}))
        again = RenderProcess(document, timeout_s=20)
        try:
            found, problems = assembled(document, await again.render(FlowState(input={**STATE.input, "burn": False})))
        finally:
            await again.aclose()
        assert (found.content, problems[1:]) == ("<p>Ann &lt;&amp;&gt;</p>", [])
    finally:
        await process.aclose()


async def test_a_killed_process_is_an_error_and_started_again() -> None:
    process = RenderProcess(load_node(NODE).document, timeout_s=20)
    await process.render(STATE)
    assert process._process is not None
    process._process.kill()
    await process._process.wait()
    assert (await process.render(STATE))["problems"] == []
    os.kill(process._process.pid, 19)  # stopped: it will not answer
    process._timeout_s = 0.1
    with pytest.raises(TemplateError, match="longer than"):
        await process.render(STATE)
    assert process._process is None


async def test_nothing_of_ours_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "c4n4ry")
    auth = {"type": "basic", "username": "u", "password": "c4n4ry"}
    node = load_node(NODE | {"connection": {"provider": "smtp", "host": "h", "auth": auth}})
    process = RenderProcess(node.document, timeout_s=20)
    try:
        await process.render(STATE)
        assert process._process is not None
        assert process._document.connection == ()
        assert b"c4n4ry" not in Path(f"/proc/{process._process.pid}/environ").read_bytes()
    finally:
        await process.aclose()


async def test_a_node_with_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("{% if input.burn %}" + BURN + "{% endif %}ok")
    async with ScriptedServer() as server:
        connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
        document = {
            "connection": connection,
            "from": "a@example.org",
            "to": "b@example.org",
            "content": {"file": "a.html"},
        }
        slow = load_node(document, attach_root=tmp_path, render_timeout=0.3)
        outcome = await slow.run(FlowState(input={"burn": True}))
        assert "rendering took longer" in str(outcome.error)
        assert outcome.result["error"]["code"] == "ETEMPLATE"
        assert server.commands == []
        async with load_node(document, attach_root=tmp_path, render_timeout=20) as node:
            outcomes = await asyncio.gather(*(node.run(FlowState(input={"burn": False})) for _ in range(3)))
            assert all(outcome.ok for outcome in outcomes)
            states = [(number, FlowState(input={"burn": False})) for number in range(3)]
            assert [outcome.ok async for _, outcome in node.run_each(states)] == [True] * 3
        assert len(server.messages) == 6
