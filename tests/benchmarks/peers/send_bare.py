"""python send_bare.py, work as JSON on stdin: what a pipelining client costs that does nothing else; prints as the others do.

A ceiling, not a client: one body and one envelope for all messages, no checks, no time-outs, no errors, no TLS; answers are
looked at only to find 354.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

WORK = json.loads(sys.stdin.read())
COMMANDS = b"MAIL FROM:<me@example.org>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n"
MESSAGE = WORK["raw"].encode() + b".\r\n" + COMMANDS


class Bare(asyncio.BufferedProtocol):
    """One session."""

    left = 0
    done: asyncio.Future[None]

    def connection_made(self, transport: Any) -> None:
        """Say hello at once: the greeting is not looked at."""
        self.transport = transport
        self.buffer = memoryview(bytearray(1 << 14))
        self.begun = False
        transport.write(b"EHLO localhost\r\n")

    def get_buffer(self, sizehint: int) -> memoryview:
        """One for all reads."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Begin after EHLO; then a message for each 354."""
        answer = bytes(self.buffer[:nbytes])
        if not self.begun:
            if answer.startswith(b"250 ") or b"\r\n250 " in answer:
                self.begun = True
                self.transport.write(COMMANDS)
        elif answer.startswith(b"354") or b"\r\n354" in answer:
            Bare.left -= 1
            self.transport.write(MESSAGE)
            if not Bare.left:
                self.done.set_result(None)


async def main() -> None:
    """Send them all."""
    loop = asyncio.get_running_loop()
    Bare.done, Bare.left = loop.create_future(), WORK["count"]
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(WORK["sessions"]):
        await loop.create_connection(Bare, "127.0.0.1", WORK["port"])
    await Bare.done
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": WORK["count"] / seconds, "cpu": used / WORK["count"] * 1e6, "rss": rss}))


asyncio.run(main())
