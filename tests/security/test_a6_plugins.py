"""Rows P01-P03: plugins that fail, hang, block, return garbage, mutate, swallow cancellation, exit; that do not import; that pry."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailwright import Mailer, Message, Registry, Veto, hookimpl
from mailwright.errors import MailwrightError, PluginError
from mailwright.lifecycle import Lifecycle
from mailwright.model import ConnectionInfo, Envelope, Receipt
from mailwright.system import SystemClock
from mailwright.testing import Sandbox
from mailwright.testing.laws import composed

INFO = ConnectionInfo(provider="smtp")
MESSAGE = Message(
    from_="zoe@example.org", to="ann@example.org", text="x", message_id="<law@example.org>",
    date=datetime(2026, 1, 2, tzinfo=UTC),
)  # fmt: skip
HOOKS = ("before_compose", "before_send", "after_send", "send_failed")
RELEASE = threading.Event()


def plugin(hook: str, function: Any) -> types.ModuleType:
    module = types.ModuleType("bad")
    setattr(module, f"mailwright_{hook}", hookimpl(function))
    return module


def host(hook: str, function: Any, *, limit_s: float = 5.0) -> Lifecycle:
    return Lifecycle(Registry([plugin(hook, function)], installed=False, environ={}), limit_s=limit_s)


async def call(lifecycle: Lifecycle, hook: str) -> Any:
    if hook == "before_compose":
        return await lifecycle.before_compose(MESSAGE, INFO)
    if hook == "before_send":
        envelope = Envelope(sender=MESSAGE.from_, recipients=MESSAGE.recipients)
        return await lifecycle.before_send(composed(MESSAGE), envelope, INFO)
    if hook == "after_send":
        return await lifecycle.after_send(Receipt(message_id="<law@example.org>"), INFO)
    return await lifecycle.send_failed(MailwrightError("x"), None, INFO)


def raises() -> None:
    raise KeyError("x")


async def raises_async() -> None:
    raise KeyError("x")


async def hangs() -> None:
    await asyncio.Event().wait()


def blocks() -> None:
    RELEASE.wait(20)


async def swallows() -> None:
    while not RELEASE.is_set():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def exits() -> None:
    sys.exit(3)


async def exits_async() -> None:
    sys.exit(3)


BAD = {
    "raises": (raises, "KeyError"),
    "raises-async": (raises_async, "KeyError"),
    "hangs": (hangs, "took longer than"),
    "blocks": (blocks, "does not end, and was abandoned"),
    "swallows": (swallows, "does not end, and was abandoned"),
    "exits": (exits, "SystemExit(3)"),
    "exits-async": (exits_async, "sys.exit(3)"),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("how", BAD)
async def test_p01_a_bad_hook_is_contained_and_named(hook: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    function, told = BAD[how]
    limit_s = 0.02 if how in {"hangs", "blocks", "swallows"} else 5.0
    lifecycle = host(hook, function, limit_s=limit_s)
    if hook.startswith("before"):
        with pytest.raises(PluginError) as caught:
            await call(lifecycle, hook)
        said = caught.value.message
        assert caught.value.stage == "hook"
    else:
        await call(lifecycle, hook)
        said = caplog.text
    assert "plugin bad (handed in)" in said
    assert told in said


async def test_p01_a_hook_that_blocks_the_loop_is_named_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    async def blocks_the_loop() -> None:
        time.sleep(0.02)

    await call(host("before_compose", blocks_the_loop, limit_s=0.001), "before_compose")
    assert "plugin bad (handed in): blocks_the_loop took" in caplog.text
    assert "kept everything else waiting" in caplog.text


@pytest.mark.parametrize("code", ["import os; os._exit(7)", "import ctypes; ctypes.string_at(0)"])
def test_p01_what_cannot_be_contained_is_what_the_trust_page_says(code: str) -> None:
    """A hook is code of this process: one that ends the process ends it. If this ever passes, the page can be shorter."""
    script = f"""
import asyncio, types
from mailwright import Message, Registry, hookimpl
from mailwright.lifecycle import Lifecycle
from mailwright.model import ConnectionInfo
def ends():
    {code}
module = types.ModuleType("bad")
module.mailwright_before_compose = hookimpl(ends)
lifecycle = Lifecycle(Registry([module], installed=False, environ={{}}))
asyncio.run(lifecycle.before_compose(Message(), ConnectionInfo(provider="smtp")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode in {7, -11}


@pytest.mark.parametrize("garbage", [{}, "text", b"octets", 7, object(), [MESSAGE]])
@pytest.mark.parametrize("hook", HOOKS[:2])
async def test_p01_garbage_is_refused(hook: str, garbage: Any) -> None:
    with pytest.raises(PluginError, match=r"plugin bad .*returned"):
        await call(host(hook, lambda: garbage), hook)


@pytest.mark.parametrize("how", ["subject", "headers", "to"])
def test_p01_what_a_hook_makes_is_checked_again(how: str) -> None:
    def sneaks(message: Message) -> Message:
        changes: dict[str, Any] = {
            "subject": {"subject": "x\r\nBcc: evil@example.org"},
            "headers": {"headers": [("X-A", "x\nBcc: evil@example.org")]},
            "to": {"to": ()},
        }
        return message.replace(**changes[how])

    with Sandbox(tls="none", login=False) as box:
        mailer = Mailer(box.connection, registry=Registry([plugin("before_compose", sneaks)], installed=False))
        with pytest.raises(MailwrightError):
            mailer.send_sync(Message(from_="zoe@example.org", to="ann@example.org", text="x"))
        assert not box.messages


def test_p01_late_mutations_change_nothing() -> None:
    kept: list[Message] = []

    def keeps(message: Message) -> None:
        kept.append(message)
        with pytest.raises(AttributeError):
            message.subject = "late"  # type: ignore[misc]
        with pytest.raises((AttributeError, TypeError)):
            message.headers.append(("X-Late", "yes"))  # type: ignore[attr-defined]

    with Sandbox(tls="none", login=False) as box:
        mailer = Mailer(box.connection, registry=Registry([plugin("before_compose", keeps)], installed=False))
        mailer.send_sync(Message(from_="zoe@example.org", to="ann@example.org", subject="early", text="x"))
        assert kept
        assert [message.subject for message in box.messages] == ["early"]


def test_p01_a_veto_sends_nothing() -> None:
    def forbid(message: Message) -> None:
        raise Veto("not today")

    with Sandbox(tls="none", login=False) as box:
        mailer = Mailer(box.connection, registry=Registry([plugin("before_compose", forbid)], installed=False))
        with pytest.raises(Veto, match="not today"):
            mailer.send_sync(Message(from_="zoe@example.org", to="ann@example.org", text="x"))
        assert not box.messages


@pytest.mark.parametrize("error", [KeyError("x"), Veto("not again")])
def test_p01_a_hook_that_fails_at_the_second_attempt_loses_nothing_of_the_first(error: Exception) -> None:
    attempts: list[int] = []

    def fails_later(envelope: Envelope) -> None:
        attempts.append(len(envelope.recipients))
        if len(attempts) > 1:
            raise error

    class Patient(SystemClock):
        async def sleep(self, seconds: float) -> None:
            pass

    with Sandbox(tls="none", login=False) as box:
        box.refuse("bo@example.org", "451 4.2.1 later")
        registry = Registry([plugin("before_send", fails_later)], installed=False, environ={})
        message = Message(from_="zoe@example.org", to="ann@example.org, bo@example.org", text="x")
        receipt = Mailer(box.connection, registry=registry, clock=Patient(), retries=2).send_sync(message)
        assert [status.outcome for status in receipt.statuses] == ["accepted", "rejected"]
        assert [status.permanent for status in receipt.statuses] == [None, True]
        assert attempts == [2, 1]
        assert len(box.messages) == 1


@pytest.mark.parametrize("how", ["blocks", "swallows"])
def test_p01_the_process_ends_although_a_hook_does_not(how: str, tmp_path: Path) -> None:
    code = f"""
import asyncio, threading, types
from mailwright import Message, Registry, hookimpl
from mailwright.lifecycle import Lifecycle
from mailwright.model import ConnectionInfo
def blocks():
    threading.Event().wait()
async def swallows():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
module = types.ModuleType("bad")
module.mailwright_before_compose = hookimpl({how})
lifecycle = Lifecycle(Registry([module], installed=False, environ={{}}), limit_s=0.05)
async def main():
    try:
        await lifecycle.before_compose(Message(), ConnectionInfo(provider="smtp"))
    except Exception as error:
        print(error)
asyncio.run(main())
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    assert "was abandoned" in done.stdout
    assert done.stdout.endswith("ended\n")


def test_p02_a_broken_plugin_never_breaks_the_host(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broken = plugin("before_compost", raises)
    good = plugin("before_compose", lambda message: message.replace(subject="good"))
    registry = Registry([broken, good], installed=False, environ={})
    handed = [info for info in registry.plugins if info.distribution == "handed in"]
    assert [info.status for info in handed] == ["broken", "active"]
    assert "unknown hook" in handed[0].reason
    with Sandbox(tls="none", login=False) as box:
        Mailer(box.connection, registry=registry).send_sync(
            Message(from_="zoe@example.org", to="ann@example.org", subject="x", text="x")
        )
        assert box.messages[0].subject == "good"


def test_p03_hooks_see_no_credentials() -> None:
    seen: list[str] = []

    def pry(**values: Any) -> None:
        seen.append(repr(values))

    module = types.ModuleType("pry")

    def before_compose(message: Any, connection: Any) -> None:
        pry(message=message, connection=connection)

    def before_send(composed: Any, envelope: Any, connection: Any) -> None:
        pry(
            octets=bytes(composed),
            parts=vars(composed) if hasattr(composed, "__dict__") else "",
            envelope=envelope,
            c=connection,
        )

    def after_send(receipt: Any, connection: Any) -> None:
        pry(receipt=receipt, result=receipt.to_result(), connection=connection)

    def send_failed(error: Any, receipt: Any, connection: Any) -> None:
        pry(error=error, arguments=error.args, receipt=receipt, connection=connection, cause=error.__cause__)

    for function in (before_compose, before_send, after_send, send_failed):
        setattr(module, f"mailwright_{function.__name__}", hookimpl(function))
    with Sandbox(tls="none") as box:
        registry = Registry([module], installed=False)
        message = Message(from_="zoe@example.org", to="ann@example.org", text="x")
        Mailer(box.connection, registry=registry).send_sync(message)
        wrong = {**box.connection, "auth": {**box.connection["auth"], "password": box.password + "-wrong"}}
        with pytest.raises(MailwrightError):
            Mailer(wrong, registry=registry).send_sync(message)
        assert len(seen) >= 5
        assert not [text for text in seen if box.password in text]
