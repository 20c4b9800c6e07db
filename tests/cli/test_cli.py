"""The command line as a user meets it: exit codes, one clear error; real processes where they matter."""

from __future__ import annotations

import email
import email.policy
import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inprocess import Done, call

from mailwright.testing import Sandbox

NODE: dict[str, Any] = {
    "connection": {"provider": "smtp", "host": "127.0.0.1", "port": 9, "tls": "none"},
    "from": "me@example.org",
    "to": "{{ input.to }}",
    "subject": "Hi",
    "content": "<p>Hi</p>",
}


def mailwright(*arguments: str, cwd: Path, said: bytes = b"", **more: str) -> Done:
    own = {"NO_COLOR": "1", "COLUMNS": "120", "HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd)}
    return call(*arguments, cwd=cwd, env=own | more, said=said)


def write(folder: Path, document: dict[str, Any], state: dict[str, Any]) -> None:
    (folder / "node.json").write_text(json.dumps(document))
    (folder / "state.json").write_text(json.dumps(state))


def test_demo_sends_a_letter_and_shows_it(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "from mailwright.cli import main; main()", "demo"]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for wanted in (
        "STARTTLS",
        "235 2.7.0",
        "multipart/alternative",
        "text/html",
        "punkt.gif",
        "menu.md",
        '"status": "sent"',
    ):
        assert wanted in done.stdout


def test_demo_for_programs_holds_every_built_in_attachment(tmp_path: Path) -> None:
    found = json.loads(mailwright("demo", "--json", cwd=tmp_path).stdout)
    assert found["ok"]
    assert found["structure"]["type"] == "multipart/mixed"
    names = [part.get("filename") for part in found["structure"]["parts"][1:]]
    assert names == ["Grüße.txt", "punkt.gif", "order.json", "karte.svg", "preise.csv", "menu.md"]
    raw = Path(found["eml"]).read_bytes()
    assert found["result"]["messageSize"] == len(raw)


@pytest.mark.parametrize(
    ("changes", "state", "wanted"),
    [
        ({"connection": {"provider": "gmial"}}, {}, "$.connection.provider"),
        ({"connection": NODE["connection"] | {"auth": {"type": "kerberos"}}}, {}, "$.connection.auth"),
        ({"attachments": [{"type": "ftp"}]}, {}, "$.attachments[0]"),
        ({"to": "not an address"}, {}, "$.to"),
        ({"to": ""}, {}, "recipient"),
        ({}, {"input": {"to": "a(comment)@example.org"}}, "comments in addresses"),
        ({"store_result": {"in": "context", "key": "a.b"}}, {"context": {"a": 5}, "input": {"to": "a@x.org"}}, "a.b"),
        ({"subjekt": "x"}, {}, "did you mean"),
        ({"connection": "support"}, {"input": {"to": "a@x.org"}}, "support"),
    ],
    ids=["provider", "auth", "attachment", "address", "nobody", "data", "path", "key", "name"],
)
def test_bad_input_is_one_clear_error_and_exit_code_2(
    changes: dict[str, Any], state: dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    write(tmp_path, NODE | changes, state)
    done = mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")


def test_bad_input_opens_no_session(tmp_path: Path) -> None:
    with Sandbox() as box:
        for changes in ({"cc": "nobody"}, {"bcc": "a@x.org", "attachments": [{"type": "base64", "content": "a"}]}):
            write(tmp_path, NODE | {"connection": box.connection} | changes, {"input": {"to": "a@x.org"}})
            assert mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path).returncode == 2
        assert box.dialogue == []


@pytest.mark.parametrize(
    ("disabled", "changes", "wanted"),
    [
        ("smtp", {}, "smtp"),
        ("attachment-text", {"attachments": [{"type": "text", "content": "x"}]}, "$.attachments[0].type"),
    ],
)
def test_a_plugin_that_is_missing_is_one_clear_error(
    disabled: str, changes: dict[str, Any], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILWRIGHT_DISABLED_PLUGINS", disabled)
    write(tmp_path, NODE | changes, {"input": {"to": "a@x.org"}})
    done = mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    [line] = done.stderr.splitlines()
    assert wanted in line


def test_delivery_failures_have_exit_code_1(tmp_path: Path) -> None:
    document = NODE | {"connection": NODE["connection"] | {"port": 1, "retries": 0}}
    write(tmp_path, document, {"input": {"to": "a@x.org"}})
    done = mailwright("send", "node.json", "--state", "state.json", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["result"]["error"]["code"] == "ESOCKET"


def test_a_node_is_sent(tmp_path: Path) -> None:
    with Sandbox() as box:
        write(tmp_path, NODE | {"connection": box.connection}, {"input": {"to": "ann@example.org"}})
        done = mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert box.messages[0].recipients == ("ann@example.org",)
    assert "sent: ann@example.org" in done.stdout


def test_check_tells_every_mistake_at_once(tmp_path: Path) -> None:
    write(tmp_path, NODE | {"stop_on_error": "yes", "fail_on": "some", "subjekt": "x"}, {})
    done = mailwright("check", "node.json", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert {problem["path"] for problem in json.loads(done.stdout)} == {"$.stop_on_error", "$.fail_on", "$.subjekt"}


def test_compose_writes_the_letter_and_sends_nothing(tmp_path: Path) -> None:
    write(tmp_path, NODE | {"bcc": "hidden@example.org"}, {"input": {"to": "Åsa <asa@example.org>"}})
    done = mailwright("compose", "node.json", "--state", "state.json", "-o", "letter.eml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    raw = (tmp_path / "letter.eml").read_bytes()
    letter = email.message_from_bytes(raw, policy=email.policy.default)
    assert letter["to"] == "Åsa <asa@example.org>"
    assert letter.get_content_type() == "multipart/alternative"
    assert b"hidden" not in raw
    assert f"letter.eml: {len(raw)} bytes" in done.stderr
    piped = mailwright("compose", "node.json", "--state", "state.json", cwd=tmp_path)
    assert piped.stdout.startswith("From: me@example.org\n")
    found = json.loads(mailwright("compose", "node.json", "--state", "state.json", "--json", cwd=tmp_path).stdout)
    assert found["structure"]["parts"][1] == {"type": "text/html", "size": 9}
    assert found["envelope"]["to"] == ["asa@example.org", "hidden@example.org"]


@pytest.mark.parametrize(
    ("arguments", "state", "wanted"),
    [
        (["-o", "no/such/folder/x.eml"], {"input": {"to": "a@x.org"}}, "cannot be written"),
        ([], {"input": {"to": "a@x.org", "s": 1}, "more": {}}, "$.more"),
        ([], {}, "$.to"),
    ],
)
def test_compose_refuses_clearly(arguments: list[str], state: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    write(tmp_path, NODE, state)
    done = mailwright("compose", "node.json", "--state", "state.json", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert wanted in line


def test_a_dry_run_connects_to_nothing_and_needs_no_secret(tmp_path: Path) -> None:
    with Sandbox() as box:
        auth = {"type": "basic", "username": "me@example.org", "password": "env:NOT_SET_ANYWHERE"}
        connection = box.connection | {"auth": auth, "redirect_to": "team@example.org"}
        write(tmp_path, NODE | {"connection": connection}, {"input": {"to": "customer@example.org"}})
        arguments = ("send", "node.json", "--state", "state.json", "--dry-run")
        done = mailwright(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("not sent: ")
        assert "bytes for team@example.org\n" in done.stdout
        assert f"127.0.0.1:{box.port}, TLS: starttls, login: basic" in done.stdout
        assert "Subject: Hi" in done.stdout
        found = json.loads(mailwright(*arguments, "--json", cwd=tmp_path).stdout)
        assert (found["dryRun"], found["tls"], found["envelope"]["to"]) == (True, "starttls", ["team@example.org"])
        assert box.dialogue == []


def test_a_dry_run_refuses_what_the_provider_would(tmp_path: Path) -> None:
    many = ", ".join(f"a{number}@example.org" for number in range(101))
    gmail = {"provider": "gmail", "auth": {"type": "basic", "username": "me@example.org", "password": "x"}}
    write(tmp_path, NODE | {"connection": gmail}, {"input": {"to": many}})
    done = mailwright("send", "node.json", "--state", "state.json", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert "101 recipients, the provider takes 100" in done.stderr


def test_the_sandbox_lists_what_arrives_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-c", "from mailwright.cli import main; main()", "sandbox"]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        [*command, "--port", "0", "--folder", "inbox"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    ) as running:
        assert running.stdout is not None
        try:
            first = running.stdout.readline()
            assert "open N" in running.stdout.readline()
            found = re.search(r"MAILWRIGHT_SANDBOX=(\S+)\)", first)
            assert found, first
            document = NODE | {"connection": {"provider": "sandbox"}}
            write(tmp_path, document, {"input": {"to": "ann@example.org"}})
            done = mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path, MAILWRIGHT_SANDBOX=found[1])
            assert done.returncode == 0, done.stderr
            assert "me@example.org → ann@example.org: Hi" in running.stdout.readline()
            assert (tmp_path / "inbox" / "0001.eml").is_file()
        finally:
            running.send_signal(signal.SIGINT)
    assert running.returncode == 0


def test_the_sandbox_tells_programs_what_arrives(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from mailwright.cli import main; main()", "sandbox", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as running:
        assert running.stdout is not None
        try:
            where = json.loads(running.stdout.readline())
            connection = {"provider": "smtp", "host": where["host"], "port": where["port"], "tls": "none"}
            write(tmp_path, NODE | {"connection": connection}, {"input": {"to": "ann@example.org"}})
            assert mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path).returncode == 0
            told = json.loads(running.stdout.readline())
        finally:
            running.send_signal(signal.SIGINT)
    envelope = {"from": "me@example.org", "to": ["ann@example.org"]}
    assert told == {"number": 1, "envelope": envelope, "subject": "Hi", "path": None}
    assert running.returncode == 0


def test_the_sandbox_opens_a_letter_in_the_browser(tmp_path: Path) -> None:
    """The page holds the letter's images, and neither script nor network."""
    command = [sys.executable, "-u", "-c", "from mailwright.cli import main; main()", "sandbox", "--port", "0"]
    browser = f'{sys.executable} -c "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())" %s'
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "BROWSER": browser}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        found = re.search(r"MAILWRIGHT_SANDBOX=(\S+)\)", running.stdout.readline())
        assert found
        assert "open N" in running.stdout.readline()
        image = '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
        write(tmp_path, NODE | {"connection": {"provider": "sandbox"}, "content": image}, {"input": {"to": "a@x.org"}})
        done = mailwright("send", "node.json", "--state", "state.json", cwd=tmp_path, MAILWRIGHT_SANDBOX=found[1])
        assert done.returncode == 0, done.stderr
        shown, _ = running.communicate("open\nopen 7\nquit\n", timeout=30)
    assert running.returncode == 0
    assert "default-src 'none'" in shown
    assert "data:image/gif;base64,R0lGODlhAQABAAAAACw=" in shown
    assert "no message 7; there are 1" in shown


def test_a_closed_standard_input_has_no_text(tmp_path: Path) -> None:
    program = "import sys; sys.stdin = None; from mailwright.cli import main; main()"
    command = [sys.executable, "-c", program, "send", "--to", "a@x.org", "--from", "b@x.org", "-c", "sandbox"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nothing to say")


LETTER = b"From: me@example.org\nTo: ann@example.org\nBcc: bo@example.org\nSubject: Hi\n\nHello\n"


def connected(box: Sandbox, folder: Path) -> str:
    (folder / "box.json").write_text(json.dumps(box.connection))
    return "box.json"


def test_a_letter_from_options_and_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "bild.txt").write_text("Käse")
    with Sandbox() as box:
        connection = ("--connection", connected(box, tmp_path))
        addressed = (
            "--from",
            "Zoë <me@example.org>",
            "--to",
            "ann@example.org, bo@example.org",
            "--bcc",
            "c@example.org",
        )
        more = ("--subject", "Grüße", "--attach", "bild.txt", "--json")
        done = mailwright("send", *connection, *addressed, *more, cwd=tmp_path, said="Text ☕\n".encode())
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["accepted"] == ["ann@example.org", "bo@example.org", "c@example.org"]
        [message] = box.messages
    assert (message.subject, message.text) == ("Grüße", "Text ☕\n")
    assert b" c@example.org" not in message.raw  # a Message-ID may end in c
    assert [(part.filename, part.content.decode()) for part in message.attachments] == [("bild.txt", "Käse")]


def test_html_from_a_file_with_derived_text(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>Hello <b>you</b></p>")
    with Sandbox() as box:
        connection = ("--connection", connected(box, tmp_path))
        letter = ("--from", "me@example.org", "--to", "ann@example.org", "--html", "a.html")
        done = mailwright("send", *connection, *letter, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "✓ sent: ann@example.org" in done.stdout
        assert box.messages[0].html == "<p>Hello <b>you</b></p>"
        assert "Hello you" in (box.messages[0].text or "")
        dry = mailwright("send", *connection, *letter, "--dry-run", cwd=tmp_path)
        assert "not sent" in dry.stdout
        composed = mailwright("compose", *connection, *letter, cwd=tmp_path)
        assert "multipart/alternative" in composed.stdout
        assert len(box.messages) == 1


@pytest.mark.parametrize("source", ["letter.eml", "-"])
def test_a_ready_letter_is_sent_as_it_is(source: str, tmp_path: Path) -> None:
    (tmp_path / "letter.eml").write_bytes(LETTER)
    with Sandbox() as box:
        connection = ("--connection", connected(box, tmp_path))
        done = mailwright("send", source, *connection, cwd=tmp_path, said=LETTER)
        assert done.returncode == 0, done.stderr
        done = mailwright(
            "send", source, *connection, "--to", "c@example.org", "--from", "d@example.org", cwd=tmp_path, said=LETTER
        )
        assert done.returncode == 0, done.stderr
        first, second = box.messages
    assert first.recipients == ("ann@example.org", "bo@example.org")
    assert b"bo@example.org" not in first.raw
    assert first.raw.endswith(b"\r\n\r\nHello\r\n")
    assert (second.sender, second.recipients) == ("d@example.org", ("c@example.org",))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["send"], "--to: name somebody"),
        (["send", "--to", "a@x.org"], "--connection"),
        (["send", "--to", "a@x.org", "-c", "missing"], "no connection is saved under the name 'missing'"),
        (["send", "--to", "a@x.org", "-c", "missing.toml"], "missing.toml: $: cannot be read: No such file"),
        (["send", "--to", "a@x.org", "-c", "port.json"], "port.json: $.port: a whole number, not text"),
        (["send", "--to", "a@x.org", "-c", "sandbox", "--html", "-", "--text", "-"], "standard input can be one"),
        (["check", "missing"], "missing: $: cannot be read: No such file"),
        (["check", "."], ".: $: cannot be read: Is a directory"),
        (["send", "--to", "nobody", "-c", "sandbox"], "nobody"),
        (["send", "--to", "a@x.org", "-c", "sandbox", "--html", "none.html"], "none.html: cannot be read"),
        (["send", "--to", "a@x.org", "-c", "sandbox", "--attach", "none.pdf"], "--attach: none.pdf is not a file"),
        (["send", "--to", "a@x.org", "-c", "sandbox"], "from: nobody is named as author"),
        (["send", "letter.eml", "-c", "sandbox", "--subject", "x"], "--subject: not with a ready message"),
        (["send", "letter.eml", "-c", "sandbox", "--from", "a@x.org"], "--to beside it"),
        (["send", "broken.eml", "-c", "sandbox"], "not a header field"),
        (["send", "node.json", "--to", "a@x.org"], "--to: not with a node document"),
        (["send", "node.json", "--attach", "a"], "--attach: not with a node document"),
        (["send", "none.eml", "-c", "sandbox"], "none.eml: cannot be read"),
    ],
)
def test_what_options_cannot_say_is_one_clear_error(arguments: list[str], wanted: str, tmp_path: Path) -> None:
    (tmp_path / "letter.eml").write_bytes(LETTER)
    (tmp_path / "broken.eml").write_bytes(b"no header\n\nat all\n")
    (tmp_path / "port.json").write_text('{"provider": "smtp", "host": "h", "port": "25"}')
    write(tmp_path, NODE, {})
    done = mailwright(*arguments, cwd=tmp_path, said=b"text")
    assert done.returncode == 2, (done.stdout, done.stderr)
    [line] = done.stderr.splitlines()
    assert wanted in line


def test_a_port_or_folder_that_cannot_be_had_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = mailwright("sandbox", "--port", "0", "--folder", "file/inbox", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    with Sandbox() as box:
        done = mailwright("sandbox", "--port", str(box.port), cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "choose another with --port" in line


def test_without_typer_there_is_a_hint(tmp_path: Path) -> None:
    program = "import sys; sys.modules['typer'] = None; from mailwright.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == 'The command line needs an extra: pip install "mailwright[cli]"\n'


def test_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    text = mailwright("--help", cwd=tmp_path).stdout
    for wanted in ("demo", "send", "check", "compose", "schema", "plugins", "sandbox", "Exit codes: 0 ", "1 not", "2 "):
        assert wanted in text
    assert len(text.splitlines()) <= 30  # a screen


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins"], ["schema", "node"], ["schema", "connection"]]
)
def test_the_rest_answers(arguments: list[str], tmp_path: Path) -> None:
    done = mailwright(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_check_original_explains_and_translates(tmp_path: Path) -> None:
    original = {
        "emailService": "Other SMTP Service", "host": "mail.example.org", "port": 443, "username": "me@example.org",
        "password": "canary-4711", "to": "ann@example.org", "subject": "Hi", "content": "<p>Hi</p>",
    }  # fmt: skip
    (tmp_path / "original.json").write_text(json.dumps(original))
    done = mailwright("check", "--original", "original.json", "-o", "node.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "differs: $.connection.port: 443 is the port of https" in done.stdout
    assert "canary" not in done.stdout
    written = tmp_path / "node.json"
    assert json.loads(written.read_text())["connection"]["auth"]["password"] == "canary-4711"
    assert written.stat().st_mode & 0o077 == 0
    assert mailwright("check", "node.json", cwd=tmp_path).returncode == 0
    done = mailwright("check", "--original", "original.json", "--json", cwd=tmp_path)
    assert "canary" not in done.stdout
    assert json.loads(done.stdout)["problems"] == []
    (tmp_path / "original.json").write_text(json.dumps(original | {"to": "nobody", "emailService": "Nope"}))
    done = mailwright("check", "--original", "original.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "$.to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["app", "groups", "outbox"])
def test_every_command_is_there(module: str) -> None:
    """They are imported by name, when they are called."""
    source = inspect.getsource(importlib.import_module(f"mailwright.cli.{module}"))
    names = re.findall(r'\brun\(\s*"(\w+)\.(\w+)"', source)
    assert len(names) > 5
    for home, name in names:
        assert callable(getattr(importlib.import_module(f"mailwright.cli.{home}"), name))
