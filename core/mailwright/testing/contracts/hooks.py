"""What lifecycle hooks owe: mail stays sound, nothing given is changed, every moment can be cancelled."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st

from mailwright.errors import MailwrightError, SendError, Veto
from mailwright.lifecycle import Lifecycle
from mailwright.model import ConnectionInfo, Envelope, Message, Receipt, RecipientStatus, Report
from mailwright.ports import Composed
from mailwright.registry import Registry
from mailwright.testing.contracts.plugin import PluginContract
from mailwright.testing.contracts.running import run
from mailwright.testing.laws import composed, hold
from mailwright.testing.strategies import messages

_BEFORE = ("mailwright_before_compose", "mailwright_before_send")
_AFTER = ("mailwright_after_send", "mailwright_send_failed")
_INFO = ConnectionInfo(name="law", provider="smtp", sender="zoe@example.org")


class HooksContract(PluginContract):
    """For plugins with lifecycle hooks: ``before_compose``, ``before_send``, ``after_send``, ``send_failed``.

    Attributes:
        connection: What the hooks are told of the connection.
    """

    connection: ConnectionInfo = _INFO

    def lifecycle(self) -> Lifecycle:
        """The hooks of this plugin alone, as core runs them."""
        return Lifecycle(Registry([self.module()], installed=False, environ={}))

    def test_it_has_a_lifecycle_hook(self) -> None:
        """There is something to check."""
        assert any(self._has(name) for name in (*_BEFORE, *_AFTER)), f"{self.module()!r} has no lifecycle hook"

    def test_before_compose_keeps_mail_sound(self) -> None:
        """Whatever the message: it is left alone, vetoed, or replaced by one that still obeys every law of mail."""
        self._need("mailwright_before_compose")
        lifecycle = self.lifecycle()

        async def changed(message: Message) -> Message | None:
            try:
                return await lifecycle.before_compose(message, self.connection)
            except Veto:
                return None

        def law(message: Message) -> None:
            before = bytes(composed(message))
            replaced = run(changed(message))
            assert bytes(composed(message)) == before, "the message it was given is changed"
            if replaced is not None:
                if replaced.message_id is None or replaced.date is None or replaced.from_ is None:
                    replaced = replaced.replace(
                        message_id=replaced.message_id or "<law@example.org>",
                        date=replaced.date or datetime(2026, 1, 2, tzinfo=UTC),
                        from_=replaced.from_ or "zoe@example.org",
                    )
                hold(replaced)

        self.every(law, messages())

    def test_before_send_keeps_octets_sound(self) -> None:
        """Whatever the octets: left alone, vetoed, or replaced by a `Composed` that replays and knows its size."""
        self._need("mailwright_before_send")
        lifecycle = self.lifecycle()

        async def law(message: Message) -> None:
            made = composed(message)
            before = bytes(made)
            envelope = Envelope(sender=message.from_, recipients=message.recipients)
            try:
                replaced: Composed = await lifecycle.before_send(made, envelope, self.connection)
            except Veto:
                return
            octets = bytes(replaced)
            assert bytes(made) == before, "the octets it was given are changed"
            assert b"".join(replaced) == octets == b"".join([chunk async for chunk in replaced]), "it does not replay"
            assert replaced.size == len(octets), "its size is not its length"
            assert replaced.message_id == made.message_id, "the Message-ID is fixed before this hook"
            assert b"\n" not in octets.replace(b"\r\n", b""), "lines end in CRLF"
            assert before.partition(b"\r\n\r\n")[2] == octets.partition(b"\r\n\r\n")[2], "the body is changed"

        self.every(lambda message: run(law(message)), messages())

    def test_observers_stand_every_outcome(self) -> None:
        """Sent, partial, failed, unknown; with and without a receipt: observers do not raise."""
        if not any(self._has(name) for name in _AFTER):
            pytest.skip("no observer")

        async def law(receipt: Receipt) -> None:
            if self._has("mailwright_after_send"):
                await self._direct("mailwright_after_send", receipt=receipt)
            if self._has("mailwright_send_failed"):
                error = SendError("nobody was accepted", receipt=receipt)
                await self._direct("mailwright_send_failed", error=error, receipt=receipt)
                await self._direct("mailwright_send_failed", error=MailwrightError("no session"), receipt=None)

        self.every(lambda receipt: run(law(receipt)), receipts())

    def test_async_hooks_can_be_cancelled(self) -> None:
        """Cancelled in its first breath, an async hook ends with it."""
        hooks = [getattr(self.module(), name) for name in (*_BEFORE, *_AFTER) if self._has(name)]
        message = Message(
            from_="zoe@example.org", to="ann@example.org", text="x", message_id="<law@example.org>",
            date=datetime(2026, 1, 2, tzinfo=UTC),
        )  # fmt: skip
        values = {
            "message": message,
            "composed": composed(message),
            "envelope": Envelope(sender=message.from_, recipients=message.recipients),
            "connection": self.connection,
            "receipt": Receipt(message_id="<law@example.org>"),
            "error": MailwrightError("no session"),
        }

        async def law() -> None:
            for hook in hooks:
                if inspect.iscoroutinefunction(hook):
                    task = asyncio.ensure_future(hook(*(values[name] for name in inspect.signature(hook).parameters)))
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait({task}, timeout=5)
                    assert task.done(), f"{hook.__name__} swallows its cancellation"

        run(law())

    def _has(self, name: str) -> bool:
        return hasattr(self.module(), name)

    def _need(self, name: str) -> None:
        if not self._has(name):
            pytest.skip(f"no {name}")

    async def _direct(self, name: str, **values: Any) -> None:
        hook = getattr(self.module(), name)
        values["connection"] = self.connection
        found = hook(*(values[argument] for argument in inspect.signature(hook).parameters))
        if inspect.isawaitable(found):
            await found


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Receipts with every mixture of outcomes."""
    outcomes = draw(st.lists(st.sampled_from(["accepted", "rejected", "unknown"]), max_size=4))
    statuses = tuple(
        RecipientStatus(
            address=f"r{number}@example.org",
            outcome=outcome,  # type: ignore[arg-type]
            permanent=draw(st.booleans()) if outcome == "rejected" else None,
            stage="final",
        )
        for number, outcome in enumerate(outcomes)
    )
    receipt = Receipt(message_id="<law@example.org>", provider="smtp")
    return receipt.merge(Report(statuses=statuses)) if statuses else receipt
