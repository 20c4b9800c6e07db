"""SMTP over real sockets: opening, sessions, and a pool of them."""

from mailwright.transport.pool import SmtpTransport

__all__ = ["SmtpTransport"]
