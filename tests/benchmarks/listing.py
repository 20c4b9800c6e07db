"""Listing, counting and tidying a large outbox, for each URL given (default: a SQLite file).

    python tests/benchmarks/listing.py [--rows N] [--keep] [URL ...]

Rows are made by the database itself: mostly sent, one in a hundred failed, one in a hundred waiting; every second one has the
tag `newsletter`, every tenth `orders`, one in 100 000 `rare`. Times are of `Outbox.list` and `Outbox.stats`, decoding included,
the median of several. A PostgreSQL URL must lead to a schema of its own (``?schema=bench``): it is dropped at the end unless
``--keep`` is given.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from _pairs import table

from mailwright import Address, Envelope, Outbox, Receipt, RecipientStatus
from mailwright.outbox import results
from mailwright.outbox.places import masked
from mailwright.spi import Reply

ROWS = 5_000_000
TIMES = 7
FIELDS = (
    "id, state, message_id, connection, payload, result, run_at, priority, on_unknown, tags, created, updated, attempts, "
    "starts, ready, reason"
)
STATE = """CASE WHEN n % 1000 < 10 THEN 'failed' WHEN n % 1000 < 12 THEN 'partial' WHEN n % 1000 = 12 THEN 'held'
    WHEN n % 1000 = 13 THEN 'unknown' WHEN n % 1000 = 14 THEN 'quarantined' WHEN n % 1000 < 25 THEN 'queued' ELSE 'sent' END"""
TAGS = """CASE WHEN n % 100000 = 8 THEN '["newsletter", "rare"]' WHEN n % 2 = 0 THEN '["newsletter"]'
    WHEN n % 10 = 1 THEN '["orders"]' ELSE '[]' END"""
TAGGED = (("newsletter", "n % 2 = 0"), ("orders", "n % 10 = 1"), ("rare", "n % 100000 = 8"))
START = 1_767_312_000

Look = Callable[[Outbox, str], Awaitable[Any]]
LOOKS: tuple[tuple[str, Look], ...] = (
    ("list", lambda box, middle: box.list()),
    ("list --before (the middle)", lambda box, middle: box.list(before=middle)),
    ("list --state failed", lambda box, middle: box.list(state="failed")),
    ("list --state queued,held,unknown,quarantined", lambda box, middle: box.list(
        state=("queued", "held", "unknown", "quarantined"))),
    ("list --state cancelled (there is none)", lambda box, middle: box.list(state="cancelled")),
    ("list --tag newsletter", lambda box, middle: box.list(tag="newsletter")),
    ("list --tag newsletter --before (the middle)", lambda box, middle: box.list(tag="newsletter", before=middle)),
    ("list --tag rare", lambda box, middle: box.list(tag="rare")),
    ("list --tag nobody (there is none)", lambda box, middle: box.list(tag="nobody")),
    ("list --tag newsletter --state sent", lambda box, middle: box.list(tag="newsletter", state="sent")),
    ("list --tag newsletter --state failed", lambda box, middle: box.list(tag="newsletter", state="failed")),
    ("list --tag rare --state sent (there is none)", lambda box, middle: box.list(tag="rare", state="sent")),
    ("list --tag orders --state held (there is none)", lambda box, middle: box.list(tag="orders", state="held")),
    ("stats", lambda box, middle: box.stats()),
    ("stats --tag rare", lambda box, middle: box.stats(tag="rare")),
    ("stats --tag orders", lambda box, middle: box.stats(tag="orders")),
    ("stats --tag newsletter", lambda box, middle: box.stats(tag="newsletter")),
    ("purge --state sent --older-than 9999 (there is none)", lambda box, middle: box.change(
        "purge", state="sent", older_than=timedelta(days=9999))),
)  # fmt: skip


def result() -> bytes:
    """As of a message that was sent."""
    reply = Reply(code=250, enhanced="2.0.0", text="Ok: queued as 4F1xYz0JkZz9rT2")
    address = "somebody.or.other@example.org"
    return results.dump(
        Receipt(
            message_id="<17673120000000000000.4f1c@example.org>",
            envelope=Envelope(sender=Address("news@example.org"), recipients=[Address(address)]),
            statuses=(RecipientStatus(address=address, outcome="accepted", stage="final", reply=reply),),
            provider="smtp",
            attempts=1,
            size=5000,
            final=reply,
        )
    )


def selected(octets: str, hexed: str, empty: str) -> str:
    """Columns of the rows, made of `n`."""
    return f"""{hexed}, {STATE}, '<' || n || '.4f1c@example.org>', 'support', {empty}, {octets}, {START} + n / 100.0, 0,
        'retry', {TAGS}, {START} + n / 100.0, {START} + n / 100.0 + 5, CASE WHEN n % 1000 BETWEEN 15 AND 24 THEN 0 ELSE 1 END,
        0, CASE WHEN n % 1000 BETWEEN 15 AND 24 THEN 1 ELSE 0 END,
        CASE WHEN n % 1000 < 12 THEN 'refused: 550 5.1.1 No such user here' ELSE '' END"""


def fill_sqlite(path: Path, rows: int) -> None:
    """Make the rows; the ledger made the tables."""
    own = sqlite3.connect(path)
    numbers = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) "
    own.execute("PRAGMA synchronous=OFF")
    columns = selected("?", "printf('%026x', n)", "x''")
    own.execute(f"{numbers} INSERT INTO jobs ({FIELDS}) SELECT {columns} FROM c", (result(),))
    for tag, condition in TAGGED:
        own.execute(f"{numbers} INSERT INTO job_tags SELECT ?, printf('%026x', n) FROM c WHERE {condition}", (tag,))
    own.commit()
    own.close()


async def fill_postgresql(url: str, rows: int) -> None:
    """Likewise."""
    import asyncpg
    from mailwright_pgqueuer.places import Place

    place = Place.of(url)
    own = await asyncpg.connect(place.dsn, server_settings={"search_path": place.schema})
    columns = selected("$1::bytea", "lpad(to_hex(n), 26, '0')", "''::bytea")
    numbers = f"generate_series(1, {rows}) AS n"
    await own.execute("SET synchronous_commit = off")
    await own.execute(f"INSERT INTO mailwright_jobs ({FIELDS}) SELECT {columns} FROM {numbers}", result(), timeout=3600)
    for tag, condition in TAGGED:
        statement = (
            f"INSERT INTO mailwright_job_tags SELECT $1, lpad(to_hex(n), 26, '0') FROM {numbers} WHERE {condition}"
        )
        await own.execute(statement, tag, timeout=3600)
    await own.execute("VACUUM ANALYZE", timeout=3600)
    await own.close()


async def drop(url: str) -> None:
    """Leave nothing behind."""
    import asyncpg
    from mailwright_pgqueuer.places import Place

    place = Place.of(url)
    own = await asyncpg.connect(place.dsn)
    await own.execute(f'DROP SCHEMA "{place.schema}" CASCADE')
    await own.close()


async def measured(url: str) -> list[str]:
    """Milliseconds of each look."""
    found = []
    async with Outbox(url) as outbox:
        middle = (await outbox.list(limit=1))[0].id
        middle = f"{int(middle, 16) // 2:026x}"
        for _, look in LOOKS:
            times = []
            for _ in range(TIMES):
                started = time.perf_counter()
                await look(outbox, middle)
                times.append(1000 * (time.perf_counter() - started))
            found.append(f"{median(times):.1f} ms" if median(times) < 100 else f"{median(times):.0f} ms")
    return found


async def one(url: str, rows: int, *, keep: bool) -> list[str]:
    """One engine."""
    async with Outbox(url) as outbox:
        empty = not await outbox.list(limit=1)
    if empty:
        started = time.perf_counter()
        if url.startswith("sqlite"):
            fill_sqlite(Path(url.removeprefix("sqlite:///")), rows)
        else:
            await fill_postgresql(url, rows)
        print(f"{masked(url).partition(':')[0]}: {rows} rows made in {time.perf_counter() - started:.0f} s", flush=True)
    try:
        return await measured(url)
    finally:
        if not keep and not url.startswith("sqlite"):
            await drop(url)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("urls", nargs="*")
    given, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        urls = [url for url in given.urls if "://" in url] or [f"sqlite:///{folder}/outbox.db"]
        columns = [asyncio.run(one(url, given.rows, keep=given.keep)) for url in urls]
    rows = [[name, *cells] for (name, _), *cells in zip(LOOKS, *columns, strict=True)]
    print("\n" + table([f"{given.rows} rows", *(masked(url).partition(":")[0] for url in urls)], rows))


if __name__ == "__main__":
    main()
