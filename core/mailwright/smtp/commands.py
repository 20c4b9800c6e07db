"""Commands as octets. Nothing that could end a line, or start a parameter, passes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from mailwright.errors import AddressError, MessageError

_PATH = re.compile(r'(?:[^\x00-\x20\x7f<>"]|"(?:[^\\"\x00-\x1f\x7f]|\\[ -~])*"(?=@))*')
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~]+)?")


def xtext(value: str) -> str:
    """Encode a DSN parameter (RFC 3461 §4): ASCII printable but ``+`` and ``=`` as they are, the rest ``+XX``."""
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in value)


@lru_cache(maxsize=64)  # one sender has many messages
def _path(mailbox: str) -> bytes:
    if not _PATH.fullmatch(mailbox):
        raise AddressError(f"{mailbox[:80]!r}: cannot be named in an SMTP command")
    return mailbox.encode()


def _parameters(values: Sequence[str]) -> bytes:
    pieces = []
    for value in values:
        if not _PARAMETER.fullmatch(value):
            raise MessageError(f"{value[:80]!r} is not an SMTP parameter")
        pieces.append(b" " + value.encode("ascii"))
    return b"".join(pieces)


def mail_from(sender: str | None, parameters: Sequence[str] = ()) -> bytes:
    """``MAIL FROM:<…>`` (RFC 5321 §4.1.1.2); None is the empty path."""
    return b"MAIL FROM:<%b>%b\r\n" % (_path(sender or ""), _parameters(parameters) if parameters else b"")


def rcpt_to(recipient: str, parameters: Sequence[str] = ()) -> bytes:
    """``RCPT TO:<…>`` (§4.1.1.3)."""
    return b"RCPT TO:<%b>%b\r\n" % (_path(recipient), _parameters(parameters) if parameters else b"")


def auth_lines(mechanism: str, initial: str | None) -> tuple[bytes, ...]:
    """Arguments of AUTH (RFC 4954 §4); an initial response that would pass 512 octets waits for the 334."""
    name = mechanism.encode("ascii")
    if initial is None or len(initial) + len(mechanism) > 500:
        return (b"AUTH", name)
    return (b"AUTH", name, initial.encode("ascii") or b"=")
