"""Secrets in files: ``file:PATH``. A file that others can read is refused."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from mailwright import hookimpl
from mailwright.errors import SecretError
from mailwright.spi import SecretScheme

MAX_BYTES = 65536


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer for ever


def _read(name: str) -> str:
    try:
        path = Path(name).expanduser()
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                msg = f"file:{name}: not a regular file"
                raise SecretError(msg)
            if os.name == "posix" and found.st_mode & 0o077:
                msg = f"file:{name}: others can read it; run: chmod 600 {path}"
                raise SecretError(msg)
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"file:{name}: {error.strerror}"
        raise SecretError(msg) from None
    except (ValueError, RuntimeError) as error:  # a NUL, a lone surrogate, a user without a home
        msg = f"file:{name!r}: no path of this machine: {error}"
        raise SecretError(msg) from None
    if len(text) > MAX_BYTES:
        msg = f"file:{name}: larger than {MAX_BYTES} bytes, so hardly a secret"
        raise SecretError(msg)
    try:
        return text.decode().strip("\r\n")
    except UnicodeDecodeError:
        msg = f"file:{name}: not UTF-8 text"
        raise SecretError(msg) from None


async def reveal(name: str) -> str:
    """The file's content without its last line end."""
    return await asyncio.to_thread(_read, name)


@hookimpl
def mailwright_secret_schemes() -> Iterable[SecretScheme]:
    """One scheme."""
    yield SecretScheme(name="file", reveal=reveal)
