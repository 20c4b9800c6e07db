"""An inbox for people and applications: the scripted server in a thread of its own, its messages parsed."""

from __future__ import annotations

import asyncio
import email
import email.policy
import itertools
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from email.message import EmailMessage, MIMEPart
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from attrs import define, field, frozen

from mailwright.model import Envelope
from mailwright.testing.smtp_server import ScriptedServer
from mailwright.testing.smtp_session import Fault, ReceivedMessage


@frozen(kw_only=True)
class InboxAttachment:
    """One attachment of a received message."""

    filename: str | None
    content_type: str
    content: bytes = field(repr=False)


@define(slots=False)
class InboxMessage:
    """A received message, parsed when asked.

    Attributes:
        received: Octets and envelope.
        path: Where its ``.eml`` lies, if the sandbox keeps them.
    """

    received: ReceivedMessage
    path: Path | None = None

    @property
    def raw(self) -> bytes:
        """Octets as they came."""
        return self.received.raw

    @property
    def sender(self) -> str:
        """The envelope's return path."""
        return self.received.mail_from

    @property
    def recipients(self) -> tuple[str, ...]:
        """The envelope's recipients."""
        return self.received.rcpt_to

    @property
    def envelope(self) -> Envelope:
        """Who the server was told."""
        return Envelope(sender=self.sender or None, recipients=self.recipients)

    @cached_property
    def parsed(self) -> EmailMessage:
        """As the standard library reads it."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """Decoded subject."""
        return str(self.parsed["subject"] or "")

    @property
    def html(self) -> str | None:
        """HTML body."""
        return self._body("html")

    @property
    def text(self) -> str | None:
        """Plain text body."""
        return self._body("plain")

    @property
    def attachments(self) -> tuple[InboxAttachment, ...]:
        """Attachments in order."""
        return tuple(
            InboxAttachment(
                filename=part.get_filename(),
                content_type=part.get_content_type(),
                content=_octets(part),
            )
            for part in self.parsed.iter_attachments()
        )

    def _body(self, kind: str) -> str | None:
        part = self.parsed.get_body(preferencelist=(kind,))
        return None if part is None else str(part.get_content()).replace("\r\n", "\n")


def _missed(messages: Sequence[InboxMessage], to: str | None, count: int) -> str:
    arrived = [f"{message.subject!r} for {', '.join(message.recipients)}" for message in messages]
    return f"{count} message(s) for {to or 'anybody'} expected; arrived: {'; '.join(arrived) or 'nothing'}"


def _octets(part: MIMEPart) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else part.as_bytes()


class Sandbox:
    """An SMTP server of your own on a free loopback port; nothing leaves the machine.

    Args:
        folder: Keeps each message as ``.eml``.
        tls: ``starttls`` and ``tls`` come with a certificate made for the occasion (see `ca_file`); needs trustme.
        port: 0 is a free one.
        login: Whether a login is required.

    Use it as a context manager.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        tls: Literal["tls", "starttls", "none"] = "starttls",
        port: int = 0,
        login: bool = True,
    ) -> None:
        self.folder = folder
        self.username = "sandbox@example.org"
        self.password = secrets.token_urlsafe(12)
        users = {self.username: self.password} if login else {}
        self._refused: dict[str, str] = {}
        self._answers: deque[str] = deque()
        self._server = ScriptedServer(
            tls=tls,
            users=users,
            on_message=self._arrived,
            port=port,
            replies={"rcpt": self._refused.get, "final": self._answer},
        )
        self._login = login
        self._messages: list[InboxMessage] = []
        self._arrival = threading.Condition()
        self._counter = itertools.count(1)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mailwright-sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def host(self) -> str:
        """Loopback."""
        return self._server.host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def ca_file(self) -> Path | None:
        """The authority to trust; None without TLS."""
        return self._server.ca_file

    @property
    def connection(self) -> dict[str, Any]:
        """A connection document for this sandbox."""
        document: dict[str, Any] = {
            "provider": "smtp",
            "host": self.host,
            "port": self.port,
            "tls": self._server.tls,
        }
        if self._login:
            document["auth"] = {"type": "basic", "username": self.username, "password": self.password}
        if self.ca_file is not None:
            document["ca_file"] = str(self.ca_file)
        return document

    @property
    def messages(self) -> Sequence[InboxMessage]:
        """What has arrived, in order."""
        return tuple(self._messages)

    @property
    def dialogue(self) -> list[str]:
        """The last session, ``C: …`` and ``S: …``; credentials and bodies left out."""
        return list(self._server.sessions[-1].dialogue) if self._server.sessions else []

    def refuse(self, address: str, reply: str = "550 5.1.1 no such user") -> None:
        """Answer RCPT for `address` with `reply` from now on."""
        self._refused[address] = reply

    def fail_next(self, reply: str = "451 4.3.0 try again later") -> None:
        """Answer the next message's end with `reply`, and do not keep it; said twice, the one after too."""
        self._answers.append(reply)

    def lose_next(self) -> None:
        """Take the next message and hang up without a word: its outcome is unknown."""
        self._server.break_at(Fault(stage="final", kind="accept-drop", times=1))

    def _answer(self, about: str) -> str | None:
        return self._answers.popleft() if self._answers else None

    async def wait_for(self, *, to: str | None = None, count: int = 1, timeout_s: float = 5.0) -> InboxMessage:
        """Wait until `count` messages (for the recipient `to`) have arrived; returns the last of them.

        Args:
            to: A recipient of the envelope; None: anybody.
            count: Messages wanted.
            timeout_s: How long to wait, in seconds.

        Raises:
            AssertionError: They did not come; says what did.
        """
        return await asyncio.to_thread(self.wait_for_sync, to=to, count=count, timeout_s=timeout_s)

    def wait_for_sync(self, *, to: str | None = None, count: int = 1, timeout_s: float = 5.0) -> InboxMessage:
        """`wait_for` for code without an event loop."""

        def found() -> list[InboxMessage]:
            return [message for message in self._messages if to is None or to in message.recipients]

        with self._arrival:
            if not self._arrival.wait_for(lambda: len(found()) >= count, timeout_s):
                raise AssertionError(_missed(self._messages, to, count))
            return found()[count - 1]

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._server:
            self._ready.set()
            await self._stop.wait()

    def _arrived(self, received: ReceivedMessage) -> None:
        message = InboxMessage(received)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            message.path = self.folder / f"{next(self._counter):04d}.eml"
            message.path.write_bytes(received.raw)
        with self._arrival:
            self._messages.append(message)
            self._arrival.notify_all()
