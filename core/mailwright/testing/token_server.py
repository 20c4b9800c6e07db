"""A token endpoint on loopback, over TLS, that rotates refresh tokens and fails where its script says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

from attrs import field, frozen

from mailwright.testing import certificates


@frozen(kw_only=True)
class TokenAnswer:
    """One scripted answer.

    Args:
        status: Of HTTP.
        body: An object becomes JSON; None: the usual answer.
        headers: Further header fields.
        fault: ``hang`` says nothing, ``drop`` closes; the request has been carried out all the same.
    """

    status: int = 200
    body: Mapping[str, Any] | bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(factory=dict)
    fault: Literal["hang", "drop"] | None = None


class TokenServer:
    """An OAuth2 token endpoint for tests.

    Args:
        refresh_tokens: Good ones.
        rotates: Each refresh replaces the refresh token; the old one is refused from then on.
        expires_in: What it says of its tokens; None: nothing.
        answers: Instead of the usual answers, one after the other.
        stem: How its tokens begin.
        more: Further fields of good answers.
        certificate: ``good``, or one that a client must refuse.
    """

    def __init__(
        self,
        *,
        refresh_tokens: Iterable[str] = ("refresh-0",),
        rotates: bool = True,
        expires_in: Any = 3600,
        answers: Iterable[TokenAnswer] = (),
        stem: str = "",
        more: Mapping[str, Any] | None = None,
        certificate: certificates.Certificate = "good",
    ) -> None:
        self.good = set(refresh_tokens)
        self.rotates = rotates
        self.expires_in = expires_in
        self.answers = list(answers)
        self.stem = stem
        self.more = dict(more or {})
        self.requests: list[dict[str, str]] = []
        self.access_tokens: list[str] = []
        self.on_request: Callable[[dict[str, str]], None] | None = None
        self.ca_file: Path | None = None
        self.url = ""
        self._certificate = certificate
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        context, self.ca_file = certificates.make(self._certificate)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/token"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)
        if self.ca_file is not None:
            self.ca_file.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            size = int(head.partition("content-length:")[2].partition("\r")[0] or 0)
            form = dict(parse_qsl((await reader.readexactly(size)).decode("ascii"), keep_blank_values=True))
            self.requests.append(form)
            if self.on_request is not None:
                self.on_request(form)
            scripted = self.answers.pop(0) if self.answers else TokenAnswer()
            status, body = self._usual(form) if scripted.body is None else (scripted.status, scripted.body)
            if scripted.fault == "hang":
                await reader.read()
            if scripted.fault is None:
                writer.write(_http(status, body, scripted.headers))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    def _usual(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """What an honest server says."""
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") not in self.good:
            return 400, {"error": "invalid_grant", "error_description": "the refresh token is not valid"}
        number = len(self.access_tokens) + 1
        self.access_tokens.append(f"{self.stem}access-{number}")
        found: dict[str, Any] = {"access_token": self.access_tokens[-1], "token_type": "Bearer", **self.more}
        if self.expires_in is not None:
            found["expires_in"] = self.expires_in
        if form.get("grant_type") == "refresh_token" and self.rotates:
            self.good = {f"{self.stem}refresh-{number}"}
            found["refresh_token"] = f"{self.stem}refresh-{number}"
        return 200, found


def _http(status: int, body: Mapping[str, Any] | bytes, headers: Mapping[str, str]) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(raw)), "Connection": "close", **headers}
    return (
        "".join(
            [f"HTTP/1.1 {status} Answer\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
        ).encode("latin-1")
        + raw
    )
