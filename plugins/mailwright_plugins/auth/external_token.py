"""Tokens from the embedding application: a function it hands in, or names as ``module:function``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import Authenticator, AuthMethod, AuthTarget, Opening, Settings, SuppliedToken, SupplyGrant

Supplier = Callable[[str, AuthTarget, bool], Awaitable[SuppliedToken]]
"""Mailbox, what the token is for, whether the last one was refused → a token."""
_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _supplier(value: object) -> Any:
    if callable(value) or (isinstance(value, str) and _NAME.fullmatch(value)):
        return value
    raise ConfigurationError("an async function, or its name as module:function")


@frozen(kw_only=True)
class ExternalTokenSettings(Settings):
    """Whose tokens, and who has them."""

    user: str = field(metadata={"title": "User", "description": "The mailbox the token is for."})
    supplier: Any = field(
        repr=False,
        metadata={
            "title": "Supplier",
            "description": "An async function (user, target, renew) -> SuppliedToken, or its name as module:function.",
            "parse": _supplier,
            "schema": {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"},
        },
    )


def _loaded(supplier: Any) -> Supplier:
    if callable(supplier):
        return supplier  # type: ignore[no-any-return]
    module, _, name = str(supplier).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        msg = f"$.auth.supplier: {supplier} cannot be imported: {error}"
        raise ConfigurationError(msg) from error
    if not callable(found):
        msg = f"$.auth.supplier: {supplier} is no function"
        raise ConfigurationError(msg)
    return found  # type: ignore[no-any-return]


def _open(settings: ExternalTokenSettings, target: AuthTarget, opening: Opening) -> Authenticator:
    if opening.tokens is None:
        raise ConfigurationError("tokens are not available here")
    supplier = _loaded(settings.supplier)

    async def supply(renew: bool) -> SuppliedToken:
        return await supplier(settings.user, target, renew)

    return opening.tokens.authenticator(SupplyGrant(supply=supply), target=target, user=settings.user)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """One method."""
    yield AuthMethod(
        name="external_token",
        title="Tokens from this application",
        settings=ExternalTokenSettings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.user,
    )
