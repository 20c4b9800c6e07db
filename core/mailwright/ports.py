"""What the outside world looks like from inside: clock, randomness, HTTP, files. Handed in, so that tests hand in others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from attrs import field, frozen

from mailwright.errors import AttachmentError
from mailwright.model import Content

Need = Literal["8bitmime", "binarymime", "smtputf8"]


class Clock(Protocol):
    """Time, and waiting for it."""

    def now(self) -> datetime:
        """Wall time with its zone, for Date headers and expiry dates."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for time-outs and rates."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Entropy(Protocol):
    """Randomness for ids and boundaries."""

    def token(self) -> str:
        """Thirty-two fresh hexadecimal digits: 128 bits."""
        ...


class Composed(Protocol):
    """Finished octets. Replayable: every iteration yields the same, so a retry or a signer may read them again."""

    @property
    def size(self) -> int:
        """Octets in all, always known."""
        ...

    @property
    def message_id(self) -> str:
        """With angle brackets."""
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What a session must offer to take these octets."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Chunks, CRLF line ends, not dot-stuffed."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The same; file reads leave the event loop."""
        ...

    def __bytes__(self) -> bytes:
        """All of it; for small messages."""
        ...

    def with_header(self, name: str, value: str, *, top: bool = True) -> Composed:
        """A copy with one more header field, above or below the others; the value is written as given, folded."""
        ...


@frozen(kw_only=True)
class HttpRequest:
    """One HTTP request; headers and body may hold credentials and stay out of ``repr``."""

    method: str
    url: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes | Callable[[], AsyncIterator[bytes]] | None = field(default=None, repr=False)
    size: int | None = None


@frozen(kw_only=True)
class HttpResponse:
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class HttpStream(Protocol):
    """An HTTP answer while it arrives."""

    status: int
    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Body octets."""
        ...


class Http(Protocol):
    """HTTP under one policy; raises `HttpError` with `request_sent`, so that a lost answer becomes *unknown*."""

    async def request(self, request: HttpRequest, *, max_bytes: int = 1 << 20) -> HttpResponse:
        """Send, and read the answer up to `max_bytes`."""
        ...

    def stream(self, request: HttpRequest, *, max_bytes: int) -> AbstractAsyncContextManager[HttpStream]:
        """Send, and read the answer as it comes."""
        ...


@frozen(kw_only=True)
class Fetched:
    """A file from the web: status 200, read to its end, within the limits. May be shared by many messages.

    Attributes:
        headers: Of the answer, names in lower case; hostile until checked.
        content: Can be read again.
    """

    headers: Mapping[str, str]
    content: bytes | Content = field(repr=False)


async def _no_web(url: str) -> Fetched:
    msg = "url: nothing is fetched from the web here"
    raise AttachmentError(msg)


@frozen(kw_only=True)
class Fetching:
    """What an attachment source may use: no secrets, no credentials.

    Attributes:
        http: Guarded: public addresses or the allow-list only, redirects checked again.
        path: Turns a name into a path below the allowed root; refuses anything outside.
        max_bytes: Limit of one attachment.
        get: A whole file over `http`; within one run the same URL is fetched once. Raises `AttachmentError`.
    """

    http: Http
    path: Callable[[str], Path]
    max_bytes: int | None = None
    get: Callable[[str], Awaitable[Fetched]] = _no_web
