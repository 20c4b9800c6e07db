"""A real OAuth2 authorization server (Authlib's, on loopback, https, rotating refresh tokens) driven through every grant."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, InvalidClientError, TokenMixin, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

from mailwright import Mailer, Message
from mailwright.connections import find_connection
from mailwright.credentials import open_credential
from mailwright.errors import AuthError, ConfigurationError
from mailwright.net import ConfiguredHttp
from mailwright.oauth import FileTokenStore, Source
from mailwright.oauth.login import Login, revoke
from mailwright.ports import HttpRequest
from mailwright.registry import default_registry
from mailwright.system import SystemClock, SystemEntropy
from mailwright.testing import ScriptedServer, certificates

USER = "me@example.org"
LETTER = Message(to="ann@example.org", subject="Hi", text="Hi")


class Client(ClientMixin):
    def __init__(self, client_id: str, secret: str = "", public_key: str = "") -> None:
        self.client_id = client_id
        self.secret = secret
        self.public_key = public_key

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(word for word in (scope or "").split() if word in {"mail.send", "offline_access"})

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return re.fullmatch(r"http://(127\.0\.0\.1|localhost):\d+", redirect_uri) is not None

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        wanted = "client_assertion_jwt" if self.public_key else "client_secret_post" if self.secret else "none"
        return method == wanted

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


class Token(TokenMixin):
    def __init__(self, values: dict[str, Any], client: Client) -> None:
        self.values = values
        self.client = client
        self.revoked = False
        self.issued = time.time()

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.client.client_id

    def get_scope(self) -> str:
        return str(self.values.get("scope", ""))

    def get_expires_in(self) -> int:
        return int(self.values["expires_in"])

    def is_expired(self) -> bool:
        return time.time() > self.issued + self.get_expires_in()

    def is_revoked(self) -> bool:
        return self.revoked


class Code:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def get_redirect_uri(self) -> str:
        return cast("str", self.redirect_uri)  # type: ignore[attr-defined]

    def get_scope(self) -> str:
        return cast("str", self.scope)  # type: ignore[attr-defined]


class DeviceCredential:
    def __init__(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        self.client_id, self.scope, self.data = client_id, scope, data
        self.polled = 0

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return str(self.data["user_code"])

    def is_expired(self) -> bool:
        return False


class OAuthServer:
    """The whole server, in a thread."""

    def __init__(self, public_key: str, certificate: str) -> None:
        digest = x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256())
        self.thumbprint = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        context, self.ca_file = certificates.make("good")
        self.clients = {
            "public": Client("public"),
            "confidential": Client("confidential", secret="the-client-secret"),
            "certificate": Client("certificate", public_key=public_key),
            "robot@project.example": Client("robot@project.example", public_key=public_key),
        }
        self.tokens: list[Token] = []
        self.codes: dict[str, Code] = {}
        self.devices: list[DeviceCredential] = []
        self.approved: dict[str, bool] = {}
        self.grants: list[str] = []
        self.deny = False
        app = self._app()
        self._server = make_server("127.0.0.1", 0, app, ssl_context=context, threaded=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.ca_file.unlink()

    @property
    def good_access_tokens(self) -> dict[str, str]:
        return {USER: self.tokens[-1].values["access_token"]}

    def _app(self) -> Flask:
        world = self
        app = Flask("oauth")
        app.config |= {"OAUTH2_REFRESH_TOKEN_GENERATOR": True}
        server = AuthorizationServer()

        def save(values: dict[str, Any], asked: Any) -> None:
            world.grants.append(asked.payload.grant_type)
            world.tokens.append(Token(values, asked.client))

        server.init_app(app, query_client=self.clients.get, save_token=save)

        class ByCode(grants.AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post", "none")

            def save_authorization_code(self, code: str, asked: Any) -> None:
                data = asked.payload.data
                world.codes[code] = Code({
                    "client_id": asked.client.client_id, "redirect_uri": asked.payload.redirect_uri,
                    "scope": asked.payload.scope, "code_challenge": data.get("code_challenge"),
                    "code_challenge_method": data.get("code_challenge_method"),
                })  # fmt: skip

            def query_authorization_code(self, code: str, client: Client) -> Code | None:
                return world.codes.get(code)

            def delete_authorization_code(self, found: Code) -> None:
                world.codes = {code: known for code, known in world.codes.items() if known is not found}

            def authenticate_user(self, found: Code) -> str:
                return USER

        class ByRefresh(grants.RefreshTokenGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post", "none")
            INCLUDE_NEW_REFRESH_TOKEN = True

            def authenticate_refresh_token(self, text: str) -> Token | None:
                found = [t for t in world.tokens if t.values.get("refresh_token") == text and not t.revoked]
                return found[0] if found else None

            def authenticate_user(self, credential: Token) -> str:
                return USER

            def revoke_old_credential(self, credential: Token) -> None:
                credential.revoked = True

        class ByClient(grants.ClientCredentialsGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post", "client_assertion_jwt")

        class ByDevice(DeviceCodeGrant):  # type: ignore[misc]
            def query_device_credential(self, device_code: str) -> DeviceCredential | None:
                return next((d for d in world.devices if d.data["device_code"] == device_code), None)

            def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
                return (USER, world.approved[user_code]) if user_code in world.approved else None

            def should_slow_down(self, credential: DeviceCredential) -> bool:
                credential.polled += 1
                return credential.polled == 2

        class Device(DeviceAuthorizationEndpoint):  # type: ignore[misc]
            CLIENT_AUTH_METHODS = ("none",)

            def get_verification_uri(self) -> str:
                return f"{world.url}/device"

            def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
                world.devices.append(DeviceCredential(client_id, scope, data))

        class ByAssertion(JWTBearerGrant):  # type: ignore[misc]
            def get_audiences(self) -> list[str]:
                return [f"{world.url}/token"]

            def resolve_issuer_client(self, issuer: str) -> Client | None:
                return world.clients.get(issuer)

            def resolve_client_public_key(self, client: Client) -> RSAKey:
                return RSAKey.import_key(client.public_key)

            def authenticate_user(self, subject: str) -> str:
                return subject

            def has_granted_permission(self, client: Client, user: str) -> bool:
                return user == USER

        class ClientAssertion(JWTBearerClientAssertion):  # type: ignore[misc]
            used: ClassVar[set[str]] = set()

            def get_audiences(self) -> list[str]:
                return [f"{world.url}/token"]

            def resolve_client_public_key(self, client: Client) -> RSAKey:
                return RSAKey.import_key(client.public_key)

            def process_assertion_claims(self, assertion: str, key: RSAKey) -> Any:
                """As Entra ID: PS256 only, and the header names the certificate."""
                found = jwt.decode(assertion, key, algorithms=["PS256"])
                if found.header.get("x5t#S256") != world.thumbprint:
                    raise InvalidClientError(description="AADSTS700027: another certificate")
                self.verify_claims(found.claims)
                return found.claims

            def validate_jti(self, claims: Any, jti: str) -> bool:
                fresh = jti not in self.used
                self.used.add(jti)
                return fresh

        class Revocation(RevocationEndpoint):  # type: ignore[misc]
            CLIENT_AUTH_METHODS = ("client_secret_post", "none")

            def query_token(self, text: str, hint: str | None) -> Token | None:
                return next((t for t in world.tokens if text in t.values.values()), None)

            def revoke_token(self, token: Token, asked: Any) -> None:
                token.revoked = True

        server.register_grant(ByCode, [CodeChallenge(required=True)])
        for grant in (ByRefresh, ByClient, ByDevice, ByAssertion):
            server.register_grant(grant)
        server.register_client_auth_method("client_assertion_jwt", ClientAssertion())
        server.register_endpoint(Device)
        server.register_endpoint(Revocation)

        @app.get("/authorize")
        def authorize() -> Any:
            grant = server.get_consent_grant(end_user=USER)
            return server.create_authorization_response(
                request=None, grant_user=None if world.deny else USER, grant=grant
            )

        @app.post("/token")
        def token() -> Any:
            return server.create_token_response()

        @app.post("/device")
        def device() -> Any:
            return server.create_endpoint_response("device_authorization")

        @app.post("/revoke")
        def revocation() -> Any:
            return server.create_endpoint_response("revocation")

        return app


@pytest.fixture(scope="module")
def key() -> tuple[str, str, str]:
    """Private key, public key, certificate."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mailwright test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(made, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        made.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
        made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        certificate.public_bytes(pem).decode(),
    )


@pytest.fixture
def server(key: tuple[str, str, str]) -> Iterator[OAuthServer]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = OAuthServer(key[1], key[2])
    yield started
    started.close()


@pytest.fixture
def store(tmp_path: Path) -> FileTokenStore:
    return FileTokenStore(tmp_path / "tokens")


def document(server: OAuthServer, mail: ScriptedServer | None = None, **auth: Any) -> dict[str, Any]:
    host, port = (mail.host, mail.port) if mail else ("127.0.0.1", 25)
    return {
        "name": "support", "provider": "smtp", "host": host, "port": port, "tls": "none", "ca_file": str(server.ca_file),
        "auth": {"user": USER, "token_url": f"{server.url}/token", "scope": "mail.send", **auth},
    }  # fmt: skip


def personal(server: OAuthServer, mail: ScriptedServer | None = None, **auth: Any) -> dict[str, Any]:
    urls = {f"{name}_url": f"{server.url}/{name}" for name in ("authorize", "device", "revoke")}
    values = {"type": "oauth2", "client_id": "public", **urls, "scope": "mail.send offline_access"} | auth
    return document(server, mail, **values)


async def source_of(connection: dict[str, Any], store: FileTokenStore) -> Source:
    registry = default_registry()
    found = await find_connection(connection, registry=registry)
    clock, entropy = SystemClock(), SystemEntropy()
    return open_credential(found, registry=registry, token_store=store, clock=clock, entropy=entropy).desk.sources[0]


class Hurried(SystemClock):
    """Waits for nothing, but notes how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def browse(server: OAuthServer, url: str, *, change: dict[str, str] | None = None) -> tuple[int, str]:
    """A browser without a head: asks the server, follows its one redirect to us."""
    http = ConfiguredHttp(ca_file=str(server.ca_file))
    answer = await http.request(HttpRequest(method="GET", url=url))
    assert answer.status == 302, answer.body
    target = urlsplit(answer.headers["location"])
    query = target.query
    for old, new in (change or {}).items():
        query = re.sub(old, new, query)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(f"GET /?{query} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    return int(text.split()[1]), text


def login(source: Source, clock: Any = None, lines: list[str] | None = None, **more: Any) -> Login:
    tell = (lines if lines is not None else []).append
    return Login(source, user=USER, clock=clock or SystemClock(), entropy=SystemEntropy(), tell=tell, **more)


async def log_in(server: OAuthServer, source: Source) -> None:
    pages: list[asyncio.Task[Any]] = []

    def opened(url: str) -> bool:
        pages.append(asyncio.ensure_future(browse(server, url)))
        return True

    await login(source).by_browser(opened)
    assert (await pages[0])[0] == 200


@pytest.mark.parametrize("client", ["public", "confidential"])
async def test_code_flow_then_mail_then_rotation(client: str, server: OAuthServer, store: FileTokenStore) -> None:
    secret = {"client_secret": "the-client-secret"} if client == "confidential" else {}
    async with ScriptedServer(tokens={USER: "x"}, mechanisms=["XOAUTH2", "OAUTHBEARER"]) as mail:
        connection = personal(server, mail, client_id=client, **secret)
        await log_in(server, await source_of(connection, store))
        for round_ in range(3):
            mail.tokens = server.good_access_tokens
            async with Mailer(connection, token_store=store) as mailer:
                assert (await mailer.send(LETTER)).accepted
            await (await source_of(connection, store)).refresh()
            assert len(server.tokens) == round_ + 2
    assert server.grants == ["authorization_code", "refresh_token", "refresh_token", "refresh_token"]
    assert [token.revoked for token in server.tokens] == [True, True, True, False]


async def test_pkce_is_s256_and_state_is_checked(server: OAuthServer, store: FileTokenStore) -> None:
    source = await source_of(personal(server), store)
    seen: list[str] = []
    task = asyncio.create_task(login(source).by_browser(lambda url: bool(seen.append(url))))
    while not seen:
        await asyncio.sleep(0)
    query = parse_qs(urlsplit(seen[0]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["state"][0]) == 32
    assert query["login_hint"] == [USER]
    status, _ = await browse(server, seen[0], change={"state=[^&]*": "state=stolen"})
    assert status == 404
    status, _ = await browse(server, seen[0], change={"$": "&iss=https%3A%2F%2Fevil.example"})
    assert status == 400
    with pytest.raises(AuthError, match="another issuer"):
        await task
    assert server.tokens == []


async def test_a_person_may_say_no(server: OAuthServer, store: FileTokenStore) -> None:
    server.deny = True
    source = await source_of(personal(server), store)
    pages: list[Any] = []
    with pytest.raises(AuthError, match="access_denied"):
        await login(source).by_browser(lambda url: bool(pages.append(asyncio.ensure_future(browse(server, url)))))
    await pages[0]


async def test_nobody_comes(server: OAuthServer, store: FileTokenStore) -> None:
    source = await source_of(personal(server), store)
    lines: list[str] = []
    with pytest.raises(AuthError, match="nobody logged in"):
        await login(source, lines=lines, limit_s=0.05).by_browser(lambda url: False)
    assert lines[0].startswith("Open this address:\n\n  https://127.0.0.1")


async def test_device_flow_at_the_servers_pace(server: OAuthServer, store: FileTokenStore) -> None:
    source = await source_of(personal(server), store)
    clock, lines = Hurried(), list[str]()
    task = asyncio.create_task(login(source, clock, lines).by_device())
    while not (server.devices and server.devices[0].polled > 2):
        await asyncio.sleep(0.01)
    server.approved[server.devices[0].get_user_code()] = True
    await task
    assert server.devices[0].get_user_code() in lines[0]
    assert clock.slept[:3] == [5.0, 5.0, 10.0]
    assert server.grants == ["urn:ietf:params:oauth:grant-type:device_code"]
    assert await (await source_of(personal(server), store)).token() == server.good_access_tokens[USER]


async def test_device_flow_denied(server: OAuthServer, store: FileTokenStore) -> None:
    source = await source_of(personal(server), store)
    task = asyncio.create_task(login(source, Hurried()).by_device())
    while not server.devices:
        await asyncio.sleep(0.01)
    server.approved[server.devices[0].get_user_code()] = False
    with pytest.raises(AuthError, match="said no"):
        await task


async def test_providers_without_device_login_say_so(tmp_path: Path) -> None:
    connection = {"provider": "gmail", "auth": {"type": "oauth2", "user": USER, "client_id": "c"}}
    source = await source_of(connection, FileTokenStore(tmp_path))
    with pytest.raises(ConfigurationError, match="Google has none"):
        await login(source).by_device()


async def sends(server: OAuthServer, store: FileTokenStore, **auth: Any) -> None:
    async with ScriptedServer(tokens={USER: "x"}, mechanisms=["XOAUTH2"]) as mail:
        connection = document(server, mail, **auth)
        mail.tokens = {USER: await (await source_of(connection, store)).token()}
        async with Mailer(connection, token_store=store) as mailer:
            assert (await mailer.send(LETTER)).accepted
    assert len(server.tokens) == 1


async def test_client_credentials(server: OAuthServer, store: FileTokenStore) -> None:
    await sends(
        server, store, type="oauth2_client_credentials", client_id="confidential", client_secret="the-client-secret"
    )
    assert server.grants == ["client_credentials"]


async def test_entra_certificate(
    server: OAuthServer, store: FileTokenStore, key: tuple[str, str, str], tmp_path: Path
) -> None:
    path = tmp_path / "app.pem"
    path.write_text(key[0] + key[2])
    path.chmod(0o600)
    await sends(server, store, type="entra_certificate", client_id="certificate", certificate=f"file:{path}")
    assert server.grants == ["client_credentials"]


async def test_google_service_account(
    server: OAuthServer, store: FileTokenStore, key: tuple[str, str, str], tmp_path: Path
) -> None:
    path = tmp_path / "robot.json"
    account = {
        "type": "service_account",
        "client_email": "robot@project.example",
        "private_key": key[0],
        "private_key_id": "1",
    }
    path.write_text(json.dumps(account))
    path.chmod(0o600)
    await sends(server, store, type="google_service_account", key=f"file:{path}")
    assert server.grants == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


@pytest.mark.parametrize(
    ("auth", "wanted"),
    [
        (
            {"type": "oauth2_client_credentials", "client_id": "confidential", "client_secret": "wrong"},
            "client_secret is wrong",
        ),
        ({"type": "entra_certificate", "client_id": "certificate", "certificate": "no pem"}, r"\$\.auth\.certificate"),
        ({"type": "google_service_account", "key": "{}"}, "lacks private_key"),
        ({"type": "google_service_account", "key": "no pem", "client_email": "r@x.org"}, r"\$\.auth\.key"),
        ({"type": "oauth2", "client_id": "public", "refresh_token": "unknown"}, "auth login support"),
    ],
)
async def test_refusals_say_what_to_do(
    auth: dict[str, Any], wanted: str, server: OAuthServer, store: FileTokenStore
) -> None:
    with pytest.raises(AuthError, match=wanted):
        await (await source_of(document(server, **auth), store)).token()


async def test_tokens_are_given_back(server: OAuthServer, store: FileTokenStore) -> None:
    source = await source_of(personal(server), store)
    await log_in(server, source)
    record = await source.forget()
    assert record.refresh_token is not None
    assert await revoke(source, record.refresh_token)
    assert server.tokens[0].revoked
    with pytest.raises(AuthError, match="there is no token"):
        await source.token()


def test_a_supplier_of_ones_own() -> None:
    from mailwright.spi import SuppliedToken

    calls: list[tuple[str, bool]] = []

    async def supply(user: str, target: Any, renew: bool) -> SuppliedToken:
        calls.append((user, renew))
        return SuppliedToken(access_token=f"token-{len(calls)}", expires_in_s=3600)

    async def run() -> None:
        async with ScriptedServer(tokens={USER: "token-2"}, mechanisms=["XOAUTH2"]) as mail:
            connection = {
                "provider": "smtp", "host": mail.host, "port": mail.port, "tls": "none",
                "auth": {"type": "external_token", "user": USER, "supplier": supply},
            }  # fmt: skip
            async with Mailer(connection) as mailer:
                assert (await mailer.send(LETTER)).accepted

    asyncio.run(run())
    assert calls == [(USER, False), (USER, True)]


def test_the_command_line_logs_in_and_out(server: OAuthServer, tmp_path: Path) -> None:
    """auth login, status, refresh, reset, logout as a person types them; the browser is ours."""
    values = personal(server)
    auth = "\n".join(f'{name} = "{value}"' for name, value in values.pop("auth").items())
    del values["name"]
    head = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    (tmp_path / "mailwright.toml").write_text(f"[connections.support]\n{head}\n[connections.support.auth]\n{auth}\n")
    environment = os.environ | {"NO_COLOR": "1", "HOME": str(tmp_path), "MAILWRIGHT_TOKENS": str(tmp_path / "tokens")}
    command = [sys.executable, "-W", "error", "-c", "from mailwright.cli import main; main()", "auth"]

    def auth_(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "no token yet: run: mailwright auth login support" in auth_("status")
    with subprocess.Popen(
        [*command, "login", "support", "--no-browser"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = next(line for line in process.stdout if "https://" in line).strip()
        asyncio.run(browse(server, url))
        assert "✓ logged in: support" in process.stdout.read()
    assert "renewed by itself" in auth_("status", "support")
    assert json.loads(auth_("status", "--json"))[0]["valid"] is True
    assert "✓ renewed" in auth_("refresh", "support")
    assert "the login stays" in auth_("reset", "support")
    assert "given back" in auth_("logout", "support")
    assert server.grants == ["authorization_code", "refresh_token"]
    assert all(token.revoked for token in server.tokens)
