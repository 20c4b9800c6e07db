"""AUTH EXTERNAL: the client certificate is the credential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from mailwright import Mailer, Message, SendError
from mailwright.testing import ScriptedServer

LETTER = Message(from_="me@x.org", to="ann@x.org", subject="Hi")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    own = authority.issue_cert("client.example", common_name="ann@x.org")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    return tmp_path / "authority.pem", tmp_path / "client.pem"


def connection(server: ScriptedServer, client: Path | None, user: str = "") -> dict[str, Any]:
    document: dict[str, Any] = {
        "provider": "smtp",
        "host": "localhost",
        "port": server.port,
        "tls": server.tls,
        "ca_file": str(server.ca_file),
        "auth": {"type": "external", "user": user},
    }
    return document | ({"client_cert": str(client)} if client else {})


@pytest.mark.parametrize("tls", ["tls", "starttls"])
@pytest.mark.parametrize("user", ["", "ann@x.org"])
async def test_the_certificate_logs_in(tls: Any, user: str, certificate: tuple[Path, Path]) -> None:
    authority, client = certificate
    users = {"somebody": "else"}
    async with ScriptedServer(tls=tls, users=users, mechanisms=["EXTERNAL"], client_authority=authority) as server:
        async with Mailer(connection(server, client, user)) as mailer:
            assert (await mailer.send(LETTER)).status == "sent"
        assert server.messages[0].user == "ann@x.org"


async def test_speaking_for_somebody_else_is_refused(certificate: tuple[Path, Path]) -> None:
    authority, client = certificate
    users = {"somebody": "else"}
    async with ScriptedServer(tls="tls", users=users, mechanisms=["EXTERNAL"], client_authority=authority) as server:
        mailer = Mailer(connection(server, client, "eve@x.org"))
        with pytest.raises(SendError) as refused:
            await mailer.send(LETTER)
        await mailer.aclose()
    assert (refused.value.code, refused.value.permanent) == ("EAUTH", True)


async def test_a_server_without_external_is_named(certificate: tuple[Path, Path]) -> None:
    async with ScriptedServer(tls="tls", users={"a": "b"}, mechanisms=["PLAIN"]) as server:
        mailer = Mailer(connection(server, certificate[1]))
        with pytest.raises(SendError, match="offers PLAIN, not EXTERNAL"):
            await mailer.send(LETTER)
        await mailer.aclose()


async def test_without_tls_nothing_is_tried() -> None:
    async with ScriptedServer(users={"a": "b"}, mechanisms=["EXTERNAL"]) as server:
        document = connection(server, None) | {"host": server.host}
        del document["ca_file"]
        async with Mailer(document) as mailer:
            with pytest.raises(SendError, match="needs TLS"):
                await mailer.send(LETTER)
        assert not any("AUTH" in line for line in server.commands[0])
