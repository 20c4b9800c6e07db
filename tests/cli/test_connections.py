"""Saved connections as a person makes them: by questions, by options; secrets elsewhere; verified against a real server."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from inprocess import Done, call

from mailwright import Mailer, Message, load_connection
from mailwright.testing import Sandbox

SECRET = "correct horse: battery"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "work").mkdir()
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path  # type: ignore[return-value]


def mailwright(*arguments: str, said: str = "") -> Done:
    return call(*arguments, cwd=Path.cwd(), env={}, said=said.encode())


def good(*arguments: str, said: str = "") -> str:
    done = mailwright(*arguments, said=said)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_life_by_questions(home: Path) -> None:
    out = good("connections", "add", "support", said=f"me@gmail.com\nbasic\n\n{SECRET}\n")
    assert "Gmail and Google Workspace: Takes OAuth2" in out
    assert "next: mailwright connections verify support" in out
    config = home / "mailwright" / "connections.toml"
    text = config.read_text()
    assert SECRET not in text
    assert load_connection({"name": "support", "provider": "gmail"}).provider in text
    secret = home / "mailwright" / "secrets" / "support.password"
    assert secret.read_text() == SECRET
    if os.name == "posix":
        assert stat.S_IMODE(secret.stat().st_mode) == stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "support" in good("connections", "list")
    shown = good("connections", "show", "support")
    assert SECRET not in shown
    assert f'password = "file:{secret}"' in shown
    assert "me@gmail.com" in shown
    good("connections", "remove", "support", "--yes")
    assert not secret.exists()
    assert "no connection is saved" in good("connections", "list")


def test_by_options_and_a_pipe_then_verified_and_used(home: Path) -> None:
    with Sandbox() as box:
        options = ["--provider", "smtp", "--set", "host=127.0.0.1", "--set", f"port={box.port}"]
        options += ["--set", f"tls={box.connection['tls']}", "--set", f"ca_file={box.connection['ca_file']}"]
        auth = box.connection["auth"]
        options += [
            "--auth",
            auth["type"],
            "--set",
            f"auth.username={auth['username']}",
            "--set",
            "from=me@example.org",
        ]
        good("connections", "add", "local", *options, "--project", said=f"{auth['password']}\n")
        assert (home / "work" / "mailwright.toml").exists()
        assert "✓" in good("connections", "verify", "local")
        Mailer("local").send_sync(Message(to="ann@example.org", subject="Hi", text="Hi"))
        assert box.messages[0].subject == "Hi"


def test_comments_and_other_connections_stay(home: Path) -> None:
    path = home / "work" / "mailwright.toml"
    path.write_text('# ours\n[connections.old]\nprovider = "sandbox" # for tests\n\n[tool]\nx = 1\n')
    good("connections", "add", "new", "--provider", "sandbox", "--auth", "none", "--project")
    text = path.read_text()
    assert text.startswith('# ours\n[connections.old]\nprovider = "sandbox" # for tests\n')
    assert "x = 1" in text
    assert [row["name"] for row in json.loads(good("connections", "list", "--json"))] == ["old", "new"]
    good("connections", "remove", "new", "--yes")
    assert 'provider = "sandbox" # for tests' in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["add", "two words"], "letters, digits"),
        (["add", "../x"], "letters, digits"),
        (["add", "x", "--provider", "gmial"], "did you mean 'gmail'"),
        (["add", "x", "--provider", "tutanota"], "offers no SMTP"),
        (["add", "x", "--provider", "sandbox", "--auth", "none", "--set", "nonsense=1"], "$.nonsense"),
        (["add", "x", "--provider", "sandbox", "--auth", "none", "--set", "novalue"], "KEY=VALUE"),
        (["show", "missing"], "no connection is saved"),
        (["remove", "missing", "--yes"], "no connection is saved"),
        (["remove", "missing"], "no connection is saved"),
        (
            ["add", "x"],
            "Mail address (or a service's name): nobody answers; give it as --address ADDRESS or --provider NAME",
        ),
        (
            ["add", "x", "--provider", "smtp", "--set", "host=h", "--auth", "basic"],
            "User: nobody answers; give it as --set auth.username=…",
        ),
        (["verify", "missing"], "no connection is saved"),
    ],
)
def test_mistakes(arguments: list[str], wanted: str, home: Path) -> None:
    done = mailwright("connections", *arguments)
    assert done.returncode == 2, done.stdout
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "mailwright" / "connections.toml").exists()


def test_a_name_is_taken_once(home: Path) -> None:
    add = ["connections", "add", "x", "--provider", "sandbox", "--auth", "none"]
    good(*add)
    assert "saved already" in mailwright(*add).stderr
    good(*add, "--replace")


def test_references_stay_references_and_warnings_come_with_their_fix(home: Path) -> None:
    options = ["--provider", "Outlook365", "--auth", "basic", "--set", "auth.username=me@example.org"]
    done = mailwright("connections", "add", "m365", *options, "--set", "auth.password=env:MAIL_PASSWORD")
    assert done.returncode == 0, done.stderr
    assert "warning: $.auth.type: Microsoft turns passwords off" in done.stderr
    assert 'password = "env:MAIL_PASSWORD"' in good("connections", "show", "m365")


def test_a_literal_secret_among_the_options_does_not_reach_the_document(home: Path) -> None:
    options = ["--provider", "gmail", "--auth", "basic", "--set", "auth.username=me@example.org"]
    good("connections", "add", "g", *options, "--set", f"auth.password={SECRET}", "--keep", "file")
    assert SECRET not in (home / "mailwright" / "connections.toml").read_text()
    assert (home / "mailwright" / "secrets" / "g.password").read_text() == SECRET


def test_removal_that_nobody_agrees_to_is_none(home: Path) -> None:
    good("connections", "add", "x", "--provider", "sandbox", "--auth", "none")
    done = mailwright("connections", "remove", "x")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: Remove x, its secrets and its tokens? Nobody answers; say --yes",
    )
    assert "x " in good("connections", "list")


def test_an_address_among_the_options_is_the_user(home: Path) -> None:
    good("connections", "add", "g", "--address", "me@gmail.com", "--auth", "basic", "--set", "auth.password=env:NAME")
    assert 'username = "me@gmail.com"' in good("connections", "show", "g")
