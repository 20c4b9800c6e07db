"""What a connection makes of a message, without opening anything: endpoint, author, envelope, limits."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mailwright.errors import MailwrightError, MessageError
from mailwright.model import Address, Connection, Envelope, Limits, Message, Receipt, SmtpEndpoint, failure
from mailwright.spi import Pairing

if TYPE_CHECKING:
    from mailwright.ports import Composed
    from mailwright.spi import Provider


def merged_limits(provider: Limits, own: Limits | None) -> Limits:
    """The provider's, where the connection says nothing else."""
    return provider if own is None else evolve(provider, **own.said)


def endpoint_of(provider: Provider[Any], connection: Connection) -> SmtpEndpoint:
    """The provider's endpoint for the TLS the connection asks for; its preferred one where it does not offer that.

    A provider that names no choice (any host) follows, and the port moves with it.
    """
    assert provider.endpoint is not None
    endpoint = provider.endpoint(connection.settings)
    if connection.tls is None or connection.tls == endpoint.tls:
        return endpoint
    if provider.offers is not None:
        offered = provider.offers(connection.settings)
        return next((choice for choice in offered if choice.tls == connection.tls), endpoint)
    known = {465: "tls", 587: "starttls", 25: "starttls"}
    ports = {"tls": 465, "starttls": 587, "none": 25}
    port = ports[connection.tls] if known.get(endpoint.port) == endpoint.tls else endpoint.port
    return evolve(endpoint, tls=connection.tls, port=port)


def advice(provider: Provider[Any], connection: Connection, user: str | None) -> tuple[str, ...]:
    """What will not work, or not as meant: each with field, reason and fix."""
    found = []
    if provider.endpoint is not None and connection.tls is not None:
        endpoint = endpoint_of(provider, connection)
        if endpoint.tls != connection.tls:
            found.append(
                f"$.tls: {provider.title or provider.name} does not offer {connection.tls}; {endpoint.tls} on port "
                f"{endpoint.port} is used: leave tls away"
            )
    pairing = Pairing(
        auth=connection.auth[0] if connection.auth else None,
        user=user,
        sender=connection.from_.email if connection.from_ else None,
        tls=connection.tls,
    )
    return (*found, *provider.advise(connection.settings, pairing))


def explained(receipt: Receipt, provider: Provider[Any]) -> Receipt:
    """Where nobody was accepted and the provider knows why: its cause and fix in the error."""
    if receipt.accepted or receipt.unknown:
        return receipt
    error = failure(receipt)
    hint = provider.explain(error.reply) if error.reply is not None else None
    if hint is None or hint in error.message:
        return receipt
    told = copy(error)
    told.args = (f"{error.message} ({hint})",)
    return evolve(receipt, error=told)


def author_of(connection: Connection, user: str | None) -> Address | None:
    """Who writes where a message does not say: the connection's `from`, else the authenticated user."""
    if connection.from_ is not None:
        return connection.from_
    try:
        return Address(user) if user and "@" in user else None
    except MailwrightError:
        return None


def envelope_of(message: Message) -> Envelope:
    """The message's own envelope, else return path and recipients of its header (RFC 5321 §2.3.1).

    Raises:
        MessageError: Nobody is named as author.
    """
    if message.envelope is not None:
        return message.envelope
    if message.from_ is None:  # prepared messages have an author
        raise MessageError("from: nobody is named as author")
    author = message.sender or message.from_
    return Envelope(sender=author, recipients=message.recipients)


def staged(envelope: Envelope, connection: Connection) -> tuple[Envelope, tuple[str, ...]]:
    """Keep staging quiet: `redirect_to` takes all mail, `allow_recipients` lets only some through."""
    if connection.redirect_to:
        return evolve(envelope, recipients=connection.redirect_to), ()
    if not connection.allow_recipients:
        return envelope, ()
    allowed = {entry.lower().removeprefix("@") for entry in connection.allow_recipients}
    through = [
        address
        for address in envelope.recipients
        if address.lower() in allowed or address.rpartition("@")[2].lower() in allowed
    ]
    if not through:
        msg = "allow_recipients of the connection lets none of the recipients through"
        raise MessageError(msg, code="EENVELOPE")
    kept_back = tuple(address for address in envelope.recipients if address not in through)
    return evolve(envelope, recipients=through), kept_back


def check_limits(composed: Composed, envelope: Envelope, limits: Limits) -> None:
    """Refuse what the provider would.

    Raises:
        MessageError: Too large, or too many recipients.
    """
    if limits.size is not None and composed.size > limits.size:
        msg = f"the message has {composed.size} bytes, the provider takes {limits.size}"
        raise MessageError(msg)
    if limits.recipients is not None and len(envelope.recipients) > limits.recipients:
        msg = f"{len(envelope.recipients)} recipients, the provider takes {limits.recipients}"
        raise MessageError(msg, code="EENVELOPE")
