"""What every provider must do, and what this one does."""

from __future__ import annotations

import mailwright_example
import pytest

from mailwright import Mailer, Message, Registry
from mailwright.errors import DocumentError
from mailwright.spi import Pairing, Reply
from mailwright.testing import Sandbox
from mailwright.testing.contracts import ProviderContract

REGISTRY = Registry([mailwright_example], installed=False)
MESSAGE = Message(from_="zoe@example.org", to="ann@example.org", subject="Hello", text="It works.")


class TestExample(ProviderContract):
    plugin = mailwright_example


def test_it_sends(sandbox: Sandbox) -> None:
    connection = {"provider": "example", "host": sandbox.host, "port": sandbox.port, "tls": "none"}
    receipt = Mailer(connection, registry=REGISTRY).send_sync(MESSAGE)
    assert receipt.provider == "example"
    assert [one.subject for one in sandbox.messages] == ["Hello"]


@pytest.mark.parametrize(("region", "host"), [("eu", "smtp.eu.example.com"), ("us", "smtp.us.example.com")])
def test_each_region_has_its_server(region: str, host: str) -> None:
    settings = mailwright_example.ExampleSettings(region=region)
    assert mailwright_example.endpoint(settings).host == host


def test_another_region_is_refused_by_name() -> None:
    with pytest.raises(DocumentError, match=r"\$\.options\.region"):
        Mailer({"provider": "example", "options": {"region": "mars"}}, registry=REGISTRY).send_sync(MESSAGE)


def test_replies_are_explained() -> None:
    assert "app password" in (mailwright_example.explain(Reply(code=535, enhanced="5.7.8")) or "")
    assert mailwright_example.explain(Reply(code=550, enhanced="5.1.1")) is None


def test_a_sender_of_another_domain_is_warned_of() -> None:
    settings = mailwright_example.ExampleSettings()
    pairing = Pairing(user="ann@example.org", sender="ann@example.net")
    assert [*mailwright_example.advise(settings, pairing)]
    assert not [*mailwright_example.advise(settings, Pairing(user="ann@example.org", sender="bo@example.org"))]
