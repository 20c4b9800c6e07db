"""``compose_python.py TOOL SECONDS``, work as JSON on stdin: prints messages per CPU second, octets and peak RSS as JSON."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import process_time
from typing import Any


def mailwright(work: dict[str, Any], content: bytes | None) -> Callable[[int], int]:
    """From the user's values to the last octet, validation included; attachments are thrown away as a socket would."""
    from os import urandom
    from pathlib import Path

    from mailwright.mime import compose
    from mailwright.model import Address, Message, Part

    def token() -> str:
        return urandom(16).hex()

    given: bytes | Path | None = Path(work["file"]) if work["file"] else content
    parts = [Part(content=given, filename="report.bin")] if given else ()

    def made(number: int) -> Message:
        return Message(
            from_=Address("joerg@example.org", "Jörg Müller"),
            to=(Address(f"zoe{number}@example.net", f"Zoë Beispiel {number}"),),
            subject=f"Grüße aus Köln, Nummer {number}",
            text=work["text"],
            html=work["html"],
            attachments=parts,
            message_id=f"<{token()}@example.org>",
            date=datetime.now(UTC),
        )

    def once(number: int) -> int:
        return sum(map(len, compose(made(number), token=token)))

    if not work["file"]:
        return once
    import asyncio

    async def read(number: int) -> int:
        return sum([len(chunk) async for chunk in compose(made(number), token=token, offload=asyncio.to_thread)])

    return lambda number: asyncio.run(read(number))


def stdlib(work: dict[str, Any], content: bytes | None) -> Callable[[int], int]:
    """`EmailMessage` with the SMTP policy."""
    from email.headerregistry import Address
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import formatdate, make_msgid

    def once(number: int) -> int:
        message = EmailMessage(policy=SMTP)
        message["From"] = Address("Jörg Müller", "joerg", "example.org")
        message["To"] = Address(f"Zoë Beispiel {number}", f"zoe{number}", "example.net")
        message["Subject"] = f"Grüße aus Köln, Nummer {number}"
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain="example.org")
        message.set_content(work["text"])
        if work["html"]:
            message.add_alternative(work["html"], subtype="html")
        if content:
            message.add_attachment(content, maintype="application", subtype="octet-stream", filename="report.bin")
        return len(message.as_bytes())

    return once


def main() -> None:
    """Warm up, then count."""
    tool, seconds = sys.argv[1], float(sys.argv[2])
    work = json.load(sys.stdin)
    size = work["size"]
    content = bytes(range(256)) * (size // 256) if size else None
    if tool == "mailwright-plain":
        sys.modules["pybase64"] = None  # type: ignore[assignment]  # as if the extra `speed` were not installed
    once = {"mailwright": mailwright, "mailwright-plain": mailwright, "stdlib": stdlib}[tool](work, content)
    first = work["first"]
    start = process_time()
    number = 0
    while not first and (number < (1 if content or work["file"] else 300) or process_time() - start < seconds / 4):
        once(number)
        number += 1
    count = octets = 0
    start = process_time()
    while count < first if first else process_time() - start < seconds:
        octets = once(count)
        count += 1
    rate = count / (process_time() - start)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump({"rate": rate, "octets": octets, "rss": rss}, sys.stdout)


if __name__ == "__main__":
    main()
