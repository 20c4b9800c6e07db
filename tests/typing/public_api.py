"""What type checkers see of every public name; checked by mypy and pyright in `nox -s types`, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal, assert_type

import mailwright
from mailwright import (
    Address,
    Calendar,
    Composed,
    Connection,
    DocumentError,
    Dsn,
    Envelope,
    FlowState,
    FlowStopped,
    Mailer,
    MailwrightError,
    Message,
    NodeOutcome,
    Part,
    PluginInfo,
    Priority,
    Problem,
    RawPart,
    Receipt,
    RecipientStatus,
    Registry,
    SendEmailNode,
    SendError,
    Veto,
    check_node,
    compose,
    connection_schema,
    hookimpl,
    load_connection,
    load_node,
    node_schema,
)
from mailwright.spi import Limits


def addresses() -> None:
    ann = Address("ann@example.org", "Ann")
    assert_type(ann.email, str)
    assert_type(ann.name, str)
    assert_type(str(ann), str)
    assert_type(Address.parse("Ann <ann@example.org>"), Address)
    assert_type(Address.parse_list("a@x.org, b@x.org"), tuple[Address, ...])


def messages() -> None:
    message = Message(
        from_="me@example.org",
        to=["a@x.org", Address("b@x.org")],
        cc="c@x.org",
        subject="Hi",
        html="<p>Hi</p>",
        text=False,
        attachments=[Part(content=b"x"), Part(content="text"), Part(content=Path("a.pdf")), RawPart(b"\r\nx")],
        calendar=Calendar(content="BEGIN:VCALENDAR", method="REQUEST"),
        priority="high",
        headers={"X-Own": "1"},
        dsn=Dsn(notify={"success"}),
        envelope=Envelope(sender=None, recipients=["a@x.org"]),
    )
    assert_type(message.from_, Address | None)
    assert_type(message.to, tuple[Address, ...])
    assert_type(message.recipients, tuple[Address, ...])
    assert_type(message.priority, Priority)
    assert_type(message.text, str | Literal[False] | None)
    assert_type(message.replace(subject="Ho"), Message)
    composed: Composed = compose(message)
    assert_type(bytes(composed), bytes)
    assert_type(composed.size, int)
    assert_type(composed.message_id, str)


def limits() -> None:
    most = Limits(rate=0.5, burst=2, connections=3, messages_per_session=10, idle=5, recipients=100, size=1_000_000)
    assert_type(most.rate, float | None)
    assert_type(most.burst, int)
    assert_type(most.connections, int)
    assert_type(most.messages_per_session, int)
    assert_type(most.idle, float)
    assert_type(most.said, Mapping[str, Any])


async def sending(message: Message, connection: Connection, ready: EmailMessage) -> None:
    async with Mailer(connection) as mailer:
        assert_type(mailer, Mailer)
        receipt = await mailer.send(message)
        assert_type(receipt, Receipt)
        assert_type(await mailer.send(ready, envelope=Envelope(recipients=["a@x.org"])), Receipt)
        assert_type(await mailer.send(b"From: a@x.org"), Receipt)
        async for each in mailer.send_many([message]):
            assert_type(each, Receipt)
        async for step in mailer.verify():
            assert_type(step, str)
        assert_type(await mailer.prepare(message), Message)
    assert_type(Mailer("support").send_sync(message), Receipt)
    with Mailer([{"provider": "sandbox"}, "support"]) as kept:
        assert_type(kept, Mailer)
    assert_type(receipt.accepted, tuple[RecipientStatus, ...])
    assert_type(receipt.rejected, tuple[RecipientStatus, ...])
    assert_type(receipt.unknown, tuple[RecipientStatus, ...])
    assert_type(receipt.to_result(), dict[str, Any])
    status = receipt.statuses[0]
    assert_type(status.address, str)
    assert_type(status.outcome, Literal["accepted", "rejected", "unknown"])
    assert_type(status.permanent, bool | None)


async def nodes() -> None:
    node = load_node("welcome.toml", trust="own")
    assert_type(node, SendEmailNode)
    outcome = await node.run(FlowState(input={"name": "Ann"}, context={}))
    assert_type(outcome, NodeOutcome)
    assert_type(outcome.ok, bool)
    assert_type(outcome.result, dict[str, Any])
    assert_type(outcome.error, MailwrightError | None)
    assert_type(outcome.state, FlowState)
    assert_type(await outcome.wait(), NodeOutcome)
    assert_type(node.run_sync(), NodeOutcome)
    assert_type(check_node({"to": "a@x.org"}), list[Problem])
    assert_type(node_schema(), dict[str, Any])
    assert_type(connection_schema(), dict[str, Any])
    assert_type(load_connection({"provider": "gmail"}), Connection)


def errors(failed: SendError, wrong: DocumentError, stopped: FlowStopped) -> None:
    assert_type(failed.receipt, Receipt)
    assert_type(failed.permanent, bool | None)
    assert_type(failed.code, str)
    assert_type(wrong.problems, tuple[Problem, ...])
    assert_type(wrong.problems[0].path, str)
    caught: tuple[MailwrightError, ...] = (failed, wrong, stopped, Veto("no"))
    assert_type(caught[0].response_code, int | None)


def plugins(found: Registry) -> None:
    assert_type(found.plugins, tuple[PluginInfo, ...])
    assert_type(found.label("provider", "gmail"), tuple[str, str])

    @hookimpl
    def mailwright_after_send(receipt: Receipt) -> None:
        """Observe."""

    hook: Mapping[str, Awaitable[None]] | object = mailwright_after_send
    assert hook


def every_name_is_here() -> None:
    assert_type(mailwright.__version__, str)
    assert_type(mailwright.__all__, list[str])
