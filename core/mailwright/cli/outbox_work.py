"""`mailwright outbox work | enqueue`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailwright import FlowState, Outbox, Receipt, Retention, SendEmailNode, background, load_node
from mailwright.cli.output import DELIVERED, WRONG, read_state, show_json
from mailwright.cli.rows import Rows
from mailwright.errors import ConfigurationError, MailwrightError
from mailwright.outbox import metrics as figures
from mailwright.outbox.worker import WAITING

if TYPE_CHECKING:
    from hashlib import _Hash

_BATCH: Final = 100
"""Rows that share a transaction."""
_SHOWN: Final = 20


def work(
    url: str | None, *, concurrency: int, metrics: str | None, until_empty: bool, keep: tuple[float, float, bool]
) -> int:
    """Send until told to stop. `keep`: days for sent ones, for failed ones, and whether with their contents."""
    place = None if metrics is None else _place(metrics)

    async def whole() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, stop.set)
        retention = Retention(sent=keep[0] * 86400, failed=keep[1] * 86400, keep=keep[2])
        async with Outbox(url, retention=retention) as outbox, _served(outbox, place):
            sys.stderr.write(f"working on {outbox.url}, {concurrency} at a time\n")
            watcher = asyncio.create_task(_until_empty(outbox, stop)) if until_empty else None
            await outbox.work(concurrency=concurrency, stop=stop)
            if watcher is not None:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
            done = ", ".join(f"{count} {name}" for name, count in sorted(outbox.counts.items()))
            sys.stderr.write(f"ended: {done or 'nothing to do'}\n")

    asyncio.run(whole())
    return DELIVERED


async def _until_empty(outbox: Outbox, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(MailwrightError):  # the worker says so, and goes on
            if await _is_empty(outbox):
                stop.set()
        await asyncio.sleep(0.1)


async def _is_empty(outbox: Outbox) -> bool:
    found = await outbox.stats()
    if found["due"] or found.get("sending") or (found.get("unknown") and await _on_the_way(outbox)):
        return False
    return all(job.reason not in WAITING for job in await outbox.list(state="queued", limit=_BATCH))


async def _on_the_way(outbox: Outbox) -> bool:
    """Whether a worker has an unknown one: those that are held wait for a person."""
    last = None
    while page := await outbox.list(state="unknown", limit=_BATCH, before=last):
        if any(job.starts for job in page):
            return True
        last = page[-1].id
    return False


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        msg = f"--metrics: {text!r} is not HOST:PORT, such as 127.0.0.1:9464"
        raise ConfigurationError(msg)
    return host.strip("[]") or "127.0.0.1", int(port)


@contextlib.asynccontextmanager
async def _served(outbox: Outbox, place: tuple[str, int] | None) -> AsyncIterator[None]:
    """``GET /metrics`` and ``GET /healthz``; nothing else is understood."""
    if place is None:
        yield
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await _answer(outbox, head.split(b"\r\n", 1)[0])
                lines = (
                    f"HTTP/1.1 {status}", "Content-Type: text/plain; version=0.0.4; charset=utf-8",
                    f"Content-Length: {len(body)}", "Connection: close", "", "",
                )  # fmt: skip
                writer.write("\r\n".join(lines).encode() + body)
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(serve, place[0], place[1], limit=8192)
    except OSError as error:
        msg = f"--metrics: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    host, port = server.sockets[0].getsockname()[:2]
    sys.stderr.write(f"metrics on http://{host}:{port}/metrics\n")
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def _answer(outbox: Outbox, request: bytes) -> tuple[str, bytes]:
    if request.split(b" ")[:2] not in ([b"GET", b"/metrics"], [b"GET", b"/healthz"]):
        return "404 Not Found", b"/metrics and /healthz\n"
    try:
        if b"/healthz" in request:
            await outbox.list(limit=1)
            return "200 OK", b"ok\n"
        return "200 OK", figures.text(await outbox.stats(), outbox.counts).encode()
    except MailwrightError:
        return "503 Service Unavailable", b"the outbox's database does not answer\n"


def enqueue(
    node: Path,
    url: str | None,
    *,
    state: Path | None,
    each: Path | None,
    at: str | None,
    priority: int,
    tags: tuple[str, ...],
    key: str | None,
    hold: bool,
    attach_root: Path | None,
    json: bool,
) -> int:
    """Store one message, or one for each row."""
    if key == "":
        raise ConfigurationError("--key: is empty")
    loaded, written = load_node(node, attach_root=attach_root), node.read_bytes()
    names = [name for name in loaded.document.connection if isinstance(name, str)]
    if len(names) != len(loaded.document.connection) or not names:
        msg = "$.connection: name saved connections; the outbox stores no connection documents"
        raise ConfigurationError(msg)
    options: dict[str, Any] = {
        "connection": names, "at": None if at is None else _moment(at), "priority": priority, "tags": tags,
        "hold": hold, "on_unknown": loaded.document.on_unknown or "retry",
    }  # fmt: skip
    common = read_state(state)

    async def whole() -> list[Receipt]:
        async with Outbox(url, attach_root=attach_root) as outbox:
            if each is None:
                return [await outbox.enqueue(await loaded.message(common), idempotency_key=key, **options)]
            rows = Rows.of(each)
            for _ in rows.states(common):  # a line that is no row is told before anything is stored
                pass
            run = sha256(repr((key, written)).encode())
            return [receipt async for receipt in _rows(outbox, loaded, rows.states(common), options, run)]

    began = f"{int(datetime.now(UTC).timestamp() * 1e6):014x}"  # ids sort by age
    receipts = background.run(whole())
    bad = [receipt for receipt in receipts if receipt.error is not None]
    if json:
        stored = [{"id": r.job_id, "messageId": r.message_id} for r in receipts if r.error is None]
        errors = [{"row": r.index, "message": r.error.message} for r in bad if r.error is not None]
        show_json({"ok": not bad, "queued": stored, "errors": errors})
    else:
        for receipt in bad[:_SHOWN]:
            assert receipt.error is not None
            sys.stderr.write(f"error: row {receipt.index}: {receipt.error.message}\n")
        if len(bad) > _SHOWN:
            sys.stderr.write(f"error: {len(bad) - _SHOWN} more rows are wrong\n")
        if bad and len(bad) < len(receipts):
            sys.stderr.write("correct these and run it again: the others are not queued twice\n")
        if each is None:
            sys.stdout.write(f"queued {receipts[0].job_id}\n")
        else:
            known = sum(1 for receipt in receipts if receipt.error is None and (receipt.job_id or began) < began)
            before = f"; {known} were queued before, within a week: another --key queues them again" if known else ""
            new = len(receipts) - len(bad) - known
            sys.stdout.write(f"queued {new} message{'' if new == 1 else 's'}{before}\n")
    return WRONG if bad else DELIVERED


async def _rows(
    outbox: Outbox, node: SendEmailNode, states: Iterator[tuple[int, FlowState]], options: dict[str, Any], run: _Hash
) -> AsyncIterator[Receipt]:
    """A row is stored once however often the command is run: its key is made of the letter and of its own values.

    Not of its place in the file, nor of the file: corrected or sorted, the other rows are what they were.
    """
    seen: Counter[bytes] = Counter()

    async def one(number: int, state: FlowState, key: _Hash) -> Receipt:
        try:
            message = await node.message(state)
            key.update(repr(message.html).encode())  # what the node's files say
            return await outbox.enqueue(message, idempotency_key=key.hexdigest(), **options)
        except MailwrightError as error:
            return Receipt(message_id="", error=error, index=number)

    def keyed(number: int, state: FlowState) -> tuple[int, FlowState, _Hash]:
        key = run.copy()
        key.update(repr([sorted(values.items(), key=repr) for values in (state.input, state.context)]).encode())
        row = key.digest()
        key.update(b"%d " % seen[row])  # a row that stands twice is two
        seen[row] += 1
        return number, state, key

    while batch := [keyed(number, state) for number, state in islice(states, _BATCH)]:
        for receipt in await asyncio.gather(*(one(*each) for each in batch)):
            yield receipt


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found if found.utcoffset() is not None else found.astimezone()
    except (ValueError, OverflowError):
        msg = f"--at: {text!r} is not a time such as 2026-12-24T18:00+01:00"
        raise ConfigurationError(msg) from None
