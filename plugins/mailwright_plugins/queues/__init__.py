"""Built-in outbox engines."""
