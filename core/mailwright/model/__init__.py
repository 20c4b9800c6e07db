"""Immutable values: what users write, what the wire answers, what connections are. No I/O, no clock."""

from mailwright.model.address import Address
from mailwright.model.connection import Connection, ConnectionInfo, Limits, SmtpEndpoint, Timeouts, Tls
from mailwright.model.delivery import Envelope, Receipt, RecipientStatus, Reply, Report, error_result, failure
from mailwright.model.message import Dsn, Message, Priority
from mailwright.model.node import ContentSource, NodeDocument, StoreResult, Trust
from mailwright.model.parts import Attachment, Calendar, Content, Part, RawPart
from mailwright.model.settings import Secret, Settings
from mailwright.model.tokens import ClientGrant, Grant, JwtGrant, LoginUrls, RefreshGrant, SuppliedToken, SupplyGrant

__all__ = [
    "Address",
    "Attachment",
    "Calendar",
    "ClientGrant",
    "Connection",
    "ConnectionInfo",
    "Content",
    "ContentSource",
    "Dsn",
    "Envelope",
    "Grant",
    "JwtGrant",
    "Limits",
    "LoginUrls",
    "Message",
    "NodeDocument",
    "Part",
    "Priority",
    "RawPart",
    "Receipt",
    "RecipientStatus",
    "RefreshGrant",
    "Reply",
    "Report",
    "Secret",
    "Settings",
    "SmtpEndpoint",
    "StoreResult",
    "SuppliedToken",
    "SupplyGrant",
    "Timeouts",
    "Tls",
    "Trust",
    "error_result",
    "failure",
]
