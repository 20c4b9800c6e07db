"""The outbox on the command line: stored in one process, looked at in others, sent by a worker that drains on SIGTERM."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwright.testing import Sandbox

COMMAND = [sys.executable, "-W", "error", "-c", "from mailwright.cli import main; main()"]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(tls="none", login=False) as box:
        yield box


@pytest.fixture
def folder(tmp_path: Path, box: Sandbox) -> Path:
    (tmp_path / "mailwright.toml").write_text(
        f'[connections.support]\nprovider = "smtp"\nhost = "127.0.0.1"\nport = {box.port}\ntls = "none"\n'
        'from = "me@example.org"\n'
    )
    (tmp_path / "node.toml").write_text(
        'connection = "support"\nto = "{{ input.email }}"\nsubject = "Hello {{ input.name }}"\n'
        'content = "<p>Hello</p>"\ntags = ["news"]\n'
    )
    (tmp_path / "rows.csv").write_text("email,name\na@example.org,Ann\nb@example.org,Bo\nbad,Cy\n")
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    own = {"NO_COLOR": "1", "COLUMNS": "160", "HOME": str(folder), "MAILWRIGHT_OUTBOX": "sqlite:///outbox.db"}
    return os.environ | own


def outbox(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "outbox", *arguments], capture_output=True, text=True, cwd=folder, check=False, timeout=50,
        env=environment(folder),
    )  # fmt: skip


def rows(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(outbox(folder, "list", "--json", *arguments).stdout)  # type: ignore[no-any-return]


def test_rows_are_stored_once_held_released_and_sent(folder: Path, box: Sandbox) -> None:
    for _ in range(2):  # the same file again stores nothing twice
        done = outbox(folder, "enqueue", "node.toml", "--each", "rows.csv", "--hold")
        assert (done.returncode, done.stdout) == (2, "queued 2 messages\n")
        assert re.search(r"error: row 3: \$\.to: 'bad'", done.stderr)
    assert [(row["state"], row["tags"]) for row in rows(folder)] == [("held", ["news"])] * 2
    assert outbox(folder, "release", "--tag", "news").stdout == "release: 2 messages\n"
    done = outbox(folder, "work", "--until-empty")
    assert done.returncode == 0, done.stderr
    assert "ended: 2 sent" in done.stderr
    assert sorted(message.subject for message in box.messages) == ["Hello Ann", "Hello Bo"]
    shown = outbox(folder, "show", rows(folder)[0]["id"])
    assert "accepted  250" in shown.stdout
    assert "sent     2" in outbox(folder, "watch", "--once").stdout
    assert json.loads(outbox(folder, "stats", "--json").stdout)["sent"] == 2
    assert outbox(folder, "purge", "--state", "sent").stdout == "purge: 2 messages\n"


def test_a_worker_serves_metrics_and_drains_on_sigterm(folder: Path, box: Sandbox) -> None:
    with subprocess.Popen(
        [*COMMAND, "outbox", "work", "--metrics", "127.0.0.1:0"], cwd=folder, env=environment(folder), text=True,
        stderr=subprocess.PIPE,
    ) as worker:  # fmt: skip
        killer = threading.Timer(40, worker.kill)  # a test that fails must not hang
        killer.start()
        assert worker.stderr is not None
        place = worker.stderr.readline().split()[-1]
        assert "working on sqlite:///outbox.db" in worker.stderr.readline()
        (folder / "one.json").write_text('{"input": {"email": "a@example.org", "name": "Ann"}}')
        done = outbox(folder, "enqueue", "node.toml", "--state", "one.json", "--key", "k")
        assert done.stdout.startswith("queued "), done.stderr
        box.wait_for_sync(timeout_s=20)
        with urllib.request.urlopen(place) as answer:
            text = answer.read().decode()
        with urllib.request.urlopen(place.replace("/metrics", "/healthz")) as answer:
            assert answer.read() == b"ok\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        killer.cancel()
        assert "ended: 1 sent" in worker.stderr.read()
    assert '# TYPE mailwright_outbox_messages gauge\nmailwright_outbox_messages{state="scheduled"} 0' in text


def test_errors_are_one_clear_line(folder: Path) -> None:
    for arguments, code, says in (
        (("cancel",), 2, "cancel: of which messages? name ids, a state or a tag"),
        (("list", "--state", "gone"), 2, "--state: 'gone' is not one of scheduled"),
        (("show", "nothing"), 2, "the outbox has no message nothing"),
        (("retry", "nothing"), 1, ""),
        (("work", "--metrics", "here"), 2, "--metrics: 'here' is not HOST:PORT"),
        (("stats", "--outbox", "nosql://u:s3cret@x/y"), 2, "unknown outbox engine 'nosql'"),
        (("suppressions", "add", "nonsense"), 2, "not an address"),
    ):
        done = outbox(folder, *arguments)
        assert done.returncode == code, arguments
        assert says in done.stderr
        assert len(done.stderr.splitlines()) <= 1
        assert "s3cret" not in done.stderr + done.stdout


def test_suppressions_are_kept_by_hand_and_from_a_file(folder: Path) -> None:
    (folder / "list.txt").write_text("# gone\nA@example.org\n\nb@example.org\n")
    assert outbox(folder, "suppressions", "import", "list.txt").returncode == 0
    assert outbox(folder, "suppressions", "add", "c@example.org", "--reason", "asked").returncode == 0
    found = json.loads(outbox(folder, "suppressions", "list", "--json").stdout)
    assert [entry["address"] for entry in found] == ["a@example.org", "b@example.org", "c@example.org"]
    assert outbox(folder, "suppressions", "remove", "b@example.org").stdout == "removed: 1\n"
    (folder / "list.txt").write_text("d@example.org\nnonsense\n")
    done = outbox(folder, "suppressions", "import", "list.txt")
    assert (done.returncode, "list.txt:2" in done.stderr) == (2, True)
    assert len(json.loads(outbox(folder, "suppressions", "list", "--json").stdout)) == 2
