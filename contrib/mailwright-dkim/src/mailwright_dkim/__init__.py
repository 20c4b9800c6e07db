"""DKIM signatures (RFC 6376, RFC 8463) for everything Mailwright sends."""

from mailwright_dkim.keys import DkimError, DkimKey
from mailwright_dkim.signer import DkimSigner

__all__ = ["DkimError", "DkimKey", "DkimSigner"]
