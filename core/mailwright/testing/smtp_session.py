"""One session of the scripted server: the SMTP dialogue, with replies and faults where the script says so."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from mailwright.testing.smtp_server import ScriptedServer

ServerStage = Literal[
    "greeting", "ehlo", "starttls", "tls", "auth", "mail", "rcpt", "data", "body", "final", "rset", "noop", "quit"
]
FaultKind = Literal[
    "drop", "reset", "hang", "drip", "flood", "garbage", "long-line", "bad-code", "mixed-codes", "bare-lf",
    "two-replies", "421", "inject", "accept-drop", "accept-hang", "early-reply",
]  # fmt: skip
MAX_LINE: Final = 65536
_TOO_MUCH: Final = "552 5.3.4 too much"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_PATH = re.compile(r"(?i)(?:FROM|TO):\s*<((?:[^\">]|\"(?:[^\"\\]|\\.)*\")*)>\s*(.*)")


@frozen(kw_only=True)
class Fault:
    """What goes wrong, and where.

    Args:
        stage: Instead of the reply of this stage; at ``body`` while the message arrives.
        kind: ``drop`` closes, ``reset`` closes hard, ``hang`` says nothing more (nor reads, at ``body``), ``drip`` sends octet by octet,
            ``flood`` never ends its reply, ``inject`` appends a reply in clear to the 220 of STARTTLS,
            ``accept-drop`` and ``accept-hang`` keep the message and say nothing.
        times: How often; None: always.
        after: Replies of this stage that go well before.
    """

    stage: ServerStage
    kind: FaultKind
    times: int | None = None
    after: int = 0


@frozen(kw_only=True)
class ReceivedMessage:
    """One message as it came.

    Attributes:
        raw: Octets, dots unstuffed.
        mail_from: Return path, empty for ``<>``.
        rcpt_to: Accepted recipients.
        mail_options: ESMTP parameters of MAIL.
        rcpt_options: Of each accepted RCPT.
        session: Number of the session, from 0.
        encrypted: Whether it came over TLS.
        user: Who was authenticated.
        bare: Whether a bare CR or LF was on the wire.
    """

    raw: bytes = field(repr=False)
    mail_from: str
    rcpt_to: tuple[str, ...]
    mail_options: tuple[str, ...] = ()
    rcpt_options: tuple[tuple[str, ...], ...] = ()
    session: int = 0
    encrypted: bool = False
    user: str | None = None
    bare: bool = False


class _Gone(Exception):
    pass


class ServerSession:
    """Talks to one client until it leaves."""

    def __init__(
        self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.server = server
        self.number = number
        self.received = bytearray()
        self.dialogue: list[str] = []
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._encrypted = server.tls == "tls"
        self._user: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._mail: tuple[str, tuple[str, ...]] | None = None
        self._rcpt: list[tuple[str, tuple[str, ...]]] = []
        self._chunks = bytearray()

    async def serve(self) -> None:
        """Run the dialogue."""
        try:
            await self._say("greeting", "220 sandbox.localhost ESMTP Mailwright")
            while True:
                line = await self._line()
                verb, _, rest = line.decode("utf-8", "backslashreplace").partition(" ")
                verb = verb.upper()
                self.dialogue.append(f"C: {verb if verb == 'AUTH' else line.decode('utf-8', 'backslashreplace')}")
                handler = self._HANDLERS.get(verb)
                if handler is None:
                    await self._write("502 5.5.1 not implemented")
                else:
                    await handler(self, rest)
        except (_Gone, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.abort()

    @property
    def encrypted(self) -> bool:
        """Whether TLS stands."""
        return self._encrypted

    def abort(self) -> None:
        """Close at once; safe to repeat, and before `serve` has begun."""
        self._writer.transport.abort()

    # -- reading and writing

    async def _more(self) -> None:
        data = await self._reader.read(MAX_LINE)
        if not data:
            raise _Gone
        self.received += data if len(self.received) < self.server.record_limit else b""
        self._buffer += data

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise _Gone
            await self._more()
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _until_dot(self) -> bytes:
        start = 0
        while True:
            if self._buffer.startswith(b".\r\n"):
                end, skip = 0, 3
                break
            found = self._buffer.find(b"\r\n.\r\n", start)
            if found >= 0:
                end, skip = found + 2, 3
                break
            start = max(0, len(self._buffer) - 4)
            if (kind := self.server.next_fault("body")) is not None:
                await self._break_body(kind)
            await self._more()
        data = bytes(self._buffer[:end])
        del self._buffer[: end + skip]
        return data

    async def _write(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        data = data if data.endswith(b"\n") else data + b"\r\n"
        self.dialogue.extend(f"S: {line}" for line in data.decode("utf-8", "backslashreplace").splitlines())
        deliver = self.server.deliver
        pieces = [data] if deliver == "blob" else data.splitlines(keepends=True)
        if deliver == "byte":
            pieces = [bytes([octet]) for octet in data]
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            if deliver != "blob":
                await asyncio.sleep(0)

    async def _say(self, stage: ServerStage, text: str, about: str = "") -> str:
        """Say the reply of a stage, or what the script wants instead; returns what was said."""
        return await self._answer(stage, self.server.reply(stage, about) or text)

    async def _answer(self, stage: ServerStage, wanted: str) -> str:
        kind = self.server.next_fault(stage)
        if kind is None:
            await self._write(wanted)
        else:
            await self._go_wrong(kind, wanted)
        return wanted

    async def _go_wrong(self, kind: FaultKind, wanted: str) -> None:
        if kind == "drop":
            raise _Gone
        if kind == "reset":
            self._reset()
        elif kind == "hang":
            await self._hang()
        elif kind == "drip":
            for octet in wanted.encode() + b"\r\n":
                self._writer.write(bytes([octet]))
                await asyncio.sleep(0)
        elif kind == "flood":
            while True:
                self._writer.write(b"250-more\r\n" * 100)
                await self._writer.drain()
                await asyncio.sleep(0)
        elif kind == "421":
            await self._write("421 4.3.2 closing")
            raise _Gone
        elif kind == "inject":
            await self._write(wanted + "\r\n250 AUTH PLAIN LOGIN")
        else:
            await self._write(_NONSENSE[kind](wanted))

    async def _break_body(self, kind: FaultKind) -> None:
        """While the message arrives; after a reply that comes early the rest is thrown away."""
        if kind == "hang":
            await asyncio.Event().wait()  # takes nothing more
        elif kind == "early-reply":
            await self._write(_TOO_MUCH)
        else:
            await self._go_wrong(kind, _TOO_MUCH)
        await self._hang()

    async def disturb(self, kind: FaultKind) -> None:
        """Go wrong though nothing was asked."""
        try:
            await self._go_wrong(kind, "250 2.0.0 by the way")
        except (_Gone, ConnectionError):
            self.abort()

    async def _hang(self) -> None:
        while True:
            await self._more()

    def _reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    # -- commands

    async def _ehlo(self, rest: str) -> None:
        self._forget()
        lines = ["sandbox.localhost greets you", *self.server.keywords(encrypted=self._encrypted)]
        text = "\r\n".join(f"250{'-' if index < len(lines) - 1 else ' '}{line}" for index, line in enumerate(lines))
        await self._say("ehlo", "502 5.5.1 not implemented" if self.server.helo_only else text)

    async def _helo(self, rest: str) -> None:
        self._forget()
        await self._write("250 sandbox.localhost")

    async def _starttls(self, rest: str) -> None:
        if self.server.tls != "starttls" or self._encrypted:
            await self._write("503 5.5.1 not now")
            return
        said = await self._say("starttls", "220 2.0.0 go ahead")
        if not said.startswith("220"):
            return
        if self.server.next_fault("tls") is not None:
            raise _Gone
        self._buffer.clear()
        assert self.server.context is not None
        await self._writer.start_tls(self.server.context)
        self._encrypted = True
        self._forget()

    async def _auth(self, rest: str) -> None:
        name, _, initial = rest.partition(" ")
        verify = self._MECHANISMS.get(name.upper())
        if verify is None or name.upper() not in self.server.mechanisms:
            await self._write("504 5.5.4 unknown mechanism")
            return
        try:
            user = await verify(self, b"" if initial == "=" else base64.b64decode(initial) if initial else None)
        except (binascii.Error, ValueError):
            await self._write("501 5.5.2 cannot decode")
            return
        if user is None:
            await self._say("auth", "535 5.7.8 authentication failed")
        elif (await self._say("auth", "235 2.7.0 welcome")).startswith("2"):
            self._user = user

    async def _ask(self, challenge: bytes) -> bytes:
        await self._write(b"334 " + base64.b64encode(challenge))
        line = await self._line()
        return base64.b64decode(line)

    async def _plain(self, initial: bytes | None) -> str | None:
        _, user, password = (initial if initial is not None else await self._ask(b"")).decode().split("\0")
        return user if self.server.users.get(user) == password else None

    async def _login(self, initial: bytes | None) -> str | None:
        user = (initial if initial is not None else await self._ask(b"Username:")).decode()
        password = (await self._ask(b"Password:")).decode()
        return user if self.server.users.get(user) == password else None

    async def _cram_md5(self, initial: bytes | None) -> str | None:
        challenge = b"<1896.697170952@sandbox.localhost>"
        user, _, digest = (await self._ask(challenge)).decode().rpartition(" ")
        key = self.server.users.get(user, "").encode()
        return user if hmac.compare_digest(hmac.new(key, challenge, hashlib.md5).hexdigest(), digest) else None

    async def _bearer(self, initial: bytes | None) -> str | None:
        text = (initial if initial is not None else await self._ask(b"")).decode()
        found = re.search(r"(?:user|n,a)=([^\x01,]*)[\x01,]", text)
        token = re.search(r"auth=Bearer ([^\x01]*)\x01", text)
        if found and token and self.server.tokens.get(found.group(1)) == token.group(1):
            return found.group(1)
        await self._ask(b'{"status":"401","schemes":"bearer","scope":"mail"}')
        return None

    async def _external(self, initial: bytes | None) -> str | None:
        claimed = (initial if initial is not None else await self._ask(b"")).decode()
        shown = self._writer.get_extra_info("peercert") or {}
        names = [value for pairs in shown.get("subject", ()) for key, value in pairs if key == "commonName"]
        return names[0] if names and claimed in {"", names[0]} else None

    async def _mail_from(self, rest: str) -> None:
        found = _PATH.match(rest)
        if found is None:
            await self._write("501 5.5.4 syntax")
        elif self._mail is not None:
            await self._write("503 5.5.1 nested MAIL")
        elif self.server.users and self.server.require_auth and self._user is None:
            await self._write("530 5.7.0 authentication required")
        elif self.server.size and _declared(found.group(2)) > self.server.size:
            await self._write("552 5.3.4 too large")
        elif (await self._say("mail", "250 2.1.0 ok", found.group(1))).startswith("2"):
            self._mail = (found.group(1), tuple(found.group(2).split()))

    async def _rcpt_to(self, rest: str) -> None:
        found = _PATH.match(rest)
        if found is None:
            await self._write("501 5.5.4 syntax")
        elif self._mail is None:
            await self._write("503 5.5.1 MAIL first")
        elif self.server.recipients is not None and len(self._rcpt) >= self.server.recipients:
            await self._write("452 4.5.3 too many recipients")
        elif (await self._say("rcpt", "250 2.1.5 ok", found.group(1))).startswith("2"):
            self._rcpt.append((found.group(1), tuple(found.group(2).split())))

    async def _data(self, rest: str) -> None:
        if self._mail is None or (not self._rcpt and not self.server.data_without_recipients):
            await self._write("503 5.5.1 no valid recipients")
            return
        if not (await self._say("data", "354 end with a dot")).startswith("3"):
            self._forget()
            return
        wire = await self._until_dot()
        self.dialogue.append(f"C: [{len(wire)} octets]")
        await self._take(wire.replace(b"\r\n..", b"\r\n.").removeprefix(b".") if b"." in wire else wire, wire)

    async def _bdat(self, rest: str) -> None:
        words = rest.split()
        if not words or not words[0].isdecimal():
            await self._write("501 5.5.4 syntax")
            return
        self._chunks += await self._exactly(int(words[0]))
        if len(words) == 1:
            if not (await self._say("body", "250 2.0.0 continue")).startswith("2"):
                self._forget()
        elif self._mail is None or not self._rcpt:
            self._chunks.clear()
            await self._write("503 5.5.1 no valid recipients")
        else:
            self.dialogue.append(f"C: [{len(self._chunks)} octets]")
            await self._take(bytes(self._chunks), bytes(self._chunks))

    async def _take(self, raw: bytes, wire: bytes) -> None:
        assert self._mail is not None
        message = ReceivedMessage(
            raw=raw,
            mail_from=self._mail[0],
            mail_options=self._mail[1],
            rcpt_to=tuple(address for address, _ in self._rcpt),
            rcpt_options=tuple(options for _, options in self._rcpt),
            session=self.number,
            encrypted=self._encrypted,
            user=self._user,
            bare=_BARE.search(wire) is not None,
        )
        has_recipients = bool(self._rcpt)
        self._forget()
        for kind in ("accept-drop", "accept-hang"):
            if self.server.take_fault("final", kind):
                self.server.keep(message)
                if kind == "accept-drop":
                    raise _Gone
                await self._hang()
        said = self.server.reply("final", "") or "250 2.0.0 queued"
        fault = self.server.awaiting("final")
        if said.startswith("2") and has_recipients and fault in {None, "drip", "two-replies"}:
            self.server.keep(message)
        await self._answer("final", said)

    async def _rset(self, rest: str) -> None:
        self._forget()
        await self._say("rset", "250 2.0.0 ok")

    async def _noop(self, rest: str) -> None:
        await self._say("noop", "250 2.0.0 ok")

    async def _quit(self, rest: str) -> None:
        await self._say("quit", "221 2.0.0 bye")
        raise _Gone

    _HANDLERS: Final[dict[str, Callable[[ServerSession, str], Awaitable[None]]]] = {
        "EHLO": _ehlo, "HELO": _helo, "STARTTLS": _starttls, "AUTH": _auth, "MAIL": _mail_from, "RCPT": _rcpt_to,
        "DATA": _data, "BDAT": _bdat, "RSET": _rset, "NOOP": _noop, "QUIT": _quit,
    }  # fmt: skip
    _MECHANISMS: Final[dict[str, Callable[[ServerSession, bytes | None], Awaitable[str | None]]]] = {
        "PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5, "XOAUTH2": _bearer, "OAUTHBEARER": _bearer,
        "EXTERNAL": _external,
    }  # fmt: skip


def _declared(options: str) -> int:
    found = re.search(r"(?i)\bSIZE=(\d+)", options)
    return int(found.group(1)) if found else 0


_NONSENSE: Final[dict[str, Callable[[str], bytes]]] = {
    "garbage": lambda wanted: b"\x00\xffnonsense\r\n",
    "long-line": lambda wanted: b"250 " + b"x" * 60_000 + b"\r\n",
    "bad-code": lambda wanted: b"000" + wanted[3:].encode() + b"\r\n",
    "mixed-codes": lambda wanted: b"250-a\r\n550 b\r\n",
    "bare-lf": lambda wanted: wanted.encode() + b"\n",
    "two-replies": lambda wanted: (wanted + "\r\n" + wanted + "\r\n").encode(),
}
