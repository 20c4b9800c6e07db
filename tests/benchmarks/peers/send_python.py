"""python send_python.py TOOL, work as JSON on stdin: prints messages a second, CPU µs a message, peak RSS in MiB."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

TOOL = sys.argv[1]
WORK = json.loads(sys.stdin.read())
COUNT, SESSIONS = WORK["count"], WORK["sessions"]


async def mailwright(measured: Callable[[Callable[[int], Awaitable[None]]], Awaitable[None]]) -> None:
    """Ready octets through `send_many`, or distinct messages composed on the way."""
    from mailwright import Address, Envelope, Mailer, Message

    limits = {"connections": SESSIONS, "messages_per_session": 1_000_000}
    connection = {"provider": "smtp", "host": "127.0.0.1", "port": WORK["port"], "tls": "none", "limits": limits}
    envelope = Envelope(sender="me@example.org", recipients=["you@example.net"])
    raw = WORK["raw"].encode()
    sender = Address("me@example.org", "Jörg Müller")

    def distinct(number: int) -> Message:
        return Message(
            from_=sender,
            to=Address(f"zoe{number}@example.net", f"Zoë {number}"),
            subject=f"Grüße, Nummer {number}",
            text=WORK["text"],
            html=WORK["html"],
        )

    async with Mailer(connection, on_unknown=WORK.get("on_unknown", "hold")) as mailer:

        async def run(count: int) -> None:
            if WORK["distinct"]:
                async for receipt in mailer.send_many(map(distinct, range(count)), concurrency=SESSIONS * 3):
                    assert receipt.status == "sent"
                return
            left = iter(range(count))

            async def some() -> None:
                for _ in left:
                    await mailer.send(raw, envelope=envelope)

            await asyncio.gather(*(some() for _ in range(WORK.get("at_once", SESSIONS * 3))))

        await measured(run)


async def peer(measured: Callable[[Callable[[int], Awaitable[None]]], Awaitable[None]]) -> None:
    """aiosmtplib over as many clients as sessions; distinct messages with EmailMessage."""
    from email.message import EmailMessage
    from email.policy import SMTP

    import aiosmtplib

    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=WORK["port"], start_tls=False, use_tls=False)
        for _ in range(SESSIONS)
    ]
    for client in clients:
        await client.connect()
        await client.ehlo()
    raw = WORK["raw"].encode()

    def distinct(number: int) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = "Jörg Müller <me@example.org>"
        message["To"] = f"Zoë {number} <zoe{number}@example.net>"
        message["Subject"] = f"Grüße, Nummer {number}"
        message.set_content(WORK["text"])
        message.add_alternative(WORK["html"], subtype="html")
        return message

    async def run(count: int) -> None:
        left = iter(range(count))

        async def some(client: Any) -> None:
            for number in left:
                if WORK["distinct"]:
                    await client.send_message(distinct(number))
                else:
                    await client.sendmail("me@example.org", ["you@example.net"], raw)

        await asyncio.gather(*map(some, clients))

    await measured(run)
    for client in clients:
        client.close()


async def main() -> None:
    """Warm up, then measure."""

    async def measured(run: Callable[[int], Awaitable[None]]) -> None:
        await run(WORK.get("warm", min(COUNT, SESSIONS * 2)))
        cpu, start = time.process_time(), time.perf_counter()
        await run(COUNT)
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rate": COUNT / seconds, "cpu": used / COUNT * 1e6, "rss": rss}))

    await (mailwright if TOOL.startswith("mailwright") else peer)(measured)


if TOOL.endswith("uvloop"):
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
