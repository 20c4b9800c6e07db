"""HTTP for URLs that anybody may have written: GET from public addresses, every hop checked, everything bounded.

No cookies, no credentials, nothing from the environment but the allow-list; no content encoding, so what is counted is
what arrives.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from mailwright.errors import HttpError
from mailwright.net.allowed import Allowed
from mailwright.ports import HttpRequest, HttpResponse, HttpStream

if TYPE_CHECKING:
    import httpcore2
    import httpx2

    from mailwright.net.backend import Dial, Resolve

REDIRECTS: Final = 5
_FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})
_MAX_URL: Final = 8000
_MAX_HEADERS: Final = 200


class _Stream:
    def __init__(self, response: httpcore2.Response, headers: Mapping[str, str], host: str, max_bytes: int) -> None:
        self.status = response.status
        self.headers = headers
        self._response = response
        self._host = host
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import httpcore2  # noqa: PLC0415 - as below

        total = 0
        if self.headers.get("content-length", "").isdecimal():
            self._check(int(self.headers["content-length"]))
        try:
            async for chunk in self._response.aiter_stream():
                total += len(chunk)
                self._check(total)
                yield chunk
        except (httpcore2.ProtocolError, httpcore2.NetworkError) as error:
            msg = f"{self._host}: the answer broke off: {error}"
            raise HttpError(msg) from None

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            msg = f"{self._host}: the answer is larger than {self._max_bytes} bytes"
            raise HttpError(msg, permanent=True)


class GuardedHttp:
    """The port's guarded policy.

    Args:
        allowed: Hosts and networks beyond the public internet.
        proxy: ``http://…`` or ``socks5://…``; it is told checked addresses, never names.
        ca_file: PEM file of trusted authorities; None: the system's.
        timeout_s: For the whole of one request, redirects and body included.
        resolve, dial: Name resolution and connecting; default: the system's, and the proxy's.
    """

    def __init__(
        self,
        *,
        allowed: Allowed | None = None,
        proxy: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 60.0,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
    ) -> None:
        self._allowed = allowed or Allowed()
        self._proxy = proxy
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._dial = dial
        self._tls: ssl.SSLContext | None = None

    async def request(self, request: HttpRequest, *, max_bytes: int = 1 << 20) -> HttpResponse:
        """Get, and read the answer up to `max_bytes`. Raises `HttpError`."""
        async with self.stream(request, max_bytes=max_bytes) as stream:
            body = b"".join([chunk async for chunk in stream])
            return HttpResponse(status=stream.status, headers=stream.headers, body=body)

    @asynccontextmanager
    async def stream(self, request: HttpRequest, *, max_bytes: int) -> AsyncIterator[HttpStream]:
        """Get, and read the answer as it comes. Raises `HttpError`."""
        if request.method != "GET" or request.body is not None:
            msg = "only GET is allowed here"
            raise HttpError(msg, permanent=True)
        host = "the server"
        try:
            async with asyncio.timeout(self._timeout_s), AsyncExitStack() as stack:
                url = self._checked(request.url)
                headers = dict(request.headers)
                for _ in range(REDIRECTS + 1):
                    host = _ascii(url)
                    stream = await stack.enter_async_context(self._get(url, headers, max_bytes))
                    if stream.status not in _FOLLOWED or "location" not in stream.headers:
                        yield stream
                        return
                    following = self._followed(url, stream.headers["location"])
                    if following.origin != url.origin:
                        headers = {}
                    url = following
                    await stack.aclose()
                msg = f"{host}: more than {REDIRECTS} redirects"
                raise HttpError(msg, permanent=True)
        except TimeoutError:
            msg = f"{host}: not finished within {self._timeout_s:g} s"
            raise HttpError(msg) from None

    def _followed(self, url: httpx2.URL, location: str) -> httpx2.URL:
        following = self._checked(urljoin(str(url), location))
        if url.scheme == "https" and following.scheme == "http":
            msg = f"{_ascii(url)}: redirects from https to http, which is not followed"
            raise HttpError(msg, permanent=True)
        return following

    def _checked(self, text: str) -> httpx2.URL:
        """What can be refused without asking anybody."""
        import httpx2  # noqa: PLC0415 - 150 ms that plain SMTP does not pay

        if len(text) > _MAX_URL or not text.isprintable() or "\\" in text:
            msg = f"{text[:60]!r}: not a URL"
            raise HttpError(msg, permanent=True)
        try:
            url = httpx2.URL(text)
        except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
            msg = f"{text.partition('?')[0][:80]!r}: not a URL: {error}"
            raise HttpError(msg, permanent=True) from None
        if url.scheme not in {"http", "https"} or not url.host:
            msg = f"{url.scheme or 'nothing'!r} is not a scheme to fetch from; use https or http"
            raise HttpError(msg, permanent=True)
        if url.userinfo:
            msg = f"{_ascii(url)}: user name and password in a URL are not sent; leave them out"
            raise HttpError(msg, permanent=True)
        port = url.port or (443 if url.scheme == "https" else 80)
        if port < 1024 and port not in {80, 443} and not self._allowed.holds(_ascii(url)):
            msg = f"{_ascii(url)}: port {port} belongs to another service than the web"
            raise HttpError(msg, permanent=True)
        return url

    @asynccontextmanager
    async def _get(self, url: httpx2.URL, headers: Mapping[str, str], max_bytes: int) -> AsyncIterator[_Stream]:
        """One hop, on a connection of its own."""
        import httpcore2  # noqa: PLC0415 - as above

        from mailwright.net.backend import GuardedBackend, dialler, resolve_by_system  # noqa: PLC0415

        if self._tls is None and url.scheme == "https":
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file)
        backend = GuardedBackend(self._allowed, self._resolve or resolve_by_system, self._dial or dialler(self._proxy))
        sent = {
            "Host": url.netloc.decode("ascii"),
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": "Mailwright",
            "Connection": "close",
            **headers,
        }
        try:
            async with httpcore2.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool:
                target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
                async with pool.stream("GET", target, headers=list(sent.items())) as response:
                    yield _Stream(response, _headers(response, _ascii(url)), _ascii(url), max_bytes)
        except (httpcore2.ProtocolError, httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            msg = f"{_ascii(url)}: {error or type(error).__name__}"
            raise HttpError(msg) from None


def _ascii(url: httpx2.URL) -> str:
    """The one spelling that is checked, connected to and shown."""
    return url.raw_host.decode("ascii")


def _headers(response: httpcore2.Response, host: str) -> dict[str, str]:
    if len(response.headers) > _MAX_HEADERS:
        msg = f"{host}: the answer has more than {_MAX_HEADERS} header fields"
        raise HttpError(msg, permanent=True)
    found = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in response.headers}
    if (encoding := found.get("content-encoding", "identity").strip().lower()) not in {"", "identity"}:
        msg = f"{host}: answers with content encoding {encoding[:40]!r} although none was asked for"
        raise HttpError(msg, permanent=True)
    return found
