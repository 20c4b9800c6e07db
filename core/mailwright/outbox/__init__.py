"""Durable sending: what was accepted is never lost. States, retry policy and worker; engines keep the rows."""

from mailwright.outbox.outbox import Outbox
from mailwright.outbox.policy import RetryPolicy

__all__ = ["Outbox", "RetryPolicy"]
