"""`mailwright send NODE --each ROWS`: a row a message, receipts as JSON lines, and kill -9 in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inprocess import call

from mailwright import FlowState, load_node
from mailwright.cli.journal import Journal
from mailwright.cli.rows import Rows
from mailwright.errors import ConfigurationError, DocumentError, MailwrightError
from mailwright.testing import Fault, ScriptedServer

NODE: dict[str, Any] = {
    "from": "shop@example.org", "to": "{{ input.email }}", "subject": "row {{ input.id }}", "content": "Hi {{ input.name }}",
}  # fmt: skip


def write(folder: Path, server: ScriptedServer, rows: str, name: str = "rows.csv", **changes: Any) -> None:
    connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "retries": 0}
    (folder / "node.json").write_text(json.dumps({"connection": connection} | NODE | changes))
    (folder / name).write_text(rows, encoding="utf-8")


def own(folder: Path) -> dict[str, str]:
    return {"NO_COLOR": "1", "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}


async def mailwright(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(call, "send", "node.json", *arguments, cwd=folder, env=own(folder))
    return done.returncode, done.stdout, done.stderr


async def killed(folder: Path, *arguments: str, on_start: Callable[[int], None]) -> int:
    command = (sys.executable, "-W", "error", "-c", "from mailwright.cli import main; main()", "send", "node.json")
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, cwd=folder, stdout=asyncio.subprocess.DEVNULL, env=os.environ | own(folder)
    )
    on_start(process.pid)
    return await process.wait()


def receipts(folder: Path, name: str = "rows.csv.receipts.jsonl") -> dict[int, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return {line["row"]: line for line in lines}


def csv_of(count: int) -> str:
    return "id,email,name\n" + "".join(f"{n},n{n}@example.org,Name {n}\n" for n in range(1, count + 1))


def rows_of(server: ScriptedServer) -> list[int]:
    return [int(re.findall(rb"^Subject: row (\d+)", message.raw, re.MULTILINE)[0]) for message in server.messages]


async def test_every_row_is_a_message_and_a_receipt(tmp_path: Path) -> None:
    refuse = {"rcpt": lambda address: "550 5.1.1 no such user" if address == "n3@example.org" else None}
    async with ScriptedServer(replies=refuse) as server:
        write(tmp_path, server, csv_of(5) + "6,not an address,Bo\n" + '7,n7@example.org,"a, ""b""\nc"\n')
        code, out, err = await mailwright(tmp_path, "--each", "rows.csv")
    assert (code, err) == (1, "")
    assert "7 rows: 5 sent, 2 failed" in out
    assert sorted(rows_of(server)) == [1, 2, 4, 5, 7]
    found = receipts(tmp_path)
    assert {row: receipt["status"] for row, receipt in found.items()} == {
        1: "sent", 2: "sent", 3: "failed", 4: "sent", 5: "sent", 6: "failed", 7: "sent",
    }  # fmt: skip
    assert found[3]["error"]["responseCode"] == 550
    assert "$.to" in found[6]["error"]["message"]
    assert found[1]["messageId"].endswith("@example.org>")


async def test_json_lines_and_what_all_rows_share(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "email": "a@example.org"},
        {"input": {"id": 2, "email": ["b@example.org", "c@example.org"]}, "context": {"x": 1}},
    ]
    async with ScriptedServer() as server:
        write(
            tmp_path,
            server,
            "\n".join(map(json.dumps, rows)) + "\n\n",
            "rows.jsonl",
            content="{{ input.name }}{{ context.x }}",
        )
        (tmp_path / "state.json").write_text(json.dumps({"input": {"name": "all"}, "context": {"x": 0}}))
        arguments = ("--each", "rows.jsonl", "--state", "state.json", "--receipts", "out.jsonl", "--json")
        code, out, err = await mailwright(tmp_path, *arguments)
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert (told["ok"], told["rows"], told["sent"]) == (True, 2, 2)
        assert receipts(tmp_path, "out.jsonl")[2]["accepted"] == ["b@example.org", "c@example.org"]
        assert sorted(b"all1" in message.raw for message in server.messages) == [False, True]
        # again: only by --resume, and then nothing is sent twice
        code, _, err = await mailwright(tmp_path, *arguments)
        assert code == 2
        code, out, _ = await mailwright(tmp_path, *arguments, "--resume")
        assert (code, json.loads(out)["skipped"], len(server.messages)) == (0, 2, 2)


@pytest.mark.parametrize("at", [1, 60, 199])
async def test_kill_9_in_the_middle_loses_and_repeats_nothing(tmp_path: Path, at: int) -> None:
    """The process dies while a message is being accepted; the server does have it."""
    pids: list[int] = []

    def kill(message: object) -> None:
        if len(server.messages) == at and pids:
            os.kill(pids.pop(), signal.SIGKILL)

    async with ScriptedServer(on_message=kill) as server:
        write(tmp_path, server, csv_of(200))
        assert await killed(tmp_path, "--each", "rows.csv", on_start=pids.append) == -signal.SIGKILL
        before = Counter(rows_of(server))
        code, out, err = await mailwright(tmp_path, "--each", "rows.csv", "--resume", "--json")
        assert (code, err) == (3, "")
        in_flight = set(json.loads(out)["inFlight"])
        arrived = Counter(rows_of(server))
    assert in_flight
    assert len(in_flight) <= 20
    assert max(arrived.values()) == 1
    assert set(range(1, 201)) - set(arrived) <= in_flight
    found = receipts(tmp_path)
    assert set(found) == set(range(1, 201))
    assert {row for row, receipt in found.items() if receipt["status"] == "unknown"} == in_flight
    assert all(found[row]["status"] == "sent" for row in set(found) - in_flight)
    assert set(before) <= {row for row in found if found[row]["status"] == "sent"} | in_flight


async def test_failed_rows_again_only_when_asked_and_lost_ones_never(tmp_path: Path) -> None:
    busy = iter(["451 4.3.0 not now"])
    replies = {"rcpt": lambda address: next(busy, None) if address == "n2@example.org" else None}
    faults = [Fault(stage="final", kind="accept-drop", times=1)]
    async with ScriptedServer(replies=replies, faults=faults) as server:
        write(tmp_path, server, csv_of(4))
        code, out, _ = await mailwright(tmp_path, "--each", "rows.csv", "--concurrency", "1")
        statuses = Counter(receipt["status"] for receipt in receipts(tmp_path).values())
        assert code == 3
        assert statuses == {"sent": 2, "failed": 1, "unknown": 1}
        code, out, _ = await mailwright(tmp_path, "--each", "rows.csv", "--resume")
        assert "nothing to do" in out
        code, out, _ = await mailwright(tmp_path, "--each", "rows.csv", "--resume", "--retry-failed")
        assert (code, "1 rows: 1 sent" in out) == (0, True)
    assert max(Counter(rows_of(server)).values()) == 1


async def test_stop_on_error_begins_no_row_after_a_failure(tmp_path: Path) -> None:
    async with ScriptedServer(replies={"rcpt": lambda address: "550 no" if "n2@" in address else None}) as server:
        write(tmp_path, server, csv_of(50), stop_on_error=True)
        code, _, _ = await mailwright(tmp_path, "--each", "rows.csv", "--concurrency", "1")
    assert code == 1
    assert len(receipts(tmp_path)) < 50


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("rows.txt", "x", "*.csv or *.jsonl"),
        ("rows.csv", "a,b\n1\n", "line 2: 1 cells, but the first line names 2 columns"),
        ("rows.csv", "a,a\n1,2\n", "each once"),
        ("rows.csv", 'a,b\n"x,y\n', "line 2"),
        ("rows.jsonl", '{"a": 1}\n[]\n', "line 2: a row is an object"),
        ("rows.jsonl", '{"a"\n', "line 1: not JSON"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        list(Rows.of(tmp_path / name).states(FlowState()))


def test_rows_of_spreadsheets(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes("\ufeffname;email\r\nJörg;j@example.org\r\n\r\n".encode())
    assert [(n, dict(s.input)) for n, s in Rows.of(tmp_path / "r.csv").states(FlowState())] == [
        (1, {"name": "Jörg", "email": "j@example.org"})
    ]
    (tmp_path / "bad.csv").write_bytes(b"name\nJ\xf6rg\n")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        list(Rows.of(tmp_path / "bad.csv").states(FlowState()))
    with pytest.raises(ConfigurationError, match="No such file"):
        Rows.of(tmp_path / "none.csv")


class TestJournal:
    def test_in_flight_is_unknown_once(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        with Journal(path, fingerprint="f", resume=False) as journal:
            journal.committing(1)
            journal.settle(1, {"status": "sent"})
            journal.committing(2)
            journal.settle(3, {"status": "failed"})
        for unknown in ([2], []):
            with Journal(path, fingerprint="f", resume=True) as journal:
                assert (journal.unknown, journal.settled) == (unknown, {1, 2, 3})
        with Journal(path, fingerprint="f", resume=True, again=True) as journal:
            assert journal.settled == {1, 2}
            journal.committing(3)
        with Journal(path, fingerprint="f", resume=True, again=True) as journal:
            assert (journal.unknown, journal.settled) == ([3], {1, 2, 3})

    def test_half_a_line_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        with Journal(path, fingerprint="f", resume=False) as journal:
            journal.committing(1)
            journal.settle(1, {"status": "sent"})
            journal.committing(2)
        with path.open("ab") as file:
            file.write(b'{"row":2,"status":"se')
        with Journal(path, fingerprint="f", resume=True) as journal:
            assert journal.unknown == [2]
        assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == ["sent", "unknown"]

    def test_a_full_disk_leaves_whole_lines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "r.jsonl"
        write_all = os.write
        with Journal(path, fingerprint="f", resume=False) as journal:
            journal.settle(1, {"status": "sent"})
            monkeypatch.setattr(os, "write", lambda handle, data: write_all(handle, data[:5]))
            for attempt in (lambda: journal.committing(1234567), lambda: journal.settle(2, {"status": "sent"})):
                with pytest.raises(MailwrightError, match="No space left") as caught:
                    attempt()
                assert caught.value.permanent is None
            monkeypatch.undo()
            journal.settle(3, {"status": "sent"})
        assert [json.loads(line)["row"] for line in path.read_text().splitlines()] == [1, 3]
        with Journal(path, fingerprint="f", resume=True) as journal:
            assert (journal.unknown, journal.settled) == ([], {1, 3})

    def test_other_rows_other_files_other_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        with Journal(path, fingerprint="f", resume=False) as journal:
            journal.settle(1, {"status": "sent"})
            with pytest.raises(ConfigurationError, match="another run"):
                Journal(path, fingerprint="f", resume=True)
        with pytest.raises(ConfigurationError, match="belongs to other rows"):
            Journal(path, fingerprint="g", resume=True)
        with pytest.raises(ConfigurationError, match="--resume"):
            Journal(path, fingerprint="f", resume=False)
        path.write_text("hello\n")
        with pytest.raises(ConfigurationError, match="no receipt"):
            Journal(path, fingerprint="f", resume=True)


class TestLibrary:
    async def test_what_keeps_the_mailer_from_opening_is_raised(self) -> None:
        node = load_node(NODE | {"connection": "nobody"}, connections={})
        with pytest.raises(ConfigurationError, match="nobody"):
            [_ async for _ in node.run_each([(1, FlowState(input={"email": "a@example.org", "id": 1, "name": ""}))])]
        with pytest.raises(DocumentError):
            load_node(NODE | {"connection": {"provider": "none"}})

    async def test_leaving_early_leaves_nothing_behind(self) -> None:
        async with ScriptedServer() as server:
            connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
            node = load_node(NODE | {"connection": connection})
            states = ((n, FlowState(input={"email": "a@example.org", "id": n, "name": ""})) for n in range(10_000))
            outcomes = node.run_each(states, concurrency=3)
            async for _, outcome in outcomes:
                assert outcome.ok
                break
            await outcomes.aclose()
            assert len(asyncio.all_tasks()) <= 1 + sum("serve" in repr(task) for task in asyncio.all_tasks())
        assert next(states)[0] < 1000

    async def test_many_refused_rows_do_not_pile_up(self) -> None:
        node = load_node(NODE | {"connection": "x"}, mailer=Refusing())
        seen = 0
        states = ((n, FlowState(input={"email": "", "id": n, "name": ""})) for n in range(1000))
        async for number, outcome in node.run_each(states):
            assert (number, outcome.ok) == (seen, False)
            seen += 1
        assert seen == 1000


class Refusing:
    async def send(self, message: Any) -> Any:
        raise AssertionError

    async def send_many(self, messages: Any, **options: Any) -> Any:
        async for _ in messages:
            yield None
