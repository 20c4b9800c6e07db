"""Django e-mail backends: `mailwright_django.EmailBackend` sends now, `mailwright_django.OutboxBackend` enqueues.

Settings: ``MAILWRIGHT = {"CONNECTION": "support", "OUTBOX": "postgresql://…", "DATABASE": "default", "TAGS": []}``; the same
keys in lower case may be given as a backend's options (Django's ``MAILERS``).
"""

from __future__ import annotations

from mailwright_django.backends import EmailBackend, OutboxBackend

__all__ = ["EmailBackend", "OutboxBackend"]
