"""A connection's proxy carries its token requests too, and its password is shown to nobody else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailwright import Mailer, Message, SendError
from mailwright.errors import HttpError
from mailwright.net import ConfiguredHttp
from mailwright.oauth import FileTokenStore
from mailwright.ports import HttpRequest
from mailwright.testing import ScriptedServer, TokenServer

LETTER = Message(to="ann@example.org", subject="Hi", text="Hi")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert base64.b64encode(b"zoe:proxy-password").decode() in head
    host, _, port = head.split()[1].rpartition(":")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    return host, int(port)


async def _socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    """RFC 1928 with RFC 1929."""
    count = (await reader.readexactly(2))[1]
    assert 2 in await reader.readexactly(count)
    writer.write(b"\x05\x02")
    user = await reader.readexactly((await reader.readexactly(2))[1])
    password = await reader.readexactly((await reader.readexactly(1))[0])
    assert (user, password) == (b"zoe", b"proxy-password")
    writer.write(b"\x01\x00")
    kind = (await reader.readexactly(4))[3]
    if kind == 1:
        host = ".".join(map(str, await reader.readexactly(4)))
    else:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    port = int.from_bytes(await reader.readexactly(2), "big")
    writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    return host, port


@asynccontextmanager
async def proxy(scheme: str) -> AsyncIterator[tuple[str, list[int]]]:
    """Its URL, and the ports it was asked for."""
    asked: list[int] = []
    greet: Callable[..., Awaitable[tuple[str, int]]] = _socks if scheme == "socks5" else _http
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = await greet(reader, writer)
        asked.append(port)
        there = await asyncio.open_connection(host, port)
        writers.extend((writer, there[1]))
        for pair in ((reader, there[1]), (there[0], writer)):
            tasks.add(asyncio.create_task(pipe(*pair)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"{scheme}://zoe:proxy-password@127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    server.close()
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_tokens_and_mail_go_through_the_proxy(scheme: str, tmp_path: Path) -> None:
    async with (
        TokenServer() as tokens,
        ScriptedServer(tokens={"me@example.org": "access-1"}, mechanisms=["XOAUTH2"]) as mail,
        proxy(scheme) as (url, asked),
    ):
        document = {
            "provider": "smtp", "host": mail.host, "port": mail.port, "tls": "none", "proxy": url,
            "ca_file": str(tokens.ca_file), "allow_insecure_auth": True,
            "auth": {
                "type": "oauth2", "user": "me@example.org", "client_id": "c", "refresh_token": "refresh-0",
                "token_url": tokens.url,
            },
        }  # fmt: skip
        async with Mailer(document, token_store=FileTokenStore(tmp_path)) as mailer:
            assert (await mailer.send(LETTER)).accepted
    assert sorted(asked) == sorted([mail.port, int(tokens.url.rpartition(":")[2].partition("/")[0])])


@pytest.mark.parametrize(
    "url", ["http://zoe:proxy-password@127.0.0.1:1", "socks5://zoe:proxy-password@127.0.0.1:1", "odd:x"]
)
async def test_a_proxy_that_fails_keeps_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(HttpError) as caught:
        await ConfiguredHttp(proxy=url).request(HttpRequest(method="GET", url="https://127.0.0.1:2/"))
    assert "proxy-password" not in str(caught.value)
    async with TokenServer() as tokens:
        document = {
            "provider": "smtp", "host": "127.0.0.1", "tls": "none", "proxy": url.replace("odd:x", "http://127.0.0.1:1"),
            "auth": {
                "type": "oauth2", "user": "me@example.org", "client_id": "c", "refresh_token": "r", "token_url": tokens.url,
            },
        }  # fmt: skip
        async with Mailer(document, token_store=FileTokenStore(tmp_path)) as mailer:
            with pytest.raises(SendError) as failed:
                await mailer.send(LETTER)
        assert "proxy-password" not in f"{failed.value}{failed.value.receipt!r}"
        assert tokens.requests == []
