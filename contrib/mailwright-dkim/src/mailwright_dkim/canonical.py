"""Relaxed canonicalization (RFC 6376 §3.4.2, §3.4.4), over octets that arrive in chunks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

_BLANKS: Final = re.compile(rb"[ \t]+")
_END: Final = b"\r\n\r\n"


def split(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The header block, with the CRLF of its last field, and the chunks of the body.

    Args:
        chunks: A message, cut anywhere.
    """
    rest = iter(chunks)
    seen = bytearray()
    for chunk in rest:
        searched = max(0, len(seen) - len(_END) + 1)
        seen += chunk
        if (end := seen.find(_END, searched)) >= 0:
            body = bytes(seen[end + len(_END) :])
            return bytes(seen[: end + 2]), _after(body, rest)
    return bytes(seen), iter(())


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def fields(block: bytes) -> list[tuple[str, bytes]]:
    """Lower-case name and raw value of each field, folds included."""
    found: list[tuple[str, bytes]] = []
    for line in block.split(b"\r\n")[:-1]:
        if line[:1] in {b" ", b"\t"} and found:
            name, value = found[-1]
            found[-1] = name, value + b"\r\n" + line
        else:
            raw, _, value = line.partition(b":")
            found.append((raw.strip(b" \t").decode("ascii", "replace").lower(), value))
    return found


def relaxed_field(name: str, value: bytes) -> bytes:
    """One field without a line end: unfolded, each run of blanks one space, none around the colon or at the end."""
    return name.encode() + b":" + _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def body_hash(chunks: Iterable[bytes]) -> bytes:
    """SHA-256 of the relaxed body: blanks at line ends and empty lines at the end do not count.

    Args:
        chunks: The body, cut anywhere. It takes the memory of the longest chunk and line.
    """
    digest = hashlib.sha256()
    pending = b""
    empty = 0  # line ends seen and not hashed yet: they may be the last ones
    written = False
    for chunk in chunks:
        block, end, pending = (pending + chunk).rpartition(b"\r\n")
        if not end:
            continue
        lines = _relaxed(block + end)
        content = lines.rstrip(b"\r\n")
        if content:
            digest.update(b"\r\n" * empty + content)
            empty, written = 0, True
        empty += (len(lines) - len(content)) // 2
    last = _relaxed(pending + b"\r\n")[:-2]
    if last:
        digest.update(b"\r\n" * empty + last)
        written = True
    if written:
        digest.update(b"\r\n")
    return digest.digest()


def _relaxed(lines: bytes) -> bytes:
    if b" " not in lines and b"\t" not in lines:  # base64
        return lines
    return _BLANKS.sub(b" ", lines).replace(b" \r\n", b"\r\n")
