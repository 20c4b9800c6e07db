"""Running lifecycle hooks: one guarded call each, in pluggy's order, sync or async, within a time limit.

``before_*`` hooks may replace or veto; one that fails in any other way stops the message, for what a signer or a guard was
to do has not been done. Observers change nothing: what they raise is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mailwright.errors import MailwrightError, PluginError, Veto
from mailwright.model import Message

if TYPE_CHECKING:
    import pluggy

    from mailwright.model import ConnectionInfo, Envelope, Receipt
    from mailwright.ports import Composed
    from mailwright.registry import Registry

_log = logging.getLogger("mailwright.plugins")
_TURNS: Final = 10
"""Of the loop, for a cancelled hook to end."""
_KEPT: Final = 8
_idle: list[queue.SimpleQueue[Callable[[], None]]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
T = TypeVar("T")


class Lifecycle:
    """The lifecycle hooks of one registry.

    Args:
        registry: Where the hooks are.
        limit_s: Seconds one call may take.
    """

    def __init__(self, registry: Registry, *, limit_s: float = 10.0) -> None:
        self._registry = registry
        self._limit_s = limit_s

    @cached_property
    def signs(self) -> bool:
        """Whether a hook sees the octets before they leave; loads every plugin."""
        return bool(self._registry.hooks("mailwright_before_send"))

    @cached_property
    def observed(self) -> bool:
        """Whether a hook is told of outcomes; loads every plugin."""
        return bool(self._registry.hooks("mailwright_after_send") or self._registry.hooks("mailwright_send_failed"))

    async def before_compose(self, message: Message, connection: ConnectionInfo) -> Message:
        """The message, as the last replacing hook left it."""
        for impl in self._hooks("mailwright_before_compose"):
            result = await self._guarded(impl, message=message, connection=connection)
            if result is not None:
                message = _expect(result, Message, impl)
        return message

    async def before_send(self, composed: Composed, envelope: Envelope, connection: ConnectionInfo) -> Composed:
        """The octets, as the last replacing hook left them."""
        for impl in self._hooks("mailwright_before_send"):
            result = await self._guarded(impl, composed=composed, envelope=envelope, connection=connection)
            if result is not None:
                composed = _expect(result, type(composed), impl)
        return composed

    async def after_send(self, receipt: Receipt, connection: ConnectionInfo) -> None:
        """Tell observers."""
        await self._observe("mailwright_after_send", receipt=receipt, connection=connection)

    async def send_failed(self, error: MailwrightError, receipt: Receipt | None, connection: ConnectionInfo) -> None:
        """Tell observers."""
        await self._observe("mailwright_send_failed", error=error, receipt=receipt, connection=connection)

    def _hooks(self, name: str) -> tuple[pluggy.HookImpl, ...]:
        return self._registry.hooks(name)

    async def _observe(self, hook: str, **arguments: Any) -> None:
        for impl in self._hooks(hook):
            try:
                await self._guarded(impl, **arguments)
            except MailwrightError as error:
                _log.warning("%s", error)

    async def _guarded(self, impl: pluggy.HookImpl, **arguments: Any) -> Any:
        values = [arguments[name] for name in impl.argnames]
        started = time.perf_counter()
        try:
            result = await _within(self._limit_s, impl.function, values)
            self._late(impl, time.perf_counter() - started)
        except (Veto, asyncio.CancelledError):
            raise
        except _Late as late:
            ended = "" if late.ended else "; it does not end, and was abandoned"
            msg = f"{_named(impl)} took longer than {self._limit_s:g} s{ended}"
            raise PluginError(msg, stage="hook") from None
        except Exception as error:
            msg = f"{_named(impl)} failed: {type(error).__name__}: {error}"
            raise PluginError(msg, stage="hook") from error
        else:
            return result
        finally:
            if self._registry.trace:
                kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in arguments.items())
                _log.warning("%s(%s) %.1f ms", _named(impl), kinds, (time.perf_counter() - started) * 1000)

    def _late(self, impl: pluggy.HookImpl, took_s: float) -> None:
        """An async hook that blocks the loop cannot be stopped, for nothing else runs; so it is named afterwards."""
        if took_s > self._limit_s:
            told = f"took {took_s:.1f} s and kept everything else waiting; let it await, or make it a plain function"
            _log.warning("%s %s", _named(impl), told)


class _Late(Exception):
    """The limit is over; `ended` tells whether the hook has ended since."""

    def __init__(self, *, ended: bool) -> None:
        super().__init__()
        self.ended = ended


class _Exit(Exception):
    """A hook wanted to end the process."""


async def _within(limit_s: float, function: Any, values: list[Any]) -> Any:
    """Async hooks run in the loop and are abandoned past the limit if they will not end; sync ones run in a thread."""
    until = asyncio.get_running_loop().time() + limit_s
    if not inspect.iscoroutinefunction(function):
        result = await _finished(_in_thread(function, values), until)
        if not inspect.isawaitable(result):
            return result
    else:
        result = function(*values)
    return await _finished(asyncio.ensure_future(_contained(result)), until)


async def _finished(work: asyncio.Future[Any], until: float) -> Any:
    """Its result; after `until` it is cancelled, and after some turns of the loop abandoned."""
    try:
        done, _ = await asyncio.wait({work}, timeout=max(0.0, until - asyncio.get_running_loop().time()))
    except asyncio.CancelledError:
        work.cancel()
        raise
    if done:
        return work.result()
    work.cancel()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    ended = work.done() and isinstance(work, asyncio.Task)
    if not work.done():
        from mailwright.guards import let_go  # noqa: PLC0415 - rare

        let_go(work)
    raise _Late(ended=ended)


async def _contained(awaitable: Any) -> Any:
    """A SystemExit in a task would end the loop."""
    try:
        return await awaitable
    except SystemExit as error:
        raise _Exit(f"it called sys.exit({error.code!r})") from None


def _in_thread(function: Any, values: list[Any]) -> asyncio.Future[Any]:
    """In a thread nobody uses: one that never ends must neither fill the pool that others need, nor keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def work() -> None:
        result, failed = None, None
        try:
            result = function(*values)
        except Exception as error:  # noqa: BLE001 - told to the waiting loop
            failed = error
        except BaseException as error:  # noqa: BLE001 - likewise: SystemExit would vanish with the thread
            failed = _Exit(f"it raised {type(error).__name__}({error})")
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(settle, result, failed)

    context = contextvars.copy_context()
    _start(lambda: context.run(work))
    return future


def _start(work: Callable[[], None]) -> None:
    """Threads that have ended their work wait for more: starting one takes longer than most hooks do."""
    try:
        works = _idle.pop()
    except IndexError:
        works = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(works,), name="mailwright-hook", daemon=True).start()
    works.put(work)


def _serve(works: queue.SimpleQueue[Callable[[], None]]) -> None:
    while True:
        works.get()()
        if len(_idle) >= _KEPT:
            return
        _idle.append(works)


def _expect(result: Any, wanted: type[T], impl: pluggy.HookImpl) -> T:
    if not isinstance(result, wanted):
        msg = f"{_named(impl)} returned {type(result).__name__}, not {wanted.__name__} or None"
        raise PluginError(msg, stage="hook")
    return result


def _named(impl: pluggy.HookImpl) -> str:
    distribution, name, _ = impl.plugin_name.rsplit(":", 2)
    return f"plugin {name} ({distribution}): {impl.function.__name__}"
