"""What aiosmtplib, ssl and the socket raise, translated once: a SessionError with code, stage and reply."""

from __future__ import annotations

import ssl

import aiosmtplib

from mailwright.errors import SessionError, Stage
from mailwright.model import SmtpEndpoint
from mailwright.smtp.replies import make_reply
from mailwright.transport import tls


def translated(error: Exception, endpoint: SmtpEndpoint, command: str, stage: Stage, *, code: str) -> SessionError:
    """The error of one step.

    Args:
        error: What was raised.
        endpoint: Who was spoken to.
        command: What was being said.
        stage: How far the session had come.
        code: For a reply that refuses.
    """
    host = endpoint.host
    if isinstance(error, ssl.SSLError):
        return tls.explained(error, host, endpoint.port, command)
    if isinstance(error, aiosmtplib.SMTPConnectTimeoutError):  # a connect error too
        message = f"{host}:{endpoint.port} did not greet in time: check port and encryption"
        return SessionError(message, code="ETIMEDOUT", stage=stage, command=command)
    if isinstance(error, aiosmtplib.SMTPConnectError):
        if isinstance(error.__cause__, ssl.SSLError):
            return tls.explained(error.__cause__, host, endpoint.port, "CONN")
        if endpoint.tls == "tls":
            return tls.broken_off(endpoint, "CONN")
        message = f"{host}:{endpoint.port} closed the connection instead of greeting"
        return SessionError(message, stage=stage, command=command)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        if not 200 <= error.code <= 559:
            message = f"{host} sent what is no SMTP reply"
            return SessionError(message, code="EPROTOCOL", stage=stage, command=command)
        reply = make_reply(error.code, error.message.split("\n"))
        message = f"{host} answered {command} with {reply}"
        return SessionError(message, code=code, permanent=reply.permanent, stage=stage, command=command, reply=reply)
    if isinstance(error, aiosmtplib.SMTPServerDisconnected) and stage == "tls":
        return tls.broken_off(endpoint, command)
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        message = f"{host}:{endpoint.port}: no answer to {command} in time"
        return SessionError(message, code="ETIMEDOUT", stage=stage, command="CONN")
    if isinstance(error, ValueError):
        return SessionError(f"{host}: {error}", code="EPROTOCOL", stage=stage, command=command)
    return SessionError(f"{host}: {error}", stage=stage, command=command)
