"""The hooks a plugin may implement. Record hooks yield frozen records; lifecycle hooks see a message on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from pluggy import HookspecMarker

from mailwright.errors import MailwrightError
from mailwright.model import ConnectionInfo, Envelope, Message, Receipt
from mailwright.ports import Composed
from mailwright.spi import AttachmentSource, AuthMethod, Provider, QueueEngine, SecretScheme

hookspec = HookspecMarker("mailwright")


@hookspec
def mailwright_providers() -> Iterable[Provider[Any]]:
    """Mail services.

    Returns:
        Records; called once, when a provider is first looked up.
    """
    return ()


@hookspec
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """Ways to authenticate.

    Returns:
        Records; called once.
    """
    return ()


@hookspec
def mailwright_attachment_sources() -> Iterable[AttachmentSource[Any]]:
    """Places attachments come from.

    Returns:
        Records; called once.
    """
    return ()


@hookspec
def mailwright_secret_schemes() -> Iterable[SecretScheme]:
    """Places secrets live in.

    Returns:
        Records; called once.
    """
    return ()


@hookspec
def mailwright_queue_engines() -> Iterable[QueueEngine]:
    """Engines of the outbox.

    Returns:
        Records; called once.
    """
    return ()


@hookspec
def mailwright_before_compose(
    message: Message, connection: ConnectionInfo
) -> Message | Awaitable[Message | None] | None:
    """Once a message, prepared, before it is composed.

    Args:
        message: Attachments resolved, Message-ID and Date fixed.
        connection: Which connection will send it.

    Returns:
        A replacement (prepared and checked again), or None.

    Raises:
        Veto: To forbid the message.
    """


@hookspec
def mailwright_before_send(
    composed: Composed, envelope: Envelope, connection: ConnectionInfo
) -> Composed | Awaitable[Composed | None] | None:
    """Each attempt, always given the octets that were composed; the place to sign them.

    Args:
        composed: The octets.
        envelope: Whom this attempt is for; cannot be replaced.
        connection: Which connection will send it.

    Returns:
        A replacement, or None.

    Raises:
        Veto: To forbid the message.
    """


@hookspec
def mailwright_after_send(receipt: Receipt, connection: ConnectionInfo) -> Awaitable[None] | None:
    """Observer, once a message when its outcome is final and somebody was accepted.

    Args:
        receipt: The outcome.
        connection: Which connection sent it.
    """


@hookspec
def mailwright_send_failed(
    error: MailwrightError, receipt: Receipt | None, connection: ConnectionInfo
) -> Awaitable[None] | None:
    """Observer, once a message when nobody was accepted or it never left.

    Args:
        error: Why.
        receipt: The outcome; None when no attempt was made.
        connection: Which connection was used.
    """
