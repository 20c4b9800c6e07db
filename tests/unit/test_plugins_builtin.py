"""The built-in plugins, as documents use them."""

from __future__ import annotations

import base64
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mailwright import Part, RawPart, Registry, load_connection
from mailwright.connections import reveal
from mailwright.errors import AttachmentError, AuthError, ConfigurationError, MailwrightError, SecretError
from mailwright.model import Secret
from mailwright.net import GuardedHttp
from mailwright.oauth import MemoryTokenStore, TokenDesk
from mailwright.ports import Fetching
from mailwright.spi import AuthTarget, ConnectionInfo, HttpRequest, Opening, Reply, SaslOffer, Settings
from mailwright.system import SystemClock, SystemEntropy


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(installed=False, environ={})


async def resolve(registry: Registry, type_: str, *, max_bytes: int | None = None, **settings: Any) -> Any:
    source = registry.attachment_source(type_)
    fetching = Fetching(http=GuardedHttp(), path=Path, max_bytes=max_bytes)
    [part] = await source.resolve(source.settings(**settings), fetching)
    return part


def test_every_plugin_is_active(registry: Registry) -> None:
    assert {info.status for info in registry.plugins} == {"active"}
    assert {"gmail", "outlook", "microsoft365", "smtp", "sandbox", "ses-eu-west-1"} <= set(registry.names("provider"))
    assert set(registry.names("auth")) == {
        "basic",
        "oauth2",
        "oauth2_client_credentials",
        "external",
        "entra_certificate",
        "google_service_account",
        "external_token",
    }
    assert set(registry.names("attachment")) == {"url", "text", "base64", "custom", "mime", "file"}
    assert set(registry.names("secret")) == {"env", "file", "keyring"}


def test_endpoints(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def endpoint(**document: Any) -> tuple[str, int, str]:
        connection = load_connection(document, registry=registry)
        found = registry.provider(connection.provider).endpoint(connection.settings)  # type: ignore[misc]
        return found.host, found.port, found.tls

    assert endpoint(provider="gmail") == ("smtp.gmail.com", 465, "tls")
    assert endpoint(provider="outlook") == ("smtp-mail.outlook.com", 587, "starttls")
    assert endpoint(provider="smtp", host="h") == ("h", 587, "starttls")
    assert endpoint(provider="smtp", host="h", tls="tls") == ("h", 465, "tls")
    assert endpoint(provider="smtp", host="h", tls="none", port=2525) == ("h", 2525, "none")
    monkeypatch.setenv("MAILWRIGHT_SANDBOX", "2026")
    assert endpoint(provider="sandbox") == ("127.0.0.1", 2026, "none")
    monkeypatch.setenv("MAILWRIGHT_SANDBOX", "mail:2526")
    assert endpoint(provider="sandbox") == ("mail", 2526, "none")
    assert endpoint(provider="sandbox", host="inbox", port=25) == ("inbox", 25, "none")
    monkeypatch.setenv("MAILWRIGHT_SANDBOX", "[::1]:2526")
    assert endpoint(provider="sandbox") == ("::1", 2526, "none")
    monkeypatch.delenv("MAILWRIGHT_SANDBOX")
    assert endpoint(provider="sandbox") == ("127.0.0.1", 1025, "none")


@pytest.mark.parametrize("value", ["x", "h:", "h:0", "h:65536", "a b:25", "h:²", "\r\n:25", "1" * 6000])
def test_a_bad_sandbox_variable_is_named(value: str, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILWRIGHT_SANDBOX", value)
    with pytest.raises(MailwrightError, match="MAILWRIGHT_SANDBOX"):
        load_connection({"provider": "sandbox"}, registry=registry)


def test_presets_name_their_oauth_and_limits(registry: Registry) -> None:
    def target(name: str) -> AuthTarget:
        provider = registry.provider(name)
        return provider.target(provider.settings())

    assert target("gmail").scopes == ("https://mail.google.com/",)
    assert target("gmail").oauth_urls["token"] == "https://oauth2.googleapis.com/token"
    assert registry.provider("gmail").limits.recipients == 100
    assert target("outlook").host == "smtp-mail.outlook.com"
    assert "https://outlook.office.com/SMTP.Send" in target("outlook").scopes
    limits = registry.provider("outlook").limits
    assert (limits.rate, limits.connections) == (0.5, 3)


@pytest.mark.parametrize(
    ("provider", "reply", "wanted"),
    [
        ("gmail", Reply(code=535, enhanced="5.7.8", text="Username and Password not accepted"), "app password"),
        ("gmail", Reply(code=550, enhanced="5.4.5", text="Daily user sending limit exceeded"), "24 hours"),
        ("outlook", Reply(code=535, enhanced="5.7.139", text="basic authentication is disabled"), "oauth2"),
        (
            "outlook",
            Reply(code=535, enhanced="5.7.139", text="SmtpClientAuthentication is disabled for the Tenant"),
            "administrator enables it",
        ),
        ("outlook", Reply(code=535, enhanced="5.7.139", text="the user credentials were incorrect"), "is wrong"),
        ("outlook", Reply(code=535, enhanced="5.7.3", text="Authentication unsuccessful"), "token"),
        ("outlook", Reply(code=530, enhanced="5.7.57", text="Client not authenticated"), "did not log in"),
        ("outlook", Reply(code=432, enhanced="4.3.2", text="Concurrent connections limit exceeded"), "3 or less"),
    ],
)
def test_replies_in_a_services_wording_are_explained(
    provider: str, reply: Reply, wanted: str, registry: Registry
) -> None:
    explain = registry.provider(provider).explain
    assert wanted in (explain(reply) or "")
    assert explain(Reply(code=550, enhanced="5.1.1", text="no such user")) is None


@pytest.mark.parametrize(
    "document", [{"host": "a b"}, {"host": ""}, {"host": "h", "port": 0}, {"host": "h\r\nX", "port": 25}, {}]
)
def test_bad_hosts_and_ports_are_refused(document: dict[str, Any], registry: Registry) -> None:
    with pytest.raises(MailwrightError):
        load_connection({"provider": "smtp", **document}, registry=registry)


async def test_attachments_become_parts(registry: Registry, tmp_path: Path) -> None:
    assert await resolve(registry, "text", content="ä") == Part(content="ä", filename="attachment.txt")
    part = await resolve(registry, "base64", content=" aGVs\nbG8= ", filename="x.bin")
    assert (part.content, part.filename) == (b"hello", "x.bin")
    part = await resolve(registry, "custom", content="{}", content_type="application/json")
    assert (part.content, part.content_type) == (b"{}", "application/json")
    part = await resolve(registry, "mime", content="Content-Type: text/plain\n\nx\n")
    assert part == RawPart(b"Content-Type: text/plain\r\n\r\nx\r\n")
    (tmp_path / "a.txt").write_text("x")
    part = await resolve(registry, "file", path=str(tmp_path / "a.txt"))
    assert (part.content, part.filename) == (tmp_path / "a.txt", "a.txt")
    part = await resolve(registry, "url", url="data:image/png;base64,aGVsbG8=")
    assert (part.content, part.content_type, part.filename) == (b"hello", "image/png", "attachment.png")
    part = await resolve(registry, "url", url="data:,a%20b")
    assert (part.content, part.content_type) == (b"a b", "text/plain")
    part = await resolve(registry, "url", url="data:text/plain;charset=iso-8859-1,%E4")
    assert part.content == "ä"
    part = await resolve(registry, "url", url="data:;base64,aGVs\n bG8%3D", filename="p.txt")
    assert (part.content, part.filename) == (b"hello", "p.txt")


@pytest.mark.parametrize(
    ("type_", "settings", "reason"),
    [
        ("base64", {"content": "aGVs!G8="}, "'!' at position 4"),
        ("base64", {"content": "aGVsbG8"}, "ends at position 7"),
        ("base64", {"content": "aG=sbG8="}, "'=' at position 2"),
        ("base64", {"content": "aGVs===="}, "'=' at position 4"),
        ("base64", {"content": "aGVs\ud800"}, "at position 4"),
        ("custom", {"content": "a\ud800", "content_type": "application/json"}, "surrogate at position 1"),
        ("mime", {"content": "Content-Type: text/plain\n\n\ud800"}, "surrogate"),
        ("custom", {"content": "x", "content_type": "multipart/mixed"}, "cannot be multipart"),
        ("file", {"path": "/no/such/file"}, "no such file"),
        ("url", {"url": "https://example.org/x"}, "nothing is fetched"),
        ("url", {"url": "file:///etc/passwd"}, "not a scheme"),
        ("url", {"url": "data:text/plain"}, "comma"),
        ("url", {"url": "data:a b/c,x"}, "not a media type"),
        ("url", {"url": "data:;base64,a"}, "base64 is broken"),
        ("url", {"url": "data:;base64,aGVs\ud800"}, "base64 is broken"),
        ("url", {"url": "data:,100% sure"}, "'%' at position 9"),
        ("url", {"url": "data:image/svg+xml,<a fill='#fff'/>"}, "'#' at position 28"),
        ("url", {"url": "data:,ä"}, "percent-encode"),
        ("url", {"url": "data:,a\r\nb"}, "percent-encode"),
        ("url", {"url": "data:;base64;charset=utf-8,aGVs"}, "'base64' is not a parameter"),
        ("url", {"url": "data:;charset=utf-7,a"}, "charset 'utf-7'"),
        ("url", {"url": "data:;charset=utf-8,%ff"}, "octet 0"),
    ],
)
async def test_bad_attachments_say_what_is_wrong(type_: str, settings: Any, reason: str, registry: Registry) -> None:
    with pytest.raises(MailwrightError, match=reason):
        await resolve(registry, type_, **settings)


async def test_limits_hold_before_decoding(registry: Registry) -> None:
    with pytest.raises(AttachmentError, match="limit of 10 bytes"):
        await resolve(registry, "base64", content=base64.b64encode(b"x" * 1000).decode(), max_bytes=10)
    with pytest.raises(AttachmentError, match="larger than 10"):
        await resolve(registry, "url", url="data:," + "x" * 1000, max_bytes=10)


async def test_secrets(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "from-env")
    assert await reveal(Secret("env:MAIL_PASSWORD"), registry) == "from-env"
    assert await reveal(Secret("pa:ss:word"), registry) == "pa:ss:word"
    with pytest.raises(SecretError, match="not set"):
        await reveal(Secret("env:NO_SUCH_NAME"), registry)
    path = tmp_path / "password"
    path.write_text("from-file\n")
    path.chmod(0o600)
    assert await reveal(Secret(f"file:{path}"), registry) == "from-file"
    path.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        await reveal(Secret(f"file:{path}"), registry)
    path.chmod(0o600)
    path.write_bytes(b"\xff")
    with pytest.raises(SecretError, match="not UTF-8"):
        await reveal(Secret(f"file:{path}"), registry)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretError, match="not a regular file"):
        await reveal(Secret(f"file:{tmp_path / 'pipe'}"), registry)
    with pytest.raises(SecretError, match="SERVICE/USER"):
        await reveal(Secret("keyring:nothing"), registry)


async def test_a_keyring_that_is_missing_or_locked_is_one_clear_error(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setitem(sys.modules, "keyring.errors", None)
    with pytest.raises(SecretError, match=r"mailwright\[keyring\]"):
        await reveal(Secret("keyring:mail/zoe"), registry)

    class LockedError(Exception):
        pass

    def locked(service: str, user: str) -> str:
        raise LockedError

    errors = types.SimpleNamespace(KeyringError=LockedError)
    fake = types.SimpleNamespace(errors=errors, get_password=locked)
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    with pytest.raises(SecretError, match="does not answer"):
        await reveal(Secret("keyring:mail/zoe"), registry)
    fake.get_password = lambda service, user: f"{service}|{user}"
    assert await reveal(Secret("keyring:mail/a/zoe"), registry) == "mail/a|zoe"


def opening() -> Opening:
    async def revealed(secret: Secret) -> str:
        return secret.reference

    tokens = TokenDesk(
        name=None,
        http=GuardedHttp(),
        reveal=revealed,
        store=MemoryTokenStore(),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    return Opening(
        connection=ConnectionInfo(provider="smtp"),
        http=GuardedHttp(),
        clock=SystemClock(),
        reveal=revealed,
        tokens=tokens,
    )


def authenticator(registry: Registry, name: str, **settings: Any) -> Any:
    method = registry.auth_method(name)
    return method.open(method.settings(**settings), AuthTarget(protocol="smtp", host="h"), opening())


async def test_authenticators_sign_and_pick_machines(registry: Registry) -> None:
    offer = SaslOffer(mechanisms=frozenset({"PLAIN", "XOAUTH2"}), encrypted=True, private=True)
    request = HttpRequest(method="GET", url="https://x.org")
    basic = authenticator(registry, "basic", username="u", password=Secret("p"))
    assert (await basic.sasl(offer)).name == "PLAIN"
    assert (await basic.sign(request)).headers["Authorization"] == "Basic dTpw"
    with pytest.raises(AuthError, match="colon"):
        await authenticator(registry, "basic", username="a:b", password=Secret("p")).sign(request)
    assert not await basic.refused(Reply(code=535, text="no"), None)
    bearer = authenticator(registry, "oauth2", user="u@x.org", access_token=Secret("t"))
    assert (await bearer.sasl(offer)).name == "XOAUTH2"
    assert (await bearer.sign(request)).headers["Authorization"] == "Bearer t"
    stale = authenticator(registry, "oauth2", user="u", access_token=Secret("t"), expiry_date=1)
    with pytest.raises(AuthError, match="expired"):
        await stale.sasl(offer)
    with pytest.raises(ConfigurationError, match="token_store"):
        authenticator(registry, "oauth2", user="u", refresh_token=Secret("t"))
    with pytest.raises(ConfigurationError, match="access_token or refresh_token"):
        registry.auth_settings("oauth2")(user="u")  # type: ignore[call-arg]
    assert isinstance(registry.auth_settings("basic"), type)
    assert issubclass(registry.auth_settings("basic"), Settings)
