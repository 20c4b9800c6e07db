"""The two backends."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from email.message import EmailMessage as StandardMessage
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections

from mailwright import Address, Envelope, Mailer, Outbox
from mailwright.errors import ConfigurationError, MailwrightError

_OPTIONS: Final = ("connection", "outbox", "database", "tags")
_lock = threading.Lock()
_outboxes: dict[str | None, Outbox] = {}


def _setting(options: Mapping[Any, Any], name: str, default: Any = None) -> Any:
    """A backend's own option, else that of the settings."""
    known: Mapping[str, Any] = getattr(settings, "MAILWRIGHT", {})
    return options.get(name.lower(), known.get(name, default))


class _Backend(BaseEmailBackend):
    def __init__(self, fail_silently: bool = False, **options: Any) -> None:
        self._options = {name: options.pop(name) for name in _OPTIONS if name in options}
        super().__init__(**options)  # Django says what it does not know of the rest
        self.fail_silently = fail_silently
        self._connection: Any = _setting(self._options, "CONNECTION")
        if self._connection is None:
            raise ConfigurationError("MAILWRIGHT['CONNECTION']: name a saved connection")

    def _deliver(self, message: EmailMessage) -> bool:
        raise NotImplementedError

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Django's contract: how many went; raises unless it is to fail silently."""
        sent = 0
        for message in email_messages:
            if not message.recipients():
                continue
            try:
                sent += self._deliver(message)
            except MailwrightError:
                if not self.fail_silently:
                    raise
        return sent


class EmailBackend(_Backend):
    """Sends now. Sessions stay open from `open` to `close`, as in ``with get_connection() as connection:``."""

    def __init__(self, fail_silently: bool = False, **options: Any) -> None:
        super().__init__(fail_silently, **options)
        self._mailer: Mailer | None = None

    def open(self) -> bool:
        """Keep sessions open from now on; whether they were not before."""
        if self._mailer is not None:
            return False
        self._mailer = Mailer(self._connection)
        self._mailer.__enter__()
        return True

    def close(self) -> None:
        """Close them."""
        mailer, self._mailer = self._mailer, None
        if mailer is not None:
            mailer.__exit__(None, None, None)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """See there; several messages share sessions."""
        opened = self.open()
        try:
            return super().send_messages(email_messages)
        finally:
            if opened:
                self.close()

    def _deliver(self, message: EmailMessage) -> bool:
        assert self._mailer is not None
        self._mailer.send_sync(octets(message), envelope=envelope(message))
        return True


class OutboxBackend(_Backend):
    """Enqueues. Inside ``atomic()`` of the database that the outbox is in, the message exists when that commits."""

    def _deliver(self, message: EmailMessage) -> bool:
        outbox = _outbox(_setting(self._options, "OUTBOX"))
        outbox.enqueue_sync(
            octets(message),
            connection=self._connection,
            envelope=envelope(message),
            tags=_tags(message, _setting(self._options, "TAGS", ())),
            transaction=_transaction(_setting(self._options, "DATABASE")),
        )
        return True


def octets(message: EmailMessage) -> Any:
    """Django's message, as Mailwright takes it: up to Django 5 its objects are of Python's old e-mail interface."""
    made: Any = message.message()
    return made if isinstance(made, StandardMessage) else made.as_bytes(linesep="\r\n")


def envelope(message: EmailMessage) -> Envelope:
    """To, Cc and Bcc of Django's message; its return path is the author."""
    sender = Address.parse(message.from_email or settings.DEFAULT_FROM_EMAIL)
    recipients = [address for text in message.recipients() for address in Address.parse_list(text)]
    return Envelope(sender=sender, recipients=recipients)


def _tags(message: EmailMessage, more: Iterable[str]) -> tuple[str, ...]:
    return (*getattr(message, "tags", ()), *more)


def _outbox(url: str | None) -> Outbox:
    with _lock:
        if url not in _outboxes:
            _outboxes[url] = Outbox(url)
        return _outboxes[url]


def _transaction(alias: str | None) -> Any:
    """The driver's connection, while Django is inside ``atomic()``; only where the settings name the database."""
    if alias is None or not connections[alias].in_atomic_block:
        return None
    return connections[alias].connection
