"""Records and protocols for plugins. A hook *declares* by yielding records; the objects their factories return *act*.

SMTP providers are data (an endpoint). Other providers bring a `Transport`. Authentication hands out SASL machines and signs
HTTP requests. `Transport.deliver` returns a `Report` and awaits `Submission.commit` just before the point of no return.
"""

from __future__ import annotations

from mailwright.model import (
    Address,
    Attachment,
    ClientGrant,
    Connection,
    ConnectionInfo,
    Content,
    Envelope,
    Grant,
    JwtGrant,
    Limits,
    LoginUrls,
    Message,
    Part,
    RawPart,
    RecipientStatus,
    RefreshGrant,
    Reply,
    Report,
    Secret,
    Settings,
    SmtpEndpoint,
    SuppliedToken,
    SupplyGrant,
    Timeouts,
)
from mailwright.ports import Clock, Composed, Entropy, Fetched, Fetching, Http, HttpRequest, HttpResponse, HttpStream
from mailwright.spi.auth import (
    Authenticator,
    AuthMethod,
    AuthTarget,
    Opening,
    SaslMechanism,
    SaslOffer,
    Tokens,
    TokenSource,
    TokenStore,
)
from mailwright.spi.providers import (
    AttachmentSource,
    Capabilities,
    Pairing,
    Provider,
    SecretScheme,
    Submission,
    Transport,
)
from mailwright.spi.providers import Commit as Commit
from mailwright.spi.providers import no_commit as no_commit
from mailwright.spi.queue import (
    ASKED,
    Claim,
    Dispatcher,
    Job,
    JobState,
    JobVerb,
    Ledger,
    QueueEngine,
    Selection,
    SharingLedger,
    Suppression,
    Verdict,
    fair_share,
)

SPI_VERSION = 1
"""Raised only when a record or protocol changes incompatibly.

A plugin states the one it was written for as ``MAILWRIGHT_SPI_VERSION = 1`` in its module; with another it is left out.
"""

__all__ = [
    "ASKED",
    "SPI_VERSION",
    "Address",
    "Attachment",
    "AttachmentSource",
    "AuthMethod",
    "AuthTarget",
    "Authenticator",
    "Capabilities",
    "Claim",
    "ClientGrant",
    "Clock",
    "Composed",
    "Connection",
    "ConnectionInfo",
    "Content",
    "Dispatcher",
    "Entropy",
    "Envelope",
    "Fetched",
    "Fetching",
    "Grant",
    "Http",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "Job",
    "JobState",
    "JobVerb",
    "JwtGrant",
    "Ledger",
    "Limits",
    "LoginUrls",
    "Message",
    "Opening",
    "Pairing",
    "Part",
    "Provider",
    "QueueEngine",
    "RawPart",
    "RecipientStatus",
    "RefreshGrant",
    "Reply",
    "Report",
    "SaslMechanism",
    "SaslOffer",
    "Secret",
    "SecretScheme",
    "Selection",
    "Settings",
    "SharingLedger",
    "SmtpEndpoint",
    "Submission",
    "SuppliedToken",
    "SupplyGrant",
    "Suppression",
    "Timeouts",
    "TokenSource",
    "TokenStore",
    "Tokens",
    "Transport",
    "Verdict",
    "fair_share",
]
