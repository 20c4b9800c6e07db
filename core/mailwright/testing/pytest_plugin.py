"""Fixtures for the tests of applications; pytest finds them by itself. Nothing is imported until one is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailwright.testing.capture import Capture
    from mailwright.testing.sandbox import Sandbox


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """An SMTP server on a free loopback port: what arrived is in ``.messages``.

    Connect to ``sandbox.connection``; connections with ``provider = "sandbox"`` find it by themselves.
    """
    from mailwright.testing.sandbox import Sandbox  # noqa: PLC0415 - lazy

    with Sandbox(tls="none", login=False) as box:
        monkeypatch.setenv("MAILWRIGHT_SANDBOX", f"{box.host}:{box.port}")
        yield box


@pytest.fixture
def outbox_capture(monkeypatch: pytest.MonkeyPatch) -> Capture:
    """Every mailer of this process writes into ``.messages``: no socket, no login, no saved connection needed."""
    from mailwright.sending.routes import Routes  # noqa: PLC0415 - lazy
    from mailwright.testing.capture import Capture  # noqa: PLC0415

    capture = Capture()

    async def opened(self: Routes, reference: object) -> object:
        return await capture.open_route(reference, self._registry, self._saved)  # type: ignore[arg-type]

    monkeypatch.setattr(Routes, "_open", opened)
    return capture
