"""Connecting: name resolution, happy eyeballs (RFC 8305), source address, proxies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import socket
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from mailwright.errors import SessionError

STAGGER_S: Final = 0.25  # RFC 8305 §5
_NO_HOST = re.compile(r"[\x00-\x20\x7f/@\[\]]")
_AddressInfo: TypeAlias = tuple[Any, Any, int, str, Any]


async def dial(
    host: str, port: int, *, source_address: str | None = None, proxy: str | None = None, limit_s: float
) -> socket.socket:
    """A connected, non-blocking socket.

    Raises:
        SessionError: ``EDNS``, ``ESOCKET`` or ``ETIMEDOUT``, naming host and port.
    """
    if _NO_HOST.search(host) or not host:
        msg = f"$.host: {host[:80]!r} is not a host name"
        raise SessionError(msg, code="ECONFIG", permanent=True, command="API", stage="prepare")
    try:
        async with asyncio.timeout(limit_s):
            if proxy is not None:
                return await _through(proxy, host, port)
            return await _race(await _resolve(host, port), host, port, source_address)
    except TimeoutError:
        msg = f"{host}:{port} did not answer within {limit_s:g} s: check host, port and firewall"
        raise SessionError(msg, code="ETIMEDOUT") from None


async def _resolve(host: str, port: int) -> list[_AddressInfo]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        msg = f"the host {host!r} cannot be found: {error}"
        raise SessionError(msg, code="EDNS") from None
    if not found:
        msg = f"the host {host!r} has no address"
        raise SessionError(msg, code="EDNS")
    return _interleaved(found)


def _interleaved(found: Iterable[_AddressInfo]) -> list[_AddressInfo]:
    """Families by turns, the resolver's first family first (RFC 8305 §4)."""
    families: dict[Any, list[_AddressInfo]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*families.values())
    return [info for turn in rounds for info in turn if info is not None]


async def _race(infos: list[_AddressInfo], host: str, port: int, source: str | None) -> socket.socket:
    errors: list[OSError] = []
    running: set[asyncio.Task[socket.socket]] = set()
    waiting = _reachable_from(source, infos)
    started: list[asyncio.Task[socket.socket]] = []
    won: asyncio.Task[socket.socket] | None = None
    try:
        while waiting or running:
            if waiting:
                started.append(asyncio.create_task(_attempt(waiting.pop(0), source)))
                running.add(started[-1])
            done, running = await asyncio.wait(
                running, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    won = task
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        losers = [task for task in started if task is not won]
        for task in losers:
            task.cancel()
            task.add_done_callback(_forget)  # whoever is cancelled while it waits here leaves no socket either
        await asyncio.gather(*losers, return_exceptions=True)
    if not errors:
        msg = f"$.source_address: {source} and {host} have no address family in common"
        raise SessionError(msg, code="ECONFIG", permanent=True, command="API", stage="prepare")
    reason = os.strerror(errors[0].errno) if errors[0].errno else str(errors[0])
    msg = f"{host}:{port} cannot be reached: {reason.lower()}; check host and port, and that something listens there"
    raise SessionError(msg, code="ESOCKET") from errors[0]


def _forget(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _reachable_from(source: str | None, infos: list[_AddressInfo]) -> list[_AddressInfo]:
    if source is None:
        return list(infos)
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return [info for info in infos if info[0] == family]


async def _attempt(info: _AddressInfo, source: str | None) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if source is not None:
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, address)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


async def _through(proxy: str, host: str, port: int) -> socket.socket:
    from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError  # noqa: PLC0415 - only with a proxy
    from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

    try:
        sock: socket.socket = await Proxy.from_url(proxy).connect(host, port)
    except (ProxyError, ProxyConnectionError, ProxyTimeoutError, OSError, ValueError) as error:
        msg = f"the proxy did not connect to {host}:{port}: {type(error).__name__}"
        raise SessionError(msg, code="EPROXY") from None  # the cause may name the proxy's password
    return sock
