"""A message ⇄ the octets of a row.

Each row says which reader it needs, so that versions one apart understand each other. Larger contents are in `contents`.
No secret comes here: connections are named, never written down.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, fields, frozen

from mailwright.documents.converter import strict_converter, structure_class
from mailwright.documents.plain import plain
from mailwright.documents.problems import Invalid
from mailwright.errors import MailwrightError, MessageError, QueueError
from mailwright.model import (
    Address,
    Calendar,
    Content,
    Dsn,
    Envelope,
    Message,
    Part,
    RawPart,
    Secret,
    Settings,
)
from mailwright.outbox.contents import INLINE

if TYPE_CHECKING:
    from mailwright.outbox.contents import Contents

VERSION: Final = 1
"""A newer row may say that an older reader is enough for it (``needs``); one that needs more waits in quarantine."""
_COMPRESS_FROM: Final = 1024
_ADDRESSES: Final = ("to", "cc", "bcc", "reply_to")
_PLAIN: Final = ("subject", "message_id", "one_click", "auto_submitted", "require_tls")
_TUPLES: Final = ("in_reply_to", "references", "list_unsubscribe", "tags")
_PAIRS: Final = ("headers", "list_headers")

Put = Callable[[bytes], Awaitable[list[str]]]
Find = Callable[[str], type[Settings]]


@frozen(kw_only=True)
class Stored:
    """What a row holds.

    Attributes:
        message: Prepared.
        octets: A ready-made message as it is; else it is composed again for each attempt, always the same.
        envelope: Whom it is for, staging applied.
        kept_back: Recipients that ``allow_recipients`` did not let through.
        connections: Names; further ones are for failover.
    """

    message: Message = field(repr=False)
    octets: bytes | None = field(default=None, repr=False)
    envelope: Envelope
    kept_back: tuple[str, ...] = ()
    connections: tuple[str, ...]


async def pack(stored: Stored, contents: Contents) -> tuple[bytes, tuple[str, ...]]:
    """The octets of a row, and the names of the contents that they refer to; those are stored already.

    Raises:
        MessageError: For what must not or cannot be written down.
    """
    writer = _Writer(contents)
    found: dict[str, Any] = {
        "v": VERSION,
        "needs": VERSION,
        "connections": list(stored.connections),
        "sender": stored.envelope.sender,
        "recipients": list(stored.envelope.recipients),
    }
    if stored.kept_back:
        found["kept_back"] = list(stored.kept_back)
    if stored.octets is not None:
        found["octets"] = await writer.content(stored.octets)
    found["message"] = await writer.message(stored.message, ready=stored.octets is not None)
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) > _COMPRESS_FROM:
        data = b"z" + zlib.compress(data, 1)
    return data, tuple(writer.names)


async def unpack(data: bytes, contents: Contents, find: Find) -> Stored:
    """The inverse.

    Args:
        data: Octets of a row.
        contents: Where contents are.
        find: Settings class of a provider, by its name.

    Raises:
        QueueError: Corrupt, or written by a version too new: the row goes to quarantine.
    """
    found = _parsed(data)
    reader = _Reader(contents, find)
    try:
        octets = await reader.content(found["octets"]) if "octets" in found else None
        return Stored(
            message=await reader.message(found["message"]),
            octets=octets if octets is None or isinstance(octets, bytes) else b"".join(octets.chunks(1 << 20)),
            envelope=_envelope(found["sender"], found["recipients"]),
            kept_back=tuple(found.get("kept_back", ())),
            connections=tuple(found["connections"]),
        )
    except QueueError:
        raise
    except (MailwrightError, Invalid, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        msg = f"the row cannot be read: {type(error).__name__}"
        raise QueueError(msg, permanent=True) from error


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        text = zlib.decompress(data[1:]) if data[:1] == b"z" else data
        found = json.loads(text)
        needs = found["needs"]
        if not isinstance(needs, int) or needs > VERSION:
            msg = f"the row was written by a newer Mailwright (version {needs} of payloads): upgrade, then retry it"
            raise QueueError(msg, permanent=True)
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        msg = f"the row cannot be read: {type(error).__name__}"
        raise QueueError(msg, permanent=True) from error
    assert isinstance(found, dict)
    return found


class _Writer:
    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.names: dict[str, None] = {}

    async def message(self, message: Message, *, ready: bool) -> dict[str, Any]:
        assert message.from_ is not None and message.date is not None  # noqa: PT018 - prepared
        found: dict[str, Any] = {"from": _plain_address(message.from_), "date": message.date.isoformat()}
        if ready:  # the octets say the rest
            return found | ({"message_id": message.message_id} if message.message_id else {})
        for name in _PLAIN:
            if (value := getattr(message, name)) != getattr(_DEFAULTS, name):
                found[name] = value
        if message.sender is not None:
            found["sender"] = _plain_address(message.sender)
        for name in _ADDRESSES:
            if value := getattr(message, name):
                found[name] = [_plain_address(address) for address in value]
        for name in (*_TUPLES, *_PAIRS):
            if value := getattr(message, name):
                found[name] = [list(item) if isinstance(item, tuple) else item for item in value]
        found |= await self._bodies(message)
        if message.priority is not _DEFAULTS.priority:
            found["priority"] = message.priority.value
        if message.calendar is not None:
            found["calendar"] = [message.calendar.content, message.calendar.method]
        if message.dsn is not None:
            found["dsn"] = [sorted(message.dsn.notify), message.dsn.ret, message.dsn.envid]
        if message.options:
            found["options"] = {name: _plain_options(name, settings) for name, settings in message.options}
        return found

    async def _bodies(self, message: Message) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if message.html is not None:
            found["html"] = await self.content(message.html)
        if message.text is not None:
            found["text"] = False if message.text is False else await self.content(message.text)
        if message.attachments:
            found["attachments"] = [await self._part(item) for item in message.attachments]
        return found

    async def _part(self, part: object) -> dict[str, Any]:
        if isinstance(part, RawPart):
            return {"raw": await self.content(part.content)}
        if not isinstance(part, Part) or not isinstance(part.content, (bytes, str, Path, Content)):
            msg = "attachments: not prepared"
            raise MessageError(msg)
        found: dict[str, Any] = {"content": await self.content(part.content)}
        if isinstance(part.content, Path) and part.filename is None:
            found["filename"] = part.content.name
        for name in ("filename", "content_type", "content_id", "disposition", "description"):
            if (value := getattr(part, name)) is not None:
                found[name] = value
        return found

    async def content(self, content: bytes | str | Path | Content) -> list[Any]:
        if isinstance(content, str):
            if len(content) <= INLINE:
                return ["t", content]
            return ["T", await self._put(content.encode())]  # noqa: ASYNC240 - text
        if isinstance(content, bytes) and len(content) <= INLINE // 2:
            return ["b", content.decode("latin-1")]  # noqa: ASYNC240 - octets
        return ["B", await self._put(content)]

    async def _put(self, content: bytes | Path | Content) -> list[str]:
        names = await self._contents.put(content)
        self.names.update(dict.fromkeys(names))
        return names


class _Reader:
    def __init__(self, contents: Contents, find: Find) -> None:
        self._contents = contents
        self._find = find

    async def message(self, found: Mapping[str, Any]) -> Message:
        values = _head(found)
        for name in ("html", "text"):
            if name in found:
                values[name] = False if found[name] is False else await self.text(found[name])
        if "attachments" in found:
            values["attachments"] = [await self._part(item) for item in found["attachments"]]
        if "options" in found:
            converter = strict_converter()
            values["options"] = tuple(
                (name, structure_class(converter, self._find(name), item)) for name, item in found["options"].items()
            )
        return Message(**values)

    async def _part(self, item: Mapping[str, Any]) -> Part | RawPart:
        if "raw" in item:
            raw = await self.content(item["raw"])
            return RawPart(raw if isinstance(raw, bytes) else b"".join(raw.chunks(1 << 20)))
        rest = {name: value for name, value in item.items() if name != "content"}
        kind = item["content"][0]
        content = await (self.text(item["content"]) if kind in "tT" else self.content(item["content"]))
        return Part(content=content, **rest)

    async def text(self, item: list[Any]) -> str:
        if item[0] == "t":
            return str(item[1])
        octets = await self._contents.get(item[1])
        return (octets if isinstance(octets, bytes) else b"".join(octets.chunks(1 << 20))).decode()

    async def content(self, item: list[Any]) -> bytes | Content:
        if item[0] == "b":
            return str(item[1]).encode("latin-1")
        return await self._contents.get(item[1])


_DEFAULTS: Final = Message()


def _head(found: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {name: found[name] for name in (*_PLAIN, "priority") if name in found}
    values["from_"] = _address(found["from"])
    values["date"] = datetime.fromisoformat(found["date"])
    if "sender" in found:
        values["sender"] = _address(found["sender"])
    for name in _ADDRESSES:
        if name in found:
            values[name] = tuple(_address(item) for item in found[name])
    for name in _TUPLES:
        if name in found:
            values[name] = tuple(found[name])
    for name in _PAIRS:
        if name in found:
            values[name] = tuple(tuple(item) for item in found[name])
    if "calendar" in found:
        values["calendar"] = Calendar(content=found["calendar"][0], method=found["calendar"][1])
    if "dsn" in found:
        notify, ret, envid = found["dsn"]
        values["dsn"] = Dsn(notify=notify, ret=ret, envid=envid)
    return values


def _envelope(sender: str | None, recipients: list[str]) -> Envelope:
    return Envelope(
        sender=Address(sender, allow_literals=True) if sender else None,
        recipients=[Address(email, allow_literals=True) for email in recipients],
    )


def _plain_address(address: Address) -> list[str]:
    return [address.email, address.name] if address.name else [address.email]


def _address(item: list[str]) -> Address:
    return Address(*item, allow_literals=True)


def _plain_options(name: str, settings: Settings) -> Any:
    for attribute in fields(type(settings)):
        if isinstance(getattr(settings, attribute.name), Secret):
            msg = f"options.{name}.{attribute.name}: a secret cannot be queued; put it into the connection"
            raise MessageError(msg)
    return plain(settings)
