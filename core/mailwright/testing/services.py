"""Mail services on loopback that contracts send through: the scripted SMTP server, or an HTTP API you write the answers of.

class Postbox(HttpService):
async def answer(self, request):
mail = request.json()
return self.take(Delivered(sender=mail["from"], recipients=tuple(mail["to"])), HttpAnswer.json({"id": "1"}))
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self
from urllib.parse import urlsplit

import h11
from attrs import evolve, field, frozen

from mailwright.errors import HttpError
from mailwright.net import ConfiguredHttp
from mailwright.ports import Http, HttpRequest, HttpResponse, HttpStream
from mailwright.testing import certificates
from mailwright.testing.smtp_server import ScriptedServer
from mailwright.testing.smtp_session import Fault, ReceivedMessage

Trouble = Literal["busy", "down", "login", "lost", "cut", "garbage", "hang", "unreachable"]
REFUSED_BEFORE: Final[tuple[Trouble, ...]] = ("busy", "down", "login", "unreachable")
"""Nothing was delivered, and the client can know."""
IN_DOUBT: Final[tuple[Trouble, ...]] = ("lost", "cut", "hang")
"""Delivered, and the client cannot know."""
RETRY_AFTER_S: Final = 7


@frozen(kw_only=True)
class Delivered:
    """One message that a service took.

    Attributes:
        sender: Return path or author, as the service was told.
        recipients: Everybody it is for.
        raw: Octets, where the service gets any.
    """

    sender: str | None = None
    recipients: tuple[str, ...]
    raw: bytes | None = field(default=None, repr=False)


class Service(Protocol):
    """What `TransportContract` needs of a service; `SmtpService` and `HttpService` are two."""

    delivered: list[Delivered]
    submitted: asyncio.Event

    async def __aenter__(self) -> Self:
        """Start."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        ...

    @property
    def document(self) -> Mapping[str, Any]:
        """What a connection document must say to reach it."""
        ...

    @property
    def http(self) -> Http:
        """Leads every request to it."""
        ...

    def refuse(self, address: str) -> None:
        """Refuse a recipient for good."""
        ...

    async def make(self, trouble: Trouble | None) -> None:
        """From now on, each submission meets this trouble; None: no more."""
        ...


@frozen(kw_only=True)
class ReceivedRequest:
    """One HTTP request as it came.

    Attributes:
        method: ``POST`` and so on.
        url: As the plugin meant it.
        headers: Names in lower case.
        body: Octets.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """Of the URL, without its query."""
        return urlsplit(self.url).path

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@frozen(kw_only=True)
class HttpAnswer:
    """What an `HttpService` answers."""

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""

    @classmethod
    def json(cls, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """A JSON answer."""
        return cls(
            status=status,
            headers={"content-type": "application/json", **(headers or {})},
            body=json.dumps(value).encode(),
        )


class HttpService:
    """An HTTP API on a free loopback port, over TLS. Subclass it and say how it answers.

    Attributes:
        requests: Everything that was asked.
        delivered: What `take` was given.
        refused: Addresses to refuse; `answer` looks them up.
        submitted: Set when a submitting request has arrived whole.
    """

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.delivered: list[Delivered] = []
        self.refused: set[str] = set()
        self.submitted = asyncio.Event()
        self._trouble: Trouble | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        """How the API answers when all is well, refused addresses included."""
        raise NotImplementedError

    def submits(self, request: ReceivedRequest) -> bool:
        """Whether this request submits the message; trouble strikes there, and nowhere else."""
        return True

    def take(self, delivered: Delivered, answer: HttpAnswer) -> HttpAnswer:
        """Keep a message and hand the answer back."""
        self.delivered.append(delivered)
        return answer

    def refuse(self, address: str) -> None:
        """Refuse a recipient for good."""
        self.refused.add(address)

    async def make(self, trouble: Trouble | None) -> None:
        """From now on, each submission meets this trouble; None: no more."""
        self._trouble = trouble

    @property
    def document(self) -> Mapping[str, Any]:
        """Nothing: the `http` handed to the plugin leads here, whatever host it names."""
        return {}

    @property
    def http(self) -> Http:
        """Every request ends at this server, whatever host it names; https only, no redirects."""
        return _Detour(self)

    async def __aenter__(self) -> Self:
        self._context, self._ca_file = certificates.make("good")
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self._port = int(self._server.sockets[0].getsockname()[1])
        self._inner = ConfiguredHttp(ca_file=str(self._ca_file))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ca_file.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        try:
            request = await _received(connection, reader, writer)
            self.requests.append(request)
            trouble = self._trouble if self.submits(request) else None
            answer = _REFUSALS.get(trouble) or await self.answer(request)
            if self.submits(request):
                self.submitted.set()
            await _say(connection, writer, answer, trouble)
        except (ConnectionError, h11.RemoteProtocolError):
            pass  # the client left
        finally:
            writer.transport.abort()

    def _here(self, request: HttpRequest) -> HttpRequest:
        parts = urlsplit(request.url)
        if parts.scheme != "https":
            msg = f"{parts.scheme}://{parts.netloc}: only https is allowed here"
            raise HttpError(msg, permanent=True)
        if self._trouble == "unreachable":
            msg = f"{parts.hostname}: all connection attempts failed"
            raise HttpError(msg)
        tail = parts.path + (f"?{parts.query}" if parts.query else "")
        return evolve(
            request, url=f"https://127.0.0.1:{self._port}{tail}", headers={"Host": parts.netloc, **request.headers}
        )


class _Detour:
    def __init__(self, service: HttpService) -> None:
        self._service = service

    async def request(self, request: HttpRequest, *, max_bytes: int = 1 << 20) -> HttpResponse:
        return await self._service._inner.request(self._service._here(request), max_bytes=max_bytes)  # noqa: SLF001 - one pair

    def stream(self, request: HttpRequest, *, max_bytes: int) -> AbstractAsyncContextManager[HttpStream]:
        return self._service._inner.stream(self._service._here(request), max_bytes=max_bytes)  # noqa: SLF001 - one pair


_REFUSALS: Final[Mapping[Trouble | None, HttpAnswer]] = {
    "busy": HttpAnswer.json({"error": "slow down"}, status=429, headers={"retry-after": str(RETRY_AFTER_S)}),
    "down": HttpAnswer.json({"error": "down"}, status=503),
    "login": HttpAnswer.json({"error": "who are you"}, status=401),
}


async def _received(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> ReceivedRequest:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                proceed = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                writer.write(proceed or b"")
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
            url = f"https://{headers.get('host', '')}{head.target.decode('latin-1')}"
            return ReceivedRequest(method=head.method.decode(), url=url, headers=headers, body=bytes(body))
        else:
            raise ConnectionError


async def _say(
    connection: h11.Connection, writer: asyncio.StreamWriter, answer: HttpAnswer, trouble: Trouble | None
) -> None:
    if trouble == "lost":
        return
    if trouble == "hang":
        await asyncio.Event().wait()
    body = b"<html>It works!</html>" if trouble == "garbage" else answer.body
    length = len(body) + (10 if trouble == "cut" else 0)
    headers = [*answer.headers.items(), ("content-length", str(length)), ("connection", "close")]
    writer.write(connection.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
    writer.write(connection.send(h11.Data(data=body)) or b"")
    await writer.drain()
    if trouble != "cut":
        writer.write(connection.send(h11.EndOfMessage()) or b"")
    writer.write_eof() if writer.can_write_eof() else writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed() if not writer.can_write_eof() else await writer.drain()


class NoHttp:
    """HTTP for what needs none: every request is an error that names it."""

    async def request(self, request: HttpRequest, *, max_bytes: int = 1 << 20) -> HttpResponse:
        """Refuse."""
        raise _nothing_there(request)

    def stream(self, request: HttpRequest, *, max_bytes: int) -> AbstractAsyncContextManager[HttpStream]:
        """Refuse."""
        raise _nothing_there(request)


def _nothing_there(request: HttpRequest) -> HttpError:
    return HttpError(f"{urlsplit(request.url).netloc}: there is no network here", permanent=True)


class SmtpService:
    """The scripted server as a `Service`; ann may log in.

    Args:
        password: Ann's.
    """

    def __init__(self, password: str = "") -> None:
        self.delivered: list[Delivered] = []
        self.submitted = asyncio.Event()
        self._refused: set[str] = set()
        self._trouble: Trouble | None = None
        self._server = ScriptedServer(
            on_message=self._arrived,
            replies={"rcpt": self._rcpt, "final": self._final, "auth": self._auth},
            users={"ann": password} if password else {},
            mechanisms=("PLAIN",),
        )

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    @property
    def document(self) -> Mapping[str, Any]:
        """Host and port, no TLS: it is loopback."""
        return {"host": self._server.host, "port": self._server.port, "tls": "none"}

    @property
    def http(self) -> Http:
        """There is none."""
        return NoHttp()

    def refuse(self, address: str) -> None:
        """Refuse a recipient for good."""
        self._refused.add(address)

    async def make(self, trouble: Trouble | None) -> None:
        """From now on, each submission meets this trouble; None: no more."""
        self._trouble = trouble
        self._server.mend()
        if trouble in _SMTP_FAULTS:
            self._server.break_at(_SMTP_FAULTS[trouble])

    def _arrived(self, message: ReceivedMessage) -> None:
        self.submitted.set()
        self.delivered.append(Delivered(sender=message.mail_from or None, recipients=message.rcpt_to, raw=message.raw))

    def _rcpt(self, address: str) -> str | None:
        return "550 5.1.1 no such user" if address in self._refused else None

    def _final(self, about: str) -> str | None:
        return "451 4.3.2 slow down" if self._trouble == "busy" else None

    def _auth(self, about: str) -> str | None:
        return "535 5.7.8 who are you" if self._trouble == "login" else None


_SMTP_FAULTS: Final[Mapping[Trouble | None, Fault]] = {
    "down": Fault(stage="greeting", kind="421"),
    "unreachable": Fault(stage="greeting", kind="drop"),
    "lost": Fault(stage="final", kind="accept-drop"),
    "hang": Fault(stage="final", kind="accept-hang"),
    "cut": Fault(stage="final", kind="drop"),
    "garbage": Fault(stage="final", kind="garbage"),
}
