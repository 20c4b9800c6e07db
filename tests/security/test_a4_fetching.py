"""URL attachments against a hostile web: what is inside stays untouched, what is broken never becomes an attachment.

A local HTTP server plays the world and another one the inside; name resolution is handed in, as is connecting, so that
public addresses lead to the local server. Nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
import gzip
import resource
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define, field

from mailwright import Part, Registry
from mailwright.errors import AttachmentError, ConfigurationError, HttpError, MailwrightError
from mailwright.fetching import KEPT, Fetcher
from mailwright.model import Message
from mailwright.net import Allowed, GuardedHttp
from mailwright.net.addresses import kind_of
from mailwright.ports import Fetching, HttpRequest
from mailwright.prepare import IN_MEMORY, Spooled, prepare
from mailwright.system import SystemClock, SystemEntropy

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes = b"hello", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    fields = "".join(f"{line}\r\n" for line in headers)
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n{fields}\r\n".encode()
        + body
    )


@define
class World:
    """A server whose answers are raw octets or functions; it keeps every request it got."""

    answers: dict[str, bytes | Answer] = field(factory=dict)
    requests: list[str] = field(factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            answer = self.answers.get(head.split()[1], reply(b"not here", status="404 Not Found"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def paths(self) -> list[str]:
        return [head.split()[1] for head in self.requests]


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[World]:
    world = World()
    server = await asyncio.start_server(world.serve, "127.0.0.1", 0, ssl=tls)
    world.port = server.sockets[0].getsockname()[1]
    async with server:
        yield world


@define
class Dns:
    """Answers in turn; the last one stays."""

    answers: dict[str, list[list[str]]] = field(factory=dict)
    asked: list[str] = field(factory=list)

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        turns = self.answers.get(host, [[PUBLIC]])
        return turns.pop(0) if len(turns) > 1 else turns[0]


def http(world: World, dns: Dns | None = None, *, dialled: list[str] | None = None, **options: Any) -> GuardedHttp:
    """Whatever address is dialled, the world answers."""

    async def dial(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if dialled is not None:
            dialled.append(address)
        return await asyncio.open_connection("127.0.0.1", world.port)

    return GuardedHttp(resolve=dns or Dns(), dial=dial, **options)


async def get(guarded: GuardedHttp, url: str, *, max_bytes: int = 100_000, **headers: str) -> bytes:
    return (await guarded.request(HttpRequest(method="GET", url=url, headers=headers), max_bytes=max_bytes)).body


async def refused(guarded: GuardedHttp, url: str, match: str, **options: Any) -> None:
    with pytest.raises(HttpError, match=match):
        await get(guarded, url, **options)


FORBIDDEN_V4 = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "169.254.170.2", "100.64.0.1", "100.100.100.200", "100.127.255.255", "0.0.0.0", "0.1.2.3", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "168.63.129.16",
]  # fmt: skip
FORBIDDEN_V6 = [
    "::", "::1", "::2", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:808:808::",
    "2001:0:7f00:1::", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1",
    "100::1", "4000::1",
]  # fmt: skip
ODD_SPELLINGS = [
    "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "0", "0x0", "1.2.3.4.5",
    "0x7f.0.0.1", "127.0.0.1.", "08.8.8.8", "3232235777", "١٢٧.٠.٠.١", "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1",
    "[fe80::1%25eth0]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0x7f.1]", "%31%32%37.0.0.1", "[::1",
    "127.0.0.1%00.example.org", "[127.0.0.1]", "[v1.x]", "exa mple.org", "a\tb.org", "-x-.org", "x" * 64 + ".org",
    "\x00.org", "a..b",
]  # fmt: skip


@pytest.mark.parametrize("address", [*FORBIDDEN_V4, *FORBIDDEN_V6])
async def test_u01_u03_forbidden_addresses_are_never_connected_to(address: str) -> None:
    """As a literal, and as what a name leads to."""
    dialled: list[str] = []
    guarded = http(World(), Dns({"inside.example": [[address]]}), dialled=dialled)
    host = f"[{address}]" if ":" in address else address
    for port in ("", ":80", ":8080", ":443"):
        await refused(guarded, f"http://{host}{port}/latest/meta-data", "address: attachments come from the public")
    await refused(guarded, "https://inside.example/", "inside.example has an? .* address")
    assert dialled == []


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6, "8.8.8.8", "64:ff9b::808:808", "172.32.0.1", "100.128.0.1"])
async def test_u01_public_addresses_are_reached(address: str) -> None:
    dialled: list[str] = []
    async with serving() as world:
        world.answers["/"] = reply()
        host = f"[{address}]" if ":" in address else address
        assert await get(http(world, dialled=dialled), f"http://{host}/") == b"hello"
    assert dialled == [address]


@pytest.mark.parametrize("host", ODD_SPELLINGS)
async def test_u02_odd_spellings_of_hosts_are_refused(host: str) -> None:
    dialled: list[str] = []
    dns = Dns()
    with pytest.raises(HttpError) as caught:
        await get(http(World(), dns, dialled=dialled), f"http://{host}/")
    assert caught.value.permanent
    assert dialled == dns.asked == []


def redirect(location: str, status: str = "302 Found") -> bytes:
    return reply(b"", f"Location: {location}", status=status)


class TestRedirects:
    @pytest.mark.parametrize(
        ("location", "why"),
        [
            ("http://127.0.0.1/secret", "loopback"),
            ("http://[::1]/secret", "loopback"),
            ("http://169.254.169.254/latest", "link-local"),
            ("//10.0.0.1/secret", "private"),
            ("http://inside.example/secret", "private"),
            ("http://0x7f.1/secret", "unusual spelling"),
            ("http://user:pass@other.example/", "user name and password"),
            ("file:///etc/passwd", "scheme"),
            ("ftp://other.example/x", "scheme"),
            ("gopher://other.example/x", "scheme"),
            ("data:text/plain,hi", "scheme"),
            ("unix:/run/x.sock", "scheme"),
            ("http://other.example:25/", "port 25"),
            ("http://other.example/\\..\\x", "not a URL"),
            ("/" + "x" * 9000, "not a URL"),
        ],
    )
    async def test_u04_every_hop_is_checked_again(self, location: str, why: str) -> None:
        dialled: list[str] = []
        async with serving() as world:
            world.answers["/start"] = redirect(location)
            guarded = http(world, Dns({"inside.example": [["10.1.2.3"]]}), dialled=dialled)
            await refused(guarded, "http://world.example/start", why)
        assert dialled == [PUBLIC]
        assert world.paths() == ["/start"]

    async def test_u04_loops_end_after_five(self) -> None:
        async with serving() as world:
            world.answers["/loop"] = redirect("/loop")
            await refused(http(world), "http://world.example/loop", "more than 5 redirects")
        assert len(world.requests) == 6

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    async def test_u04_five_are_followed_without_credentials_or_cookies(self, status: str) -> None:
        async with serving() as world:
            hops = ["/1", "http://two.example/2", "/3", "//two.example/4", "http://three.example/end"]
            for path, location in zip(["/start", "/1", "/2", "/3", "/4"], hops, strict=True):
                world.answers[path] = reply(b"", f"Location: {location}", "Set-Cookie: a=b; Path=/", status=status)
            world.answers["/end"] = reply(b"there")
            assert await get(http(world), "http://one.example/start", Authorization="Bearer canary") == b"there"
        assert world.paths() == ["/start", "/1", "/2", "/3", "/4", "/end"]
        hosts = [line for head in world.requests for line in head.splitlines() if line.lower().startswith("host:")]
        assert hosts == [f"Host: {name}.example" for name in ("one", "one", "two", "two", "two", "three")]
        assert ["canary" in head for head in world.requests] == [True, True, False, False, False, False]
        assert not any("cookie" in head.lower() for head in world.requests)

    async def test_u04_https_never_becomes_http(self) -> None:
        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("safe.example").configure_cert(tls)
        async with serving(tls) as world:
            with authority.cert_pem.tempfile() as file:
                guarded = http(world, ca_file=file)
                world.answers["/start"] = redirect("http://safe.example/x")
                await refused(guarded, "https://safe.example/start", "https to http")
                world.answers["/ok"] = reply(b"sealed")
                assert await get(guarded, "https://safe.example/ok") == b"sealed"
                await refused(guarded, "https://other.example/ok", "CERTIFICATE_VERIFY_FAILED")
            await refused(http(world), "https://safe.example/ok", "CERTIFICATE_VERIFY_FAILED")
        assert "Host: safe.example" in world.requests[0]


class TestNames:
    async def test_u05_resolved_once_and_connected_to_what_was_checked(self) -> None:
        """A name that is public when it is checked and inside when it is connected to."""
        dialled: list[str] = []
        dns = Dns({"rebinding.example": [[PUBLIC], ["127.0.0.1"]]})
        async with serving() as world:
            world.answers["/"] = reply()
            guarded = http(world, dns, dialled=dialled)
            assert await get(guarded, "http://rebinding.example/") == b"hello"
            assert (dns.asked, dialled) == (["rebinding.example"], [PUBLIC])
            await refused(guarded, "http://rebinding.example/", "loopback")
        assert dialled == [PUBLIC]
        assert "Host: rebinding.example" in world.requests[0]

    @pytest.mark.parametrize(
        "answers",
        [
            [PUBLIC, "127.0.0.1"],
            ["127.0.0.1", PUBLIC],
            [PUBLIC_6, "::1"],
            [PUBLIC, "::ffff:10.0.0.1"],
            [PUBLIC, "64:ff9b::a9fe:a9fe"],
            ["fe80::1%lo", PUBLIC],
        ],
    )
    async def test_u05_one_forbidden_answer_refuses_all(self, answers: list[str]) -> None:
        dialled: list[str] = []
        guarded = http(World(), Dns({"mixed.example": [answers]}), dialled=dialled)
        await refused(guarded, "http://mixed.example/", "mixed.example has")
        assert dialled == []

    async def test_u05_the_next_address_is_tried(self) -> None:
        async with serving() as world:
            world.answers["/"] = reply()

            async def dial(address: str, port: int) -> Any:
                if address == PUBLIC_6:
                    raise ConnectionRefusedError(111, "Connection refused")
                return await asyncio.open_connection("127.0.0.1", world.port)

            dns = Dns({"two.example": [[PUBLIC_6, PUBLIC]], "one.example": [[PUBLIC_6]]})
            guarded = GuardedHttp(resolve=dns, dial=dial)
            assert await get(guarded, "http://two.example/") == b"hello"
            await refused(guarded, "http://one.example/", "one.example:80 cannot be reached: Connection refused")

    async def test_a_name_nobody_knows(self) -> None:
        with pytest.raises(HttpError, match="cannot be found") as caught:
            await get(GuardedHttp(), "http://nowhere.invalid/")
        assert not caught.value.permanent


class TestAllowList:
    async def test_names_and_networks_open_the_inside(self) -> None:
        async with serving() as world:
            world.answers["/"] = reply(b"inside")
            dns = Dns(
                {
                    "intranet.example": [["10.1.2.3"]],
                    "other.example": [["10.1.2.3"]],
                    "meta.example": [["169.254.169.254"]],
                }
            )
            by_name = http(world, dns, allowed=Allowed.parse(["Intranet.Example", "meta.example"]))
            assert await get(by_name, "http://INTRANET.example:631/") == b"inside"
            await refused(by_name, "http://other.example/", "private")
            await refused(by_name, "http://10.1.2.3/", "private")
            await refused(by_name, "http://meta.example/", "link-local")
            by_network = http(world, dns, allowed=Allowed.parse(["10.1.0.0/16", "::1"]))
            assert await get(by_network, "http://other.example/") == b"inside"
            await refused(by_network, "http://10.2.0.1/", "private")

    def test_entries_are_checked(self) -> None:
        for bad in ("10.0.0.1/8", "http://x", "a b", "*", "10.1", "0x7f.1", ""):
            with pytest.raises(ConfigurationError, match="neither a host name"):
                Allowed.parse([bad])
        found = Allowed.from_environment({"MAILWRIGHT_ALLOW_FETCH": "a.example, 10.0.0.0/8 fd00::/8"})
        assert (found.names, len(found.networks)) == ({"a.example"}, 2)
        assert Allowed.from_environment({}) == Allowed()


async def test_u06_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with serving() as world, serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        (tmp_path / ".netrc").write_text("default login canary password canary\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        world.answers["/"] = reply()
        assert await get(http(world), "http://world.example/") == b"hello"
    assert proxy.requests == []
    assert "authorization" not in world.requests[0].lower()


async def test_u06_a_configured_proxy_is_told_the_checked_address() -> None:
    async with serving() as proxy:

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply(b"through"))
            await writer.drain()

        proxy.answers[f"{PUBLIC}:80"] = connect
        guarded = GuardedHttp(resolve=Dns(), proxy=f"http://127.0.0.1:{proxy.port}")
        assert await get(guarded, "http://world.example/") == b"through"
        await refused(guarded, "http://10.0.0.1/", "private")
    assert proxy.paths() == [f"{PUBLIC}:80"]


class TestBodies:
    async def test_u07_identity_is_asked_for_and_bombs_are_refused(self) -> None:
        bomb = gzip.compress(bytes(20_000_000))
        async with serving() as world:
            for encoding in ("gzip", "deflate", "br", "gzip, gzip", "zstd", "x-gzip"):
                world.answers["/bomb"] = reply(bomb, f"Content-Encoding: {encoding}")
                await refused(http(world), "http://world.example/bomb", "content encoding")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            world.answers["/file.gz"] = reply(bomb, "Content-Type: application/gzip")
            assert await get(http(world), "http://world.example/file.gz") == bomb
        assert "Accept-Encoding: identity" in world.requests[0]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_000

    async def test_u08_endless_bodies_end_at_the_limit(self) -> None:
        sent = 0

        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"2000\r\n" + bytes(0x2000) + b"\r\n")
                sent += 0x2000
                await writer.drain()

        async with serving() as world:
            world.answers["/endless"] = endless
            await refused(http(world), "http://world.example/endless", "larger than 100000 bytes")
            world.answers["/told"] = reply(b"x", length=10**12)
            await refused(http(world), "http://world.example/told", "larger than 100000 bytes")
        assert sent < 20_000_000

    @pytest.mark.parametrize(
        "answer",
        [
            reply(b"half", length=8),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"",
            b"\x00\xff garbage \r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"220 smtp.example ESMTP\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3_000_000 + b"\r\nContent-Length: 4\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"Content-Length: 4\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"Content-Length: 4\r\n\r\nbody",
        ],
        ids=["short", "no-end", "cut-chunk", "bad-chunk", "negative", "two-lengths", "cut-head", "nothing", "garbage",
             "ssh", "smtp", "large-head", "many-heads", "300-heads"],
    )  # fmt: skip
    async def test_u08_short_and_broken_answers_are_errors(self, answer: bytes) -> None:
        async with serving() as world:
            world.answers["/"] = answer
            with pytest.raises(HttpError):
                await get(http(world), "http://world.example/")

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbod"])
    async def test_u09_slow_servers_meet_the_total_limit(self, start: bytes) -> None:
        """Also when something keeps arriving."""

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(start)
            for _ in range(1000):
                if start.endswith(b"OK\r\n"):
                    writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)

        async with serving() as world:
            world.answers["/slow"] = drip
            await refused(http(world, timeout_s=0.2), "http://world.example/slow", "not finished within 0.2 s")

        async def never(host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

        await refused(GuardedHttp(resolve=never, timeout_s=0.05), "http://world.example/", "not finished")

    @pytest.mark.parametrize(
        ("status", "permanent"),
        [
            ("204 No Content", True), ("206 Partial", True), ("201 Created", True), ("304 Not Modified", True),
            ("300 Choices", True), ("401 Unauthorized", True), ("403 Forbidden", True), ("404 Not Found", True),
            ("410 Gone", True), ("429 Slow down", False), ("500 Oops", False), ("503 Busy", False), ("302 No place", True),
        ],
    )  # fmt: skip
    async def test_u10_only_a_complete_file_is_attached(self, status: str, permanent: bool) -> None:
        async with serving() as world:
            world.answers["/x?token=canary"] = reply(
                b"" if status[:3] in {"204", "304"} else b"<h1>error page</h1>", status=status
            )
            with pytest.raises(AttachmentError, match=f"the server answered {status[:3]}") as caught:
                await attach(world, "http://world.example/x?token=canary")
        assert caught.value.permanent is permanent
        assert caught.value.code == "ESTREAM"
        assert "canary" not in str(caught.value)


async def attach(
    world: World, url: str, *, fetcher: Fetcher | None = None, max_bytes: int | None = None, **more: Any
) -> Part:
    registry = Registry(installed=False, environ={})
    source = registry.attachment_source("url")
    fetcher = fetcher or Fetcher(http(world), max_bytes=max_bytes)
    fetching = Fetching(http=http(world), path=Path, max_bytes=max_bytes, get=fetcher.get)
    message = Message(from_="a@example.org", to="b@example.org", attachments=[source.settings(url=url, **more)])
    prepared = await prepare(
        message, registry=registry, fetching=fetching, clock=SystemClock(), entropy=SystemEntropy()
    )
    [part] = prepared.attachments
    assert isinstance(part, Part)
    return part


PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


class TestNamesAndTypes:
    @pytest.mark.parametrize(
        ("path", "headers", "body", "wanted"),
        [
            ("/a/report.pdf?x=1", ["Content-Type: application/pdf"], b"%PDF-1.7", ("report.pdf", "application/pdf")),
            ("/r%C3%A9sum%C3%A9.txt", [], b"hi", ("résumé.txt", None)),
            ("/logo", ["Content-Type: image/png; q=1"], PNG, ("logo.png", "image/png")),
            ("/logo", [], PNG, ("logo.png", "image/png")),
            ("/x", ["Content-Type: application/octet-stream"], b"%PDF-1.7\n%\xe2\xe3", ("x.pdf", "application/pdf")),
            ("/", [], b"\x01\x02", ("attachment.bin", None)),
            ("/x", ["Content-Type: multipart/mixed; boundary=x"], b"--x", ("x.bin", None)),
            ("/x", ["Content-Type: message/rfc822"], b"A: b\r\n\r\n", ("x.bin", None)),
            ("/x", ["Content-Type: text/html\tx"], b"\x00", ("x.bin", None)),
            ("/x", ["Content-Type: a/b/c"], b"\x00", ("x.bin", None)),
            ("/x", [], b"<html><script>alert(1)</script></html>", ("x.bin", None)),
            ("/x", ['Content-Disposition: attachment; filename="a b.pdf"'], b"", ("a b.pdf", None)),
            ("/x", ["Content-Disposition: attachment; filename=plain.pdf"], b"", ("plain.pdf", None)),
            ("/x", ["Content-Disposition: x; filename=no.txt; filename*=UTF-8''na%C3%AFve.txt"], b"", ("naïve.txt", None)),
            ("/x", ["Content-Disposition: x; filename*=iso-8859-1'de'f%FCr.txt"], b"", ("für.txt", None)),
            ("/x", ['Content-Disposition: x; filename="../../etc/passwd"'], b"", ("passwd.bin", None)),
            ("/x", ['Content-Disposition: x; filename="C:\\\\win\\\\evil.exe"'], b"", ("evil.exe", None)),
            ("/x", ["Content-Disposition: x; filename*=UTF-8''a%0D%0ABcc%3A%20x.txt"], b"", ("aBcc x.txt", None)),
            ("/x", ["Content-Disposition: x; filename*=UTF-8''exe.%E2%80%AEgpj"], b"", ("exe.gpj", None)),
            ("/x", ["Content-Disposition: x; filename*=UTF-8''%ED%A0%80%00%7F.txt"], b"", ("txt.bin", None)),
            ("/ok.csv", ['Content-Disposition: x; filename="..."'], b"a,b", ("ok.csv", None)),
            ("/ok.csv", [f'Content-Disposition: x; filename="{"n" * 3000}.csv"'], b"a,b", ("n" * 96 + ".csv", None)),
        ],
    )  # fmt: skip
    async def test_u11_cleaned(
        self, path: str, headers: list[str], body: bytes, wanted: tuple[str, str | None]
    ) -> None:
        async with serving() as world:
            world.answers[path] = reply(body, *headers)
            part = await attach(world, f"http://world.example{path}")
        assert (part.filename, part.content_type, part.content) == (*wanted, body)

    async def test_u11_the_users_own_name_wins(self) -> None:
        async with serving() as world:
            world.answers["/x.bin"] = reply(PNG, 'Content-Disposition: x; filename="server.exe"')
            part = await attach(world, "http://world.example/x.bin", filename="Mine.png")
        assert (part.filename, part.content_type) == ("Mine.png", None)


@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "unix:/x", "jar:http://x!/y", "//x/y", "/etc/passwd", "x", "", "HTTP+UNIX://x", " file:///x", "javascript:1"])  # fmt: skip
async def test_u12_other_schemes_are_refused(scheme: str) -> None:
    with pytest.raises(AttachmentError, match="not a scheme"):
        await attach(World(), scheme)


async def test_u12_data_urls_take_linear_time_and_have_the_limit() -> None:
    part = await attach(World(), "data:text/plain;base64,aGk=")
    assert part.content == b"hi"
    with pytest.raises(AttachmentError, match="larger than"):
        await attach(World(), "data:," + "a" * 2000, max_bytes=1000)
    for hostile in ("data:" + ";" * 1_000_000, "data:;base64," + "=" * 1_000_000, "data:," + "%" * 1_000_000):
        with pytest.raises(AttachmentError):
            await attach(World(), hostile)


class TestOneDoor:
    async def test_u13_only_get_without_a_body(self) -> None:
        guarded = http(World())
        for request in (
            HttpRequest(method="POST", url="http://world.example/"),
            HttpRequest(method="DELETE", url="http://world.example/"),
            HttpRequest(method="GET", url="http://world.example/", body=b"x"),
        ):
            with pytest.raises(HttpError, match="only GET"):
                await guarded.request(request)

    def test_u13_plugins_cannot_reach_another_http(self) -> None:
        """What a source is handed holds the guard, the root and nothing else."""
        assert [attribute.name for attribute in Fetching.__attrs_attrs__] == ["http", "path", "max_bytes", "get"]
        from mailwright_plugins import attachments

        sources = list(Path(attachments.__file__).parent.glob("*.py"))
        assert len(sources) > 6
        found = {p.name for p in sources
                 if any(word in p.read_text() for word in ("httpx2", "urllib.request", "import socket", "http.client"))}  # fmt: skip
        assert found == set()

    async def test_u13_a_mailer_hands_out_the_guard(self) -> None:
        """Every way to name a URL comes to the same refusal, before a session opens."""
        from mailwright import FlowState, Mailer, load_node
        from mailwright.testing import ScriptedServer

        async with ScriptedServer() as server, serving() as inside:
            connection = {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none"}
            url = f"http://127.0.0.1:{inside.port}/secret"
            node = {"connection": connection, "from": "a@example.org", "to": "b@example.org",
                    "attachments": [{"type": "url", "url": "{{ input.url }}"}]}  # fmt: skip
            outcome = await load_node(node).run(FlowState(input={"url": url}))
            assert "$.attachments[0]: url: 127.0.0.1 is a loopback address" in str(outcome.error)
            assert outcome.result["error"]["code"] == "ESTREAM"
            settings = Registry().attachment_source("url").settings(url=url)
            message = Message(from_="a@example.org", to="b@example.org", attachments=[settings])
            async with Mailer(connection) as mailer:
                with pytest.raises(AttachmentError, match="loopback"):
                    await mailer.send(message)
                [receipt] = [receipt async for receipt in mailer.send_many([message])]
                assert "loopback" in str(receipt.error)
                with pytest.raises(AttachmentError, match="loopback"):
                    await mailer.prepare(message)
            assert (inside.requests, server.commands) == ([], [])
            inside.answers["/secret"] = reply(b"wanted")
            async with Mailer(connection | {"allow_fetch": ["127.0.0.0/8"]}) as mailer:
                assert (await mailer.send(message)).accepted
            assert inside.paths() == ["/secret"]
            assert b"d2FudGVk" in server.messages[0].raw


class TestOnce:
    async def test_u14_one_run_fetches_a_url_once(self) -> None:
        async with serving() as world:
            world.answers["/big"] = reply(bytes(IN_MEMORY + 1))
            fetcher = Fetcher(http(world), max_bytes=None)
            parts = await asyncio.gather(
                *(attach(world, "http://world.example/big", fetcher=fetcher, filename=f"{i}.bin") for i in range(20))
            )
            world.answers["/big"] = reply(b"changed between attempts")
            parts.append(await attach(world, "http://world.example/big", fetcher=fetcher))
        assert world.paths() == ["/big"]
        assert {id(part.content) for part in parts} == {id(parts[0].content)}
        assert isinstance(parts[0].content, Spooled)
        assert [part.filename for part in parts[:3]] == ["0.bin", "1.bin", "2.bin"]

    async def test_u14_what_is_queued_was_fetched_when_it_was_queued(self, tmp_path: Path) -> None:
        """The file has changed, then it is gone, when a worker sends the message."""
        from mailwright import Outbox
        from mailwright.testing import ScriptedServer

        async with ScriptedServer() as server, serving() as inside:
            inside.answers["/x"] = reply(b"as it was when queued")
            connection = {
                "provider": "smtp",
                "host": "127.0.0.1",
                "port": server.port,
                "tls": "none",
                "allow_fetch": "127.0.0.1",
            }
            settings = Registry().attachment_source("url").settings(url=f"http://127.0.0.1:{inside.port}/x")
            message = Message(from_="a@example.org", to="b@example.org", attachments=[settings])
            async with Outbox(f"sqlite:///{tmp_path}/o.db", connections={"one": connection}) as outbox:
                queued = await outbox.enqueue(message, connection="one")
                inside.answers["/x"] = reply(b"changed")
                async with outbox.worker():
                    receipt = await outbox.wait(str(queued.job_id))
            assert receipt is not None
            assert receipt.status == "sent"
            assert inside.paths() == ["/x"]
            [sent] = server.messages
        assert b64encode(b"as it was when queued") in sent.raw

    async def test_a_message_has_a_bounded_number_of_files(self) -> None:
        source = Registry(installed=False, environ={}).attachment_source("url")
        items = [source.settings(url=f"http://world.example/{n}") for n in range(101)]
        async with serving() as world:
            fetching = Fetching(http=http(world), path=Path, get=Fetcher(http(world), max_bytes=None).get)
            message = Message(from_="a@example.org", to="b@example.org", attachments=items)
            with pytest.raises(AttachmentError, match="101 to be fetched or read, at most 100"):
                await prepare(
                    message, registry=Registry(), fetching=fetching, clock=SystemClock(), entropy=SystemEntropy()
                )
        assert world.requests == []

    async def test_u14_failures_of_the_moment_are_tried_again_others_not(self) -> None:
        async with serving() as world:
            fetcher = Fetcher(http(world), max_bytes=None)
            for _ in range(2):
                with pytest.raises(AttachmentError, match=r"^\$\.attachments\[0\]: url: .* answered 404"):
                    await attach(world, "http://world.example/gone", fetcher=fetcher)
            assert world.paths() == ["/gone"]
            world.answers["/busy"] = reply(b"", status="503 Busy")
            with pytest.raises(AttachmentError):
                await attach(world, "http://world.example/busy", fetcher=fetcher)
            world.answers["/busy"] = reply(b"now")
            assert (await attach(world, "http://world.example/busy", fetcher=fetcher)).content == b"now"

    async def test_u14_a_fetch_nobody_waits_for_is_given_up(self) -> None:
        gone = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            gone.set()

        async with serving() as world:
            world.answers["/hang"] = hang
            fetcher = Fetcher(http(world), max_bytes=None)
            waiting = [asyncio.create_task(fetcher.get("http://world.example/hang")) for _ in range(2)]
            while not world.requests:
                await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
            assert not gone.is_set()
            waiting[1].cancel()
            await gone.wait()

    async def test_what_is_kept_is_bounded(self) -> None:
        async with serving() as world:
            fetcher = Fetcher(http(world), max_bytes=None)
            for number in range(KEPT + 20):
                world.answers[f"/{number}"] = reply(b"x")
                await fetcher.get(f"http://world.example/{number}")
        assert len(fetcher._tasks) <= KEPT + 1

    async def test_attachments_of_a_message_are_fetched_together(self) -> None:
        """Each answer comes only when all three have been asked for."""
        together = asyncio.Barrier(3)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await together.wait()
            writer.write(reply())
            await writer.drain()

        async with serving() as world:
            world.answers = dict.fromkeys(("/1", "/2", "/3"), answer)
            registry = Registry(installed=False, environ={})
            source = registry.attachment_source("url")
            fetching = Fetching(http=http(world), path=Path, get=Fetcher(http(world), max_bytes=None).get)
            items = [source.settings(url=f"http://world.example/{n}") for n in (1, 2, 3)]
            message = Message(from_="a@example.org", to="b@example.org", attachments=items)
            prepared = await prepare(
                message, registry=registry, fetching=fetching, clock=SystemClock(), entropy=SystemEntropy()
            )
        assert len(prepared.attachments) == 3


def test_the_table_agrees_with_the_standard_library_where_that_is_right() -> None:
    from ipaddress import ip_address

    for text in (*FORBIDDEN_V4, *FORBIDDEN_V6):
        assert kind_of(ip_address(text)) is not None
    for number in range(0, 1 << 32, 104_729 * 37):
        address = ip_address(number)
        if address.is_private or address.is_multicast or address.is_reserved or address.is_loopback:
            assert kind_of(address) is not None, address
        elif kind_of(address) is not None:
            assert not address.is_global or str(address).startswith("192."), address


def test_errors_are_ours() -> None:
    assert issubclass(HttpError, MailwrightError)
