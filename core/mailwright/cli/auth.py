"""`mailwright auth`: log in, and look after the tokens of saved connections."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mailwright.cli.output import show_json
from mailwright.connections import find_connection, saved_connections
from mailwright.credentials import Credential, open_credential
from mailwright.errors import ConfigurationError, MailwrightError
from mailwright.registry import default_registry
from mailwright.system import SystemClock, SystemEntropy

if TYPE_CHECKING:
    from mailwright.model import Connection
    from mailwright.oauth import Source


def login(name: str, *, device: bool, browser: bool) -> int:
    """Log in, and keep the tokens."""
    asyncio.run(_login(name, device=device, browser=browser))
    _say(f"✓ logged in: {name}")
    return 0


def status(name: str | None, *, json: bool) -> int:
    """One line for each connection that has tokens."""
    found = asyncio.run(_status(name))
    if json:
        show_json(found)
        return 0
    for row in found:
        _say(f"{row['name']}: {row['user']} {_words(row)}")
    if not found:
        _say("no saved connection keeps tokens")
    return 0


def refresh(name: str) -> int:
    """Get a new access token now."""
    row = asyncio.run(_refresh(name))
    _say(f"✓ renewed: {row['name']} {_words(row)}")
    return 0


def reset(name: str) -> int:
    """Forget cached tokens: the document's credential counts again."""
    kept = asyncio.run(_reset(name))
    _say(f"✓ reset: {name}" + (": the access token is forgotten, the login stays" if kept else ""))
    return 0


def logout(name: str) -> int:
    """Give the tokens back, and forget them."""
    _say(asyncio.run(_logout(name)))
    return 0


async def _login(name: str, *, device: bool, browser: bool) -> None:
    from mailwright.oauth.login import Login  # noqa: PLC0415 - only here

    connection, credential = await _credential(name)
    assert connection.auth is not None
    method = default_registry().auth_method(connection.auth[0])
    if method.login is not None:
        target = default_registry().provider(connection.provider).target(connection.settings)
        await method.login(connection.auth[1], target, credential.opening, _say)
        return
    source = _source(name, credential)
    person = Login(source, user=credential.user or "", clock=SystemClock(), entropy=SystemEntropy(), tell=_say)
    await (person.by_device() if device else person.by_browser(_browser if browser else _no_browser))


async def _status(name: str | None) -> list[dict[str, Any]]:
    found = []
    for known in [name] if name else list(saved_connections()):
        try:
            _, credential = await _credential(known)
        except MailwrightError as error:
            if name:
                raise
            found.append({"name": known, "user": "", "error": error.message})
            continue
        found += [await _row(known, credential, source) for source in credential.desk.sources]
    return found


async def _row(name: str, credential: Credential, source: Source) -> dict[str, Any]:
    state = await source.state()
    expires = (
        None
        if state.expires_at is None
        else datetime.fromtimestamp(state.expires_at, UTC).isoformat(timespec="seconds")
    )
    return {
        "name": name,
        "user": credential.user or "",
        "stored": state.stored,
        "expires": expires,
        "valid": state.expires_at is not None and state.expires_at > datetime.now(UTC).timestamp(),
        "renewable": state.can_renew,
    }


async def _refresh(name: str) -> dict[str, Any]:
    _, credential = await _credential(name)
    source = _source(name, credential)
    await source.refresh()
    return await _row(name, credential, source)


async def _reset(name: str) -> bool:
    from mailwright.model import RefreshGrant  # noqa: PLC0415 - with the command

    _, credential = await _credential(name)
    source = _source(name, credential)
    kept = isinstance(source.grant, RefreshGrant) and source.grant.refresh_token is None
    await source.forget(only_access=kept)
    await _forget_others(name, await source.key())
    return kept


async def _logout(name: str) -> str:
    from mailwright.oauth.login import revoke  # noqa: PLC0415 - only here

    _, credential = await _credential(name)
    source = _source(name, credential)
    record = await source.forget()
    await _forget_others(name, await source.key())
    token = record.refresh_token or record.access_token
    if token is None:
        return f"nothing was kept for {name}"
    if await revoke(source, token):
        return f"✓ logged out: {name}: tokens given back and forgotten"
    return f"✓ logged out: {name}: tokens forgotten (the provider has no revocation URL: withdraw consent in its account pages)"


async def _forget_others(name: str, key: str) -> None:
    """Tokens of earlier credentials of this connection."""
    from mailwright.oauth import FileTokenStore  # noqa: PLC0415 - with the command

    store = FileTokenStore()
    for other in store.keys():  # noqa: SIM118 - no mapping
        if other.startswith(f"{name}:") and other != key:
            await store.compare_and_swap(other, await store.load(other), None)


async def _credential(name: str) -> tuple[Connection, Credential]:
    registry = default_registry()
    connection = await find_connection(name, registry=registry)
    if connection.auth is None:
        msg = f"connection {name} does not log in: give it auth"
        raise ConfigurationError(msg)
    return connection, open_credential(connection, registry=registry, clock=SystemClock(), entropy=SystemEntropy())


def _source(name: str, credential: Credential) -> Source:
    if not credential.desk.sources:
        msg = f"connection {name} has nothing to log in or renew: its password or access token stands in the document"
        raise ConfigurationError(msg)
    return credential.desk.sources[0]


def _words(row: dict[str, Any]) -> str:
    if "error" in row:
        return str(row["error"])
    if not row["stored"]:
        return "no token yet" + ("" if row["renewable"] else f": run: mailwright auth login {row['name']}")
    life = f"access token until {row['expires']}" if row["valid"] else "access token expired"
    return f"{life}, {'renewed by itself' if row['renewable'] else 'cannot be renewed'}"


def _browser(url: str) -> bool:
    import webbrowser  # noqa: PLC0415 - only here

    return webbrowser.open(url)


def _no_browser(url: str) -> bool:
    return False


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
