"""Signing: what is covered, the tags, the hook."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Final

from mailwright import Address, hookimpl
from mailwright.errors import AddressError
from mailwright.spi import Composed
from mailwright_dkim.canonical import body_hash, fields, relaxed_field, split
from mailwright_dkim.keys import DkimError, DkimKey

SIGNED: Final = (
    "from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
    "mime-version", "content-type", "content-transfer-encoding", "auto-submitted",
    "list-id", "list-help", "list-subscribe", "list-post", "list-owner", "list-archive",
    "list-unsubscribe", "list-unsubscribe-post",
)  # fmt: skip
"""Fields that are covered where they are present (RFC 6376 §5.4.1; RFC 8058 §4 wants the unsubscribe pair)."""
OVERSIGNED: Final = ("from", "to", "subject", "date", "reply-to")
"""Named once more than they occur, so that nobody can add another one (RFC 6376 §8.15)."""
_WIDTH: Final = 72


class DkimSigner:
    """A plugin that signs every message whose author belongs to one of its keys' domains.

    Args:
        keys: Each makes a signature of its own. RSA and Ed25519 side by side is usual: who cannot read one reads the other.
        require: What happens to authors that no key covers: ``False`` sends them unsigned, ``True`` refuses them.
        expires_s: Signatures end so many seconds after they are made (``x=``); None: never.
        now: Unix seconds.

    Raises:
        DkimError: Without a key.
    """

    def __init__(
        self,
        keys: Sequence[DkimKey],
        *,
        require: bool = False,
        expires_s: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.keys = tuple(keys)
        if not self.keys:
            msg = "dkim.keys: give at least one key"
            raise DkimError(msg)
        if expires_s is not None and expires_s <= 0:
            msg = "dkim.expires_s: more than 0 seconds, or nothing"
            raise DkimError(msg)
        self._require = require
        self._expires_s = expires_s
        self._now = now

    @hookimpl(trylast=True)
    def mailwright_before_send(self, composed: Composed) -> Composed | None:
        """Sign, behind every other hook; runs in a thread, since hashing a large body takes its time."""
        return self.sign(composed)

    def sign(self, composed: Composed) -> Composed | None:
        """A copy with a signature for each key of the author's domain; None where there is none.

        Raises:
            DkimError: If a signature is required and no key covers the author.
        """
        block, body = split(composed)
        found = fields(block)
        author = _author(found)
        keys = [key for key in self.keys if key.covers(author)]
        if not keys:
            if self._require:
                known = ", ".join(sorted({key.domain for key in self.keys}))
                msg = f"dkim: no key signs for {author}; there are keys for {known}"
                raise DkimError(msg)
            return None
        hashed = b64encode(body_hash(body)).decode()
        made = int(self._now())
        signed = composed
        for value in [self._signature(key, found, hashed, made) for key in keys]:
            signed = signed.with_header("DKIM-Signature", value)
        return signed

    def _signature(self, key: DkimKey, found: list[tuple[str, bytes]], hashed: str, made: int) -> str:
        """The field's value, folded (RFC 6376 §3.5)."""
        present = [name for name, _ in found]
        covered: list[str] = []
        for name in SIGNED:
            covered += [name] * (present.count(name) + (name in OVERSIGNED))
        tags = [f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};", f"s={key.selector}; t={made};"]
        if self._expires_s is not None:
            tags.append(f"x={made + self._expires_s};")
        tags += [*_folded("h=" + ":".join(covered) + ";", after=":"), f"bh={hashed};", "b="]
        unsigned = "\r\n ".join(tags)
        data = b"\r\n".join([*_chosen(found, covered), relaxed_field("dkim-signature", unsigned.encode())])
        signature = b64encode(key.sign(data)).decode()
        return unsigned + "\r\n ".join([signature[at : at + _WIDTH] for at in range(0, len(signature), _WIDTH)])


def _author(found: list[tuple[str, bytes]]) -> str:
    """Domain of the From field."""
    value = next((value for name, value in found if name == "from"), b"")
    try:
        text = value.replace(b"\r\n", b"").decode()
        return Address.parse(text.strip(), allow_literals=True).domain.lower()
    except (AddressError, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, AddressError) else "it is not UTF-8"
        msg = f"dkim: the From field names no one author to sign for: {why}"
        raise DkimError(msg) from None


def _chosen(found: list[tuple[str, bytes]], covered: list[str]) -> list[bytes]:
    """The fields in the order of ``h=``; of several with one name the lowest first (RFC 6376 §5.4.2)."""
    left: dict[str, list[bytes]] = {}
    for name, value in found:
        left.setdefault(name, []).append(value)
    return [relaxed_field(name, left[name].pop()) for name in covered if left.get(name)]


def _folded(text: str, *, after: str) -> list[str]:
    lines = [""]
    for piece in re.findall(f"[^{after}]*{after}|[^{after}]+", text):
        if lines[-1] and len(lines[-1]) + len(piece) > _WIDTH:
            lines.append("")
        lines[-1] += piece
    return lines
