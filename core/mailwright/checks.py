"""What is wrong with a connection as far as it can be known without connecting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from mailwright.connections import Saved, find_connection, reveal
from mailwright.errors import AuthError, DocumentError, MailwrightError, PluginError, Problem, SecretError
from mailwright.model import Connection, Secret

if TYPE_CHECKING:
    from mailwright.registry import Registry


async def connection_problems(
    reference: Connection | Mapping[str, Any] | str, path: str, *, registry: Registry, saved: Saved | None
) -> list[Problem]:
    """Look a connection up, and reveal each of its secrets, which are thrown away at once.

    Args:
        reference: As in a document.
        path: Of the reference.
        registry: Plugins.
        saved: Where names are looked up.

    Returns:
        Every mistake.
    """
    try:
        connection = await find_connection(reference, registry=registry, saved=saved)
    except MailwrightError as error:
        return as_problems(error, path)
    found: list[Problem] = []
    for where, secret in _secrets(connection):
        try:
            await reveal(secret, registry)
        except MailwrightError as error:
            found += as_problems(error, f"{path}.{where}")
    return found


def _secrets(connection: Connection) -> Iterator[tuple[str, Secret]]:
    settings = [("options", connection.settings)]
    if connection.auth is not None:
        settings.append(("auth", connection.auth[1]))
    for part, holder in settings:
        for attribute in attrs.fields(type(holder)):
            value = getattr(holder, attribute.name)
            if isinstance(value, Secret):
                yield f"{part}.{attribute.name.strip('_')}", value


def as_problems(error: MailwrightError, path: str) -> list[Problem]:
    """An error about a connection, with paths from the document that names it."""
    if isinstance(error, DocumentError):
        return [attrs.evolve(problem, path=path + problem.path.removeprefix("$")) for problem in error.problems]
    code = "no-connection"
    if isinstance(error, (SecretError, AuthError)):
        code = "secret"
    elif isinstance(error, PluginError):
        code = "plugin"
    inner, colon, message = error.message.partition(": ")
    if colon and inner.startswith("$."):
        return [Problem(code=code, path=path + inner.removeprefix("$"), message=message)]
    return [Problem(code=code, path=path, message=error.message)]
