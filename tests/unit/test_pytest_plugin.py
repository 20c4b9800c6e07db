"""The fixtures that applications use, used as they use them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailwright import Mailer, Message, SendError
from mailwright.errors import MailwrightError
from mailwright.testing import Capture, Sandbox

LETTER = Message(from_="me@x.org", to="ann@x.org, bo@x.org", subject="Hi", html="<p>Hello</p>")


async def test_the_sandbox_has_what_arrived(sandbox: Sandbox) -> None:
    async with Mailer({"provider": "sandbox"}) as mailer:
        await mailer.send(LETTER)
    message = await sandbox.wait_for(to="bo@x.org")
    assert message is sandbox.messages[0]
    assert (message.subject, message.html, message.attachments) == ("Hi", "<p>Hello</p>", ())
    assert "Hello" in (message.text or "")
    assert message.envelope.recipients == ("ann@x.org", "bo@x.org")
    assert message.raw.startswith(b"From: me@x.org\r\n")


async def test_waiting_for_what_never_comes_says_what_came(sandbox: Sandbox) -> None:
    Mailer(sandbox.connection).send_sync(LETTER)
    with pytest.raises(AssertionError, match=r"1 message\(s\) for carla@x.org expected; arrived: 'Hi' for ann@x.org"):
        await sandbox.wait_for(to="carla@x.org", timeout_s=0)


@pytest.mark.parametrize("kind", ["sandbox", "outbox_capture"])
def test_switches_of_a_bad_day(kind: str, request: pytest.FixtureRequest) -> None:
    box: Sandbox | Capture = request.getfixturevalue(kind)
    box.refuse("bo@x.org", "552 5.2.2 mailbox full")
    with Mailer({"provider": "sandbox"}) as mailer:
        receipt = mailer.send_sync(LETTER)
        assert [status.address for status in receipt.rejected] == ["bo@x.org"]
        box.fail_next()
        with pytest.raises(SendError) as later:
            mailer.send_sync(LETTER)
        assert later.value.permanent is False
        box.fail_next("550 5.7.1 spam")
        with pytest.raises(SendError) as never:
            mailer.send_sync(LETTER)
        assert never.value.permanent is True
        box.lose_next()
        with pytest.raises(SendError) as unknown:
            mailer.send_sync(LETTER)
        assert unknown.value.permanent is None
        assert mailer.send_sync(LETTER).status == "partial"
    assert len(box.messages) == 3  # the first, the one whose outcome is unknown, the last


def test_a_capture_needs_neither_server_nor_saved_connection(outbox_capture: Capture) -> None:
    Mailer("support").send_sync(LETTER)
    Mailer(
        {"provider": "gmail", "auth": {"type": "basic", "username": "z@gmail.com", "password": "env:NONE"}}
    ).send_sync(Message(to="ann@x.org", subject="Captured", bcc="secret@x.org"))
    first, second = outbox_capture.messages
    assert first.subject == "Hi"
    assert (second.sender, second.recipients) == ("z@gmail.com", ("ann@x.org", "secret@x.org"))
    assert b"secret" not in second.raw


def test_a_capture_checks_as_sending_does(outbox_capture: Capture) -> None:
    with pytest.raises(MailwrightError, match="recipients"):
        Mailer("support").send_sync(Message(from_="me@x.org", subject="Nobody"))
    with pytest.raises(MailwrightError, match=r"\$\.provider"):
        Mailer({"provider": "gmial"}).send_sync(LETTER)
    assert not outbox_capture.messages


def test_nothing_is_imported_before_a_fixture_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_lean.py").write_text(
        "import sys\n\n\ndef test_lean():\n"
        "    heavy = {'mailwright.mailer', 'mailwright.sending', 'mailwright.testing.sandbox', 'aiosmtplib', 'cattrs', 'attrs'}\n"
        "    assert 'mailwright.testing.pytest_plugin' in sys.modules\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # and no settings of a folder above
    command = [sys.executable, "-m", "pytest", "-q", "-p", "mailwright.testing.pytest_plugin", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_pytest_finds_the_fixtures_by_itself() -> None:
    from importlib.metadata import entry_points

    [found] = [entry for entry in entry_points(group="pytest11") if entry.value.startswith("mailwright.")]
    assert found.value == "mailwright.testing.pytest_plugin"
