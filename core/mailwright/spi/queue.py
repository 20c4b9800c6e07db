"""The outbox: jobs, ledgers that keep them, dispatchers that hand them out. Import them from `mailwright.spi`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from mailwright.ports import Clock

if TYPE_CHECKING:
    import asyncio

JobState = Literal[
    "scheduled", "queued", "sending", "unknown", "sent", "partial", "failed", "held", "cancelled", "quarantined"
]
JobVerb = Literal["retry", "cancel", "hold", "release", "purge"]


@frozen(kw_only=True)
class Job:
    """One message as a ledger keeps it. Times are Unix seconds; what is in `payload` and `result` is core's business.

    Attributes:
        id: Unique; sorts by age.
        state: Where it stands.
        message_id: With angle brackets, the same for every attempt.
        connection: Name of the saved connection.
        payload: The message.
        result: What became of each recipient so far.
        run_at: When it is due.
        priority: Higher goes first.
        on_unknown: What happens where an outcome is not known.
        tags: To filter by.
        contents: Names of the contents that `payload` refers to.
        key: Idempotency key.
        key_until: How long the key is kept.
        created, updated: When.
        attempts: Tries begun, counted before each try.
        starts: Tries begun since one last came to a result; more than a few: it kills its workers.
        reason: Why it is where it is, in one line.
    """

    id: str
    state: JobState = "queued"
    message_id: str
    connection: str
    payload: bytes = field(repr=False)
    result: bytes = field(default=b"", repr=False)
    run_at: float
    priority: int = 0
    on_unknown: Literal["retry", "hold"] = "retry"
    tags: tuple[str, ...] = ()
    contents: tuple[str, ...] = field(default=(), repr=False)
    key: str | None = None
    key_until: float = 0.0
    created: float
    updated: float
    attempts: int = 0
    starts: int = 0
    reason: str = ""


@frozen(kw_only=True)
class Claim:
    """A job in the hands of one worker. Every write names the fence; a stale one raises `LeaseLost`."""

    job: Job
    fence: int

    @property
    def job_id(self) -> str:
        """Of the job."""
        return self.job.id

    @property
    def attempt(self) -> int:
        """Which try this is, counted durably before the claim was handed out."""
        return self.job.attempts


@frozen(kw_only=True)
class Verdict:
    """What an attempt came to.

    Attributes:
        state: The next one.
        result: What became of each recipient so far.
        run_at: When it is due again, in Unix seconds; None: never by itself.
        reason: Why, in one line.
        drop: The payload and its contents are not needed any more.
        counted: False: no try was made after all, take it off the count.
    """

    state: JobState
    result: bytes = field(default=b"", repr=False)
    run_at: float | None = None
    reason: str = ""
    drop: bool = False
    counted: bool = True


ASKED: Final = "asked for again"
"""Reason of a job that an operator's ``retry`` has put back."""


@frozen(kw_only=True)
class Selection:
    """Which jobs; what is empty does not narrow it."""

    ids: tuple[str, ...] = ()
    states: tuple[JobState, ...] = ()
    tag: str | None = None
    older_than: float | None = None


@frozen(kw_only=True)
class Suppression:
    """An address that is not mailed to any more.

    Attributes:
        address: Mailbox, in lower case.
        reason: Why, in one line.
        until: Unix seconds.
    """

    address: str
    reason: str = ""
    until: float


class Ledger(Protocol):
    """The truth about queued messages: an SQL database. Whatever it writes is durable when the call returns.

    A job is *due* when it is queued (or scheduled) and its time has come, or when the lease of its worker has run out
    and it may be tried again: state ``sending``, or ``unknown`` with ``on_unknown="retry"``. Engines without an ability
    raise `ConfigurationError` where it is asked for.
    """

    @property
    def abilities(self) -> frozenset[Literal["transaction", "hosts", "one_writer"]]:
        """``transaction``: `add` joins one of the caller's. ``hosts``: workers may be on several machines.

        ``one_writer``: while a transaction is open nobody else can write, so the contents of its messages go into it too.
        """
        ...

    async def migrate(self) -> int:
        """Make or update the tables; returns the schema's version. Safe to repeat, also by several at once."""
        ...

    async def add(self, jobs: Sequence[Job], *, transaction: object | None = None) -> Sequence[str]:
        """Store jobs, all or none; the ids they have, which is an earlier job's where a key is known already."""
        ...

    async def take(self, *, limit: int, lease_s: float, suspects: bool = False) -> Sequence[Claim]:
        """Take due jobs, by priority, then by time; counts the attempt.

        Args:
            limit: At most so many.
            lease_s: How long they are ours, in seconds.
            suspects: Those that were begun twice without a result, and only those; else all others.
        """
        ...

    async def claim(self, job_id: str, *, lease_s: float) -> Claim | None:
        """Take one job if it is due; counts the attempt."""
        ...

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> Sequence[Claim]:
        """Keep jobs; returns those that are lost."""
        ...

    async def commit(self, claim: Claim, *, lease_s: float) -> None:
        """Enter ``unknown``: from here on the message may have been delivered. Raises `LeaseLost`."""
        ...

    async def record(self, claim: Claim, verdict: Verdict) -> None:
        """Write what an attempt came to, and let go. Raises `LeaseLost`."""
        ...

    async def read(self, ids: Sequence[str]) -> Sequence[Job]:
        """The jobs that exist, in the order asked for."""
        ...

    async def page(self, selection: Selection, *, limit: int, before: str | None = None) -> Sequence[Job]:
        """Jobs without their payload, newest first, those before the id `before`."""
        ...

    async def change(self, selection: Selection, verb: JobVerb, *, limit: int = 1000) -> int:
        """An operator's verb on at most `limit` jobs; how many changed. Jobs in a worker's hands are left alone.

        retry: failed, partial, held, quarantined, cancelled, or unknown → queued, due now, if the payload is kept; its
        reason becomes `ASKED`, by which the worker knows that those refused for good are tried again too.
        cancel: scheduled, queued, held or unknown → cancelled. hold: scheduled or queued → held.
        release: held → queued. purge: forget those that have ended.
        """
        ...

    async def stats(self, *, tag: str | None = None) -> Mapping[str, float]:
        """Jobs by state; ``due`` and ``oldest_due_s`` of those waiting for a worker."""
        ...

    async def put_contents(self, contents: Mapping[str, bytes], *, transaction: object | None = None) -> None:
        """Keep contents by their hash; one that is there already is not written again, but kept for an hour more.

        `transaction` is given to ledgers with the ability ``one_writer`` only.
        """
        ...

    async def content(self, name: str) -> bytes:
        """One content. Raises KeyError."""
        ...

    async def clean(self, *, limit: int = 500) -> int:
        """Forget contents nobody refers to, keys and suppressions past their time; how many, at most about `limit`."""
        ...

    async def admit(self, key: str, *, rate: float, burst: int, tokens: int = 1) -> float:
        """GCRA over all workers: 0 and the tokens are taken, or the seconds to wait and none is."""
        ...

    async def suppress(self, entries: Sequence[Suppression]) -> None:
        """Add or renew suppressions."""
        ...

    async def suppressed(self, addresses: Sequence[str]) -> Sequence[Suppression]:
        """Those of `addresses`, in lower case, that are suppressed now."""
        ...

    async def suppressions(self, *, limit: int, after: str = "") -> Sequence[Suppression]:
        """All of them, by address."""
        ...

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Remove; how many there were."""
        ...

    async def aclose(self) -> None:
        """Close; safe to repeat."""
        ...


@runtime_checkable
class SharingLedger(Protocol):
    """What a `Ledger` can do beyond, for workers that share accounts and for dispatchers over brokers.

    A ledger without it works: its workers say that ``limits.connections`` holds for each of them alone.
    """

    async def due(self, *, limit: int) -> Sequence[str]:
        """Ids of jobs that `Ledger.take` would give now, suspects left out; at most `limit`. Takes nothing."""
        ...

    async def share(self, key: str, holder: str, *, using: int, wanted: int, most: int, lease_s: float) -> int:
        """How many of `most` places `holder` may use until it asks again, at most for `lease_s` seconds.

        Who asks tells what it uses, which is its own until it says otherwise; the rest is divided as by `fair_share`.

        Args:
            key: What the places are of: an account.
            holder: Who asks.
            using: Places it cannot give up now.
            wanted: Places it could use; 0, and nothing in use: it gives up all it has.
            most: Places there are for all holders.
            lease_s: How long a holder that says nothing more keeps its places, in seconds.
        """
        ...


def fair_share(wanted: Mapping[str, int], *, most: int, turn: int) -> dict[str, int]:
    """Divide places: nobody gets fewer than another one who wants no more; what nobody wants is divided evenly.

    Args:
        wanted: By holder.
        most: Places there are.
        turn: Counts up with time: where a place cannot be divided, the holders have it by turns.
    """
    names = sorted(wanted)
    shares = dict.fromkeys(names, 0)
    left, open_ = most, [name for name in names if wanted[name] > 0]
    while open_ and left >= len(open_):
        step = min(left // len(open_), *(wanted[name] - shares[name] for name in open_))
        for name in open_:
            shares[name] += step
        left -= step * len(open_)
        open_ = [name for name in open_ if shares[name] < wanted[name]]
    if not open_:  # everybody has what they want
        open_ = [name for name in names if wanted[name] > 0]
        for name in open_:
            shares[name] += left // len(open_)
        left = left % len(open_) if open_ else 0
    for place in range(left):
        shares[open_[(place + turn) % len(open_)]] += 1
    return shares


class Dispatcher(Protocol):
    """Who works on which job when."""

    async def put(self, jobs: Sequence[tuple[str, datetime, int]], *, transaction: object | None = None) -> None:
        """Announce jobs that are in the ledger: id, time, priority."""
        ...

    async def work(
        self,
        run: Callable[[Claim], Awaitable[datetime | None]],
        *,
        concurrency: int,
        lease_s: float,
        stop: asyncio.Event,
    ) -> None:
        """Claim jobs in the ledger and run them until `stop` is set; then finish those under way and return.

        `run` returns when the job is due again, None for never. It raises only where the ledger could not be written:
        then the lease runs out and somebody takes the job over.
        """
        ...

    async def aclose(self) -> None:
        """Close; safe to repeat."""
        ...


@frozen(kw_only=True)
class QueueEngine:
    """An outbox engine.

    Attributes:
        schemes: Of its URLs.
        ledger: Opens the ledger; None: the URL names one (``?ledger=``).
        dispatcher: Opens the dispatcher; None, or giving None: the ledger's own leases.
        exists: Whether there is an outbox at a URL already, without making one; None: not known before it is opened.
    """

    schemes: tuple[str, ...]
    ledger: Callable[[str, Clock], Awaitable[Ledger]] | None = None
    dispatcher: Callable[[str, Ledger, Clock], Awaitable[Dispatcher | None]] | None = None
    exists: Callable[[str], Awaitable[bool]] | None = None

    def __attrs_post_init__(self) -> None:
        if self.ledger is None and self.dispatcher is None:
            msg = f"{', '.join(self.schemes)}: give a ledger or a dispatcher"
            raise ValueError(msg)
