"""Secrets in environment variables: ``env:NAME``."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mailwright import hookimpl
from mailwright.errors import SecretError
from mailwright.spi import SecretScheme


async def reveal(name: str) -> str:
    """The variable's value."""
    value = os.environ.get(name)
    if not value:
        msg = f"env:{name}: the environment variable {name} is {'empty' if value == '' else 'not set'}"
        raise SecretError(msg)
    return value


@hookimpl
def mailwright_secret_schemes() -> Iterable[SecretScheme]:
    """One scheme."""
    yield SecretScheme(name="env", reveal=reveal)
