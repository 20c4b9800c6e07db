"""The installed plugin: keys from the TOML file that MAILWRIGHT_DKIM names."""

from __future__ import annotations

import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from attrs import define

from mailwright import hookimpl
from mailwright.spi import Composed
from mailwright_dkim.keys import DkimError, DkimKey
from mailwright_dkim.signer import DkimSigner

MAILWRIGHT_SPI_VERSION: Final = 1
VARIABLE: Final = "MAILWRIGHT_DKIM"
_KEYS: Final = {"domain", "selector", "private_key_file", "private_key_env"}
_TOP: Final = {"keys", "require", "expires_s"}


@hookimpl(trylast=True)
def mailwright_before_send(composed: Composed) -> Composed | None:
    """Sign where MAILWRIGHT_DKIM is set; a file that cannot be used stops the message."""
    path = os.environ.get(VARIABLE)
    return _signer(Path(path)).sign(composed) if path else None


def _signer(path: Path) -> DkimSigner:
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        msg = f"{VARIABLE}: {path}: {error.strerror or error}"
        raise DkimError(msg) from None
    return _read(path, changed)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> DkimSigner:
    del changed  # a file that was written again is read again
    return load(path)


def load(path: Path) -> DkimSigner:
    """Read a file of keys.

    Args:
        path: TOML with ``require``, ``expires_s`` and ``[[keys]]`` of ``domain``, ``selector`` and ``private_key_file``
            (relative to the file) or ``private_key_env``.

    Raises:
        DkimError: Names the file, the place in it, and what to do.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path}: {error}"
        raise DkimError(msg) from None
    _known(document, _TOP, f"{path}: $")
    listed = document.get("keys")
    if not isinstance(listed, list) or not listed:
        msg = f"{path}: $.keys: write a [[keys]] table for each key"
        raise DkimError(msg)
    keys = [_key(given, path, f"{path}: $.keys[{index}]") for index, given in enumerate(listed)]
    expect = _Expect(document, f"{path}: $")
    return DkimSigner(keys, require=expect.of("require", bool, default=False), expires_s=expect.of("expires_s", int))


@define
class _Expect:
    table: dict[str, Any]
    where: str

    def of(self, name: str, kind: type, *, default: Any = None) -> Any:
        value = self.table.get(name, default)
        if value is not default and type(value) is not kind:
            msg = f"{self.where}.{name}: {kind.__name__}, not {type(value).__name__}"
            raise DkimError(msg)
        return value


def _key(given: Any, path: Path, where: str) -> DkimKey:
    if not isinstance(given, dict):
        msg = f"{where}: a table with domain, selector and private_key_file"
        raise DkimError(msg)
    _known(given, _KEYS, where)
    expect = _Expect(given, where)
    domain, selector = expect.of("domain", str), expect.of("selector", str)
    if domain is None or selector is None:
        msg = f"{where}.{'domain' if domain is None else 'selector'}: missing"
        raise DkimError(msg)
    file, variable = expect.of("private_key_file", str), expect.of("private_key_env", str)
    if (file is None) == (variable is None):
        msg = f"{where}: give either private_key_file or private_key_env"
        raise DkimError(msg)
    try:
        return DkimKey(domain=domain, selector=selector, private_key=_pem(file, variable, path, where))
    except DkimError as error:
        msg = error.message if error.message.startswith(where) else f"{where}.{error.message.removeprefix('dkim.')}"
        raise DkimError(msg) from None


def _pem(file: str | None, variable: str | None, path: Path, where: str) -> str:
    if file is not None:
        try:
            return (path.parent / file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{where}.private_key_file: {file}: {getattr(error, 'strerror', None) or error}"
            raise DkimError(msg) from None
    assert variable is not None
    try:
        return os.environ[variable]
    except KeyError:
        msg = f"{where}.private_key_env: the environment has no {variable}"
        raise DkimError(msg) from None


def _known(table: dict[str, Any], names: set[str], where: str) -> None:
    if unknown := sorted(set(table) - names):
        msg = f"{where}.{unknown[0]}: not a setting; there are {', '.join(sorted(names))}"
        raise DkimError(msg)
