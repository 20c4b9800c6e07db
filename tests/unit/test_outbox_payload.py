"""What is stored is what was meant."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwright.errors import MessageError, QueueError
from mailwright.model import Dsn, Envelope, Message, Part, RawPart, Receipt, RecipientStatus, Reply, Secret, Settings
from mailwright.outbox import results
from mailwright.outbox.contents import Contents
from mailwright.outbox.payload import Stored, pack, unpack
from mailwright.prepare import Spooled
from mailwright.system import SystemClock
from mailwright.testing.strategies import messages


@define
class Shelf:
    """Contents in memory."""

    kept: dict[str, bytes] = field(factory=dict)
    puts: int = 0

    async def put_contents(self, contents: dict[str, bytes]) -> None:
        self.puts += 1
        self.kept |= contents

    async def content(self, name: str) -> bytes:
        return self.kept[name]


@frozen(kw_only=True)
class Options(Settings):
    stream: str = "outbound"
    token: Secret | None = None


def find(name: str) -> type[Settings]:
    return Options


def stored(message: Message, **changes: Any) -> Stored:
    values = {"message": message, "envelope": Envelope(sender="me@x.org", recipients="a@x.org"), "connections": ("c",)}
    return Stored(**(values | changes))


async def there_and_back(item: Stored, shelf: Shelf | None = None) -> Stored:
    shelf = shelf or Shelf()
    data, names = await pack(item, Contents(shelf, SystemClock()))  # type: ignore[arg-type]
    assert set(names) == set(shelf.kept)
    return await unpack(data, Contents(shelf, SystemClock()), find)  # type: ignore[arg-type]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(messages(eai=True))
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    item = stored(message)
    assert asyncio.run(there_and_back(item)) == item


async def test_every_field_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(b"0123456789abcdef" * 200_000)
    message = Message(
        from_="me@x.org", to="a@x.org", html="<p>é</p>" * 3000, text=False, message_id="<1@x.org>",
        date=SystemClock().now(),
        in_reply_to="<0@x.org>", list_unsubscribe=("https://x.org/u",), one_click=True, list_headers={"id": "news.x.org"},
        auto_submitted="auto-generated", dsn=Dsn(notify=("success",), ret="full", envid="e"), require_tls=True,
        tags=("news",), options={"postmark": Options(stream="bulk")}, headers={"X-A": "b"}, priority="high",
        attachments=[Part(content=file), RawPart(b"Content-Type: text/plain\r\n\r\nx"), Part(content="t", content_id="i")],
    )  # fmt: skip
    ready = await there_and_back(stored(message, kept_back=("k@x.org",), octets=b"a: b\r\n\r\n\xff"))
    assert (ready.octets, ready.kept_back) == (b"a: b\r\n\r\n\xff", ("k@x.org",))
    back = await there_and_back(stored(message))
    first = back.message.attachments[0]
    assert isinstance(first, Part)
    assert isinstance(first.content, Spooled)
    assert b"".join(first.content.chunks(1000)) == file.read_bytes()
    assert first.filename == "big.bin"
    expected = message.replace(attachments=[evolve(first), *message.attachments[1:]])
    assert back.message == expected


async def test_what_many_share_is_stored_once() -> None:
    shelf = Shelf()
    contents = Contents(shelf, SystemClock())  # type: ignore[arg-type]
    message = Message(
        from_="me@x.org", to="a@x.org", message_id="<1@x.org>", attachments=[Part(content=bytes(3 << 20))]
    )
    message = message.replace(date=SystemClock().now())
    sizes = {len((await pack(stored(message), contents))[0]) for _ in range(5)}
    assert max(sizes) < 500
    assert len(shelf.kept) == 1  # three equal pieces
    assert shelf.puts == 1
    assert sum(map(len, shelf.kept.values())) < 10_000


async def test_no_secret_is_stored() -> None:
    message = Message(from_="me@x.org", to="a@x.org", options={"p": Options(token=Secret("env:X"))})
    with pytest.raises(MessageError, match=r"options\.p\.token: a secret cannot be queued"):
        await pack(stored(message.replace(date=SystemClock().now())), Contents(Shelf(), SystemClock()))  # type: ignore[arg-type]


async def _packed() -> tuple[bytes, Shelf]:
    shelf = Shelf()
    message = Message(from_="me@x.org", to="a@x.org", text="x" * 9000, date=SystemClock().now())
    data, _ = await pack(stored(message), Contents(shelf, SystemClock()))  # type: ignore[arg-type]
    return data, shelf


@given(st.data())
def test_q06_flipped_bytes_are_noticed_or_harmless(data: st.DataObject) -> None:
    async def law() -> None:
        packed, shelf = await _packed()
        position = data.draw(st.integers(0, len(packed) - 1))
        broken = bytearray(packed)
        broken[position] ^= data.draw(st.integers(1, 255))
        outcome = None
        try:
            outcome = await unpack(bytes(broken), Contents(shelf, SystemClock()), find)  # type: ignore[arg-type]
        except QueueError as error:
            outcome = error.permanent
        assert outcome is True or isinstance(outcome, Stored)

    asyncio.run(law())


async def test_q06_a_flipped_content_is_noticed() -> None:
    packed, shelf = await _packed()
    for name, body in shelf.kept.items():
        shelf.kept[name] = b"." + zlib.decompress(body[1:])[:-1] + b"y"
    with pytest.raises(QueueError, match="is not what it was"):
        await unpack(packed, Contents(shelf, SystemClock()), find)  # type: ignore[arg-type]


async def test_q06_versions_one_apart_understand_each_other() -> None:
    packed, shelf = await _packed()
    found = json.loads(zlib.decompress(packed[1:]) if packed[:1] == b"z" else packed)
    newer = json.dumps(found | {"v": 2, "something": "new"}).encode()
    assert (await unpack(newer, Contents(shelf, SystemClock()), find)).connections == ("c",)  # type: ignore[arg-type]
    with pytest.raises(QueueError, match="newer Mailwright"):
        await unpack(json.dumps(found | {"v": 3, "needs": 3}).encode(), Contents(shelf, SystemClock()), find)  # type: ignore[arg-type]


def test_results_come_back_as_they_were() -> None:
    reply = Reply(code=550, enhanced="5.1.1", text="gone")
    receipt = Receipt(
        message_id="<1@x.org>",
        envelope=Envelope(sender=None, recipients=["a@x.org", "b@x.org"]),
        statuses=(
            RecipientStatus(address="a@x.org", outcome="accepted", stage="final", reply=Reply(code=250)),
            RecipientStatus(address="b@x.org", outcome="rejected", permanent=True, stage="rcpt", reply=reply),
        ),
        provider="smtp", attempts=2, size=9, final=reply, server_id="q1", envelope_ms=1, message_ms=2,
    )  # fmt: skip
    assert results.load(results.dump(receipt)) == receipt
    with pytest.raises(QueueError, match="newer"):
        results.load(results.dump(receipt).replace(b'"needs":1', b'"needs":9'))
    newer = results.dump(receipt).replace(b'"v":1', b'"v":2,"something":"new"')
    assert results.load(newer) == receipt
    with pytest.raises(QueueError, match="cannot be read"):
        results.load(b"{}")
