"""Secrets in the system's keyring: ``keyring:SERVICE/USER``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mailwright import hookimpl
from mailwright.errors import SecretError
from mailwright.spi import SecretScheme


def _read(name: str) -> str:
    service, slash, user = name.rpartition("/")
    if not slash or not service or not user:
        msg = f"keyring:{name}: write keyring:SERVICE/USER"
        raise SecretError(msg)
    try:
        import keyring.errors  # noqa: PLC0415 - an extra
    except ImportError:
        msg = f'keyring:{name}: run: pip install "mailwright[keyring]"'
        raise SecretError(msg) from None
    try:
        value = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:  # no keyring on this machine, or it stays locked
        msg = f"keyring:{name}: the system's keyring does not answer ({type(error).__name__}); use env: or file:"
        raise SecretError(msg) from None
    if value is None:
        msg = f"keyring:{name}: nothing is stored under that service and user; run: keyring set {service} {user}"
        raise SecretError(msg)
    return str(value)


async def reveal(name: str) -> str:
    """The stored password."""
    return await asyncio.to_thread(_read, name)


@hookimpl
def mailwright_secret_schemes() -> Iterable[SecretScheme]:
    """One scheme."""
    yield SecretScheme(name="keyring", reveal=reveal)
