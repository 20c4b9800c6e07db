"""Running lifecycle hooks: one guarded call each, in pluggy's order, sync or async, within a time limit.

``before_*`` hooks may replace or veto; one that fails in any other way stops the message, for what a signer or a guard was
to do has not been done. Observers change nothing: what they raise is logged.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

from mailwright.errors import MailwrightError, PluginError, Veto
from mailwright.model import Message

if TYPE_CHECKING:
    import pluggy

    from mailwright.model import ConnectionInfo, Envelope, Receipt
    from mailwright.ports import Composed
    from mailwright.registry import Registry

_log = logging.getLogger("mailwright.plugins")
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
            return await _within(self._limit_s, impl.function, values)
        except (Veto, asyncio.CancelledError):
            raise
        except TimeoutError:
            msg = f"{_named(impl)} took longer than {self._limit_s:g} s"
            raise PluginError(msg, stage="hook") from None
        except Exception as error:
            msg = f"{_named(impl)} failed: {type(error).__name__}: {error}"
            raise PluginError(msg, stage="hook") from error
        finally:
            if self._registry.trace:
                kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in arguments.items())
                _log.warning("%s(%s) %.1f ms", _named(impl), kinds, (time.perf_counter() - started) * 1000)


async def _within(limit_s: float, function: Any, values: list[Any]) -> Any:
    """Async hooks run in the loop and are abandoned past the limit if they will not end; sync ones run in a thread."""
    if inspect.iscoroutinefunction(function):
        task: asyncio.Future[Any] = asyncio.ensure_future(function(*values))
    else:
        task = asyncio.ensure_future(asyncio.to_thread(function, *values))
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        task.add_done_callback(_forget)
        raise TimeoutError
    result = task.result()
    return await asyncio.wait_for(result, limit_s) if inspect.isawaitable(result) else result


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _expect(result: Any, wanted: type[T], impl: pluggy.HookImpl) -> T:
    if not isinstance(result, wanted):
        msg = f"{_named(impl)} returned {type(result).__name__}, not {wanted.__name__} or None"
        raise PluginError(msg, stage="hook")
    return result


def _named(impl: pluggy.HookImpl) -> str:
    distribution, name, _ = impl.plugin_name.split(":")
    return f"plugin {name} ({distribution}): {impl.function.__name__}"
