"""TLS: always verified, with errors that say what is wrong and what to do."""

from __future__ import annotations

import ssl

from mailwright.errors import SessionError
from mailwright.model import Connection, SmtpEndpoint


def context(connection: Connection) -> ssl.SSLContext:
    """Verification against the system's authorities or the connection's `ca_file`; host names always checked.

    Raises:
        SessionError: A certificate file cannot be used.
    """
    try:
        made = ssl.create_default_context(cafile=connection.ca_file)
        made.minimum_version = ssl.TLSVersion.TLSv1_3 if connection.tls_minimum == "1.3" else ssl.TLSVersion.TLSv1_2
        if connection.client_cert is not None:
            made.load_cert_chain(connection.client_cert)
    except (OSError, ssl.SSLError) as error:
        named = (
            connection.ca_file if connection.client_cert is None else f"{connection.ca_file}, {connection.client_cert}"
        )
        msg = f"$.ca_file or $.client_cert: {named}: {error}"
        raise SessionError(msg, code="ETLS", permanent=True, stage="tls") from None
    return made


def explained(error: ssl.SSLError, host: str, port: int, command: str) -> SessionError:
    """The error in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _VERIFICATION.get(error.verify_code, error.verify_message)
        message = f"the certificate of {host} is not accepted: {reason}"
        return SessionError(message, code="ETLS", permanent=True, stage="tls", command=command)
    if error.reason == "WRONG_VERSION_NUMBER":
        message = (
            f'{host}:{port} does not speak TLS right away: use tls = "starttls" there, or port 465 with tls = "tls"'
        )
        return SessionError(message, code="ETLS", permanent=True, stage="tls", command=command)
    message = f"TLS with {host}:{port} failed: {error.reason or error}"
    return SessionError(message, code="ETLS", stage="tls", command=command)


def broken_off(endpoint: SmtpEndpoint, command: str) -> SessionError:
    """The server hung up within the handshake, without a reason that TLS could tell."""
    message = (
        f"{endpoint.host}:{endpoint.port} hung up during the TLS handshake: it may speak an older TLS than tls_minimum, "
        'want a client certificate, or speak plain SMTP first (tls = "starttls")'
    )
    return SessionError(message, code="ETLS", stage="tls", command=command)


_UNKNOWN_AUTHORITY = "its authority is not known here (set ca_file to the authority's certificate if it is your own)"
_VERIFICATION = {
    10: "it has expired",
    18: f"it is self-signed; {_UNKNOWN_AUTHORITY}",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    62: "it was made for another name (check host)",
    64: "it was made for another name than this address (check host)",
}
