"""What an outbox URL says."""

from __future__ import annotations

import re
from typing import Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from attrs import frozen

from mailwright.errors import ConfigurationError


@frozen(kw_only=True)
class Place:
    """Where the tables are, and who hands out the work.

    Attributes:
        dsn: For the driver.
        schema: Of the tables.
        dispatcher: ``leases`` or ``pgqueuer``.
    """

    dsn: str
    schema: str = "public"
    dispatcher: Literal["leases", "pgqueuer"] = "leases"

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            ConfigurationError: It says something that is not understood.
        """
        parts = urlsplit(url)
        said = dict(parse_qsl(parts.query))
        schema, dispatcher = said.pop("schema", "public"), said.pop("dispatcher", "leases")
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
            msg = f"outbox: schema={schema!r} is not a lower-case name"
            raise ConfigurationError(msg)
        if dispatcher not in {"leases", "pgqueuer"}:
            msg = f"outbox: dispatcher={dispatcher!r} is not leases or pgqueuer"
            raise ConfigurationError(msg)
        dsn = urlunsplit(parts._replace(query=urlencode(said)))
        return cls(dsn=dsn, schema=schema, dispatcher=dispatcher)  # type: ignore[arg-type]
