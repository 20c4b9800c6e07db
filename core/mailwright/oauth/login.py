"""A person logs in: in the browser over a loopback redirect (RFC 8252, PKCE of RFC 7636), or on another device (RFC 8628)."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from attrs import field, frozen
from oauthlib.oauth2 import WebApplicationClient

from mailwright.errors import AuthError, ConfigurationError
from mailwright.model import LoginUrls, RefreshGrant
from mailwright.oauth.answers import Answer, Refusal, read, read_json
from mailwright.oauth.forms import DEVICE_CODE, checked_url, form_request

if TYPE_CHECKING:
    from mailwright.oauth.source import Source
    from mailwright.ports import Clock, Entropy

LIMIT_S: Final = 300.0
_PAGE: Final = "<!doctype html><meta charset=utf-8><title>Mailwright</title><body style='font:1.2em sans-serif;margin:3em'><p>{}</p>"
Tell = Callable[[str], None]


@frozen(kw_only=True)
class _Caught:
    """The query that the browser brought back."""

    code: str = field(repr=False)


class Login:
    """Logs a person in for one source of tokens.

    Args:
        source: Its grant must be a `RefreshGrant` with login URLs.
        user: The mailbox, as a hint for the login page.
        clock, entropy: Time and randomness.
        tell: Shows a line to the person.
        limit_s: How long the person may take.
    """

    def __init__(
        self, source: Source, *, user: str, clock: Clock, entropy: Entropy, tell: Tell, limit_s: float = LIMIT_S
    ) -> None:
        grant = source.grant
        if not isinstance(grant, RefreshGrant):
            raise ConfigurationError("this connection asks for tokens in the application's own name: nobody logs in")
        if not grant.client_id:
            raise ConfigurationError("$.auth.client_id: missing: register an application with the provider first")
        if grant.login is None:
            raise ConfigurationError("$.auth.authorize_url: missing: this provider has no default")
        self._source = source
        self._grant = grant
        self._urls: LoginUrls = grant.login
        self._user = user
        self._clock = clock
        self._entropy = entropy
        self._tell = tell
        self._limit_s = limit_s

    async def by_browser(self, open_url: Callable[[str], bool]) -> None:
        """Authorization code with PKCE S256.

        Args:
            open_url: Opens the browser; False: it cannot, the person copies the address.

        Raises:
            AuthError: The person or the server said no, or nobody came.
        """
        checked_url(self._urls.authorize, field="$.auth.authorize_url")
        state, verifier = self._entropy.token(), self._entropy.token() + self._entropy.token()
        found: asyncio.Future[_Caught] = asyncio.get_running_loop().create_future()
        catcher = _Catcher(
            state, frozenset(filter(None, (_host(self._urls.authorize), _host(self._grant.token_url)))), found
        )
        server = await asyncio.start_server(catcher.serve, "127.0.0.1", 0)
        try:
            redirect = f"http://{self._urls.redirect_host}:{server.sockets[0].getsockname()[1]}"
            url = self._authorization(redirect, state, verifier)
            opened = open_url(url)
            self._tell(f"{'If no browser opens, open' if opened else 'Open'} this address:\n\n  {url}\n")
            async with asyncio.timeout(self._limit_s):
                caught = await found
        except TimeoutError:
            msg = f"nobody logged in within {self._limit_s:.0f} s; run it again"
            raise AuthError(msg, permanent=False) from None
        except Refusal as refusal:
            raise self._source.asking.told(refusal, personal=False) from None
        finally:
            server.close()
        await self._exchange(redirect, verifier, caught.code)

    def _authorization(self, redirect: str, state: str, verifier: str) -> str:
        client = WebApplicationClient(self._grant.client_id)
        challenge = client.create_code_challenge(verifier, "S256")
        return str(
            client.prepare_request_uri(
                self._urls.authorize,
                redirect_uri=redirect,
                scope=list(self._grant.scopes),
                state=state,
                code_challenge=challenge,
                code_challenge_method="S256",
                login_hint=self._user,
                **self._urls.extra,
            )
        )

    async def _exchange(self, redirect: str, verifier: str, code: str) -> None:
        self._source.forms.seen |= {code, verifier}
        request = await self._source.forms.post(
            self._grant, "authorization_code", code=code, redirect_uri=redirect, code_verifier=verifier
        )
        try:
            answer = read(await self._source.asking.once(request), wanted=self._grant.scopes)
        except Refusal as refusal:
            raise self._source.asking.told(refusal, personal=False) from None
        await self._keep(answer)

    async def by_device(self) -> None:
        """Device code: the person logs in anywhere, we ask until it is done.

        Raises:
            AuthError: The person or the server said no, or the code expired.
        """
        if self._urls.device is None:
            msg = "$.auth.device_url: this provider has no device login for mail (Google has none): leave --device away"
            raise ConfigurationError(msg)
        checked_url(self._urls.device, field="$.auth.device_url")
        try:
            told = await self._device_code(self._urls.device)
            link = told.get("verification_uri_complete") or told["verification_uri"]
            self._tell(f"Open {link} on any device and enter the code {told['user_code']}")
            await self._keep(await self._poll(told))
        except Refusal as refusal:
            raise self._source.asking.told(refusal, personal=False) from None

    async def _device_code(self, url: str) -> dict[str, Any]:
        fields = {"client_id": self._grant.client_id, "scope": " ".join(self._grant.scopes)}
        told = read_json(await self._source.asking.once(form_request(url, urlencode(fields))))
        texts = [told.get(name) for name in ("device_code", "user_code", "verification_uri")]
        if not all(isinstance(text, str) and text.isprintable() and text for text in texts):
            raise Refusal(
                "its answer lacks device_code, user_code or verification_uri", error="broken_answer", permanent=True
            )
        if not str(told["verification_uri"]).startswith("https://"):
            raise Refusal("its verification_uri is no https URL", error="broken_answer", permanent=True)
        return told

    async def _poll(self, told: dict[str, Any]) -> Answer:
        """Ask at the server's pace; five seconds slower whenever it says so (RFC 8628 §3.5)."""
        pace = _seconds(told.get("interval"), 5.0)
        end = self._clock.monotonic() + _seconds(told.get("expires_in"), 900.0)
        self._source.forms.seen.add(told["device_code"])
        while self._clock.monotonic() < end:
            await self._clock.sleep(pace)
            request = await self._source.forms.post(self._grant, DEVICE_CODE, device_code=told["device_code"])
            try:
                return read(await self._source.asking.once(request), wanted=self._grant.scopes)
            except Refusal as refusal:
                if refusal.permanent:
                    raise
                pace += 5.0 if refusal.error in {"slow_down", "timeout", "busy"} else 0.0
        raise Refusal("nobody entered the code in time; run it again", error="expired_token")

    async def _keep(self, answer: Answer) -> None:
        if answer.refresh_token is None:
            msg = "the server gave no refresh token: add its offline scope (offline_access), or consent again"
            raise AuthError(msg)
        await self._source.accept(answer)


class _Catcher:
    """The smallest web server: catches one redirect, with our state in it."""

    def __init__(self, state: str, issuers: frozenset[str], found: asyncio.Future[_Caught]) -> None:
        self._state = state
        self._issuers = issuers
        self._found = found

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            async with asyncio.timeout(10):
                line = (await reader.readline()).decode("latin-1")
                while (await reader.readline()).strip():
                    pass
            status, words = self._judge(line)
            page = _PAGE.format(words).encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(page)}\r\n"
            writer.write(f"{head}Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode() + page)
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass
        finally:
            writer.close()

    def _judge(self, line: str) -> tuple[str, str]:
        """Only a GET with our state counts; anything else that finds the port changes nothing."""
        verb, _, rest = line.partition(" ")
        query = parse_qs(urlsplit(rest.partition(" ")[0]).query)
        state = query.get("state", [""])[0]
        if verb != "GET" or self._found.done() or not hmac.compare_digest(state.encode(), self._state.encode()):
            return "404 Not Found", "Nothing is waiting here."
        if (issuer := query.get("iss", [""])[0]) and _host(issuer) not in self._issuers:  # RFC 9207: mixed up
            self._found.set_exception(Refusal("the answer comes from another issuer", error="mix_up", permanent=True))
            return "400 Bad Request", "This answer comes from somebody else."
        if error := query.get("error", [""])[0]:
            said = query.get("error_description", [""])[0][:300]
            text = "".join(
                char for char in f"it answered {error[:80]}{f': {said}' if said else ''}" if char.isprintable()
            )
            self._found.set_exception(Refusal(text, error=error, permanent=True))
            return "200 OK", "The login was refused. You may close this window."
        if not (code := query.get("code", [""])[0]):
            return "400 Bad Request", "The answer has no code."
        self._found.set_result(_Caught(code=code))
        return "200 OK", "Logged in. You may close this window."


async def revoke(source: Source, token: str) -> bool:
    """Give a token back (RFC 7009); False where the provider has no place for it.

    Raises:
        AuthError: The provider could not be reached or refused.
    """
    grant = source.grant
    url = grant.login.revoke if isinstance(grant, RefreshGrant) and grant.login else None
    if url is None:
        return False
    checked_url(url, field="$.auth.revoke_url")
    source.forms.seen.add(token)
    proof = {name: value for name, value in (await source.forms.proof(grant)).items() if value}
    fields = {"token": token, "token_type_hint": "refresh_token", "client_id": grant.client_id, **proof}
    try:
        response = await source.asking.once(form_request(url, urlencode(fields)))
        if response.status != 200:
            read_json(response)
    except Refusal as refusal:
        raise source.asking.told(refusal, personal=False) from None
    return True


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _seconds(value: object, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 86400:
        return default
    return float(value)
