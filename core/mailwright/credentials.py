"""A connection's credential in use: for sending, and for what people do with tokens (`mailwright auth`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from mailwright.connections import reveal
from mailwright.errors import AuthError
from mailwright.net import ConfiguredHttp
from mailwright.oauth.breaker import Cautious
from mailwright.oauth.desk import TokenDesk
from mailwright.spi import Opening

if TYPE_CHECKING:
    from mailwright.model import Connection, Secret
    from mailwright.ports import Clock, Entropy
    from mailwright.registry import Registry
    from mailwright.spi import Authenticator, TokenStore


@frozen(kw_only=True)
class Credential:
    """Who logs in, and how.

    Attributes:
        authenticator: In use; None: nobody logs in.
        user: The mailbox, where the method knows it.
        opening: What plugins of this connection are handed.
        desk: Its tokens.
    """

    authenticator: Authenticator | None = field(repr=False)
    user: str | None
    opening: Opening = field(repr=False)
    desk: TokenDesk = field(repr=False)


def open_credential(
    connection: Connection,
    *,
    registry: Registry,
    token_store: TokenStore | None = None,
    clock: Clock,
    entropy: Entropy,
) -> Credential:
    """Open the credential; nothing is sent yet.

    Args:
        connection: Whose.
        registry: Plugins.
        token_store: Where tokens are kept; None: the user's state folder.
        clock, entropy: Time and randomness.

    Raises:
        AuthError: Provider and method do not go together.
        ConfigurationError: Its settings cannot work.
    """

    async def revealed(secret: Secret) -> str:
        return await reveal(secret, registry)

    http = ConfiguredHttp(proxy=connection.proxy, ca_file=connection.ca_file)
    desk = TokenDesk(name=connection.name, http=http, reveal=revealed, store=token_store, clock=clock, entropy=entropy)
    opening = Opening(connection=connection.info, http=http, clock=clock, reveal=revealed, tokens=desk)
    if connection.auth is None:
        return Credential(authenticator=None, user=None, opening=opening, desk=desk)
    name, settings = connection.auth
    provider, method = registry.provider(connection.provider), registry.auth_method(name)
    target = provider.target(connection.settings)
    if provider.auth and name not in provider.auth:
        msg = f"$.auth.type: provider {provider.name} takes {' or '.join(provider.auth)}, not {name}"
        raise AuthError(msg, stage="prepare", command="API")
    if target.protocol not in method.protocols:
        msg = f"$.auth.type: {name} does not work over {target.protocol}"
        raise AuthError(msg, stage="prepare", command="API")
    opened = Cautious(method.open(settings, target, opening), clock)
    return Credential(authenticator=opened, user=method.user(settings), opening=opening, desk=desk)
