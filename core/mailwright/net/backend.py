"""httpcore's way to the network, with our check in it: the address that was checked is the one that is connected to."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, TypeAlias

import httpcore2

from mailwright.errors import HttpError
from mailwright.net.addresses import IPAddress
from mailwright.net.allowed import Allowed, literal

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port → all its addresses."""
Dial: TypeAlias = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""IP address and port → an open stream."""
DIAL_S = 10.0


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver. Raises `HttpError`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        msg = f"{host}: the host cannot be found: {getattr(error, 'strerror', None) or error}"
        raise HttpError(msg) from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def dialler(proxy: str | None) -> Dial:
    """Open streams directly, or through a proxy: it too is told the checked address, never the name."""

    async def direct(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(address, port)

    if proxy is None:
        return direct

    async def through(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError  # noqa: PLC0415 - with a proxy
        from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

        try:
            sock = await Proxy.from_url(proxy).connect(address, port)
        except (ProxyError, ProxyConnectionError, ProxyTimeoutError, ValueError) as error:
            msg = f"the proxy did not connect: {type(error).__name__}"
            raise OSError(msg) from None  # the cause may name the proxy's password
        return await asyncio.open_connection(sock=sock)

    return through


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves once, checks every answer, connects to a checked one. TLS is started later with the origin's name.

    Args:
        allowed: The allow-list.
        resolve: Asks for addresses.
        dial: Connects.
    """

    def __init__(self, allowed: Allowed, resolve: Resolve, dial: Dial) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Called by httpcore for every connection. Raises `HttpError`."""
        reason = "no address"
        for address in await self.checked(host.lower(), port):
            try:
                async with asyncio.timeout(DIAL_S):
                    return GuardedStream(*await self._dial(address, port))
            except TimeoutError:
                reason = f"no answer within {DIAL_S:g} s"
            except OSError as error:
                reason = error.strerror or str(error)
        msg = f"{host}:{port} cannot be reached: {reason}"
        raise HttpError(msg)

    async def checked(self, host: str, port: int) -> list[str]:
        """Every address of a host; a single forbidden one refuses them all. Raises `HttpError`."""
        try:
            known = literal(host)
        except ValueError as error:
            msg = f"{host[:80]!r} is {error}"
            raise HttpError(msg, permanent=True) from None
        addresses: list[IPAddress] = [known] if known else [ip_address(a) for a in await self._resolve(host, port)]
        for address in addresses:
            if refusal := self._allowed.refusal(host, address):
                is_or_has = "is" if known else "has"
                msg = (
                    f"{host} {is_or_has} {refusal}: attachments come from the public internet, or from what "
                    "allow_fetch or MAILWRIGHT_ALLOW_FETCH names"
                )
                raise HttpError(msg, permanent=True)
        return [str(address) for address in addresses]

    async def connect_unix_socket(self, path: str, *arguments: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        """Refuse."""
        msg = "sockets of this machine are no place for attachments"
        raise HttpError(msg, permanent=True)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class GuardedStream(httpcore2.AsyncNetworkStream):
    """A connection in httpcore's words."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        """Read what is there."""
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """Write."""
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except OSError as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close without ceremony: the answer has been read, or is not wanted."""
        self._writer.transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore2.AsyncNetworkStream:
        """Encrypt; the certificate must be the name's."""
        try:
            await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except OSError as error:  # ssl.SSLError is one
            raise httpcore2.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks about a connection."""
        if info == "is_readable":
            return self._reader.at_eof()
        return self._writer.get_extra_info({"server_addr": "peername", "client_addr": "sockname"}.get(info, info))
