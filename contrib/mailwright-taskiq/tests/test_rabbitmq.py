"""Against a real RabbitMQ: the contract of dispatchers, lost announcements, a broker that is away, restarted, or new."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aio_pika
import mailwright_taskiq
import pytest
from mailwright_taskiq.dispatcher import RabbitDispatcher
from mailwright_taskiq.places import Place

from mailwright import Message, Outbox, Registry
from mailwright.errors import ConfigurationError
from mailwright.spi import Claim, Dispatcher, Ledger, Verdict
from mailwright.testing import ScriptedServer
from mailwright.testing.queue_contracts import DispatcherContract, job

sys.path.insert(0, str(Path(__file__).parent))
from rabbitmq_node import SERVER, Node

BROKER = os.environ.get("MAILWRIGHT_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672/")
POSTGRESQL = os.environ.get("MAILWRIGHT_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
REQUIRED = os.environ.get("MAILWRIGHT_REQUIRE_SERVICES") == "1"


async def _reachable() -> bool:
    try:
        connection = await aio_pika.connect(BROKER, timeout=5)
    except Exception:
        return False
    await connection.close()
    return True


if not asyncio.run(_reachable()):
    if REQUIRED:
        raise RuntimeError("RabbitMQ does not answer: set MAILWRIGHT_TEST_RABBITMQ")
    pytest.skip("no RabbitMQ: set MAILWRIGHT_TEST_RABBITMQ", allow_module_level=True)


class Clock:
    """The real one."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def channel() -> AsyncIterator[Any]:
    connection = await aio_pika.connect(BROKER)
    async with connection:
        yield await connection.channel()


@pytest.fixture
def queue() -> Any:
    name = f"mw-test-{secrets.token_hex(6)}"
    yield name

    async def delete() -> None:
        async with channel() as open_:
            await open_.queue_delete(name)

    asyncio.run(delete())


async def ledger_in(path: Path | str) -> Ledger:
    url = path if isinstance(path, str) else f"sqlite:///{path}"
    engine = Registry().queue_engine(url.partition(":")[0])
    assert engine.ledger is not None
    return await engine.ledger(url, Clock())


async def depth(queue: str) -> int:
    async with channel() as open_:
        found = await open_.declare_queue(queue, passive=True)
        return int(found.declaration_result.message_count)


def soon(number: int = 1, **changes: Any) -> Any:
    now = datetime.now(UTC).timestamp()
    return job(number, **({"run_at": now, "created": now, "updated": now} | changes))


def announcement(entry: Any) -> tuple[str, datetime, int]:
    return entry.id, datetime.fromtimestamp(entry.run_at, UTC), entry.priority


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


class _Engine(DispatcherContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path, queue: str) -> None:
        self.folder, self.queue = tmp_path, queue

    async def open_engine(self) -> tuple[Ledger, Dispatcher]:
        ledger = await ledger_in(self.folder / "outbox.db")
        return ledger, RabbitDispatcher(Place.of(f"{BROKER}?queue={self.queue}"), ledger)


class TestOverSqlite(_Engine):
    pass


class TestOverPostgresql(_Engine):
    @pytest.fixture(autouse=True)
    def schema(self) -> Any:
        try:
            import asyncpg
            import mailwright_pgqueuer  # noqa: F401
        except ImportError:
            if REQUIRED:
                raise
            pytest.skip("mailwright-pgqueuer is not installed")
        self.name = f"mw_{secrets.token_hex(6)}"
        try:
            connection = asyncio.run(_closed(asyncpg.connect(POSTGRESQL, timeout=5)))
        except (OSError, TimeoutError):
            if REQUIRED:
                raise
            pytest.skip("no PostgreSQL: set MAILWRIGHT_TEST_POSTGRESQL")
        assert connection is None
        yield

        async def drop() -> None:
            own = await asyncpg.connect(POSTGRESQL)
            await own.execute(f'DROP SCHEMA IF EXISTS "{self.name}" CASCADE')
            await own.close()

        asyncio.run(drop())

    async def open_engine(self) -> tuple[Ledger, Dispatcher]:
        ledger = await ledger_in(f"{POSTGRESQL}?schema={self.name}")
        return ledger, RabbitDispatcher(Place.of(f"{BROKER}?queue={self.queue}"), ledger)


async def _closed(connecting: Any) -> None:
    await (await connecting).close()


class TestAwayBroker(_Engine):
    """Nothing is lost, and nothing waits, where RabbitMQ does not answer at all."""

    async def open_engine(self) -> tuple[Ledger, Dispatcher]:
        ledger = await ledger_in(self.folder / "outbox.db")
        return ledger, RabbitDispatcher(Place.of(f"amqp://mail:s3cret@127.0.0.1:1/?queue={self.queue}"), ledger)


async def test_an_announcement_is_persistent_in_a_quorum_queue_and_confirmed(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    entries = [soon(1), soon(2), soon(3, state="scheduled", run_at=datetime.now(UTC).timestamp() + 60)]
    await ledger.add(entries)
    await dispatcher.put([announcement(entry) for entry in entries])
    assert await depth(queue) == 2  # confirmed when put returns; what is not due yet is not announced
    async with channel() as open_:
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await open_.declare_queue(queue, durable=True)  # a classic one is another thing
    async with channel() as open_:
        found = await (await open_.get_queue(queue, ensure=False)).get(no_ack=True)
        assert found.body.decode() == job(1).id
        assert found.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    await dispatcher.aclose()
    await ledger.aclose()


async def test_what_joins_a_transaction_is_not_announced_before_it_is_committed(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    await dispatcher.put([announcement(soon(1))])
    await dispatcher.put([announcement(soon(2))], transaction=object())
    assert await depth(queue) == 1
    await dispatcher.aclose()
    await ledger.aclose()


class Bench:
    """A worker on a thread of its own kind: a task, with what it ran."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, *, concurrency: int = 4, lease_s: float = 30) -> None:
        self.ledger, self.ran, self.stop = ledger, list[str](), asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self._work = dispatcher.work(self.run, concurrency=concurrency, lease_s=lease_s, stop=self.stop)

    async def run(self, claim: Claim) -> datetime | None:
        self.ran.append(claim.job_id)
        await self.gate.wait()
        await self.ledger.record(claim, Verdict(state="sent"))
        return None

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self._work)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        self.stop.set()
        async with asyncio.timeout(20):
            await self.task


async def test_a_crash_between_commit_and_publish_loses_nothing(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    await ledger.add([soon(number) for number in range(1, 31)])  # and here the process died
    async with Bench(ledger, dispatcher) as bench:
        await until(lambda: len(bench.ran) == 30)
    assert len(set(bench.ran)) == 30
    await dispatcher.aclose()
    await ledger.aclose()


async def test_an_announcement_delivered_twice_sends_once(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    await ledger.add([soon(1)])
    for _ in range(5):
        await dispatcher.put([announcement(soon(1))])
    assert await depth(queue) == 5
    async with Bench(ledger, dispatcher) as bench:
        bench.gate.clear()
        await until(lambda: bool(bench.ran))
        bench.gate.set()
        await _empty(queue)
    assert bench.ran == [job(1).id]
    await dispatcher.aclose()
    await ledger.aclose()


async def _empty(queue: str) -> None:
    async with asyncio.timeout(20):
        while await depth(queue):
            await asyncio.sleep(0.05)


async def test_a_queue_that_is_lost_is_made_anew_and_its_work_announced_again(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    async with Bench(ledger, dispatcher) as bench:
        for number in (1, 2):
            entry = soon(number)
            await ledger.add([entry])
            await dispatcher.put([announcement(entry)])
            await until(lambda number=number: len(bench.ran) == number)
            async with channel() as open_:
                await open_.queue_delete(queue)
        entry = soon(3)
        await ledger.add([entry])
        await dispatcher.put([announcement(entry)])  # comes back: there is no queue that takes it
        await until(lambda: len(bench.ran) == 3)
        async with asyncio.timeout(20):
            while not await _consumers(queue):
                await asyncio.sleep(0.05)
    await dispatcher.aclose()
    await ledger.aclose()


async def _consumers(queue: str) -> int:
    try:
        async with channel() as open_:
            found = await open_.declare_queue(queue, passive=True)
            return int(found.declaration_result.consumer_count)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return 0


async def test_a_worker_takes_no_more_than_it_can_do(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    entries = [soon(number) for number in range(1, 21)]
    await ledger.add(entries)
    await dispatcher.put([announcement(entry) for entry in entries])
    async with Bench(ledger, dispatcher, concurrency=3) as bench:
        bench.gate.clear()
        await until(lambda: len(bench.ran) == 3)
        assert await depth(queue) >= 17  # prefetch is concurrency: the rest is there for other workers
        bench.gate.set()
        await until(lambda: len(bench.ran) == 20)
    await dispatcher.aclose()
    await ledger.aclose()


async def test_the_first_in_line_is_the_ledgers(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    entries = [soon(number, priority=number) for number in range(1, 6)]
    await ledger.add(entries)
    await dispatcher.put([announcement(entry) for entry in entries])
    async with Bench(ledger, dispatcher, concurrency=1) as bench:
        await until(lambda: len(bench.ran) == 5)
    assert bench.ran == [job(number).id for number in (5, 4, 3, 2, 1)]
    await dispatcher.aclose()
    await ledger.aclose()


async def test_stopping_gives_back_what_was_not_begun(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    entries = [soon(number) for number in range(1, 9)]
    await ledger.add(entries)
    await dispatcher.put([announcement(entry) for entry in entries])
    async with Bench(ledger, dispatcher, concurrency=2) as bench:
        bench.gate.clear()
        await until(lambda: len(bench.ran) == 2)
    assert len(bench.ran) == 2
    assert await depth(queue) >= 6
    await dispatcher.aclose()
    await ledger.aclose()


async def test_a_job_that_may_be_killing_its_workers_is_found_and_runs_apart(tmp_path: Path, queue: str) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    await ledger.add([soon(1)])
    for _ in range(2):
        assert await ledger.claim(job(1).id, lease_s=0.01) is not None
        await asyncio.sleep(0.02)
    async with Bench(ledger, dispatcher) as bench:
        await until(lambda: bool(bench.ran))
    await dispatcher.aclose()
    await ledger.aclose()


@pytest.mark.skipif(SERVER is None and not REQUIRED, reason="rabbitmq-server is not installed")
@pytest.mark.timeout(120)
async def test_a_broker_that_is_killed_and_comes_back_is_survived(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    await asyncio.to_thread(node.start)
    try:
        async with ScriptedServer() as server:
            saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none"}}
            url = f"{node.url}?ledger=sqlite:///{tmp_path}/outbox.db"
            async with Outbox(url, connection="sink", connections=saved) as outbox, outbox.worker():
                await _sent(outbox, "before")
                await until(lambda: node.remembers("mailwright"))
                node.kill()
                await _sent(outbox, "while it was away")
                await asyncio.to_thread(node.start)
                await _sent(outbox, "after")
                async with asyncio.timeout(60):
                    while not await _subscribed(node.url):
                        await asyncio.sleep(0.1)
                await _sent(outbox, "delivered again")
                node.freeze()
                await _sent(outbox, "while it was frozen")
                node.freeze(thaw=True)
                await _sent(outbox, "thawed")
            assert len(server.messages) == 6
    finally:
        node.kill()


async def _sent(outbox: Outbox, subject: str) -> None:
    message = Message(from_="me@example.org", to="ann@example.org", subject=subject, text="Hello")
    async with asyncio.timeout(60):
        queued = await outbox.enqueue(message)
        assert queued.job_id is not None
        receipt = await outbox.wait(queued.job_id, every_s=0.05)
    assert receipt is not None
    assert receipt.status == "sent"


async def _subscribed(url: str) -> bool:
    connection = await aio_pika.connect(url)
    async with connection:
        found = await (await connection.channel()).declare_queue("mailwright", passive=True)
        return bool(found.declaration_result.consumer_count)


def test_urls(tmp_path: Path) -> None:
    ledger = quote("postgresql://mail:s3cret@db/mail?schema=mail&sslmode=require", safe="")
    place = Place.of(f"amqps://mail:s3cret@mq.example.org/prod?ledger={ledger}&queue=mail&heartbeat=30")
    assert place.url == "amqps://mail:s3cret@mq.example.org/prod?heartbeat=30"
    assert (place.queue, place.shown) == ("mail", "mq.example.org:5671/prod")
    assert "s3cret" not in repr(place)
    assert "s3cret" not in Outbox(f"amqp://mail:s3cret@mq/?ledger={ledger}").url
    with pytest.raises(ConfigurationError, match="'schema' is unknown"):
        Place.of("amqp://h/?ledger=postgresql://h/d&schema=mail")
    with pytest.raises(ConfigurationError, match="queue="):
        Place.of("amqp://h/?queue=amq.direct")


async def test_a_url_without_a_ledger_and_a_missing_ability_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name its ledger"):
        async with Outbox("amqp://h/"):
            pass
    saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": 1, "tls": "none", "from": "me@example.org"}}
    url = f"amqp://mail:s3cret@127.0.0.1:1/?ledger=sqlite:///{tmp_path}/outbox.db"
    async with Outbox(url, connection="sink", connections=saved) as outbox:
        with pytest.raises(ConfigurationError, match="the outbox's own file"):
            await outbox.enqueue(Message(to="a@example.org", subject="s", text="t"), transaction=object())
        queued = await outbox.enqueue(Message(to="a@example.org", subject="s", text="t"))  # RabbitMQ is away
        assert queued.status == "queued"


def test_the_sync_twin_joins_a_transaction_of_the_ledger_and_the_sweeper_announces_it(
    tmp_path: Path, queue: str
) -> None:
    url = f"{BROKER}?ledger=sqlite:///{tmp_path}/outbox.db&queue={queue}"
    message = Message(from_="me@example.org", to="ann@example.org", subject="s", text="t")

    async def sent() -> None:
        async with ScriptedServer() as server:
            sink = {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none"}
            outbox = Outbox(url, connection="sink", connections={"sink": sink})
            await outbox.migrate()
            await asyncio.to_thread(enqueue, outbox)
            async with asyncio.timeout(30), outbox.worker():
                while len(server.messages) < 1:
                    await asyncio.sleep(0.02)
            await outbox.aclose()
            assert len(server.messages) == 1

    def enqueue(outbox: Outbox) -> None:
        with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as own:
            for end in ("ROLLBACK", "COMMIT"):
                own.execute("BEGIN IMMEDIATE")
                outbox.enqueue_sync(message, transaction=own)
                own.execute(end)

    asyncio.run(sent())


async def test_a_broker_that_is_away_is_named_without_its_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of("amqp://mail:s3cret@127.0.0.1:1/"), ledger)
    with caplog.at_level("DEBUG"):
        await dispatcher.put([announcement(soon(1))])
    await dispatcher.aclose()
    await ledger.aclose()
    assert "127.0.0.1:1" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_queue_of_another_type_says_what_to_do(
    tmp_path: Path, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with channel() as open_:
        await open_.declare_queue(queue, durable=True)
    ledger = await ledger_in(tmp_path / "outbox.db")
    dispatcher = RabbitDispatcher(Place.of(f"{BROKER}?queue={queue}"), ledger)
    with caplog.at_level("WARNING", logger="mailwright.outbox"):
        await dispatcher.put([announcement(soon(1))])
    assert "of another type: delete it, or name another" in caplog.text
    await dispatcher.aclose()
    await ledger.aclose()


def test_the_registry_finds_it() -> None:
    assert Registry().queue_engine("amqp").dispatcher is mailwright_taskiq._dispatcher
    assert timedelta(seconds=1).total_seconds() == 1


async def test_a_taskiq_worker_sends_what_is_in_the_outbox(tmp_path: Path, queue: str) -> None:
    from mailwright_taskiq.host import attach
    from taskiq import InMemoryBroker

    async with ScriptedServer() as server:
        saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none"}}
        url = f"{BROKER}?ledger=sqlite:///{tmp_path}/outbox.db&queue={queue}"
        outbox = Outbox(url, connection="sink", connections=saved)
        broker = InMemoryBroker()
        attach(broker, outbox, concurrency=2)
        broker.is_worker_process = True
        await broker.startup()
        await _sent(outbox, "from a task")
        await broker.shutdown()
    assert len(server.messages) == 1
