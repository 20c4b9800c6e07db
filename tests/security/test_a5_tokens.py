"""Section A5 of the fault table: OAuth and secrets. Each row O01 to O11 is a test of that name."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import os
import signal
import stat
import sys
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pytest

from mailwright import DocumentError, Mailer, MailwrightError, Message, SendError, load_connection
from mailwright.errors import AuthError, ConfigurationError, HttpError, SecretError
from mailwright.net import ConfiguredHttp
from mailwright.oauth import FileTokenStore, MemoryTokenStore, Source, TokenDesk
from mailwright.oauth.login import Login
from mailwright.ports import HttpRequest
from mailwright.spi import AuthTarget, ClientGrant, LoginUrls, RefreshGrant, Secret
from mailwright.system import SystemEntropy
from mailwright.testing import ScriptedServer, TokenAnswer, TokenServer

TARGET = AuthTarget(protocol="smtp", host="mail.example.org")
LETTER = Message(to="ann@example.org", subject="Hi", text="Hi")


class ManualClock:
    """Time that moves only by sleeping, or when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = datetime(2026, 11, 24, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.wall + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


async def as_it_is(secret: Secret) -> str:
    return secret.reference


def source(server: TokenServer, store: Any, clock: ManualClock, **more: Any) -> Source:
    limit_s = more.pop("limit_s", 20.0)
    name = more.pop("name", "support")
    values = {"token_url": server.url, "client_id": "client", "refresh_token": Secret("refresh-0")} | more
    desk = TokenDesk(
        name=name,
        http=ConfiguredHttp(ca_file=str(server.ca_file)),
        reveal=as_it_is,
        store=store,
        clock=clock,
        entropy=SystemEntropy(),
        limit_s=limit_s,
    )
    desk.source(RefreshGrant(**values), target=TARGET, user="me@example.org")
    return desk.sources[0]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> FileTokenStore:
    return FileTokenStore(tmp_path / "tokens")


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with TokenServer() as started:
        yield started


async def refused(source: Source) -> AuthError:
    with pytest.raises(AuthError) as caught:
        await source.token()
    return caught.value


# -- O01: secrets stay secret


CANARIES = {
    "client_secret": "canary-client/secret+1",
    "refresh_token": "canary-refresh/token+2",
    "access_token": "canary-access/token+3",
    "password": "canary-pass/word+4",
}
_FAILURES: dict[str, dict[str, Any]] = {
    "it repeats what it was sent": {"status": 400, "body": {"error": "invalid_grant", "error_description": "ECHO"}},
    "it repeats it percent-encoded": {"status": 400, "body": {"error": "invalid_grant", "error_description": "QUOTED"}},
    "it repeats it in base64": {"status": 401, "body": {"error": "invalid_client", "error_description": "BASE64"}},
    "HTML": {"status": 500, "body": b"<html>ECHO</html>"},
    "a redirect": {"status": 307, "body": b"", "headers": {"Location": "https://127.0.0.1:1/?ECHO"}},
    "a strange token": {"body": {"access_token": "canary-access/token+3\x01x", "token_type": "Bearer"}},
    "a lost scope": {"body": {"access_token": "canary-access/token+3", "token_type": "Bearer", "scope": "other"}},
    "a dropped answer": {"fault": "drop"},
    "the mail server refuses it": {"body": {"access_token": "canary-access/token+3", "token_type": "Bearer"}},
}


def _scripted(failure: dict[str, Any]) -> TokenAnswer:
    sent = [CANARIES["client_secret"], CANARIES["refresh_token"]]
    secrets = " ".join(sent)
    encoded = " ".join(base64.b64encode(value.encode()).decode() for value in sent)
    words = {"ECHO": secrets, "QUOTED": quote(secrets), "BASE64": encoded}

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: said(inner) for key, inner in value.items()}
        for word, text in words.items():
            if isinstance(value, str):
                value = value.replace(word, text)
            elif isinstance(value, bytes):
                value = value.replace(word.encode(), text.encode())
        return value

    return TokenAnswer(**{key: said(value) for key, value in failure.items()})


def forms(secret: str) -> set[str]:
    """How a secret could show: plain, quoted, and in base64 at each of the three places inside a longer text."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for before in (b"", b"x", b"xx"):
        coded = base64.b64encode(before + secret.encode())
        start = {0: 0, 1: 4, 2: 4}[len(before)]
        found.add(coded[start : len(coded) - 4].decode())
    return found


def assert_no_canary(text: str) -> None:
    for secret in CANARIES.values():
        for form in forms(secret):
            assert form not in text


@pytest.mark.parametrize("name", _FAILURES)
async def test_o01_no_secret_on_any_failure_path(
    name: str, store: FileTokenStore, clock: ManualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        answers = [_scripted(_FAILURES[name])] * 3
        async with (
            TokenServer(answers=answers, refresh_tokens=[CANARIES["refresh_token"]]) as tokens,
            ScriptedServer(tokens={"me@example.org": "another"}, mechanisms=["XOAUTH2"]) as mail,
        ):
            document = {
                "name": "support", "provider": "smtp", "host": mail.host, "port": mail.port, "tls": "none",
                "ca_file": str(tokens.ca_file),
                "auth": {
                    "type": "oauth2", "user": "me@example.org", "client_id": "client", "token_url": tokens.url,
                    "client_secret": CANARIES["client_secret"], "refresh_token": CANARIES["refresh_token"],
                    "scope": "mail.send",
                },
            }  # fmt: skip
            connection = load_connection(document)
            mailer = Mailer(connection, token_store=store, clock=clock)
            try:
                with pytest.raises(SendError) as caught:
                    await mailer.send(LETTER)
            finally:
                await mailer.aclose()
            error = caught.value
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    captured = capfd.readouterr()
    everything = [log.getvalue(), captured.out, captured.err, str(error), repr(error), repr(vars(error))]
    everything += ["".join(shown.format()), str(error.receipt.to_result()), repr(connection), repr(mailer)]
    assert tokens.requests
    for text in everything:
        assert_no_canary(text)


async def test_o01_records_grants_and_sources_do_not_show_themselves(
    server: TokenServer, store: FileTokenStore
) -> None:
    made = source(server, store, ManualClock(), refresh_token=Secret(CANARIES["refresh_token"]))
    server.good = {CANARIES["refresh_token"]}
    server.stem = "canary-access/"
    await made.token()
    text = "".join(map(repr, (made, made.grant, vars(made), await made.state())))
    assert "canary" not in text


async def test_o01_a_login_that_fails_shows_neither_code_nor_verifier(
    store: FileTokenStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The token server repeats all it was sent: authorization code, PKCE verifier, client secret."""
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    visits: list[asyncio.Task[None]] = []

    async def visit(url: str) -> None:
        query = parse_qs(urlsplit(url).query)
        there = urlsplit(query["redirect_uri"][0])
        reader, writer = await asyncio.open_connection(there.hostname, there.port)
        writer.write(f"GET /?state={query['state'][0]}&code=canary-code-5 HTTP/1.1\r\n\r\n".encode())
        assert b"200 OK" in await reader.read()
        writer.close()

    async with TokenServer() as server:

        def echo(form: dict[str, str]) -> None:
            server.answers = [
                TokenAnswer(status=400, body={"error": "invalid_grant", "error_description": " ".join(form.values())})
            ]

        server.on_request = echo
        made = source(
            server, store, clock, client_secret=Secret(CANARIES["client_secret"]), refresh_token=None,
            login=LoginUrls(authorize="https://login.example.org/authorize"),
        )  # fmt: skip
        person = Login(made, user="me@example.org", clock=clock, entropy=SystemEntropy(), tell=lines.append)
        with pytest.raises(AuthError) as caught:
            await person.by_browser(lambda url: bool(visits.append(asyncio.ensure_future(visit(url)))))
        await visits[0]
    [form] = server.requests
    assert form["grant_type"] == "authorization_code"
    assert form["code"] == "canary-code-5"
    for secret in (form["code"], form["code_verifier"], form["client_secret"]):
        for shown in forms(secret):
            assert shown not in f"{caught.value}{caplog.text}{lines}"


# -- O02, O03, O04: where credentials go


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.org/token", "http://localhost@evil.example/token", "https://localhost@evil.example/token",
        "https://evil.example\\@login.example.org/token", "https://", "ftp://x.org/t", "https://x.org/t#f", "//x.org/t",
        "https://x.org:bad/token", "https://x.org/to ken", "https://ex\u00e4mple.org/t", "http://127.0.0.1/token",
    ],
)  # fmt: skip
def test_o02_token_urls_are_https_and_nothing_else(url: str, store: FileTokenStore, clock: ManualClock) -> None:
    odd = TokenServer()
    odd.url = url
    with pytest.raises(ConfigurationError, match=r"\$\.auth\.token_url"):
        source(odd, store, clock)


async def test_o02_a_certificate_nobody_trusts_gets_no_credential(store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(certificate="self-signed") as server:
        error = await refused(source(server, store, clock))
        assert error.permanent is False
        assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_o03_redirects_are_not_followed(status: int, store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer() as elsewhere:
        there = {"Location": elsewhere.url}
        async with TokenServer(answers=[TokenAnswer(status=status, body=b"", headers=there)]) as server:
            error = await refused(source(server, store, clock))
        assert "points elsewhere" in error.message
        assert error.permanent
        assert elsewhere.requests == []


@pytest.mark.parametrize("kind", ["mac", "DPoP", 5, ["Bearer"]])
async def test_o04_other_token_types_are_refused(kind: Any, store: FileTokenStore, clock: ManualClock) -> None:
    answer = TokenAnswer(body={"access_token": "t", "token_type": kind})
    async with TokenServer(answers=[answer]) as server:
        assert "token_type" in (await refused(source(server, store, clock))).message


async def test_o04_accounts_and_endpoints_do_not_mix(store: FileTokenStore, clock: ManualClock) -> None:
    """Same store, same name, another mailbox, endpoint or scope: another token."""
    async with TokenServer(stem="a-") as one, TokenServer(stem="b-") as two:
        assert await source(one, store, clock).token() == "a-access-1"
        assert await source(two, store, clock).token() == "b-access-1"
        one.good = {"refresh-0"}
        assert await source(one, store, clock, scopes=("other",)).token() == "a-access-2"
        assert await source(one, store, clock).token() == "a-access-1"


async def test_o04_another_credential_finds_no_old_token(store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(refresh_tokens=["refresh-0", "refresh-new"], rotates=False) as server:
        assert await source(server, store, clock).token() == "access-1"
        assert await source(server, store, clock).token() == "access-1"
        assert await source(server, store, clock, refresh_token=Secret("refresh-new")).token() == "access-2"


def test_o04_documents_that_are_not_trusted_name_no_endpoint() -> None:
    document = {"provider": "gmail", "auth": {"type": "oauth2", "user": "a@x.org", "access_token": "t"}}
    with pytest.raises(DocumentError, match="not trusted"):
        load_connection(document, trust="untrusted")


# -- O05: scope and time


@pytest.mark.parametrize("scope", ["", "https://mail.google.com/", "HTTPS://MAIL.GOOGLE.COM openid more"])
async def test_o05_a_granted_scope_is_fine(scope: str, store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(more={"scope": scope}) as server:
        wanted = ("https://mail.google.com/", "offline_access")
        assert await source(server, store, clock, scopes=wanted).token() == "access-1"


async def test_o05_a_lost_scope_is_permanent(store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(more={"scope": "openid"}) as server:
        error = await refused(source(server, store, clock, scopes=("https://mail.google.com/",)))
    assert error.permanent
    assert "without https://mail.google.com/" in error.message
    assert "auth login support" in error.message


@pytest.mark.parametrize(
    ("said", "good_for"),
    [(3600, 3300), ("3600", 3300), ("3600.5", 3300), (100, 80), (None, 1500), (10**15, 86100), (1e300, 86100)],
)
async def test_o05_lifetimes(said: Any, good_for: float, store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(expires_in=said) as server:
        made = source(server, store, clock)
        assert await made.token() == "access-1"
        clock.seconds += good_for - 1
        assert await made.token() == "access-1"
        clock.seconds += 3
        assert await made.token() == "access-2"


@pytest.mark.parametrize("said", [-1, 0, "soon", True, [], "1e9", "-5"])
async def test_o05_nonsense_lifetimes_count_as_not_said(said: Any, store: FileTokenStore, clock: ManualClock) -> None:
    """The refresh token that came with it must not be lost."""
    async with TokenServer(expires_in=said) as server:
        made = source(server, store, clock)
        assert await made.token() == "access-1"
        clock.seconds += 1499
        assert await made.token() == "access-1"
        clock.seconds += 2
        assert await made.token() == "access-2"


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)])
async def test_o05_a_clock_that_jumps_changes_nothing(
    jump: timedelta, store: FileTokenStore, clock: ManualClock
) -> None:
    async with TokenServer() as server:
        made = source(server, store, clock)
        assert await made.token() == "access-1"
        clock.wall += jump
        assert await made.token() == "access-1"
        clock.seconds += 3400
        assert await made.token() == "access-2"


async def test_o05_a_stored_token_from_the_future_lives_no_longer_than_it_was_given(
    server: TokenServer, store: FileTokenStore, clock: ManualClock
) -> None:
    assert await source(server, store, clock).token() == "access-1"
    clock.wall -= timedelta(days=400)
    made = source(server, store, clock)
    assert await made.token() == "access-1"
    clock.seconds += 3400
    assert await made.token() == "access-2"


# -- O06: bad days of the endpoint


@pytest.mark.parametrize("status", [400, 401])
async def test_o06_invalid_grant_is_permanent_and_asked_once(
    status: int, store: FileTokenStore, clock: ManualClock
) -> None:
    answers = [TokenAnswer(status=status, body={"error": "invalid_grant", "error_description": "revoked"})] * 5
    async with TokenServer(answers=answers) as server:
        made = source(server, store, clock)
        for _ in range(5):
            error = await refused(made)
            assert error.permanent
            assert "run: mailwright auth login support" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        TokenAnswer(status=500, body={"error": "server_error"}),
        TokenAnswer(status=503, body=b"<html>busy</html>", headers={"Content-Type": "text/html"}),
        TokenAnswer(status=429, body=b""),
        TokenAnswer(status=400, body={"error": "temporarily_unavailable"}),
        TokenAnswer(status=200, body=b"<html>captive portal</html>", headers={"Content-Type": "text/html"}),
        TokenAnswer(status=200, body=b""),
        TokenAnswer(status=200, body=b"[]"),
        TokenAnswer(status=200, body=b'{"access_token": "t", "expires_in": NaN}'),
        TokenAnswer(status=200, body={"token_type": "Bearer"}),
        TokenAnswer(status=200, body=b"[" * 60000),
        TokenAnswer(status=200, body=b"x" * 100_000),
        TokenAnswer(fault="drop"),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.body or b'')}-{answer.fault}",
)
async def test_o06_bad_answers_back_off_and_end(answer: TokenAnswer, store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(answers=[answer] * 50, rotates=False) as server:
        made = source(server, store, clock)
        error = await refused(made)
        assert error.permanent is False
        assert len(server.requests) == 3
        assert clock.slept == [1.0, 4.0]
        for _ in range(100):
            assert "asked again in" in (await refused(made)).message
        assert len(server.requests) == 3
        clock.seconds += 61
        server.answers.clear()
        assert (await made.token()).startswith("access-")


async def test_o06_retry_after_is_obeyed(store: FileTokenStore, clock: ManualClock) -> None:
    busy = TokenAnswer(status=429, body=b"", headers={"Retry-After": "7"})
    async with TokenServer(answers=[busy]) as server:
        assert await source(server, store, clock).token() == "access-1"
        assert clock.slept == [7.0]
    long = TokenAnswer(status=503, body=b"", headers={"Retry-After": "900"})
    async with TokenServer(answers=[long, long]) as server:
        made = source(server, store, clock)
        await refused(made)
        clock.seconds += 800
        await refused(made)
        assert len(server.requests) == 1


async def test_o06_a_hanging_endpoint_is_left(store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer(answers=[TokenAnswer(fault="hang")] * 3) as server:
        error = await refused(source(server, store, clock, limit_s=0.2))
    assert "no answer within 0.2 s" in error.message


async def test_o06_ten_megabytes_are_not_read(server: TokenServer) -> None:
    server.answers = [TokenAnswer(body=b"x" * 10_000_000)]
    http = ConfiguredHttp(ca_file=str(server.ca_file))
    with pytest.raises(HttpError, match="larger than 65536"):
        await http.request(HttpRequest(method="POST", url=server.url, body=b""), max_bytes=65536)


async def test_o06_a_token_with_life_in_it_outlives_a_bad_day(store: FileTokenStore, clock: ManualClock) -> None:
    async with TokenServer() as server:
        made = source(server, store, clock)
        assert await made.token() == "access-1"
        server.answers = [TokenAnswer(status=500, body=b"")] * 50
        clock.seconds += 3400
        assert await made.token() == "access-1"
        clock.seconds += 300
        await refused(made)


# -- O07: rotation


class Stubborn(FileTokenStore):
    """A disk that is full."""

    full = True

    async def compare_and_swap(self, key: str, old: str | None, new: str | None) -> bool:
        if self.full:
            raise OSError(28, "No space left on device")
        return await super().compare_and_swap(key, old, new)


async def test_o07_a_new_refresh_token_is_kept_before_it_is_used(
    server: TokenServer, tmp_path: Path, clock: ManualClock
) -> None:
    full = Stubborn(tmp_path)
    made = source(server, full, clock)
    error = await refused(made)
    assert "cannot be kept" in error.message
    assert error.permanent is False
    full.full = False
    assert await made.token() == "access-1"
    assert [form["refresh_token"] for form in server.requests] == ["refresh-0"]
    assert await source(server, FileTokenStore(tmp_path), clock).token() == "access-1"


async def test_o07_a_token_that_is_not_replaced_needs_no_disk(tmp_path: Path, clock: ManualClock) -> None:
    async with TokenServer(rotates=False) as server:
        assert await source(server, Stubborn(tmp_path), clock).token() == "access-1"


async def test_o07_without_a_place_to_keep_it_rotation_is_an_error_at_start(
    server: TokenServer, clock: ManualClock
) -> None:
    with pytest.raises(ConfigurationError, match="token_store"):
        source(server, MemoryTokenStore(), clock)
    assert await source(server, MemoryTokenStore(), clock, rotates=False).token() == "access-1"
    document = {
        "provider": "smtp", "host": "127.0.0.1", "tls": "none",
        "auth": {"type": "oauth2", "user": "a@x.org", "client_id": "c", "refresh_token": "r", "token_url": server.url},
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"\$\.auth\.refresh_token"):
        async with Mailer(document, token_store=MemoryTokenStore()):
            pass


async def test_o07_a_caller_that_is_cancelled_loses_nothing(
    server: TokenServer, store: FileTokenStore, clock: ManualClock
) -> None:
    made = source(server, store, clock)
    asked = asyncio.Event()
    server.on_request = lambda form: asked.set()
    caller = asyncio.create_task(made.token())
    await asked.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await made.aclose()
    assert await source(server, store, clock).token() == "access-1"
    assert len(server.requests) == 1


class ByLease:
    """An embedder's store: no lock, only compare-and-swap."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        await asyncio.sleep(0)
        return self.texts.get(key)

    async def compare_and_swap(self, key: str, old: str | None, new: str | None) -> bool:
        await asyncio.sleep(0)
        if self.texts.get(key) != old:
            return False
        if new is None:
            self.texts.pop(key, None)
        else:
            self.texts[key] = new
        return True


@pytest.mark.parametrize("kind", ["file", "lease"])
async def test_o07_many_tasks_and_mailers_renew_once(kind: str, tmp_path: Path, clock: ManualClock) -> None:
    made: Any = FileTokenStore(tmp_path) if kind == "file" else ByLease()
    async with TokenServer() as server:
        sources = [source(server, made, clock) for _ in range(5)]
        found = await asyncio.gather(*(one.token() for one in sources for _ in range(20)))
        assert set(found) == {"access-1"}
        assert len(server.requests) == 1


async def test_o07_a_lease_whose_owner_died_ends(server: TokenServer, clock: ManualClock) -> None:
    made = ByLease()
    one = source(server, made, clock)
    until = clock.now().timestamp() + 60
    made.texts[await one.key()] = f'{{"v":1,"lease":"dead","lease_until":{until}}}'
    assert await one.token() == "access-1"
    assert sum(clock.slept) >= 60


async def test_o07_without_any_lock_the_loser_takes_the_winners_token(server: TokenServer, clock: ManualClock) -> None:
    """Somebody else refreshed by other means: our token is refused, theirs is in the store by then."""
    made = ByLease()
    one = source(server, made, clock)
    key = await one.key()
    server.good = {"theirs"}

    def meanwhile(form: dict[str, str]) -> None:
        if form["refresh_token"] == "refresh-0":
            made.texts[key] = '{"v":1,"refresh_token":"theirs"}'

    server.on_request = meanwhile
    assert await one.token() == "access-1"
    assert [form["refresh_token"] for form in server.requests] == ["refresh-0", "theirs"]


_CHILD = """
import asyncio, os, signal, sys
from mailwright.net import ConfiguredHttp
from mailwright.oauth import FileTokenStore, TokenDesk
from mailwright.spi import AuthTarget, RefreshGrant, Secret
from mailwright.system import SystemClock, SystemEntropy
url, ca_file, folder, mode = sys.argv[1:]

class Store(FileTokenStore):
    def _swap(self, key, old, new):
        if mode == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = super()._swap(key, old, new)
        if mode == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def _sync_folder(self):
        pass

async def main():
    async def reveal(secret):
        return secret.reference
    desk = TokenDesk(name="support", http=ConfiguredHttp(ca_file=ca_file), reveal=reveal, store=Store(folder),
                     clock=SystemClock(), entropy=SystemEntropy())
    grant = RefreshGrant(token_url=url, client_id="client", refresh_token=Secret("refresh-0"))
    target = AuthTarget(protocol="smtp", host="mail.example.org")
    print(await desk.source(grant, target=target, user="me@example.org").token())

asyncio.run(main())
"""


async def child(server: TokenServer, folder: Path, mode: str = "whole") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", _CHILD, server.url, str(server.ca_file), str(folder), mode,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().strip()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
async def test_o07_kill_9_between_answer_and_saving(server: TokenServer, tmp_path: Path) -> None:
    """Nothing half-written, nothing locked, nothing used; a server with a grace time goes on, a strict one is told of."""
    assert await child(server, tmp_path, "before") == (-signal.SIGKILL, "")
    assert FileTokenStore(tmp_path).keys() == []
    server.good.add("refresh-0")
    assert await child(server, tmp_path) == (0, "access-2")
    assert [form["refresh_token"] for form in server.requests] == ["refresh-0", "refresh-0"]
    strict = tmp_path / "strict"
    server.good = {"refresh-0"}
    await child(server, strict, "before")
    error = await refused(source(server, FileTokenStore(strict), ManualClock()))
    assert "mailwright auth login support" in error.message


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
async def test_o07_kill_9_after_saving(server: TokenServer, tmp_path: Path) -> None:
    assert await child(server, tmp_path, "after") == (-signal.SIGKILL, "")
    assert await child(server, tmp_path) == (0, "access-1")
    assert len(server.requests) == 1


async def test_o07_processes_that_refresh_at_once_ask_once(server: TokenServer, tmp_path: Path) -> None:
    found = await asyncio.gather(*(child(server, tmp_path) for _ in range(3)))
    assert found == [(0, "access-1")] * 3
    assert [form["refresh_token"] for form in server.requests] == ["refresh-0"]


# -- O08: the mail server's word


def connected(mail: ScriptedServer, tokens: TokenServer, **auth: Any) -> dict[str, Any]:
    return {
        "name": "support", "provider": "smtp", "host": mail.host, "port": mail.port, "tls": "none",
        "ca_file": str(tokens.ca_file),
        "auth": {
            "type": "oauth2", "user": "me@example.org", "client_id": "client", "refresh_token": "refresh-0",
            "token_url": tokens.url, **auth,
        },
    }  # fmt: skip


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_o08_a_refused_token_is_renewed_once(mechanism: str, server: TokenServer, store: FileTokenStore) -> None:
    async with ScriptedServer(tokens={"me@example.org": "access-1"}, mechanisms=[mechanism]) as mail:
        document = connected(mail, server, access_token="stale")
        async with Mailer(document, token_store=store) as mailer:
            assert (await mailer.send(LETTER)).accepted
        assert len(server.requests) == 1
        assert sum(line.startswith("AUTH") for line in mail.commands[0]) == 2


async def test_o08_a_renewed_token_that_is_refused_ends_it(server: TokenServer, store: FileTokenStore) -> None:
    async with ScriptedServer(tokens={"me@example.org": "never"}, mechanisms=["XOAUTH2"]) as mail:
        async with Mailer(connected(mail, server, access_token="stale"), token_store=store) as mailer:
            for _ in range(6):
                with pytest.raises(SendError) as caught:
                    await mailer.send(LETTER)
                assert caught.value.permanent
        assert len(server.requests) == 1


# -- O09: what a credential may hold


@pytest.mark.parametrize("bad", ["a\x01b", "a\r\nb", "a b", "", "t\u00f6ken", "a\x00", "x" * 20000])
async def test_o09_tokens_of_other_characters_are_refused(bad: str, store: FileTokenStore, clock: ManualClock) -> None:
    for field in ("access_token", "refresh_token"):
        body = {"access_token": "good", "token_type": "Bearer", field: bad}
        if field == "refresh_token" and not bad:
            continue  # an empty one is none
        async with TokenServer(answers=[TokenAnswer(body=body)] * 3) as server:
            assert field in (await refused(source(server, store, clock))).message


@pytest.mark.parametrize("user", ["a\x01auth=Bearer x\x01\x01", "a\r\nRSET", ""])
async def test_o09_users_of_other_characters_are_refused(user: str, server: TokenServer, store: FileTokenStore) -> None:
    async with ScriptedServer(tokens={"me@example.org": "access-1"}, mechanisms=["XOAUTH2"]) as mail:
        mailer = Mailer(connected(mail, server, user=user) | {"from": "me@example.org"}, token_store=store)
        with pytest.raises(MailwrightError):
            await mailer.send(LETTER)
        await mailer.aclose()
        assert not any(line.startswith("AUTH") for session in mail.commands for line in session)


# -- O10: at rest


@pytest.mark.skipif(os.name != "posix", reason="file modes")
async def test_o10_files_are_their_owners_alone_whatever_the_umask(
    server: TokenServer, tmp_path: Path, clock: ManualClock
) -> None:
    before = os.umask(0)
    try:
        await source(server, FileTokenStore(tmp_path / "tokens"), clock).token()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700
    for path in (tmp_path / "tokens").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.skipif(os.name != "posix", reason="file modes")
async def test_o10_a_token_that_others_can_read_is_refused(
    server: TokenServer, store: FileTokenStore, clock: ManualClock
) -> None:
    await source(server, store, clock).token()
    for path in store.folder.glob("*.json"):
        path.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        await source(server, store, clock).token()


async def test_o10_garbage_in_the_store_is_no_token(
    server: TokenServer, store: FileTokenStore, clock: ManualClock
) -> None:
    await source(server, store, clock).token()
    server.good = {"refresh-0"}
    for path in store.folder.glob("*.json"):
        path.write_bytes(b'{"key": ')
    assert await source(server, store, clock).token() == "access-2"


# -- O11: storms


async def test_o11_a_wrong_password_is_tried_three_times_for_a_thousand_letters() -> None:
    async with ScriptedServer(users={"me@example.org": "right"}) as mail:
        document = {
            "provider": "smtp", "host": mail.host, "port": mail.port, "tls": "none", "limits": {"connections": 1},
            "auth": {"type": "basic", "username": "me@example.org", "password": "wrong"},
        }  # fmt: skip
        async with Mailer(document) as mailer:
            receipts = [receipt async for receipt in mailer.send_many([LETTER] * 1000)]
        assert len(receipts) == 1000
        assert not any(receipt.accepted for receipt in receipts)
        tries = sum(line.startswith("AUTH") for session in mail.commands for line in session)
        assert 1 <= tries <= 3


async def test_o11_client_credentials_break_off_too(clock: ManualClock, store: FileTokenStore) -> None:
    wrong = TokenAnswer(status=401, body={"error": "invalid_client", "error_description": "AADSTS7000215: Invalid"})
    async with TokenServer(answers=[wrong] * 9) as server:
        desk = TokenDesk(
            name=None, http=ConfiguredHttp(ca_file=str(server.ca_file)), reveal=as_it_is, store=store, clock=clock,
            entropy=SystemEntropy(),
        )  # fmt: skip
        grant = ClientGrant(token_url=server.url, client_id="c", client_secret=Secret("wrong-secret"))
        made = desk.source(grant, target=TARGET, user="me@example.org")
        for _ in range(50):
            with pytest.raises(AuthError, match="use its value, not its ID"):
                await made.token()
        assert len(server.requests) == 1
