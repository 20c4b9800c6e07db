"""Hooks without packaging: --plugin, the setting, and what the user decided before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailwright.choices import Choices, read_choices, write_choices
from mailwright.cli.plugins import _table
from mailwright.errors import ConfigurationError
from mailwright.registry import PluginInfo
from mailwright.testing import Sandbox

HOOKS = """
from mailwright import hookimpl

@hookimpl
def mailwright_before_compose(message):
    return message.replace(subject=message.subject + "!")
"""


def mailwright(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from mailwright.cli import main; main()", *arguments]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd)} | more
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=50, env=environment)


def write(folder: Path, box: Sandbox, **more: object) -> None:
    (folder / "hooks.py").write_text(HOOKS)
    node = {"connection": box.connection, "from": "zoe@example.org", "to": "ann@example.org", "subject": "Hi"}
    (folder / "node.json").write_text(json.dumps({**node, "content": "<p>Hi</p>", **more}))


def test_a_hook_file_has_a_say(tmp_path: Path) -> None:
    with Sandbox(tls="none", login=False) as box:
        write(tmp_path, box)
        for arguments, more in (
            (["--plugin", "hooks.py"], {}),
            ([], {"MAILWRIGHT_PLUGIN_FILES": str(tmp_path / "hooks.py")}),
            ([], {}),
        ):
            done = mailwright("send", "node.json", *arguments, cwd=tmp_path, **more)
            assert done.returncode == 0, done.stderr
        assert [message.subject for message in box.messages] == ["Hi!", "Hi!", "Hi"]
        (tmp_path / "mailwright").mkdir()
        (tmp_path / "mailwright" / "plugins.toml").write_text(f"files = [{json.dumps(str(tmp_path / 'hooks.py'))}]\n")
        assert mailwright("send", "node.json", cwd=tmp_path).returncode == 0
        assert box.messages[-1].subject == "Hi!"
        assert "hook before_compose" in mailwright("plugins", "info", "hooks", cwd=tmp_path).stdout


def test_calls_are_traced_by_type(tmp_path: Path) -> None:
    with Sandbox(tls="none", login=False) as box:
        write(tmp_path, box)
        done = mailwright("send", "node.json", "--plugin", "hooks.py", cwd=tmp_path, MAILWRIGHT_TRACE_PLUGINS="1")
    assert "mailwright_before_compose(message: Message, connection: ConnectionInfo)" in done.stderr
    assert " ms" in done.stderr
    assert "plugin hooks (handed in): loaded, mailwright_before_compose()" in done.stderr
    assert "ann@example.org" not in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 +", "SyntaxError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("x = 1", "no hook"),
    ],
)
def test_a_hook_file_that_does_not_load_stops_everything(tmp_path: Path, text: str, reason: str) -> None:
    with Sandbox(tls="none", login=False) as box:
        write(tmp_path, box)
        (tmp_path / "hooks.py").write_text(text)
        done = mailwright("send", "node.json", "--plugin", "hooks.py", cwd=tmp_path)
        assert (done.returncode, list(box.messages)) == (2, [])
    assert "hooks.py: " in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_document_cannot_name_a_hook_file(tmp_path: Path) -> None:
    with Sandbox(tls="none", login=False) as box:
        for key in ("plugin", "plugins", "hooks"):
            write(tmp_path, box, **{key: "hooks.py"})
            done = mailwright("send", "node.json", cwd=tmp_path)
            assert (done.returncode, list(box.messages)) == (2, [])
            assert f"$.{key}" in done.stderr


def test_choices_round_trip_and_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plugins.toml"
    assert read_choices(path) == Choices()
    choices = Choices(disabled=("gmail", 'q"'), files=("/a b/hooks.py",))
    write_choices(path, choices)
    assert read_choices(path) == choices
    for text in ("x = 1", "disabled = 'gmail'", "disabled = [1]", "disabled ="):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"plugins\.toml"):
            read_choices(path)


def test_disabling_and_enabling_is_remembered(tmp_path: Path) -> None:
    assert mailwright("plugins", "disable", "sandbox", cwd=tmp_path).returncode == 0
    listed = json.loads(mailwright("plugins", "--json", cwd=tmp_path).stdout)
    assert [item["status"] for item in listed if item["name"] == "sandbox"] == ["disabled"]
    assert "plugins enable sandbox" in mailwright("plugins", cwd=tmp_path).stdout
    assert mailwright("plugins", "enable", "sandbox", cwd=tmp_path).returncode == 0
    listed = json.loads(mailwright("plugins", "--json", cwd=tmp_path).stdout)
    assert [item["status"] for item in listed if item["name"] == "sandbox"] == ["active"]
    wrong = mailwright("plugins", "disable", "sandbx", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean 'sandbox'" in wrong.stderr


def test_the_table_has_every_column_and_says_what_to_do(tmp_path: Path) -> None:
    mailwright("plugins", "disable", "sandbox", cwd=tmp_path)
    done = mailwright("plugins", cwd=tmp_path, MAILWRIGHT_DISABLED_PLUGINS="gmial")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["plugin", "version", "distribution", "status", "ms", "adds"]
    [gmail] = [row.split() for row in rows if row.startswith("gmail ")]
    assert (gmail[0], gmail[2:4], gmail[5:]) == ("gmail", ["mailwright", "active"], ["provider", "gmail"])
    assert float(gmail[4]) > 0
    assert "sandbox of mailwright is disabled: run: mailwright plugins enable sandbox" in done.stdout
    assert "warning: no plugin or distribution is called 'gmial'" in done.stderr


def test_a_narrow_terminal_loses_nothing() -> None:
    info = PluginInfo(
        name="a-rather-long-name", distribution="mailwright-rather-long", version="0.1.0", adds=("provider x",)
    )
    for width in (60, 80, 200):
        lines = [*_table([info], width)]
        assert all(len(line) <= max(width, 66) for line in lines)
        assert "provider x" in " ".join(lines)


def test_info_finds_by_what_is_added_and_enabling_tells_of_the_variable(tmp_path: Path) -> None:
    assert "microsoft" in mailwright("plugins", "info", "outlook", cwd=tmp_path).stdout
    done = mailwright("plugins", "enable", "gmail", cwd=tmp_path, MAILWRIGHT_DISABLED_PLUGINS="gmail")
    assert "still disables it" in done.stderr


def test_a_provider_that_fails_is_named_where_all_are_listed(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "from mailwright import hookimpl\nfrom mailwright.spi import AuthTarget, Provider, Settings\n"
        "@hookimpl\ndef mailwright_providers():\n"
        "    yield Provider(name='bad', settings=Settings, endpoint=lambda settings: 1 / 0,\n"
        "                   target=lambda settings: AuthTarget(protocol='smtp', host='h'))\n"
    )
    done = mailwright("providers", cwd=tmp_path, MAILWRIGHT_PLUGIN_FILES=str(tmp_path / "bad.py"))
    assert done.returncode == 0
    assert "gmail" in done.stdout
    assert "warning: plugin bad (handed in): endpoint failed: ZeroDivisionError" in done.stderr
