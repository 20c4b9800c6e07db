"""Trying to send one draft: again, and over further routes, as long as nothing can have been delivered twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve

from mailwright import mime
from mailwright.errors import LeaseLost, MailwrightError, MessageError
from mailwright.lifecycle import Lifecycle
from mailwright.model import Envelope, Receipt, RecipientStatus, Report
from mailwright.registry import Registry
from mailwright.routing import check_limits, explained
from mailwright.sending.drafts import Draft, Drafter
from mailwright.sending.routes import Route
from mailwright.spi import Commit, Submission

if TYPE_CHECKING:
    from mailwright.ports import Clock, Composed

_log = logging.getLogger("mailwright")
BACKOFF_S: Final = (1.0, 5.0, 15.0)
"""Seconds before the second, third and each further try."""
PATIENCE_S: Final = 60.0
"""The longest wait a server may ask for while somebody waits for `send`; the outbox waits longer."""


class Attempts:
    """Tries drafts.

    Args:
        drafter: Composes anew for another kind of route.
        hooks: Run before each attempt.
        registry: Of providers, to explain refusals.
        retries: Where the connection does not say.
        on_unknown: Whether an outcome that is not known is tried again.
        clock: Waits.
    """

    def __init__(
        self,
        drafter: Drafter,
        hooks: Lifecycle,
        *,
        registry: Registry,
        retries: int,
        on_unknown: Literal["hold", "retry"],
        clock: Clock,
    ) -> None:
        self._drafter = drafter
        self._hooks = hooks
        self._registry = registry
        self._retries = retries
        self._on_unknown = on_unknown
        self._clock = clock

    async def run(self, draft: Draft, routes: tuple[Route, ...], commit: Commit, index: int) -> Receipt:
        """Try; try again those refused for the moment; turn to the next route where nothing can have been delivered."""
        route = routes[0]
        report = await self.once(draft, draft.envelope, route, commit)
        composed = draft.composed
        receipt = Receipt.of(
            report,
            message_id=composed.message_id,
            envelope=draft.envelope,
            size=composed.size,
            provider=route.connection.provider,
            index=index,
        )
        if not _whole(receipt):
            receipt = await self._go_on(draft, routes, commit, receipt, report)
        return _with_kept_back(receipt, draft) if draft.kept_back else receipt

    async def _go_on(
        self, draft: Draft, routes: tuple[Route, ...], commit: Commit, receipt: Receipt, report: Report
    ) -> Receipt:
        """What comes of further tries, after one that not everybody accepted."""
        route, position = routes[0], 0
        most = route.connection.retries if route.connection.retries is not None else self._retries
        tries = 0
        while not _whole(receipt) and (waiting := self._waiting(receipt, route)):
            further = position + 1 < len(routes) and _takes(draft, routes[position + 1])
            if further and not receipt.accepted and not receipt.unknown:
                position += 1
                draft = self._drafter.moved(draft, route, routes[position])
                route = routes[position]
            elif (
                receipt.attempts - position > (max(most, 1) if receipt.unknown else most)
                or (report.retry_after_s or 0.0) > PATIENCE_S
            ):
                break
            else:
                await self._clock.sleep(report.retry_after_s or BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
            tries += 1
            open_for = Envelope(sender=draft.envelope.sender, recipients=tuple([status.address for status in waiting]))
            report = await self._again(draft, open_for, route, commit)
            receipt = receipt.merge(report, provider=route.connection.provider, doubtful=receipt.unknown)
        if not _whole(receipt):
            receipt = explained(receipt, self._registry.provider(route.connection.provider))
        return receipt

    def _waiting(self, receipt: Receipt, route: Route) -> list[RecipientStatus]:
        """Those that may be tried again."""
        if receipt.unknown and self._on_unknown == "hold":
            return []
        waiting = [status for status in receipt.rejected if not status.permanent]
        waiting += receipt.unknown
        everybody = len(waiting) == len(receipt.statuses)
        return waiting if everybody or route.transport.capabilities.per_recipient else []

    async def _again(self, draft: Draft, envelope: Envelope, route: Route, commit: Commit) -> Report:
        """A hook that fails once something was tried ends it; what earlier attempts came to must not be lost with it."""
        try:
            return await self.once(draft, envelope, route, commit)
        except LeaseLost:
            raise
        except MailwrightError as error:
            return Report.all(envelope, "rejected", stage=error.stage or "hook", permanent=True, error=error)

    async def once(self, draft: Draft, envelope: Envelope, route: Route, commit: Commit) -> Report:
        """One attempt.

        Args:
            draft: Composed for this kind of route.
            envelope: Whom it is for: some of the draft's recipients, or all.
            route: Over which.
            commit: Awaited before the point of no return.
        """
        composed = draft.composed
        signed: Composed = composed
        if self._hooks.signs:
            signed = await self._hooks.before_send(composed, envelope, route.info)
        if route.rate.limited:
            await route.rate.admit()
        if signed is not composed and route.composes:
            told = "what a before_send hook made of the octets (a signature?) is not carried: it composes by itself"
            _log.warning("provider %s: %s", route.connection.provider, told)
        submission = Submission(
            composed=signed,
            message=mime.with_text(draft.message) if route.composes else draft.message,
            envelope=envelope,
            idempotency_key=composed.message_id,
            deadline=self._clock.monotonic() + route.connection.timeouts.total,
            commit=commit,
            may_repeat=self._on_unknown == "retry",
        )
        return await route.transport.deliver(submission)


def _takes(draft: Draft, route: Route) -> bool:
    """Whether a further route is one for this message: an API composes by itself, a server may take less."""
    try:
        check_limits(draft.composed, draft.envelope, route.limits)
    except MessageError:
        return False
    return draft.ready is None or not route.composes


def _whole(receipt: Receipt) -> bool:
    """Whether everybody accepted."""
    for status in receipt.statuses:  # a generator for `all` takes longer
        if status.outcome != "accepted":
            return False
    return bool(receipt.statuses)


def _with_kept_back(receipt: Receipt, draft: Draft) -> Receipt:
    kept_back = [
        RecipientStatus(address=address, outcome="rejected", permanent=True, stage="prepare")
        for address in draft.kept_back
    ]
    return evolve(
        receipt,
        envelope=evolve(draft.envelope, recipients=(*draft.envelope.recipients, *draft.kept_back)),
        statuses=(*receipt.statuses, *kept_back),
    )
