"""A real SMTP server on a free loopback port that does as its script says."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from mailwright.testing import certificates
from mailwright.testing.smtp_session import Fault, FaultKind, ReceivedMessage, ServerSession, ServerStage

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING")
ScriptedReply = str | Callable[[str], str | None]


class ScriptedServer:
    """SMTP on loopback, for tests: switches for extensions, replies and faults for each stage, octets recorded.

    Args:
        tls: ``starttls`` offers it, ``tls`` speaks it from the first octet, ``none``.
        certificate: ``good``, or one that a client must refuse.
        client_authority: PEM file; clients must show a certificate of this authority, and EXTERNAL takes its common name.
        extensions: EHLO keywords offered.
        users: Passwords by user; with any, AUTH is offered.
        tokens: Bearer tokens by user.
        mechanisms: SASL mechanisms offered.
        require_auth: Refuse MAIL before AUTH.
        size: SIZE in octets, offered and enforced.
        recipients: Recipients a transaction takes (``LIMITS RCPTMAX``); more are answered 452.
        replies: Instead of the usual reply of a stage; also a function that returns None for the usual one, of the
            address at ``mail`` and ``rcpt``.
        faults: What goes wrong where.
        deliver: Replies in one piece, line by line, or octet by octet.
        helo_only: Answer EHLO with 502.
        data_without_recipients: Answer 354 to DATA though nobody was accepted, as some servers do.
        on_message: Called with each message kept.
        record_limit: Octets recorded of each session.
        port: 0 is a free one.
    """

    def __init__(
        self,
        *,
        tls: Literal["tls", "starttls", "none"] = "none",
        certificate: certificates.Certificate = "good",
        client_authority: Path | None = None,
        extensions: Iterable[str] = EXTENSIONS,
        users: Mapping[str, str] | None = None,
        tokens: Mapping[str, str] | None = None,
        mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        require_auth: bool = True,
        size: int | None = None,
        recipients: int | None = None,
        replies: Mapping[ServerStage, ScriptedReply] | None = None,
        faults: Iterable[Fault] = (),
        deliver: Literal["blob", "line", "byte"] = "blob",
        helo_only: bool = False,
        data_without_recipients: bool = False,
        on_message: Callable[[ReceivedMessage], None] | None = None,
        record_limit: int = 1 << 20,
        port: int = 0,
    ) -> None:
        self.tls = tls
        self.users = dict(users or {})
        self.tokens = dict(tokens or {})
        self.mechanisms = frozenset(mechanisms)
        self.require_auth = require_auth
        self.size = size
        self.recipients = recipients
        self.deliver = deliver
        self.helo_only = helo_only
        self.data_without_recipients = data_without_recipients
        self.record_limit = record_limit
        self.messages: list[ReceivedMessage] = []
        self.sessions: list[ServerSession] = []
        self.host = "127.0.0.1"
        self.port = port
        self.ca_file: Path | None = None
        self.context: ssl.SSLContext | None = None
        self._certificate = certificate
        self._client_authority = client_authority
        self._extensions = tuple(extensions)
        self._replies = dict(replies or {})
        self._faults = list(faults)
        self._used = [0] * len(self._faults)
        self._passed: Counter[int] = Counter()
        self._on_message = on_message
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self.tls != "none":
            self.context, self.ca_file = certificates.make(self._certificate)
            if self._client_authority is not None:
                self.context.verify_mode = ssl.CERT_REQUIRED
                self.context.load_verify_locations(self._client_authority)
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self.context if self.tls == "tls" else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for _ in range(3):  # a connection just accepted is a session some turns of the loop later
            await asyncio.sleep(0)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self.sessions:
            session.abort()
        if self.ca_file is not None:
            self.ca_file.unlink(missing_ok=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ServerSession(self, reader, writer, len(self.sessions))
        self.sessions.append(session)
        task = asyncio.ensure_future(session.serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def commands(self) -> list[list[str]]:
        """What each session's client said, a line each; AUTH without its credential."""
        return [[line[3:] for line in session.dialogue if line.startswith("C: ")] for session in self.sessions]

    def keywords(self, *, encrypted: bool) -> list[str]:
        """EHLO keywords for a session as it stands."""
        found = list(self._extensions)
        if self.tls == "starttls" and not encrypted:
            found.append("STARTTLS")
        if (self.users or self.tokens) and (encrypted or self.tls == "none"):
            found.append("AUTH " + " ".join(sorted(self.mechanisms)))
        if self.size is not None:
            found.append(f"SIZE {self.size}")
        if self.recipients is not None:
            found.append(f"LIMITS RCPTMAX={self.recipients}")
        return found

    def keep(self, message: ReceivedMessage) -> None:
        """Take a message in."""
        self.messages.append(message)
        if self._on_message is not None:
            self._on_message(message)

    def break_at(self, fault: Fault) -> None:
        """Add a fault while the server runs."""
        self._used.append(0)
        self._faults.append(fault)

    def mend(self) -> None:
        """Forget every fault."""
        self._faults.clear()
        self._used.clear()
        self._passed.clear()

    def reply(self, stage: ServerStage, about: str) -> str | None:
        """The script's reply for a stage."""
        wanted = self._replies.get(stage)
        return wanted(about) if callable(wanted) else wanted

    def awaiting(self, stage: ServerStage) -> FaultKind | None:
        """The fault that waits there."""
        index = self._waiting(stage)
        return None if index is None else self._faults[index].kind

    def next_fault(self, stage: ServerStage) -> FaultKind | None:
        """The fault of a stage, counted as used."""
        index = self._waiting(stage)
        for place, fault in enumerate(self._faults):
            self._passed[place] += fault.stage == stage and self._passed[place] < fault.after
        if index is None:
            return None
        self._used[index] += 1
        return self._faults[index].kind

    def take_fault(self, stage: ServerStage, kind: FaultKind) -> bool:
        """Whether this very fault waits there; counted as used."""
        index = self._waiting(stage)
        if index is None or self._faults[index].kind != kind:
            return False
        self._used[index] += 1
        return True

    def _waiting(self, stage: ServerStage) -> int | None:
        for index, fault in enumerate(self._faults):
            left = fault.times is None or self._used[index] < fault.times
            if fault.stage == stage and left and self._passed[index] >= fault.after:
                return index
        return None
