"""HTTP for the endpoints a connection names: https only, no redirects, the connection's proxy and authorities."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from mailwright.errors import HttpError
from mailwright.ports import HttpRequest, HttpResponse

if TYPE_CHECKING:
    import httpx2

    from mailwright.ports import HttpStream


_private: ContextVar[bool] = ContextVar("mailwright_private_request", default=False)


@cache
def _quiet() -> None:
    """At DEBUG the HTTP library logs headers of answers, and a server may repeat a credential in them."""
    for name in ("httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.proxy", "httpcore2.socks"):
        logging.getLogger(name).addFilter(lambda record: not _private.get())


class _Stream:
    def __init__(self, response: httpx2.Response, max_bytes: int) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._response.aiter_bytes():
            total += len(chunk)
            if total > self._max_bytes:
                msg = f"{self._response.request.url.host}: the answer is larger than {self._max_bytes} bytes"
                raise HttpError(msg, request_sent=True)
            yield chunk


class ConfiguredHttp:
    """HTTP for the endpoints a connection names.

    Args:
        proxy: ``http://…`` or ``socks5://…``; None: direct, whatever the environment says.
        ca_file: PEM file of trusted authorities; None: the system's.
        timeout_s: For the whole of one request.
    """

    def __init__(self, *, proxy: str | None = None, ca_file: str | None = None, timeout_s: float = 60.0) -> None:
        self._proxy = proxy
        self._ca_file = ca_file
        self._timeout_s = timeout_s

    async def request(self, request: HttpRequest, *, max_bytes: int = 1 << 20) -> HttpResponse:
        """Send, and read the answer up to `max_bytes`. Raises `HttpError`."""
        async with self.stream(request, max_bytes=max_bytes) as stream:
            body = b"".join([chunk async for chunk in stream])
            return HttpResponse(status=stream.status, headers=stream.headers, body=body)

    @asynccontextmanager
    async def stream(self, request: HttpRequest, *, max_bytes: int) -> AsyncIterator[HttpStream]:
        """Send, and read the answer as it comes. Raises `HttpError`."""
        import httpx2  # noqa: PLC0415 - 150 ms that plain SMTP does not pay

        if not request.url.lower().startswith("https://"):
            msg = f"{request.url.partition('?')[0]}: only https is allowed here"
            raise HttpError(msg, permanent=True)
        _quiet()
        sent = False
        private = _private.set(True)
        try:
            async with httpx2.AsyncClient(
                verify=ssl.create_default_context(cafile=self._ca_file),
                proxy=self._proxy,
                trust_env=False,
                follow_redirects=False,
                timeout=self._timeout_s,
            ) as client:
                known = {} if request.size is None else {"Content-Length": str(request.size)}
                built = client.build_request(
                    request.method,
                    request.url,
                    headers={**known, **request.headers},
                    content=request.body() if callable(request.body) else request.body,
                )
                sent = True  # from here on the server may have acted
                response = await client.send(built, stream=True)
                try:
                    yield _Stream(response, max_bytes)
                finally:
                    await response.aclose()
        except ValueError as error:  # httpx2 checks the proxy's scheme when it is used
            msg = "$.proxy: not a proxy that can be used; write http://HOST:PORT or socks5://HOST:PORT"
            raise HttpError(msg, permanent=True) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            msg = f"{httpx2.URL(request.url).host}: {str(error) or 'no connection in time'}"
            raise HttpError(msg) from error
        except httpx2.HTTPError as error:
            msg = f"{httpx2.URL(request.url).host}: {type(error).__name__}: {error}"
            raise HttpError(msg, request_sent=sent) from error
        finally:
            with suppress(ValueError):  # closed from another task
                _private.reset(private)
