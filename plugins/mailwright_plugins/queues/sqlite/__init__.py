"""The embedded outbox: one SQLite file, no set-up.

URLs: ``sqlite:///outbox.db``, ``sqlite:////var/lib/app/outbox.db``, or ``sqlite://`` for the user's state folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import Clock, Ledger, QueueEngine


def path_of(url: str) -> Path:
    """The file that an outbox URL names.

    Raises:
        ConfigurationError: It names a host, or something unknown.
    """
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment:
        msg = f"outbox: {url!r} is not sqlite:///relative/path.db or sqlite:////absolute/path.db"
        raise ConfigurationError(msg)
    if parts.path in {"", "/"}:
        import platformdirs  # noqa: PLC0415 - only where no path was given

        return platformdirs.user_state_path("mailwright") / "outbox.db"
    return Path(unquote(parts.path[1:])).absolute()


async def _ledger(url: str, clock: Clock) -> Ledger:
    from mailwright_plugins.queues.sqlite.ledger import SqliteLedger  # noqa: PLC0415 - only where an outbox is used

    return await SqliteLedger.open(path_of(url), clock)


async def _exists(url: str) -> bool:
    return path_of(url).exists()


@hookimpl
def mailwright_queue_engines() -> Iterable[QueueEngine]:
    """One engine."""
    yield QueueEngine(schemes=("sqlite",), ledger=_ledger, exists=_exists)
