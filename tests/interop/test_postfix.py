"""A real Postfix between us and the reader: PIPELINING, CHUNKING, STARTTLS, SASL, and its guards against smuggling.

Needs root, Debian's postfix and sasl2-bin. Postfix relays what it takes to the scripted server, which records it.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailwright import Mailer, Message, Part, SendError
from mailwright.testing import ScriptedServer

POSTFIX = shutil.which("postfix", path="/usr/sbin:/sbin")
SASL = shutil.which("saslpasswd2", path="/usr/sbin:/sbin")
pytestmark = [
    pytest.mark.skipif(POSTFIX is None or SASL is None, reason="needs Debian's postfix and sasl2-bin"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="Postfix must be started by root"),
]
USER, PASSWORD = "ann", "not-a-real-password"
MASTER = """
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
"""


class Postfix:
    """One instance in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.relay_port = probe.getsockname()[1]
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))

    def write(self) -> None:
        owner = pwd.getpwnam("postfix")
        for name in ("queue", "data"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        sasl = self.folder / "sasl"
        sasl.mkdir()
        database = sasl / "db"
        subprocess.run(
            [str(SASL), "-p", "-c", "-f", str(database), "-u", "mail.localhost", USER],
            input=PASSWORD.encode(), check=True, capture_output=True,
        )  # fmt: skip
        os.chown(database, owner.pw_uid, owner.pw_gid)
        (sasl / "smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1\n"
        )
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "queue",
            "data_directory": self.folder / "data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": grp.getgrnam("postdrop").gr_name,
            "myhostname": "mail.localhost",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "maillog_file_prefixes": self.folder,
            "maillog_file": self.folder / "log",
            "relayhost": f"[127.0.0.1]:{self.relay_port}",
            "smtp_dns_support_level": "disabled",
            "smtp_host_lookup": "native",
            "smtp_tls_security_level": "none",
            "mynetworks": "",
            "smtpd_relay_restrictions": "permit_sasl_authenticated reject",
            "smtpd_tls_security_level": "encrypt",
            "smtpd_tls_cert_file": self.folder / "server.pem",
            "smtpd_tls_key_file": self.folder / "server.pem",
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_local_domain": "mail.localhost",
            "cyrus_sasl_config_path": sasl,
            "smtpd_forbid_unauth_pipelining": "yes",
            "smtpd_forbid_bare_newline": "yes",
            "smtpd_data_restrictions": "reject_unauth_pipelining",
            "smtpd_recipient_limit": "2",
            "smtpd_hard_error_limit": "100",
            "message_size_limit": "50000000",
        }
        known = subprocess.run(["/usr/sbin/postconf", "-d"], capture_output=True, text=True, check=True).stdout
        names = {line.partition(" ")[0] for line in known.splitlines()}
        text = "".join(f"{name} = {value}\n" for name, value in settings.items() if name in names)
        (self.folder / "main.cf").write_text(text)
        (self.folder / "master.cf").write_text(
            MASTER.format(port=f"127.0.0.1:{self.port}") + "postlog unix-dgram n - n - 1 postlogd\n"
        )

    def control(self, verb: str) -> str:
        done = subprocess.run(
            [str(POSTFIX), "-c", str(self.folder), verb], capture_output=True, text=True, check=False, timeout=30
        )
        return f"exit {done.returncode}: {done.stderr}" if done.returncode else ""

    @property
    def connection(self) -> dict[str, Any]:
        return {
            "provider": "smtp",
            "host": "localhost",
            "port": self.port,
            "tls": "starttls",
            "ca_file": str(self.ca_file),
            "auth": {"type": "basic", "username": f"{USER}@mail.localhost", "password": PASSWORD},
        }


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    # Not below a deep $TMPDIR: the names of Postfix's sockets have at most 107 octets.
    with tempfile.TemporaryDirectory(prefix="mw-postfix-", dir=Path("/", "tmp")) as name:
        folder = Path(name)
        folder.chmod(0o755)
        instance = Postfix(folder)
        instance.write()
        if problem := instance.control("start"):
            pytest.skip(f"Postfix does not start here: {problem}")
        try:
            yield instance
        finally:
            instance.control("stop")


def letter(number: int = 0, to: str = "ann@example.org", **more: Any) -> Message:
    return Message(
        **{"from_": "me@example.org", "to": to, "subject": f"n{number}", "text": "Hello\n.\n..dot\n", **more}
    )


async def relayed(reader: ScriptedServer, count: int) -> None:
    async with asyncio.timeout(30):
        while len(reader.messages) < count:
            await asyncio.sleep(0.02)


async def test_one_round_trip_a_message_is_authorised_pipelining(postfix: Postfix) -> None:
    connection = postfix.connection | {"limits": {"connections": 1}}
    async with ScriptedServer(port=postfix.relay_port) as reader:
        async with Mailer(connection) as mailer:
            receipts = [receipt async for receipt in mailer.send_many(map(letter, range(30)))]
        assert {receipt.status for receipt in receipts} == {"sent"}
        assert all(receipt.server_id for receipt in receipts)
        await relayed(reader, 30)
        subjects = sorted(message.raw.split(b"Subject: ")[1].split(b"\r\n")[0] for message in reader.messages)
    assert subjects == sorted(b"n%d" % number for number in range(30))
    log = (postfix.folder / "log").read_text()
    assert "disconnect from localhost" in log or "connect from localhost" in log
    assert "improper command pipelining" not in log


async def test_whole_messages_before_an_answer_are_authorised_pipelining(postfix: Postfix) -> None:
    """MAIL, RCPT, BDAT LAST and RSET of several messages in one write (RFC 3030 §4.2, RFC 2920 §3.1)."""
    connection = postfix.connection | {"limits": {"connections": 1}}
    async with ScriptedServer(port=postfix.relay_port) as reader:
        async with Mailer(connection, on_unknown="retry") as mailer:
            receipts = [receipt async for receipt in mailer.send_many(map(letter, range(60)))]
        assert {receipt.status for receipt in receipts} == {"sent"}
        assert {receipt.attempts for receipt in receipts} == {1}
        assert len({receipt.server_id for receipt in receipts}) == 60
        await relayed(reader, 60)
        subjects = sorted(message.raw.split(b"Subject: ")[1].split(b"\r\n")[0] for message in reader.messages)
    assert subjects == sorted(b"n%d" % number for number in range(60))
    async with asyncio.timeout(30):  # Postfix writes its log by and by
        while not re.search(r"bdat=\d\d", log := (postfix.folder / "log").read_text()):
            await asyncio.sleep(0.02)
    assert "improper command pipelining" not in log


async def test_the_login_is_the_strongest_that_postfix_offers(postfix: Postfix) -> None:
    async with Mailer(postfix.connection) as mailer:
        steps = [step async for step in mailer.verify()]
    assert steps[1:] == ["encrypted with STARTTLS, certificate verified", "authenticated with SCRAM-SHA-256"]


@pytest.mark.parametrize(
    "masked", [[], ["SCRAM-SHA-256"], ["SCRAM-SHA-256", "SCRAM-SHA-1"], ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]]
)
async def test_every_mechanism_logs_in(postfix: Postfix, masked: list[str]) -> None:
    names = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
    async with Mailer(postfix.connection | {"capabilities": {"mask": masked}}) as mailer:
        steps = [step async for step in mailer.verify()]
    assert steps[-1] == f"authenticated with {names[len(masked)]}"


async def test_a_wrong_password_is_said_once(postfix: Postfix) -> None:
    connection = postfix.connection
    connection["auth"] = connection["auth"] | {"password": "wrong"}
    async with Mailer(connection) as mailer:
        with pytest.raises(SendError) as refused:
            await mailer.send(letter())
    assert refused.value.code == "EAUTH"
    assert refused.value.response_code == 535


async def test_octets_arrive_as_they_were_composed(postfix: Postfix) -> None:
    attachment = bytes(range(256)) * 4000
    message = letter(html="<p>Grüße ☕</p>\n.\n", attachments=[Part(content=attachment, filename="ä.bin")])
    async with ScriptedServer(port=postfix.relay_port) as reader:
        async with Mailer(postfix.connection) as mailer:
            draft = await mailer.draft(message)
            sent = bytes(draft.composed)
            assert (await mailer.send(sent)).status == "sent"
        await relayed(reader, 1)
    body = sent.partition(b"\r\n\r\n")[2]
    assert reader.messages[0].raw.partition(b"\r\n\r\n")[2] == body


async def test_more_recipients_than_a_transaction_takes(postfix: Postfix) -> None:
    to = ", ".join(f"r{number}@example.org" for number in range(5))
    async with ScriptedServer(port=postfix.relay_port) as reader:
        async with Mailer(postfix.connection) as mailer:
            receipt = await mailer.send(letter(to=to))
        assert [status.outcome for status in receipt.statuses] == ["accepted"] * 5
        await relayed(reader, 3)
        told = sorted(address for message in reader.messages for address in message.rcpt_to)
    assert told == sorted(to.split(", "))
