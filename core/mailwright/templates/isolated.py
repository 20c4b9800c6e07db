"""Rendering in a process of its own, for templates that somebody else wrote: a time limit that holds, whatever they do.

The process is given the node without its connections, and states; it has no environment, may write no file and has bounded
memory. What comes back is JSON: nothing of it is ever executed.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from mailwright.errors import TemplateError

if TYPE_CHECKING:
    from mailwright.model import NodeDocument
    from mailwright.templates.fields import State

MAX_ANSWER: Final = 64 << 20
START_S: Final = 20.0
"""For the process to come up; the limit of rendering begins afterwards."""


class RenderProcess:
    """One process for one node; started when first needed, again after it was killed.

    Args:
        document: The node.
        timeout_s: Seconds for one state.
    """

    def __init__(self, document: NodeDocument, *, timeout_s: float) -> None:
        self._document = evolve(document, connection=(), options={})
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()

    async def render(self, state: State) -> dict[str, Any]:
        """As `render_plain`.

        Raises:
            TemplateError: When it takes too long, or the process dies.
        """
        async with self._turn:
            try:
                process = await self._started()
                self._send(process, pickle.dumps((dict(state.input), dict(state.context))))
                async with asyncio.timeout(self._timeout_s):
                    return await _answer(process)
            except TimeoutError:
                msg = f"rendering took longer than {self._timeout_s:g} s (--render-timeout)"
                raise TemplateError(msg) from None
            except (OSError, EOFError, ValueError, asyncio.IncompleteReadError) as error:
                msg = "rendering ended its process: it took too much memory, or was killed"
                raise TemplateError(msg) from error
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                msg = f"the state cannot be handed to another process: {error}"
                raise TemplateError(msg) from None
            finally:
                if sys.exc_info()[0] is not None:
                    await self.aclose()

    async def aclose(self) -> None:
        """End the process; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        loop = asyncio.get_running_loop()
        if self._process is not None and self._process.returncode is None and self._loop is loop:
            return self._process
        await self.aclose()
        self._loop = loop
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from mailwright.templates.worker import main; main()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": paths, "PYTHONUTF8": "1"},
        )
        self._send(process, pickle.dumps(self._document))
        async with asyncio.timeout(START_S):
            await _answer(process)
        return process

    @staticmethod
    def _send(process: asyncio.subprocess.Process, data: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(len(data).to_bytes(4, "big") + data)


async def _answer(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    if length > MAX_ANSWER:
        msg = "too large an answer"
        raise ValueError(msg)
    found = json.loads(await process.stdout.readexactly(length))
    assert isinstance(found, dict)
    return found
