"""From a message to a row: prepared, checked and written down before the caller goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen

from mailwright.errors import ConfigurationError, MessageError
from mailwright.model import Message, Receipt
from mailwright.outbox import results
from mailwright.outbox.attempts import refused
from mailwright.outbox.payload import Stored, pack
from mailwright.spi import Job

if TYPE_CHECKING:
    from mailwright.model import Envelope
    from mailwright.outbox.contents import Contents
    from mailwright.ports import Clock
    from mailwright.sending import AnyMessage, Draft, Sending

KEY_S: Final = 7 * 86400.0
_LONGEST: Final = 200
_FIRST: Final = 1970
_LAST: Final = 9000


@frozen(kw_only=True)
class Order:
    """How one message is to be sent; see `Outbox.enqueue`."""

    connections: tuple[str, ...]
    at: datetime | None = None
    priority: int = 0
    idempotency_key: str | None = None
    tags: tuple[str, ...] = ()
    on_unknown: Literal["retry", "hold"] = "retry"
    key_s: float = KEY_S
    hold: bool = False
    envelope: Envelope | None = field(default=None)

    def __attrs_post_init__(self) -> None:
        if self.at is not None and (not isinstance(self.at, datetime) or self.at.utcoffset() is None):
            msg = f"at: a datetime with a time zone, not {self.at!r}"
            raise ConfigurationError(msg)
        if self.at is not None and not _FIRST <= self.at.year <= _LAST:  # others cannot be shown in every zone
            msg = f"at: a year between {_FIRST} and {_LAST}, not {self.at.year}"
            raise ConfigurationError(msg)
        if self.on_unknown not in {"retry", "hold"}:
            msg = f"on_unknown: retry or hold, not {self.on_unknown!r}"
            raise ConfigurationError(msg)
        if self.idempotency_key is not None and not 0 < len(self.idempotency_key) <= _LONGEST:
            msg = f"idempotency_key: 1 to {_LONGEST} characters"
            raise ConfigurationError(msg)
        for tag in self.tags:
            if not tag or len(tag) > _LONGEST or not tag.isprintable():
                msg = f"tags: {tag[:40]!r} is not a tag of 1 to {_LONGEST} printable characters"
                raise ConfigurationError(msg)
        if abs(self.priority) > 1000:
            msg = f"priority: between -1000 and 1000, not {self.priority}"
            raise ConfigurationError(msg)


def connection_names(connection: object) -> tuple[str, ...]:
    """Names only: a row must not hold what a connection document holds."""
    names: Sequence[object] = (connection,) if isinstance(connection, str) else ()
    if isinstance(connection, (list, tuple)):
        names = connection
    if not names or not all(isinstance(name, str) and name for name in names):
        msg = (
            "connection: the outbox takes names of saved connections, not documents, so that no secret is queued; "
            "save it as [connections.NAME] in mailwright.toml"
        )
        raise ConfigurationError(msg)
    return tuple(str(name) for name in names)


class Intake:
    """Makes rows.

    Args:
        contents: Where contents go.
        clock: Time.
        open_sending: What prepares and checks messages for connections.
    """

    def __init__(self, contents: Contents, clock: Clock, open_sending: Callable[[tuple[str, ...]], Sending]) -> None:
        self._contents = contents
        self._clock = clock
        self._open_sending = open_sending
        self._sendings: dict[tuple[str, ...], Sending] = {}
        self._last = 0

    async def job(self, message: AnyMessage, order: Order, contents: Contents | None = None) -> tuple[Job, Receipt]:
        """The row of a message, its contents stored already, or in `contents`; and the receipt its author gets.

        Raises:
            MailwrightError: As `Mailer.send` before it opens a session.
        """
        if order.connections not in self._sendings:
            self._sendings[order.connections] = self._open_sending(order.connections)
        draft = await self._sendings[order.connections].accepted(message, order.envelope)
        stored = _stored(draft, message, order)
        payload, names = await pack(stored, self._contents if contents is None else contents)
        now = self._clock.now().timestamp()
        run_at = now if order.at is None else order.at.timestamp()
        receipt = Receipt(
            message_id=draft.composed.message_id,
            envelope=draft.envelope,
            size=draft.composed.size,
            provider=draft.connection.provider,
            statuses=refused(draft.kept_back, stage="prepare"),
        )
        tags = tuple(dict.fromkeys((*order.tags, *(message.tags if isinstance(message, Message) else ()))))
        job = Job(
            id=self._new_id(now),
            state="held" if order.hold else "scheduled" if run_at > now else "queued",
            message_id=draft.composed.message_id,
            connection=", ".join(order.connections),
            payload=payload,
            result=results.dump(receipt),
            run_at=run_at,
            priority=order.priority,
            on_unknown=order.on_unknown,
            tags=tags,
            contents=names,
            key=order.idempotency_key,
            key_until=now + order.key_s,
            created=now,
            updated=now,
        )
        return job, Receipt(
            message_id=job.message_id,
            envelope=draft.envelope,
            size=receipt.size,
            provider=receipt.provider,
            job_id=job.id,
        )

    def _new_id(self, now: float) -> str:
        """Sorts by age: milliseconds, then chance; never backwards within a process."""
        self._last = max(self._last + 1, int(now * 1_000_000))
        return f"{self._last:014x}{os.urandom(6).hex()}"

    async def aclose(self) -> None:
        """Close what was opened to prepare messages."""
        sendings, self._sendings = self._sendings, {}
        for sending in sendings.values():
            await sending.aclose()


def _stored(draft: Draft, message: AnyMessage, order: Order) -> Stored:
    if not draft.envelope.recipients:
        raise MessageError("no recipients")
    return Stored(
        message=draft.message,
        octets=None if isinstance(message, Message) else bytes(draft.composed),
        envelope=draft.envelope,
        kept_back=draft.kept_back,
        connections=order.connections,
    )
