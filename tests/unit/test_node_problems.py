"""Validation first: every problem of a run at once, with paths, before a byte is fetched or sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, Mailer, check_node, load_node
from mailwright.errors import DocumentError
from mailwright.testing import ScriptedServer

STATE = FlowState(input={"to": "ann@example.org", "name": "Ann", "url": "http://127.0.0.1:9/x"}, context={"a": 5})
NODE: dict[str, Any] = {
    "from": "me@example.org",
    "to": "{{ input.to }}",
    "subject": "Hi {{ input.name }}",
    "content": "x",
}


def connection(server: ScriptedServer, **more: Any) -> dict[str, Any]:
    return {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none", **more}


class TestAtOnce:
    async def test_of_message_result_connection_and_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOT_THERE", raising=False)
        auth = {"type": "basic", "username": "me", "password": "env:NOT_THERE"}
        document = NODE | {
            "bcc": "{{ input.bcc }}",
            "cc": "{{ 'nobody' }}",
            "subject": "{{ input.name }}\n!",
            "headers": {"X-A": "{{ input.nme }}"},
            "store_result": {"in": "context", "key": "a.b"},
            "attachments": [{"type": "url", "url": "{{ input.url }}"}],
        }
        async with ScriptedServer() as server:
            node = load_node(document | {"connection": connection(server, auth=auth)})
            outcome = await node.run(STATE)
            assert server.commands == []
        assert isinstance(outcome.error, DocumentError)
        assert [problem.path for problem in outcome.error.problems] == [
            "$.bcc", "$.headers.X-A", "$.cc", "$.subject", "$.store_result.key", "$.connection.auth.password",
        ]  # fmt: skip
        assert outcome.error.code == "ETEMPLATE"
        assert "NOT_THERE" in str(outcome.error)

    @pytest.mark.parametrize(
        ("change", "state", "code", "path"),
        [
            ({"to": "{{ input.none }}"}, {}, "ETEMPLATE", "$.to"),
            ({}, {"to": "nobody"}, "EENVELOPE", "$.to"),
            ({}, {"to": ""}, "EENVELOPE", "$.to"),
            ({}, {"name": "a\r\nBcc: x@example.org"}, "EMESSAGE", "$.subject"),
            ({}, {"to": [f"n{n}@example.org" for n in range(11)]}, "EENVELOPE", "$.to"),
            ({"connection": "nobody"}, {}, "ECONFIG", "$.connection"),
            ({"connection": ["one", "nobody"]}, {}, "ECONFIG", "$.connection[1]"),
            ({"connection": "broken"}, {}, "ECONFIG", "$.connection.port"),
            ({"connection": "plugin"}, {}, "ECONFIG", "$.connection.provider"),
            ({"connection": "secret"}, {}, "EAUTH", "$.connection.auth.password"),
        ],
    )
    async def test_one_by_one(self, change: Any, state: Any, code: str, path: str) -> None:
        """Each is known before a connection is opened, and found by check_node too."""
        async with ScriptedServer() as server:
            good = connection(server, limits={"recipients": 10})
            bad_auth = {"type": "basic", "username": "me", "password": "file:/nowhere/at/all"}
            saved = {
                "one": good,
                "broken": good | {"port": 0},
                "plugin": {"provider": "nope"},
                "secret": good | {"auth": bad_auth},
            }
            document = {"connection": "one"} | NODE | change
            given = FlowState(input=dict(STATE.input) | state)
            outcome = await load_node(document, connections=saved).run(given)
            assert server.commands == []
            found = await asyncio.to_thread(check_node, document, given, resolve=True, connections=saved)
        assert outcome.error is not None
        assert path in str(outcome.error)
        assert outcome.result["status"] == "failed"
        assert [problem.path for problem in found] == [path]
        assert outcome.error.code in {code, "EMESSAGE", "EDOCUMENT"}
        if code != "ECONFIG":
            assert outcome.error.code == code

    async def test_before_going_on_asynchronously(self) -> None:
        node = load_node({"connection": "nobody", "execute_async": True} | NODE, connections={})
        outcome = await node.run(STATE)
        assert (outcome.ok, outcome.result["status"]) == (False, "failed")

    async def test_before_the_first_of_many(self) -> None:
        node = load_node({"connection": "nobody"} | NODE, connections={})
        with pytest.raises(Exception, match=r"\$\.connection: no connection is saved under the name 'nobody'"):
            [_ async for _ in node.run_each([(1, STATE)])]

    async def test_secrets_are_looked_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("THERE", "s3cret")
        auth = {"type": "basic", "username": "me", "password": "env:THERE"}
        async with ScriptedServer(users={"me": "s3cret"}) as server, Mailer(connection(server, auth=auth)) as mailer:
            assert await mailer.problems() == []
            monkeypatch.delenv("THERE")
            assert await mailer.problems() == []


class TestAttachments:
    @pytest.mark.parametrize(
        ("attachment", "path", "says"),
        [
            ({"type": "base64", "content": "aG?k="}, "$.attachments[0].content", "'?' at position 2"),
            ({"type": "base64", "content": "{{ input.name }}?"}, "$.attachments[0].content", "'?' at position 3"),
            ({"type": "url", "url": "ftp://x.example"}, "$.attachments[0].url", "not a scheme"),
            ({"type": "url", "url": "{{ input.name }}://x.example"}, "$.attachments[0].url", "'ann' is not"),
            ({"type": "url", "url": "{{ 'gopher://x' }}"}, "$.attachments[0].url", "'gopher' is not a scheme"),
        ],
    )
    def test_what_is_wrong_in_itself_is_found_without_network(self, attachment: Any, path: str, says: str) -> None:
        [problem] = check_node({"connection": "x"} | NODE | {"attachments": [attachment]}, STATE)
        assert problem.path == path
        assert says in problem.message


class TestDetached:
    async def test_tasks_belong_to_the_mailer_and_closing_it_waits(self) -> None:
        async with ScriptedServer() as server:
            async with Mailer(connection(server)) as mailer:
                node = load_node({"execute_async": True} | NODE, mailer=mailer)
                outcomes = [await node.run(STATE) for _ in range(5)]
                assert {outcome.result["status"] for outcome in outcomes} == {"queued"}
            assert len(server.messages) == 5
            assert [(await outcome.wait()).result["status"] for outcome in outcomes] == ["sent"] * 5

    async def test_an_own_mailer_is_closed_by_its_task(self) -> None:
        async with ScriptedServer() as server:
            outcome = await load_node({"execute_async": True, "connection": connection(server)} | NODE).run(STATE)
            final = await outcome.wait()
            assert final.ok
            assert server.commands[-1][-1].startswith("QUIT")


def test_files_need_a_folder_they_may_come_from(tmp_path: Path) -> None:
    document = NODE | {"connection": "support", "attachments": [{"type": "file", "path": "a.txt"}]}
    saved = {"support": {"provider": "sandbox"}}
    found = check_node(document, resolve=True, connections=saved)
    assert [(problem.path, problem.code) for problem in found] == [("$.attachments[0].path", "no-attach-root")]
    assert not check_node(document, resolve=True, connections=saved, attach_root=tmp_path)
