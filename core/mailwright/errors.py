"""Every error Mailwright raises.

MailwrightError
├── AddressError          a mailbox that no server could be sent to (also ValueError)
├── MessageError          a message that cannot be composed (also ValueError)
├── DocumentError         a node or connection document with problems; carries all of them
├── ConfigurationError    settings that contradict each other or lack something
├── PluginError           a plugin that is missing, broken or disputed
├── TemplateError         a template that does not render
├── AttachmentError       an attachment that cannot be had
├── SecretError           a secret that cannot be revealed
├── SessionError          the SMTP session failed: connect, TLS, greeting, time-out, garbage
├── AuthError             the credential was refused or cannot be used here
├── HttpError             an HTTP request failed; `request_sent` tells whether it left
│   └── ApiError          an HTTP API answered no; carries the reply
├── Veto                  a hook forbade the message
├── QueueError            the outbox's database cannot be read or written
├── LeaseLost             another worker owns the job now
├── SendError             nobody was accepted; carries the receipt
└── FlowStopped           a node with stop_on_error failed; carries the outcome
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwright.model import Receipt, Reply
    from mailwright.node import NodeOutcome

Stage = Literal[
    "prepare", "hook", "connect", "tls", "greeting", "auth", "mail", "rcpt", "data", "body", "final", "http"
]
"""How far a message had come, in order of its life."""


class MailwrightError(Exception):
    """Root of all errors; never raised itself.

    Args:
        message: What is wrong, where, and what to do next. Never holds a secret.
        code: The short name flows branch on (``EAUTH``, ``ESOCKET``, …); each class has its default.
        permanent: True: the same attempt fails again. False: it may work later. None: not known, do not repeat blindly.
        stage: How far the message had come.
        command: What was being said, in the original node's words (``CONN``, ``AUTH PLAIN``, ``RCPT TO``, ``API``).
        reply: The server's answer, where there is one.
    """

    code: str = "EMAILWRIGHT"
    permanent: bool | None = True
    stage: Stage | None = None
    command: str | None = None
    reply: Reply | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        permanent: bool | Literal["default"] | None = "default",
        stage: Stage | None = None,
        command: str | None = None,
        reply: Reply | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.permanent = type(self).permanent if permanent == "default" else permanent
        self.stage = stage or type(self).stage
        self.command = command or type(self).command
        self.reply = reply

    @property
    def message(self) -> str:
        """The text without code or class name."""
        return str(self.args[0]) if self.args else type(self).__name__

    @property
    def response_code(self) -> int | None:
        """The reply's three digits (SMTP) or status (HTTP)."""
        return self.reply.code if self.reply else None

    @property
    def response(self) -> str | None:
        """The reply as one line of text."""
        return str(self.reply) if self.reply else None


class AddressError(MailwrightError, ValueError):
    """Raised for a mailbox outside the accepted grammar, before anything is opened."""

    code = "EENVELOPE"
    command = "API"
    stage = "prepare"


class MessageError(MailwrightError, ValueError):
    """Raised for a message that cannot be composed; names the field."""

    code = "EMESSAGE"
    command = "API"
    stage = "prepare"


@frozen(kw_only=True)
class Problem:
    """One mistake in a document.

    Attributes:
        code: Stable short name (``unknown-key``, ``wrong-type``, ``missing``, …).
        path: Where, as ``$.auth.refresh_token``.
        message: What is wrong and what would be right.
    """

    code: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class DocumentError(MailwrightError, ValueError):
    """Raised when a document is loaded; `problems` has every mistake at once."""

    code = "EDOCUMENT"
    command = "API"
    stage = "prepare"

    def __init__(self, problems: Iterable[Problem], *, source: str = "", code: str | None = None) -> None:
        self.problems = tuple(problems)
        self.source = source
        head = f"{source}: " if source else ""
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{head}{count} problem{'s' if count != 1 else ''}\n{lines}", code=code)


class ConfigurationError(MailwrightError, ValueError):
    """Raised when settings contradict each other, before a session is opened."""

    code = "ECONFIG"
    command = "API"
    stage = "prepare"


class PluginError(MailwrightError):
    """Raised when a plugin is missing, broken, disabled, or two outsiders claim one name."""

    code = "EPLUGIN"
    command = "API"
    stage = "prepare"


class TemplateError(MailwrightError):
    """Raised when a template has a syntax error, misses a name or exceeds its limits."""

    code = "ETEMPLATE"
    command = "API"
    stage = "prepare"


class AttachmentError(MailwrightError):
    """Raised when an attachment cannot be read, fetched, decoded, or is too large."""

    code = "ESTREAM"
    command = "API"
    stage = "prepare"


class SecretError(MailwrightError):
    """Raised when a secret reference cannot be revealed; names the reference, never the value."""

    code = "EAUTH"
    command = "API"
    stage = "prepare"


class SessionError(MailwrightError):
    """Raised inside transports when a session cannot be opened or breaks."""

    code = "ESOCKET"
    command = "CONN"
    permanent = False
    stage = "connect"


class AuthError(MailwrightError):
    """Raised when the server refuses a credential, or no mechanism fits."""

    code = "EAUTH"
    command = "AUTH"
    stage = "auth"


class HttpError(MailwrightError):
    """Raised by the HTTP port.

    Attributes:
        request_sent: True when the request may have been carried out although no answer came back.
    """

    code = "EHTTP"
    command = "API"
    permanent = False
    stage = "http"

    def __init__(self, message: str, *, request_sent: bool = False, permanent: bool | None = False) -> None:
        super().__init__(message, permanent=permanent)
        self.request_sent = request_sent


class ApiError(HttpError):
    """Raised when an HTTP API answered, and its answer is no.

    Attributes:
        retry_after_s: How long it wants to be left alone, in seconds.
    """

    def __init__(
        self, message: str, *, reply: Reply, permanent: bool | None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, request_sent=True, permanent=permanent)
        self.reply = reply
        self.retry_after_s = retry_after_s


class Veto(MailwrightError):
    """Raise it in a ``before_*`` hook to forbid a message."""

    code = "EVETO"
    command = "API"
    stage = "hook"


class QueueError(MailwrightError):
    """Raised when the outbox's database cannot be read or written; what was asked for has not happened."""

    code = "EQUEUE"
    command = "API"
    permanent = False
    stage = "prepare"


class LeaseLost(MailwrightError):
    """Raised by a ledger when another worker has taken the job over."""

    code = "ELEASE"
    permanent = False


class SendError(MailwrightError):
    """Raised by `Mailer.send` when nobody was accepted.

    `permanent` is None when the outcome is unknown: sending again may deliver twice.

    Attributes:
        receipt: What happened to each recipient.
    """

    def __init__(self, message: str, *, receipt: Receipt, cause: MailwrightError | None = None) -> None:
        super().__init__(
            message,
            code=cause.code if cause else "EENVELOPE",
            permanent=receipt.permanent,
            stage=cause.stage if cause else None,
            command=cause.command if cause else None,
            reply=cause.reply if cause else None,
        )
        self.receipt = receipt


class FlowStopped(MailwrightError):
    """Raised by a node whose document says ``stop_on_error: true``.

    Attributes:
        outcome: The whole `NodeOutcome`: result, error, new state.
    """

    def __init__(self, cause: MailwrightError, *, outcome: NodeOutcome) -> None:
        super().__init__(
            cause.message,
            code=cause.code,
            permanent=cause.permanent,
            stage=cause.stage,
            command=cause.command,
            reply=cause.reply,
        )
        self.outcome = outcome
