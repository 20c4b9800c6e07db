"""Durable sending: what was accepted is never lost. States, retry policy and worker; engines keep the rows."""

from mailwright.outbox.outbox import Outbox
from mailwright.outbox.policy import RetryPolicy
from mailwright.outbox.worker import Retention

__all__ = ["Outbox", "Retention", "RetryPolicy"]
