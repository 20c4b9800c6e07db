"""Every built-in plugin passes the contract of its kind."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from mailwright.spi import AuthTarget, Fetched
from mailwright.testing.contracts import (
    CANARY,
    AttachmentContract,
    AuthContract,
    PluginContract,
    ProviderContract,
    SecretSchemeContract,
    TransportContract,
)
from mailwright.testing.services import SmtpService

P = "mailwright_plugins."


class TestGmail(ProviderContract):
    plugin = P + "providers.gmail"


class TestMicrosoft(ProviderContract):
    plugin = P + "providers.microsoft"


class TestServices(ProviderContract):
    """Some of the table; what each row says is tested where the table is."""

    plugin = P + "providers.services"

    @classmethod
    def records(cls) -> list[Any]:
        usable = [record for record in super().records() if not record.unavailable]
        return usable[::40]


class TestQueueSqlite(PluginContract):
    plugin = P + "queues.sqlite"


class TestSmtp(ProviderContract):
    plugin = P + "providers.smtp"
    document = {"host": "mail.example.org"}


class TestSandbox(ProviderContract):
    plugin = P + "providers.sandbox"


class TestSmtpTransport(TransportContract):
    plugin = P + "providers.smtp"
    document = {"auth": {"type": "basic", "username": "ann", "password": CANARY}, "from": "zoe@example.org"}

    @staticmethod
    def service() -> SmtpService:
        return SmtpService(password=CANARY)


class TestBasic(AuthContract):
    plugin = P + "auth.basic"
    document = {"username": "ann", "password": "literal"}


class TestBasicOverHttp(TestBasic):
    target = AuthTarget(protocol="http", host="api.example.org")


class TestExternal(AuthContract):
    plugin = P + "auth.external"
    document = {"user": "ann@example.org"}


class TestOAuth2(AuthContract):
    plugin = P + "auth.oauth2"
    document = {"user": "ann@example.org", "access_token": "literal"}


class TestClientCredentials(AuthContract):
    plugin = P + "auth.client_credentials"
    documents = {
        "oauth2_client_credentials": {"user": "ann@example.org", "client_id": "app", "client_secret": "literal"},
        "entra_certificate": {"user": "ann@example.org", "client_id": "app", "certificate": "literal"},
    }


class TestServiceAccount(AuthContract):
    plugin = P + "auth.service_account"
    document = {"user": "ann@example.org", "key": "literal", "client_email": "robot@example.org"}


class TestExternalToken(AuthContract):
    plugin = P + "auth.external_token"
    document = {"user": "ann@example.org", "supplier": "os:getcwd"}


class TestText(AttachmentContract):
    plugin = P + "attachments.text"
    document = {"content": "Grüße"}


class TestBase64(AttachmentContract):
    plugin = P + "attachments.base64"
    document = {"content": base64.b64encode(b"octets").decode(), "filename": "o.bin"}


class TestCustom(AttachmentContract):
    plugin = P + "attachments.custom"
    document = {"content": "{}", "content_type": "application/json", "filename": "x.json"}


class TestMime(AttachmentContract):
    plugin = P + "attachments.mime"
    document = {"content": "Content-Type: text/plain\r\n\r\nhello\r\n"}


class TestFile(AttachmentContract):
    plugin = P + "attachments.file"
    document = {"path": "menu/today.txt"}
    files = {"menu/today.txt": b"soup"}


class TestUrl(AttachmentContract):
    plugin = P + "attachments.url"
    document = {"url": "https://example.org/menu.txt"}
    web = {"https://example.org/menu.txt": Fetched(headers={"content-type": "text/plain"}, content=b"soup")}


class TestDataUrl(AttachmentContract):
    plugin = P + "attachments.url"
    document = {"url": "data:text/plain,soup"}


class TestEnv(SecretSchemeContract):
    plugin = P + "secrets.env"
    known = {"MAILWRIGHT_LAW": CANARY}

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        with mock.patch.dict(os.environ, self.known):
            yield


FOLDER = tempfile.gettempdir()


class TestSecretFile(SecretSchemeContract):
    plugin = P + "secrets.file"
    known = {f"{FOLDER}/mailwright-law-{os.getpid()}": CANARY}

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        for name, value in self.known.items():
            path = Path(name)
            path.touch(mode=0o600)
            path.write_text(value + "\n")
        yield
        for name in self.known:
            Path(name).unlink()


class TestKeyring(SecretSchemeContract):
    plugin = P + "secrets.keyring"
    known = {"mail/ann": CANARY}
    unknown = "mail/nobody"

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        passwords = {("mail", "ann"): CANARY}
        with mock.patch.dict("sys.modules", _fake_keyring(passwords)):
            yield


def _fake_keyring(passwords: dict[tuple[str, str], str]) -> dict[str, object]:
    """The package keyring, its backend a dictionary: this machine may have no keyring."""
    import types

    keyring, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})
    keyring.errors = errors
    keyring.get_password = lambda service, user: passwords.get((service, user))
    return {"keyring": keyring, "keyring.errors": errors}


def test_no_built_in_is_forgotten() -> None:
    import importlib.metadata

    about = {
        cls.plugin
        for cls in globals().values()
        if isinstance(cls, type) and issubclass(cls, PluginContract) and hasattr(cls, "plugin")
    }
    points = importlib.metadata.distribution("mailwright").entry_points
    assert {point.value for point in points if point.group == "mailwright"} <= about
