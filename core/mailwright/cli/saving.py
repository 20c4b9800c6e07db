"""Writing saved connections: TOML that people may have commented, secrets somewhere else."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from mailwright.connections import saved_connections, saved_files
from mailwright.errors import ConfigurationError

SERVICE: Final = "mailwright"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Keep = Literal["keyring", "file"]


def check_name(name: str, *, replace: bool) -> None:
    """Raises `ConfigurationError` for a name that cannot be one, or is taken."""
    if not _NAME.fullmatch(name):
        msg = f"{name!r}: a connection is called by letters, digits, dots, dashes and underscores"
        raise ConfigurationError(msg)
    if not replace and name in (known := saved_connections()):
        msg = f"{name} is saved already in {known[name][0]}: choose another name, or say --replace"
        raise ConfigurationError(msg)


def save(name: str, document: Mapping[str, Any], *, project: bool) -> Path:
    """Write one connection; everything else in the file stays as it is.

    Args:
        name: Checked.
        document: Without literal secrets.
        project: Into the project's file instead of the user's.

    Returns:
        The file.
    """
    path = saved_files()[0 if project else 1]
    tomlkit, whole = _read(path)
    connections = whole.setdefault("connections", tomlkit.table(is_super_table=True))
    connections[name] = tomlkit.item(dict(document))
    _write(path, tomlkit.dumps(whole))
    return path


def saved(name: str) -> tuple[Path, Mapping[str, Any]]:
    """The file and the document of a connection. Raises `ConfigurationError` when there is none."""
    known = saved_connections()
    if name not in known:
        msg = f"no connection is saved under the name {name!r}: see `mailwright connections list`"
        raise ConfigurationError(msg)
    return known[name]


def remove(name: str) -> Path:
    """Take one connection, and the secrets we kept for it, away. Raises `ConfigurationError` when there is none."""
    path, document = saved(name)
    tomlkit, whole = _read(path)
    del whole["connections"][name]
    _write(path, tomlkit.dumps(whole))
    for text in _texts(document):
        _forget(name, text)
    return path


def keep_secret(name: str, field: str, value: str, *, keep: Keep | None) -> str:
    """Put a secret away; the reference that stands in the document.

    Args:
        name: The connection.
        field: Which secret, as ``password``.
        value: The secret.
        keep: Where; None: the keyring where there is one, else a file.
    """
    if keep != "file" and (reference := _in_keyring(f"{name}.{field}", value, must=keep == "keyring")) is not None:
        return reference
    path = _secrets() / f"{name}.{field}"
    _write(path, value)
    return f"file:{path}"


def _in_keyring(user: str, value: str, *, must: bool) -> str | None:
    try:
        import keyring  # noqa: PLC0415 - an extra
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        if must:
            raise ConfigurationError('no keyring: pip install "mailwright[keyring]", or say --keep file') from None
        return None
    try:
        keyring.set_password(SERVICE, user, value)
    except KeyringError as error:
        if must:
            msg = f"the system's keyring does not answer ({type(error).__name__}): say --keep file"
            raise ConfigurationError(msg) from None
        return None
    return f"keyring:{SERVICE}/{user}"


def _secrets() -> Path:
    return saved_files()[1].parent / "secrets"


def _forget(name: str, reference: str) -> None:
    """Only what `keep_secret` put there."""
    if reference.startswith(f"file:{_secrets()}{os.sep}{name}."):
        Path(reference.removeprefix("file:")).unlink(missing_ok=True)
    elif reference.startswith(f"keyring:{SERVICE}/{name}."):
        try:
            import keyring  # noqa: PLC0415 - an extra
            from keyring.errors import KeyringError  # noqa: PLC0415
        except ImportError:
            return
        try:
            keyring.delete_password(SERVICE, reference.partition("/")[2])
        except KeyringError:
            return


def _texts(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def _read(path: Path) -> tuple[Any, Any]:
    try:
        import tomlkit  # noqa: PLC0415 - writing only
    except ImportError:
        raise ConfigurationError('writing connections needs an extra: pip install "mailwright[cli]"') from None
    try:
        return tomlkit, tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit, tomlkit.document()
    except (OSError, ValueError) as error:
        msg = f"{path}: {error}"
        raise ConfigurationError(msg) from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for its owner alone; an existing file keeps its mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise ConfigurationError(msg) from error
