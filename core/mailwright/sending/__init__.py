"""One message's life: prepare, hooks, compose, attempts, receipt. The only owner of retries where there is no outbox."""

from mailwright.sending.drafts import AnyMessage, Draft
from mailwright.sending.routes import Route
from mailwright.sending.sending import Sending

__all__ = ["AnyMessage", "Draft", "Route", "Sending"]
