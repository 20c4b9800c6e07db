"""The outbox on the command line: stored in one process, looked at in others, sent by a worker that drains on SIGTERM."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inprocess import Done, call

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


def own(folder: Path) -> dict[str, str]:
    return {"NO_COLOR": "1", "COLUMNS": "160", "HOME": str(folder), "MAILWRIGHT_OUTBOX": "sqlite:///outbox.db"}


def outbox(folder: Path, *arguments: str) -> Done:
    return call("outbox", *arguments, cwd=folder, env=own(folder))


def rows(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(outbox(folder, "list", "--json", *arguments).stdout)  # type: ignore[no-any-return]


def test_rows_are_stored_once_held_released_and_sent(folder: Path, box: Sandbox) -> None:
    for said in ("2 messages", "0 messages; 2 were queued before, within a week: another --key queues them again"):
        done = outbox(folder, "enqueue", "node.toml", "--each", "rows.csv", "--hold")
        assert (done.returncode, done.stdout) == (2, f"queued {said}\n")
        assert re.search(r"error: row 3: \$\.to: 'bad'", done.stderr)
        assert "correct these and run it again: the others are not queued twice" in done.stderr
    assert [(row["state"], row["tags"]) for row in rows(folder)] == [("held", ["news"])] * 2
    assert outbox(folder, "release", "--tag", "news").stdout == "release: 2 messages\n"
    done = outbox(folder, "work", "--until-empty", "--keep-sent", "1", "--keep-failed", "2.5", "--keep-content")
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(folder / "outbox.db")) as rows_kept:
        assert all(row[0] for row in rows_kept.execute("SELECT length(payload) FROM jobs"))
    assert "ended: 2 sent" in done.stderr
    assert sorted(message.subject for message in box.messages) == ["Hello Ann", "Hello Bo"]
    head, *lines = outbox(folder, "list").stdout.splitlines()
    assert head.split() == ["id", "state", "age", "tries", "next", "try", "connection", "tags", "reason"]
    assert {line[head.index("tags") :].strip() for line in lines} == {"news"}
    shown = outbox(folder, "show", rows(folder)[0]["id"])
    assert "accepted  250" in shown.stdout
    assert "sent     2" in outbox(folder, "watch", "--once").stdout
    assert json.loads(outbox(folder, "stats", "--json").stdout)["sent"] == 2
    assert outbox(folder, "purge", "--state", "sent").stdout == "purge: 2 messages\n"


def test_another_letter_to_the_same_rows_is_another_letter(folder: Path, box: Sandbox) -> None:
    for subject in ("One", "Two"):
        (folder / "node.toml").write_text(
            f'connection = "support"\nto = "{{{{ input.email }}}}"\nsubject = "{subject}"\ncontent = "<p>Hello</p>"\n'
        )
        assert outbox(folder, "enqueue", "node.toml", "--each", "rows.csv").stdout == "queued 2 messages\n"


def queued(folder: Path, table: str, *options: str) -> int:
    (folder / "rows.csv").write_text(table)
    said = re.match(
        r"queued (\d+) messages?\b", outbox(folder, "enqueue", "node.toml", "--each", "rows.csv", *options).stdout
    )
    assert said is not None
    return int(said[1])


def test_a_corrected_file_queues_what_was_not(folder: Path, box: Sandbox) -> None:
    assert queued(folder, "email,name\na@example.org,Ann\nb@example.org,Bo\nbad,Cy\n") == 2
    assert queued(folder, "email,name\nc@example.org,Cy\nb@example.org,Bo\na@example.org,Ann\n") == 1
    assert queued(folder, "name;email\nAnn;a@example.org\nAnne;a@example.org\n") == 1
    assert queued(folder, '"email","name"\r\n"a@example.org","Ann"\r\n') == 0


def test_a_row_that_stands_twice_is_two(folder: Path, box: Sandbox) -> None:
    row = "a@example.org,Ann\n"
    assert queued(folder, "email,name\n" + row * 2) == 2
    assert queued(folder, "email,name\n" + row * 2) == 0
    assert queued(folder, "email,name\n" + row + "b@example.org,Bo\n" + row * 2) == 2


def test_another_key_is_another_run(folder: Path, box: Sandbox) -> None:
    table = "email,name\na@example.org,Ann\n"
    names = ((), ("--key", "monday"), ("--key", "tuesday"), ("--key", "monday"))
    assert [queued(folder, table, *options) for options in names] == [1, 1, 1, 0]
    assert len(rows(folder)) == 3


@pytest.mark.parametrize("name", ["letter.html", "state.json"])
def test_what_the_letter_is_made_of_counts(folder: Path, box: Sandbox, name: str) -> None:
    (folder / "node.toml").write_text(
        'connection = "support"\nto = "{{ input.email }}"\nsubject = "Hi {{ context.word }}"\n'
        'content = {file = "letter.html"}\n'
    )
    (folder / "letter.html").write_text("<p>One</p>")
    (folder / "state.json").write_text('{"context": {"word": "one"}}')
    table = "email,name\na@example.org,Ann\nb@example.org,Bo\n"
    assert queued(folder, table, "--state", "state.json") == 2
    (folder / name).write_text((folder / name).read_text().replace("ne", "ther"))
    assert queued(folder, table, "--state", "state.json") == 2
    assert queued(folder, table, "--state", "state.json") == 0


def test_a_mistake_in_every_row_is_not_told_a_thousand_times(folder: Path, box: Sandbox) -> None:
    (folder / "rows.csv").write_text("mail\n" + "a@example.org\n" * 50)
    done = outbox(folder, "enqueue", "node.toml", "--each", "rows.csv")
    assert done.stderr.count("error: row") == 20
    assert done.stderr.endswith("error: 30 more rows are wrong\n")


def test_a_line_that_is_no_row_is_told_before_anything_is_queued(folder: Path, box: Sandbox) -> None:
    rows_before = "".join(f"a{number}@example.org,Ann\n" for number in range(150))
    (folder / "rows.csv").write_text(f"email,name\n{rows_before}b@example.org\n")
    done = outbox(folder, "enqueue", "node.toml", "--each", "rows.csv")
    assert (done.returncode, "line 152: 1 cells" in done.stderr) == (2, True)
    assert outbox(folder, "list").stdout == ""


def test_until_empty_waits_for_an_accounts_rate(folder: Path, box: Sandbox) -> None:
    with (folder / "mailwright.toml").open("a") as file:
        file.write("limits = { rate = 2 }\n")
    (folder / "rows.csv").write_text("email,name\n" + "".join(f"r{n}@example.org,{n}\n" for n in range(7)))
    assert outbox(folder, "enqueue", "node.toml", "--each", "rows.csv").returncode == 0
    done = outbox(folder, "work", "--until-empty")
    assert re.search(r"ended: \d rate_limited, 7 sent", done.stderr), done.stderr
    assert len(box.messages) == 7


def test_until_empty_does_not_wait_for_what_waits_for_a_person(folder: Path, box: Sandbox) -> None:
    assert outbox(folder, "enqueue", "node.toml", "--each", "rows.csv").returncode == 2
    with contextlib.closing(sqlite3.connect(folder / "outbox.db")) as connection:
        connection.execute("UPDATE jobs SET state = 'unknown', ready = 0, on_unknown = 'hold' WHERE seq = 1")
        connection.commit()
    done = outbox(folder, "work", "--until-empty")
    assert (done.returncode, "ended: 1 sent" in done.stderr) == (0, True)


def test_a_worker_serves_metrics_and_drains_on_sigterm(folder: Path, box: Sandbox) -> None:
    with subprocess.Popen(
        [*COMMAND, "outbox", "work", "--metrics", "127.0.0.1:0"], cwd=folder, env=os.environ | own(folder), text=True,
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


def test_an_outbox_that_is_not_there_is_named_and_not_made(folder: Path) -> None:
    for arguments in (
        ("list",), ("stats",), ("show", "x"), ("watch", "--once"), ("cancel", "--tag", "t"), ("suppressions", "list"),
        ("suppressions", "remove", "a@example.org"),
    ):  # fmt: skip
        done = outbox(folder, *arguments, "--outbox", "sqlite:///slip/outbox.db")
        assert done.returncode == 2
        assert done.stderr == (
            "error: there is no outbox at sqlite:///slip/outbox.db yet: `mailwright outbox init` makes it, "
            "as the first message does\n"
        )
        assert not (folder / "slip").exists()
    assert outbox(folder, "init").stdout == "sqlite:///outbox.db is ready (version 3)\n"
    assert outbox(folder, "migrate").returncode == 0
    assert (outbox(folder, "list").stderr, outbox(folder, "stats").stdout.split()) == ("no messages\n", ["due", "0"])


def test_every_verb_and_figure_is_narrowed_by_tag_and_says_what_it_is_not_for(folder: Path, box: Sandbox) -> None:
    (folder / "one.json").write_text('{"input": {"email": "a@example.org", "name": "Ann"}}')
    ids = {}
    for tag in ("first", "second"):
        done = outbox(folder, "enqueue", "node.toml", "--state", "one.json", "--tag", tag, "--priority", "5", "--json")
        ids[tag] = json.loads(done.stdout)["queued"][0]["id"]
    for verb, state in (("hold", "held"), ("release", "queued"), ("cancel", "cancelled"), ("retry", "queued")):
        assert outbox(folder, verb, "--tag", "first").stdout == f"{verb}: 1 message\n"
        assert {row["id"]: row["state"] for row in rows(folder)} == {ids["first"]: state, ids["second"]: "queued"}
    assert [row["id"] for row in rows(folder, "--tag", "second", "--limit", "1")] == [ids["second"]]
    assert [row["id"] for row in rows(folder, "--tag", "news", "--before", ids["second"])] == [ids["first"]]
    assert json.loads(outbox(folder, "stats", "--tag", "first", "--json").stdout)["queued"] == 1
    assert "queued   1" in outbox(folder, "watch", "--tag", "first", "--once").stdout
    shown = outbox(folder, "list", "--limit", "1")
    assert shown.stderr == f"older ones: --before {ids['second']}\n"
    shown = outbox(folder, "show", ids["first"])
    assert "  tags: first, news\n  for: a@example.org\n" in shown.stdout
    assert "  on unknown: retry\n" in shown.stdout  # a node that says nothing is sent again where an outbox sends
    done = outbox(folder, "release", ids["first"], "nothing")
    assert (done.returncode, done.stdout) == (1, "release: 0 messages\n")
    assert done.stderr == (
        f"{ids['first']}: release is not for a message that is queued\nnothing: there is no such message\n"
    )
    assert outbox(folder, "cancel", "--tag", "first", "--older-than", "1").stdout == "cancel: 0 messages\n"
    assert outbox(folder, "cancel", "--tag", "first", "--older-than", "0").stdout == "cancel: 1 message\n"
    assert outbox(folder, "purge", "--tag", "first").stdout == "purge: 1 message\n"
    assert [row["id"] for row in rows(folder)] == [ids["second"]]


def test_errors_are_one_clear_line(folder: Path, box: Sandbox) -> None:
    outbox(folder, "init")
    for arguments, code, says in (
        (("cancel",), 2, "cancel: of which messages? name ids, a state or a tag"),
        (("list", "--state", "gone"), 2, "--state: 'gone' is not one of scheduled"),
        (("cancel", "--state", ""), 2, "--state: is empty; name some of scheduled"),
        (("purge", "--state", " , "), 2, "--state: is empty"),
        (("show", "nothing"), 2, "the outbox has no message nothing"),
        (("retry", "nothing"), 1, "nothing: there is no such message"),
        (("suppressions", "import", "nothing.txt"), 2, "nothing.txt: cannot be read: No such file"),
        (("work", "--metrics", f"127.0.0.1:{box.port}"), 2, "--metrics: error while attempting to bind"),
        (("enqueue", "node.toml", "--each", "rows.csv", "--key", ""), 2, "--key: is empty"),
        (("enqueue", "node.toml", "--each", "rows.csv", "--at", "soon"), 2, "--at: 'soon' is not a time such as"),
        (("enqueue", "node.toml", "--each", "rows.csv", "--at", "0001-01-01"), 2, "--at: '0001-01-01' is not a time"),
        (("list", "--outbox", "sqlite:///mailwright.toml"), 2, "mailwright.toml cannot be opened: file is not a"),
        (("work", "--metrics", "here"), 2, "--metrics: 'here' is not HOST:PORT"),
        (("stats", "--outbox", "nosql://u:s3cret@x/y"), 2, "unknown outbox engine 'nosql'"),
        (("suppressions", "add", "nonsense"), 2, "not an address"),
    ):
        done = outbox(folder, *arguments)
        assert done.returncode == code, arguments
        assert says in done.stderr
        assert len(done.stderr.splitlines()) <= 1
        assert "s3cret" not in done.stderr + done.stdout


def test_times_beyond_a_century_are_refused(folder: Path) -> None:
    outbox(folder, "init")
    for arguments in (
        ("purge", "--older-than", "inf"),
        ("purge", "--older-than", "100000000"),
        ("suppressions", "add", "a@example.org", "--days", "inf"),
        ("work", "--keep-sent", "inf", "--until-empty"),
        ("watch", "--every", "inf"),
    ):
        done = outbox(folder, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), arguments
    assert outbox(folder, "suppressions", "list").stderr == "no addresses\n"


def test_suppressions_are_kept_by_hand_and_from_a_file(folder: Path) -> None:
    (folder / "list.txt").write_text("\ufeff# gone\nA@example.org\n\nb@example.org\n")
    assert outbox(folder, "suppressions", "import", "list.txt").returncode == 0
    assert outbox(folder, "suppressions", "add", "c@example.org", "--reason", "asked").returncode == 0
    found = json.loads(outbox(folder, "suppressions", "list", "--json").stdout)
    assert [entry["address"] for entry in found] == ["a@example.org", "b@example.org", "c@example.org"]
    assert outbox(folder, "suppressions", "remove", "b@example.org").stdout == "removed: 1\n"
    (folder / "list.txt").write_text("d@example.org\nnonsense\n")
    done = outbox(folder, "suppressions", "import", "list.txt")
    assert (done.returncode, "list.txt:2" in done.stderr) == (2, True)
    assert len(json.loads(outbox(folder, "suppressions", "list", "--json").stdout)) == 2
