"""Opening a session: connect, TLS, greeting, EHLO, AUTH. aiosmtplib greets; the credential and the wire are ours."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import ssl
from typing import TYPE_CHECKING, Any, cast

import aiosmtplib

from mailwright.errors import SessionError, Stage
from mailwright.model import Connection, Reply, SmtpEndpoint
from mailwright.sasl import server_end_point
from mailwright.smtp import Capabilities
from mailwright.smtp.replies import make_reply
from mailwright.spi import Authenticator, SaslOffer
from mailwright.transport import tls
from mailwright.transport.dial import dial
from mailwright.transport.login import Login, RenewedError
from mailwright.transport.session import Session
from mailwright.transport.trouble import translated

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

_wire = logging.getLogger("mailwright.wire")
_EHLO_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|\[[0-9A-Za-z:.]+\]")


class _Client(aiosmtplib.SMTP):
    """Remembers the transport it closes: one with TLS waits for the other side's goodbye, its socket still watched."""

    closed: asyncio.BaseTransport | None = None

    def close(self) -> None:
        self.closed = self.transport or self.closed
        super().close()


class Opener:
    """Opens sessions of one connection, one step after the other."""

    def __init__(
        self,
        endpoint: SmtpEndpoint,
        connection: Connection,
        *,
        authenticator: Authenticator | None,
        explain: Callable[[Reply], str | None],
    ) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._authenticator = authenticator
        self._explain = explain
        self._context: ssl.SSLContext | None = None

    async def open(self, tell: Callable[[str], None] = lambda step: None) -> Session:
        """A session ready for MAIL.

        Args:
            tell: Hears of each step passed.

        Raises:
            MailwrightError: Where it stops; no socket is left behind.
        """
        try:
            return await self._open(tell, renew=True)
        except RenewedError:
            return await self._open(tell, renew=False)

    async def _open(self, tell: Callable[[str], None], *, renew: bool) -> Session:
        endpoint, connection = self._endpoint, self._connection
        sock = await dial(
            endpoint.host,
            endpoint.port,
            source_address=connection.source_address,
            proxy=connection.proxy,
            limit_s=connection.timeouts.connect,
        )
        client: _Client | None = None
        try:
            loopback = connection.proxy is None and _is_loopback(sock)
            client = self._client(sock)
            await self._said(client.connect(timeout=connection.timeouts.connect), "CONN", "greeting")
            tell(f"connected to {endpoint.host}:{endpoint.port}" + (" with TLS" if endpoint.tls == "tls" else ""))
            capabilities = await self._hello(client)
            if endpoint.tls == "starttls":
                await self._encrypt(client, capabilities)
                capabilities = await self._hello(client)
                tell("encrypted with STARTTLS, certificate verified")
            if self._authenticator is not None:
                login = Login(
                    self._authenticator, self._offer(client, capabilities, loopback=loopback), explain=self._explain
                )
                name = await login.run(lambda command, *words: self._command(client, command, *words), renew=renew)
                tell(f"authenticated with {name}")
            lines = tuple(_ehlo_lines(client)[1:])
            return Session(client, capabilities, ehlo=lines, timeouts=connection.timeouts)
        except BaseException:
            if client is not None:
                client.close()
                if client.closed is not None:
                    cast("asyncio.Transport", client.closed).abort()
            # After what asyncio has scheduled: its transport must leave the selector before the descriptor is free.
            asyncio.get_running_loop().call_soon(sock.close)
            raise

    def _client(self, sock: socket.socket) -> _Client:
        endpoint = self._endpoint
        return _Client(
            hostname=endpoint.host,  # with sock= alone, names would go unverified
            sock=sock,
            use_tls=endpoint.tls == "tls",
            start_tls=False,
            tls_context=self._tls_context() if endpoint.tls == "tls" else None,
            local_hostname=self._ehlo_name(sock),
            timeout=self._connection.timeouts.command,
        )

    async def _hello(self, client: aiosmtplib.SMTP) -> Capabilities:
        try:
            await self._said(client.ehlo(), "EHLO", "greeting")
        except SessionError as error:
            if error.reply is None or error.reply.code not in {500, 501, 502, 504}:
                raise
            await self._said(client.helo(), "HELO", "greeting")
            return Capabilities()
        return Capabilities.parse(_ehlo_lines(client)[1:], mask=self._connection.mask)

    async def _encrypt(self, client: aiosmtplib.SMTP, capabilities: Capabilities) -> None:
        if "STARTTLS" not in capabilities:
            msg = (
                f"{self._endpoint.host} does not offer STARTTLS, so nothing is sent: "
                'use another port or tls = "tls"; somebody may also be stripping it on the way'
            )
            raise SessionError(msg, code="ETLS", permanent=True, stage="tls", command="STARTTLS")
        await self._said(client.starttls(tls_context=self._tls_context()), "STARTTLS", "tls", code="ETLS")

    def _offer(self, client: aiosmtplib.SMTP, capabilities: Capabilities, *, loopback: bool) -> SaslOffer:
        encrypted = client.get_transport_info("sslcontext") is not None
        bindings: dict[str, bytes] = {}
        # Whoever masks a -PLUS must not claim that the server did not offer it (RFC 5802 §6).
        if encrypted and not any(keyword.upper().endswith("-PLUS") for keyword in self._connection.mask):
            certificate = client.get_transport_info("ssl_object").getpeercert(binary_form=True)
            if certificate and (data := server_end_point(certificate)):
                bindings["tls-server-end-point"] = data
        return SaslOffer(
            mechanisms=capabilities.mechanisms,
            encrypted=encrypted,
            private=encrypted or loopback or self._connection.allow_insecure_auth,
            host=self._endpoint.host,
            port=self._endpoint.port,
            channel_bindings=bindings,
        )

    async def _command(self, client: aiosmtplib.SMTP, command: str, *arguments: bytes) -> Reply:
        response = await self._said(client.execute_command(*arguments), command, "auth", code="EAUTH")
        if not 200 <= response.code <= 559:
            msg = f"the server answered {command} with {response.code}"
            raise SessionError(msg, code="EPROTOCOL", stage="auth", command=command)
        return make_reply(response.code, response.message.split("\n"))

    async def _said(self, conversation: Awaitable[Any], command: str, stage: Stage, *, code: str = "ESOCKET") -> Any:
        """Await one step of aiosmtplib."""
        _wire.debug("C: %s", command)
        cancelled = _cancellations()
        try:
            response = await conversation
        except (ssl.SSLError, aiosmtplib.SMTPException, OSError, ValueError) as error:
            _wire.debug("S: %s", type(error).__name__)
            raise translated(error, self._endpoint, command, stage, code=code) from error
        if _cancellations() > cancelled:  # wait_for of Python 3.11 swallows one that comes together with the reply
            raise asyncio.CancelledError
        _wire.debug("S: %s", response.code)
        return response

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls.context(self._connection)
        return self._context

    def _ehlo_name(self, sock: socket.socket) -> str:
        name = self._connection.local_hostname
        if name is not None:
            if not _EHLO_NAME.fullmatch(name):
                msg = f"$.local_hostname: {name!r} is not a host name"
                raise SessionError(msg, code="ECONFIG", permanent=True, command="API", stage="prepare")
            return name
        address = str(sock.getsockname()[0]).partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"  # RFC 5321 §4.1.3


def _ehlo_lines(client: aiosmtplib.SMTP) -> list[str]:
    response = client.last_ehlo_response
    return response.message.split("\n") if response is not None else []


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _is_loopback(sock: socket.socket) -> bool:
    try:
        return ipaddress.ip_address(str(sock.getpeername()[0]).partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False
