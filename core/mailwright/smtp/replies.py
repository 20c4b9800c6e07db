"""Reading replies (RFC 5321 §4.2), however the octets arrive. Strict, because what is guessed here is believed later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from mailwright.errors import SessionError
from mailwright.model import Reply

MAX_LINE: Final = 8192
MAX_REPLY: Final = 65536
_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])([^\r\n]*))?\r")
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")


class ProtocolError(SessionError):
    """Raised for octets that are no reply; the session is of no further use."""

    code = "EPROTOCOL"


class ReplyParser:
    """Collects octets and yields whole replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._code = b""
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether part of a reply has arrived."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Take octets, give the replies they complete, one by one: what follows them cannot take them back.

        Raises:
            ProtocolError: Codes outside 200-559, codes that change within a reply, bare line ends, too long.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if len(line) >= MAX_LINE:
                raise ProtocolError("the server sent a line that is too long")
            if self._lines or line[3:4] == b"-":
                if (reply := self._line(line)) is not None:
                    yield reply
            else:
                yield _one_line(line)
        if len(self._rest) > MAX_LINE:
            raise ProtocolError("the server sent a line that is too long")

    def _line(self, line: bytes) -> Reply | None:
        code, separator, text = _parts(line)
        if self._lines and code != self._code:
            raise ProtocolError(f"the server changed its code within a reply: {self._code!r}, then {code!r}")
        self._code = code
        self._lines.append(text)
        self._size += len(line)
        if self._size > MAX_REPLY:
            raise ProtocolError("the server sent a reply that is too long")
        if separator == b"-":
            return None
        lines = [piece.decode("utf-8", "backslashreplace") for piece in self._lines]
        self._lines, self._size = [], 0
        return make_reply(int(code), lines)


@lru_cache(maxsize=64)  # a server says the same to every MAIL, RCPT and DATA
def _one_line(line: bytes) -> Reply:
    code, _, text = _parts(line)
    return make_reply(int(code), [text.decode("utf-8", "backslashreplace")])


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Code, separator and text of a line without its LF."""
    match = _LINE.fullmatch(line)
    if match is None:
        shown = line[:40].decode("ascii", "backslashreplace").strip()
        raise ProtocolError(f"the server sent what is no SMTP reply: {shown!r}")
    code, separator, text = match.groups()
    return code, separator or b"", text or b""


def make_reply(code: int, lines: list[str]) -> Reply:
    """A reply of its code and texts; an enhanced status (RFC 2034) is taken from the first line and off the others."""
    found = _ENHANCED.match(lines[0])
    if found is None or found.group(1)[0] != str(code)[0]:
        return Reply(code=code, text="\n".join(lines).strip())
    enhanced = found.group(1)
    texts = [line.removeprefix(enhanced).lstrip(" ") for line in lines]
    return Reply(code=code, enhanced=enhanced, text="\n".join(texts).strip())


_SERVER_ID = re.compile(  # Postfix, Exim, Exchange Online, Amazon SES
    r"queued as ([\w.@-]{1,200})|\bid=([\w-]{1,200})|(<[^<>@ ]{1,200}@[^<> ]{1,200}>) \[InternalId=|^Ok ([0-9a-f-]{30,100})$"
)


def server_id(reply: Reply | None) -> str | None:
    """The server's own name for a message, where the reply to the final dot tells it."""
    if reply is None or reply.code // 100 != 2:
        return None
    found = _SERVER_ID.search(reply.text)
    return found.group(found.lastindex or 0) if found else None
