"""Certificates made for the occasion."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from mailwright.errors import ConfigurationError

Certificate = Literal["good", "wrong-name", "expired", "self-signed"]


def make(kind: Certificate, folder: Path | None = None) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the file that a client needs to trust it.

    Args:
        kind: ``good`` is for localhost and 127.0.0.1; ``self-signed`` is of an authority the file does not hold.
        folder: Where the file goes; None: the temporary folder.

    Raises:
        ConfigurationError: The package trustme is missing.
    """
    try:
        import trustme  # noqa: PLC0415 - an extra
    except ImportError:
        msg = 'certificates need the package trustme: pip install "mailwright[cli]" or "mailwright[testing]"'
        raise ConfigurationError(msg) from None
    authority = trustme.CA()
    names = ("elsewhere.example",) if kind == "wrong-name" else ("localhost", "127.0.0.1", "::1")
    now = datetime.now(UTC)
    expiry = now - timedelta(days=1) if kind == "expired" else now + timedelta(days=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = trustme.CA() if kind == "self-signed" else authority
    issuer.issue_cert(*names, not_before=now - timedelta(days=2), not_after=expiry).configure_cert(context)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="mailwright-ca-", suffix=".pem", delete=False) as file:
        file.write(authority.cert_pem.bytes())
    return context, Path(file.name)
