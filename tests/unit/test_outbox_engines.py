"""The embedded engine keeps the contracts of ledgers and dispatchers; and what is its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mailwright import Registry
from mailwright.errors import ConfigurationError, QueueError
from mailwright.outbox.leases import LeaseDispatcher
from mailwright.outbox.places import masked, open_ledger
from mailwright.spi import Claim, Clock, Dispatcher, JobState, Ledger, Selection, Verdict
from mailwright.system import SystemClock
from mailwright.testing.queue_contracts import DispatcherContract, LedgerContract, job
from mailwright_plugins.queues.sqlite import files, pages
from mailwright_plugins.queues.sqlite.ledger import SqliteLedger


class TestSqliteLedger(LedgerContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "spool" / "outbox.db"

    async def open_ledger(self, clock: Clock) -> Ledger:
        return await SqliteLedger.open(self.path, clock)


class TestSqliteLeases(DispatcherContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "outbox.db"

    async def open_engine(self) -> tuple[Ledger, Dispatcher]:
        ledger = await SqliteLedger.open(self.path, SystemClock())
        return ledger, LeaseDispatcher(ledger)


async def test_the_file_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool" / "outbox.db"
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.add([job()])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await ledger.aclose()
    assert "outbox.db-wal" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_opening_it_again_takes_no_lock_away(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    first = files.connect(path)
    files.migrate(first, path)
    first.execute("BEGIN IMMEDIATE")
    files.connect(path).close()
    other = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    first.close()
    assert "database is locked" in done.stderr


async def test_q02_every_write_waits_for_the_disk(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    pragmas = await ledger._writer.run(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    await ledger.aclose()
    assert pragmas == ["wal", 2]


@pytest.mark.parametrize("torn", [1, 100, 5000])
async def test_q02_a_torn_write_takes_nothing_with_it_that_was_acknowledged_before(tmp_path: Path, torn: int) -> None:
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    for number in range(1, 5):
        await ledger.add([job(number)])
    acknowledged = (tmp_path / "outbox.db-wal").stat().st_size
    await ledger.add([job(5)])
    (tmp_path / "after").mkdir()
    for name in ("outbox.db", "outbox.db-wal"):  # what a power cut in the middle of the last write leaves
        shutil.copy(tmp_path / name, tmp_path / "after" / name)
    await ledger.aclose()
    with (tmp_path / "after" / "outbox.db-wal").open("r+b") as file:
        whole = file.seek(0, os.SEEK_END)
        file.truncate(max(acknowledged, whole - torn))
    found = await SqliteLedger.open(tmp_path / "after" / "outbox.db", SystemClock())
    assert [entry.id for entry in await found.page(Selection(), limit=9)] == [job(n).id for n in (4, 3, 2, 1)]
    assert len(await found.take(limit=9, lease_s=30)) == 4
    await found.aclose()


async def test_it_joins_a_transaction_of_the_same_file_only(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    own = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    for end, expected in (("ROLLBACK", 0), ("COMMIT", 1)):
        own.execute("BEGIN IMMEDIATE")
        await ledger.add([job()], transaction=own)
        own.execute(end)
        assert len(await ledger.page(Selection(), limit=9)) == expected
    own.close()
    other = sqlite3.connect(tmp_path / "other.db")
    with pytest.raises(ConfigurationError, match="own file"):
        await ledger.add([job(2)], transaction=other)
    other.close()
    await ledger.aclose()


async def test_q06_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(QueueError, match="newer Mailwright"):
        await SqliteLedger.open(path, SystemClock())


async def test_a_database_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(files.STEPS[0])
        connection.execute("PRAGMA user_version=1")
    connection.close()
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.aclose()
    with sqlite3.connect(path) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert {"jobs_ended", "jobs_wake"} <= names
        assert connection.execute("PRAGMA user_version").fetchone() == (files.VERSION,)
    connection.close()


@pytest.mark.parametrize("few", [0, 50_000])
async def test_pages_are_the_same_whichever_way_they_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(pages, "_FEW", few)
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    states: tuple[JobState, ...] = ("held", "sent", "failed")
    jobs = [job(n, state=states[n % 3], tags=(f"t{n % 4}",), updated=float(n)) for n in range(1, 60)]
    await ledger.add(jobs)
    for chosen in ((), ("held",), ("held", "failed"), ("cancelled",)):
        for tag in (None, "t1", "t9"):
            for older in (None, 30.0):
                for before in (None, job(41).id):
                    selection = Selection(states=chosen, tag=tag, older_than=older)
                    found = await ledger.page(selection, limit=5, before=before)
                    assert [one.id for one in found] == [
                        one.id
                        for one in reversed(jobs)
                        if (not chosen or one.state in chosen)
                        and (tag is None or tag in one.tags)
                        and (older is None or one.updated < older)
                        and (before is None or one.id < before)
                    ][:5]
    await ledger.aclose()


@pytest.mark.parametrize("replaced", [False, True])
async def test_nothing_is_accepted_into_a_file_that_was_removed(tmp_path: Path, replaced: bool) -> None:
    path, backup = tmp_path / "outbox.db", tmp_path / "backup.db"
    made = await SqliteLedger.open(backup, SystemClock())
    await made.add([job(1)])
    await made.aclose()
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.add([job(2)])
    for name in ("outbox.db", "outbox.db-wal", "outbox.db-shm"):
        (tmp_path / name).unlink()
    if replaced:
        backup.rename(path)
    await ledger.add([job(3)])
    assert len(await ledger.take(limit=9, lease_s=60)) == 1 + replaced
    other = await SqliteLedger.open(path, SystemClock())
    found = {row.id for row in await other.page(Selection(), limit=9)}
    assert found == {job(3).id} | ({job(1).id} if replaced else set())
    await other.aclose()
    await ledger.aclose()


async def test_what_is_written_while_the_file_is_removed_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.db"
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.add([job(1)])

    def meanwhile(connection: sqlite3.Connection, jobs: Sequence[Any], now: float) -> list[str]:
        path.unlink()
        return [found.id for found in jobs]

    with monkeypatch.context() as patched:
        patched.setattr("mailwright_plugins.queues.sqlite.ledger._add", meanwhile)
        with pytest.raises(QueueError, match="was removed or replaced while it was written: try again"):
            await ledger.add([job(2)])
    assert await ledger.add([job(3)]) == [job(3).id]
    await ledger.aclose()


async def test_a_row_whose_tags_cannot_be_read_keeps_no_other_one_waiting(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.add([job(1), job(2)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE jobs SET tags = 'torn' WHERE seq = 1")
        connection.commit()
    assert [claim.job.tags for claim in await ledger.take(limit=9, lease_s=60)] == [(), ()]
    await ledger.aclose()


async def test_q06_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(QueueError, match=r"outbox\.db"):
        await SqliteLedger.open(path, SystemClock())


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"

    async def both() -> None:
        ledger = await SqliteLedger.open(path, SystemClock())
        await ledger.add([job(1)])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio._set_running_loop(None)  # type: ignore[attr-defined]
                asyncio.run(_in_child(ledger))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await ledger.add([job(3)])
        assert [found.id for found in await ledger.page(Selection(), limit=9)] == [job(n).id for n in (3, 2, 1)]
        await ledger.aclose()

    asyncio.run(both())


async def _in_child(ledger: SqliteLedger) -> None:
    await ledger.add([job(2)])


async def test_what_was_taken_is_run_also_when_the_next_question_fails(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    take, stop, ran = ledger.take, asyncio.Event(), list[str]()

    async def failing(*, suspects: bool = False, **options: Any) -> Sequence[Claim]:
        if suspects:
            raise QueueError("the database was restarted")
        return await take(**options)

    async def run(claim: Claim) -> None:
        await ledger.record(claim, Verdict(state="sent"))
        ran.append(claim.job_id)
        stop.set()

    ledger.take = failing  # type: ignore[method-assign,assignment]
    await ledger.add([job(1)])
    async with asyncio.timeout(20):
        await LeaseDispatcher(ledger).work(run, concurrency=2, lease_s=30, stop=stop)
    assert ran == [job(1).id]
    await ledger.aclose()


async def test_urls_that_are_none_are_explained() -> None:
    registry = Registry(installed=False)
    with pytest.raises(ConfigurationError, match="is not a URL"):
        await open_ledger("outbox.db", registry, SystemClock())
    with pytest.raises(ConfigurationError, match="sqlite:///relative"):
        await open_ledger("sqlite://host/outbox.db", registry, SystemClock())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://mail:s3cret@db/mail", "postgresql://mail:***@db/mail"),
        (
            "amqp://u:p%40ss@mq/?ledger=postgresql://m:hidden@db/mail",
            "amqp://u:***@mq/?ledger=postgresql://m:***@db/mail",
        ),
        (
            "amqp://u:p@mq/?ledger=postgresql%3A%2F%2Fm%3Ahidden%40db%2Fmail%3Fpassword%3Dh2&queue=q",
            "amqp://u:***@mq/?ledger=postgresql://m:***@db/mail?password=***&queue=q",
        ),
        ("postgresql://db/mail?user=u&password=s3cret", "postgresql://db/mail?user=u&password=***"),
        ("sqlite:///outbox.db", "sqlite:///outbox.db"),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    assert masked(url) == shown
