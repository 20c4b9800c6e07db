"""From what a user wrote to a `Connection`: saved ones by name, inline documents, and their secrets."""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mailwright import documents
from mailwright.documents import read, structure_connection
from mailwright.errors import ConfigurationError, SecretError
from mailwright.model import Connection, Secret

if TYPE_CHECKING:
    from mailwright.model import Trust
    from mailwright.registry import Registry

Saved: TypeAlias = (
    "Mapping[str, Connection | Mapping[str, Any]] | Callable[[str], Awaitable[Connection | Mapping[str, Any]]]"
)
"""Where an embedder keeps connections: a mapping, or an async look-up that raises KeyError."""

PROJECT_FILE = "mailwright.toml"


def load_connection(
    source: str | Path | Mapping[str, Any], *, trust: Trust = "own", registry: Registry | None = None
) -> Connection:
    """Read a connection document.

    Args:
        source: A mapping, or the path of a JSON, TOML or YAML file.
        trust: ``untrusted`` for documents that came over an API.
        registry: Knows the providers; default: the process's.

    Returns:
        The connection.

    Raises:
        DocumentError: With every mistake at once.
    """
    document = source if isinstance(source, Mapping) else read(Path(source))
    return structure_connection(document, registry or _default(), trust=trust)


def connection_schema(*, registry: Registry | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of connection documents, for forms and editors.

    Args:
        registry: Plugins, a choice or branch for each; default: the process's.

    Returns:
        Plain values. Beyond the standard's words: ``x-secret`` and ``x-groups``.
    """
    return documents.connection_schema(registry or _default())


async def find_connection(
    reference: str | Mapping[str, Any] | Connection, *, registry: Registry, saved: Saved | None = None
) -> Connection:
    """The connection that a node or a mailer names.

    Raises:
        ConfigurationError: When no connection of that name is saved.
        DocumentError: When its document has mistakes.
    """
    if isinstance(reference, Connection):
        return reference
    if isinstance(reference, Mapping):
        return structure_connection(reference, registry)
    found: Connection | Mapping[str, Any] | None
    if saved is None:
        found = _from_files(reference)
    elif isinstance(saved, Mapping):
        found = saved.get(reference)
    else:
        try:
            found = await saved(reference)
        except KeyError:
            found = None
    if found is None:
        msg = f"no connection is saved under the name {reference!r}"
        if saved is None:
            places = " or ".join(str(path) for path in saved_files())
            msg += f": run `mailwright connections add {reference}`, or write [connections.{reference}] in {places}"
            if Path(reference).suffix.lower() in documents.FORMATS:
                msg += f"; a file is read by load_connection({reference!r})"
        raise ConfigurationError(msg)
    if isinstance(found, Connection):
        return found
    return structure_connection({"name": reference, **found}, registry)


def saved_files() -> tuple[Path, ...]:
    """Where saved connections are looked for: the project's file, then the user's configuration folder."""
    import platformdirs  # noqa: PLC0415 - only for saved connections

    return Path(PROJECT_FILE), platformdirs.user_config_path("mailwright") / "connections.toml"


def is_saved(name: str) -> bool:
    """Whether one of the files has a connection of that name."""
    return _from_files(name) is not None


def saved_connections() -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """Every saved connection: its file and its document. The project's file beats the user's.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    found: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for path in saved_files():
        for name, document in _connections_in(path).items():
            found.setdefault(name, (path, document))
    return found


def _connections_in(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        msg = f"{path}: {error}"
        raise ConfigurationError(msg) from error
    connections = document.get("connections", {})
    if not isinstance(connections, dict):
        return {}
    return {name: found for name, found in connections.items() if isinstance(found, dict)}


def _from_files(name: str) -> Mapping[str, Any] | None:
    for path in saved_files():
        if (found := _connections_in(path).get(name)) is not None:
            return found
    return None


async def reveal(secret: Secret, registry: Registry) -> str:
    """Turn a secret into text: by its scheme, if the word before the first colon is one; else it is the text itself.

    Raises:
        SecretError: Names the reference's scheme, never a value.
    """
    prefix, colon, rest = secret.reference.partition(":")
    if not colon or not prefix.isidentifier() or (scheme := registry.secret_scheme(prefix)) is None:
        return secret.reference
    try:
        return await scheme.reveal(rest)
    except (OSError, KeyError, ValueError) as error:
        msg = f"the secret {prefix}:{rest} cannot be read: {type(error).__name__}"
        raise SecretError(msg) from error


def _default() -> Registry:
    from mailwright.registry import default_registry  # noqa: PLC0415 - only when none was handed in

    return default_registry()
