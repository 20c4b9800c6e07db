"""What an outbox URL says."""

from __future__ import annotations

import re
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from attrs import field, frozen

from mailwright.errors import ConfigurationError

_OURS: Final = frozenset({"ledger", "queue"})
_DRIVERS: Final = frozenset({"heartbeat", "cafile", "certfile", "keyfile"})


@frozen(kw_only=True)
class Place:
    """Where the queue is.

    Attributes:
        url: For the driver.
        queue: Its name.
        shown: Host, port and virtual host, for people.
    """

    url: str = field(repr=False)
    queue: str = "mailwright"
    shown: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            ConfigurationError: It says something that is not understood.
        """
        parts = urlsplit(url)
        said = dict(parse_qsl(parts.query))
        if unknown := sorted(set(said) - _OURS - _DRIVERS):
            msg = (
                f"outbox: {unknown[0]!r} is unknown here; after amqp://host/vhost come ledger= (percent-encoded where it "
                f"has a & of its own), queue=, {', '.join(sorted(f'{name}=' for name in _DRIVERS))}"
            )
            raise ConfigurationError(msg)
        queue = said.get("queue", "mailwright")
        if not re.fullmatch(r"(?!amq\.)[A-Za-z0-9._-]{1,200}", queue):
            msg = f"outbox: queue={queue!r} is not a name of letters, digits, '.', '_' and '-'"
            raise ConfigurationError(msg)
        driver = urlencode({name: value for name, value in said.items() if name in _DRIVERS})
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        shown = f"{parts.hostname or 'localhost'}:{port}{parts.path if parts.path != '/' else ''}"
        return cls(url=urlunsplit(parts._replace(query=driver)), queue=queue, shown=shown)
