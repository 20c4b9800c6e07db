"""Settings of unknown domains, found at local servers that speak the true protocols: https and DNS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from dns import asyncresolver, exception, flags, message, rdatatype, rrset

from mailwright import Registry
from mailwright.cli.connections import choose
from mailwright.connections import saved_connections
from mailwright.discovery import Finding, SrvRecord, discover, read_config, srv_by
from mailwright.errors import ConfigurationError, HttpError, MailwrightError
from mailwright.net import GuardedHttp
from mailwright.ports import HttpRequest, HttpResponse
from mailwright.spi import SmtpEndpoint

MAILBOX = "ann@firma.example"
CONFIG = """<?xml version="1.0"?><!-- ours -->
<clientConfig version="1.1"><emailProvider id="firma.example"><domain>firma.example</domain>
<incomingServer type="imap"><hostname>imap.firma.example</hostname></incomingServer>
<outgoingServer type="smtp"><hostname>{host}</hostname><port>{port}</port><socketType>{tls}</socketType>
<username>{user}</username><authentication>{auth}</authentication></outgoingServer></emailProvider></clientConfig>"""


def config(**changes: Any) -> bytes:
    values = {
        "host": "smtp.firma.example",
        "port": 465,
        "tls": "SSL",
        "user": "%EMAILADDRESS%",
        "auth": "password-cleartext",
    }
    return CONFIG.format(**(values | changes)).encode()


class Web:
    """All hosts of the world, on loopback over TLS."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, str], bytes] = {}
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split()[1]
        host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
        self.asked.append(f"{host}{path}")
        body = self.pages.get((host, path.partition("?")[0]))
        status = "404 Not Found" if body is None else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body or b'')}\r\n\r\n".encode() + (body or b""))
        await writer.drain()
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    made = Web()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("*.firma.example", "firma.example", "v1.ispdb.net").configure_cert(context)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    async def resolve(host: str, asked: int) -> Sequence[str]:
        return ["93.184.216.34"]

    async def dial(address: str, asked: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert asked == 443
        return await asyncio.open_connection("127.0.0.1", port)

    with authority.cert_pem.tempfile() as ca_file:
        made.http = GuardedHttp(ca_file=ca_file, resolve=resolve, dial=dial)  # type: ignore[attr-defined]
        async with server:
            yield made


class NameServer(asyncio.DatagramProtocol):
    """Answers SRV questions."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self.records = records

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        asked = message.from_wire(data)
        answer = message.make_response(asked)
        answer.flags |= flags.RA
        name = asked.question[0].name
        if texts := self.records.get(str(name)):
            answer.answer.append(rrset.from_text(name, 60, "IN", "SRV", *texts))
        self.transport.sendto(answer.to_wire(), address)


@pytest.fixture
async def resolver() -> AsyncIterator[tuple[Any, dict[str, list[str]]]]:
    records: dict[str, list[str]] = {}
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: NameServer(records), ("127.0.0.1", 0))
    made = asyncresolver.Resolver(configure=False)
    made.nameservers = ["127.0.0.1"]
    made.port = transport.get_extra_info("sockname")[1]
    yield made, records
    transport.close()


async def nowhere(name: str) -> Sequence[SrvRecord]:
    return ()


def endpoints(found: Sequence[Finding]) -> list[tuple[str, int, str]]:
    return [(one.endpoint.host, one.endpoint.port, one.endpoint.tls) for one in found]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(installed=False, environ={})


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("autoconfig.firma.example", "/mail/config-v1.1.xml"),
        ("firma.example", "/.well-known/autoconfig/mail/config-v1.1.xml"),
        ("v1.ispdb.net", "/firma.example"),
    ],
)
async def test_autoconfig_in_each_of_its_places(host: str, path: str, web: Any, registry: Registry) -> None:
    web.pages[host, path] = config()
    [found] = await discover(MAILBOX, registry=registry, http=web.http, srv=nowhere)
    assert endpoints([found]) == [("smtp.firma.example", 465, "tls")]
    assert (found.username, found.auth, found.note) == (MAILBOX, "basic", "")
    assert found.source == f"https://{host}{path}"
    assert len(web.asked) == 3
    assert not any("ann" in asked for asked in web.asked if asked.startswith("v1.ispdb.net"))


async def test_srv_records_of_a_real_name_server(web: Any, resolver: Any, registry: Registry) -> None:
    made, records = resolver
    records["_submissions._tcp.firma.example."] = ["20 1 465 b.firma.example.", "10 1 465 a.firma.example."]
    records["_submission._tcp.firma.example."] = ["0 1 587 mail.elsewhere.example."]

    async def srv(name: str) -> Sequence[SrvRecord]:
        return await srv_by(made, name, exception.DNSException)

    found = await discover(MAILBOX, registry=registry, http=web.http, srv=srv)
    assert endpoints(found) == [
        ("a.firma.example", 465, "tls"), ("b.firma.example", 465, "tls"), ("mail.elsewhere.example", 587, "starttls"),
    ]  # fmt: skip
    assert found[2].source == "SRV _submission._tcp.firma.example"
    assert "outside firma.example" in found[2].note
    records.clear()
    records["_submissions._tcp.firma.example."] = ["0 0 0 ."]
    assert await discover(MAILBOX, registry=registry, http=web.http, srv=srv) == []
    assert rdatatype.SRV


async def test_known_services_come_first_and_each_server_once(web: Any, registry: Registry) -> None:
    web.pages["v1.ispdb.net", "/gmail.com"] = config(host="smtp.gmail.com", port=465)

    async def srv(name: str) -> Sequence[SrvRecord]:
        return [SrvRecord(priority=5, weight=0, port=587, target="smtp.gmail.com.")] if "submission." in name else []

    found = await discover("ann@gmail.com", registry=registry, http=web.http, srv=srv)
    assert [one.provider for one in found] == ["gmail", "smtp"]
    assert found[0].source == "built-in table"


@pytest.mark.parametrize(
    "xml",
    [
        b"", b"no xml", b"<a", config(tls="plain"), config(port="0"), config(port="99999"), config(port="\u0664"),
        config(host="bad host"), config(host=""), config(host="x" * 300), b"\xff\xfe\x00",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + config(), b'<?xml version="1.0" encoding="nonsense"?><a/>',
    ],
)  # fmt: skip
def test_bad_files_hold_nothing(xml: bytes) -> None:
    assert read_config(xml, MAILBOX, source="x") == []


@pytest.mark.parametrize(
    ("changes", "user", "auth"),
    [
        ({"user": "%EMAILLOCALPART%", "auth": "OAuth2"}, "ann", "oauth2"),
        ({"user": "%EMAILLOCALPART%@%EMAILDOMAIN%"}, MAILBOX, "basic"),
        ({"user": "%REALNAME%"}, None, "basic"),
        ({"auth": "NTLM"}, MAILBOX, None),
    ],
)
def test_user_and_method(changes: dict[str, Any], user: str | None, auth: str | None) -> None:
    [found] = read_config(config(**changes), MAILBOX, source="x")
    assert (found.username, found.auth) == (user, auth)


async def test_what_is_no_address_is_asked_for_nowhere(web: Any, registry: Registry) -> None:
    for bad in ("ann", "ann@[127.0.0.1]", "ann@a/b", "ann@x?y"):
        with pytest.raises(MailwrightError):
            await discover(bad, registry=registry, http=web.http, srv=nowhere)
    assert web.asked == []


def test_nothing_is_used_before_a_person_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    endpoint = SmtpEndpoint(host="smtp.firma.example", port=465, tls="tls")
    found = [
        Finding(provider="smtp", endpoint=endpoint, username=MAILBOX, auth="basic", source="SRV x", note="compare")
    ]
    answers = iter(["0", "1", "", "the-secret"])
    monkeypatch.setattr("mailwright.cli.connections._prompt", lambda *a, **o: next(answers) or o.get("default"))
    assert choose(MAILBOX, found, save="firma") == 0
    assert saved_connections() == {}
    assert choose(MAILBOX, found, save="firma") == 0
    _, document = saved_connections()["firma"]
    assert (document["host"], document["port"], document["tls"]) == ("smtp.firma.example", 465, "tls")
    assert document["auth"]["username"] == MAILBOX
    assert "the-secret" not in str(document)
    assert "(from SRV x)" in capsys.readouterr().out
    assert choose(MAILBOX, [], save=None) == 1


async def test_without_the_extra_for_dns_others_may_know(registry: Registry) -> None:
    async def missing(name: str) -> Sequence[SrvRecord]:
        raise ConfigurationError("needs an extra")

    class Silence:
        async def request(self, request: HttpRequest, *, max_bytes: int) -> HttpResponse:
            raise HttpError("nobody there")

    found = await discover("ann@gmail.com", registry=registry, http=Silence(), srv=missing)
    assert [finding.provider for finding in found] == ["gmail"]
    with pytest.raises(ConfigurationError, match="extra"):
        await discover(MAILBOX, registry=registry, http=Silence(), srv=missing)
