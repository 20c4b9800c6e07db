"""A server that takes everything, in a process of its own: `python _sink.py DELAY_MS [EXTENSION ...]` prints its port."""

from __future__ import annotations

import asyncio
import contextlib
import sys

DELAY_S = float(sys.argv[1]) / 1000
EXTENSIONS = sys.argv[2:] or ["PIPELINING", "8BITMIME"]
EHLO = "".join(f"250-{name}\r\n" for name in ["sink.example", *EXTENSIONS]).encode() + b"250 SIZE 0\r\n"
REPLIES = {b"EHLO": EHLO, b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}


class Sink(asyncio.Protocol):
    """Replies after the delay, in order, each command on its own clock: as a distant server would."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._buffer = bytearray()
        self._body = False
        self._chunk = 0
        self._say(b"220 sink\r\n")

    def _say(self, reply: bytes) -> None:
        if DELAY_S:
            asyncio.get_running_loop().call_later(DELAY_S, self._transport.write, reply)
        else:
            self._transport.write(reply)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        said: list[bytes] = []
        while self._step(said):
            pass
        if said:
            self._say(b"".join(said))

    def _step(self, said: list[bytes]) -> bool:
        if self._chunk:
            taken = min(self._chunk, len(self._buffer))
            del self._buffer[:taken]
            self._chunk -= taken
            if self._chunk or not taken:
                return False
            said.append(b"250 ok\r\n")
            return True
        if self._body:
            end = self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                del self._buffer[: max(0, len(self._buffer) - 4)]
                return False
            del self._buffer[: end + 5]
            self._body = False
            said.append(b"250 queued\r\n")
            return True
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        verb = line[:4].upper()
        if verb == b"BDAT":
            self._chunk = int(line.split()[1])
            if not self._chunk:
                said.append(b"250 ok\r\n")
            return True
        self._body = verb == b"DATA"
        said.append(REPLIES.get(verb, b"250 ok\r\n"))
        return True


async def main() -> None:
    """Serve until the parent goes."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
