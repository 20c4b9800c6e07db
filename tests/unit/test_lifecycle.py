"""Lifecycle hooks: chained, guarded, limited; observers change nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import types
from typing import Any

import pytest

from mailwright import Message, Registry, Veto, hookimpl
from mailwright.errors import PluginError
from mailwright.lifecycle import Lifecycle
from mailwright.model import ConnectionInfo

INFO = ConnectionInfo(provider="smtp")


def hooks(
    *implementations: Any, limit_s: float = 5.0, name: str = "mailwright_before_compose", **opts: Any
) -> Lifecycle:
    modules = []
    for index, implementation in enumerate(implementations):
        module = types.ModuleType(f"plugin{index}")
        setattr(module, name, hookimpl(**opts)(implementation))
        modules.append(module)
    return Lifecycle(Registry(modules, installed=False, environ={}), limit_s=limit_s)


async def test_replacements_are_chained_sync_and_async() -> None:
    def first(message: Message) -> Message:
        return message.replace(subject=message.subject + "1")

    async def second(message: Message) -> Message:
        return message.replace(subject=message.subject + "2")

    def nothing() -> None:
        return None

    lifecycle = hooks(first, nothing, second)
    assert (await lifecycle.before_compose(Message(subject="s"), INFO)).subject == "s21"


async def test_a_veto_passes_through() -> None:
    def forbid(message: Message) -> None:
        raise Veto("not today")

    with pytest.raises(Veto, match="not today"):
        await hooks(forbid).before_compose(Message(), INFO)


async def test_a_failing_hook_stops_the_message_and_is_named() -> None:
    def broken(message: Message) -> None:
        raise KeyError("x")

    with pytest.raises(PluginError, match=r"plugin plugin0 \(handed in\).*KeyError"):
        await hooks(broken).before_compose(Message(), INFO)


async def test_garbage_is_refused() -> None:
    def garbage(message: Message) -> Any:
        return {"subject": "x"}

    with pytest.raises(PluginError, match="returned dict, not Message"):
        await hooks(garbage).before_compose(Message(), INFO)


async def test_an_async_hook_past_its_limit_is_cancelled_and_named() -> None:
    cancelled = asyncio.Event()

    async def slow(message: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(PluginError, match=r"longer than 0\.01 s"):
        await hooks(slow, limit_s=0.01).before_compose(Message(), INFO)
    await cancelled.wait()


async def test_a_blocking_hook_does_not_block_the_loop() -> None:
    release = threading.Event()

    def slow(message: Message) -> None:
        release.wait(10)

    with pytest.raises(PluginError, match="longer than"):
        await hooks(slow, limit_s=0.01).before_compose(Message(), INFO)
    release.set()


async def test_threads_serve_one_hook_after_another_but_never_two_at_once() -> None:
    threads, both = list[threading.Thread](), threading.Barrier(2, timeout=10)

    def noted(message: Message) -> None:
        threads.append(threading.current_thread())

    def together(message: Message) -> None:
        noted(message)
        both.wait()

    for _ in range(50):
        await hooks(noted).before_compose(Message(), INFO)
    assert len(set(threads)) < 25
    threads.clear()
    await asyncio.gather(*(hooks(together).before_compose(Message(), INFO) for _ in range(2)))
    assert len(set(threads)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        "import asyncio, os\n"
        "from mailwright.lifecycle import _in_thread\n"
        "async def call(): return await _in_thread(os.getpid, [])\n"
        "asyncio.run(call())\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(asyncio.run(call()) != os.getpid())\n"
        "raise SystemExit(os.waitpid(child, 0)[1])",
    )  # fmt: skip
    async with asyncio.timeout(20):
        assert await done.wait() == 0


async def test_observers_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(receipt: Any) -> None:
        raise ValueError("x")

    await hooks(broken, name="mailwright_after_send").after_send(None, INFO)  # type: ignore[arg-type]
    assert "ValueError" in caplog.text
