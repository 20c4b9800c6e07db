"""What an authentication method owes: nothing crosses an open link, nothing is shown, one renewal at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from mailwright.documents import structure_connection, unstructure_connection
from mailwright.errors import AuthError, MailwrightError, SecretError
from mailwright.oauth import MemoryTokenStore, TokenDesk
from mailwright.ports import Http
from mailwright.spi import (
    Authenticator,
    AuthMethod,
    AuthTarget,
    ConnectionInfo,
    HttpRequest,
    Opening,
    Reply,
    SaslOffer,
    Secret,
)
from mailwright.system import SystemClock, SystemEntropy
from mailwright.testing.contracts.running import CANARY, leaks, run
from mailwright.testing.contracts.settings import Place, SettingsContract, _holds_secret, _key, setting_fields
from mailwright.testing.services import NoHttp
from mailwright.vetting import Kind

_MECHANISMS = (
    "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER",
    "EXTERNAL", "GSSAPI", "NTLM", "X-UNHEARD-OF",
)  # fmt: skip
_EVERYTHING = frozenset(_MECHANISMS)


class AuthContract(SettingsContract):
    """For plugins with ``mailwright_auth_methods``.

    Attributes:
        document: Valid settings: what stands beside ``auth.type``.
        target: What the credential is for.
    """

    kind: ClassVar[Kind | None] = "auth"
    target: ClassVar[AuthTarget] = AuthTarget(
        protocol="smtp", host="mail.example.org", oauth_urls={"token": "https://login.example.org/token"}
    )

    def place(self, record: Any) -> Place:
        """``auth`` of a connection document."""
        registry = self.registry()
        return Place(
            wrap=lambda values: {
                "provider": "smtp",
                "host": "mail.example.org",
                "auth": {"type": record.name, **values},
            },
            path=lambda key: f"$.auth.{key}",
            load=lambda document: structure_connection(document, registry),
            plain=unstructure_connection,
            masked=lambda connection: unstructure_connection(connection, mask_secrets=True),
        )

    def http(self) -> Http:
        """The HTTP it may use; by default there is no network. Hand in that of a local token server, if it needs one."""
        return NoHttp()

    def test_it_has_a_title(self, record: AuthMethod[Any]) -> None:
        """People choose it from a list."""
        assert record.title.strip(), f"{record.name}: give it a title"

    def test_it_works_somewhere(self, record: AuthMethod[Any]) -> None:
        """Its protocols are known ones."""
        assert record.protocols, f"{record.name}: name the protocols it works over"
        assert record.protocols <= {"smtp", "http"}

    def test_the_user_is_a_text(self, record: AuthMethod[Any]) -> None:
        """`user` returns the mailbox, or None."""
        user = record.user(self._settings(record))
        assert user is None or (isinstance(user, str) and user)

    def test_opening_reveals_nothing(self, record: AuthMethod[Any]) -> None:
        """`open` makes an object: no network, no secret is revealed before it is needed; `aclose` may come twice."""

        async def law() -> None:
            revealed: list[Secret] = []
            authenticator = self._open(record, revealed)
            assert not revealed, "secrets are revealed when they are needed, not when a connection is opened"
            await authenticator.aclose()
            await authenticator.aclose()

        run(law())

    def test_no_credential_over_an_open_link(self, record: AuthMethod[Any]) -> None:
        """Where the link is not private, `sasl` raises `AuthError`, whatever the server offers."""
        if "smtp" not in record.protocols:
            pytest.skip("not for SMTP")

        async def law(mechanisms: frozenset[str]) -> None:
            offer = SaslOffer(mechanisms=mechanisms, encrypted=False, private=False, host="mail.example.org", port=25)
            authenticator = self._open(record)
            try:
                machine = await authenticator.sasl(offer)
            except MailwrightError as error:
                assert not leaks(error.message)
            else:
                said = b"".join([machine.start() or b"", *_answers(machine, b"")])
                assert not leaks(said.decode("latin-1")), "the credential crosses a link that anyone can read"
            finally:
                await authenticator.aclose()

        self.every(lambda mechanisms: run(law(mechanisms)), st.frozensets(st.sampled_from(_MECHANISMS)))

    def test_it_picks_what_the_server_offers(self, record: AuthMethod[Any]) -> None:
        """Over a private link: a machine the server offers, or a Mailwright error; no secret in its ``repr``."""
        if "smtp" not in record.protocols:
            pytest.skip("not for SMTP")

        async def law(mechanisms: frozenset[str]) -> None:
            authenticator = self._open(record)
            try:
                machine = await authenticator.sasl(_private(mechanisms))
            except MailwrightError as error:
                assert not leaks(error.message, repr(error))
            else:
                assert machine.name in mechanisms, f"{machine.name} is not offered"
                assert not leaks(repr(machine), repr(authenticator)), "a secret is shown by repr"
            finally:
                await authenticator.aclose()

        self.every(lambda mechanisms: run(law(mechanisms)), st.frozensets(st.sampled_from(_MECHANISMS)))

    def test_machines_stand_any_challenge(self, record: AuthMethod[Any]) -> None:
        """Whatever the server says, a machine answers with bytes or raises `AuthError`."""
        if "smtp" not in record.protocols:
            pytest.skip("not for SMTP")

        async def law(drawn: tuple[frozenset[str], list[bytes]]) -> None:
            mechanisms, challenges = drawn
            authenticator = self._open(record)
            try:
                machine = await authenticator.sasl(_private(mechanisms))
                first = machine.start()
                assert first is None or isinstance(first, bytes)
                for challenge in challenges:
                    assert isinstance(machine.step(challenge), bytes)
            except AuthError as error:
                assert not leaks(error.message)
            except MailwrightError:
                pass
            finally:
                await authenticator.aclose()

        challenges = st.lists(st.binary(max_size=60), max_size=3)
        offers = st.just(_EVERYTHING) | st.sampled_from(_MECHANISMS).map(lambda name: frozenset({name}))
        self.every(lambda drawn: run(law(drawn)), st.tuples(offers, challenges))

    def test_signing_adds_and_changes_nothing_else(self, record: AuthMethod[Any]) -> None:
        """`sign` returns a copy of the request with more headers: same method, URL and body; nothing injected."""
        if "http" not in record.protocols:
            pytest.skip("not for HTTP")
        request = HttpRequest(method="POST", url="https://api.example.org/send", headers={"X-Own": "1"}, body=b"{}")

        async def law() -> None:
            authenticator = self._open(record)
            try:
                signed = await authenticator.sign(request)
            except MailwrightError as error:
                assert not leaks(error.message, repr(error))
                return
            finally:
                await authenticator.aclose()
            assert (signed.method, signed.url, signed.body) == (request.method, request.url, request.body)
            assert request.headers == {"X-Own": "1"}, "the request it was given is changed"
            assert signed.headers["X-Own"] == "1"
            assert not any(set(value) & {"\r", "\n"} for value in signed.headers.values())
            assert not leaks(repr(signed), repr(authenticator))

        run(law())

    def test_a_refusal_gets_yes_or_no(self, record: AuthMethod[Any]) -> None:
        """Told of a refusal, it says whether one more try makes sense, however often it is told."""
        reply = Reply(code=535, enhanced="5.7.8", text="authentication failed")

        async def law() -> None:
            authenticator = self._open(record)
            answers = []
            for _ in range(3):
                try:
                    answers.append(await authenticator.refused(reply, None))
                except MailwrightError as error:
                    assert not leaks(error.message)
                    answers.append(False)
            await authenticator.aclose()
            assert all(isinstance(answer, bool) for answer in answers)

        run(law())

    def test_a_secret_that_never_comes_can_be_cancelled(self, record: AuthMethod[Any]) -> None:
        """Cancelled while a secret is being revealed, it ends at once and leaves nothing."""
        if "smtp" not in record.protocols:
            pytest.skip("not for SMTP")

        async def law() -> None:
            asked, enough = asyncio.Event(), asyncio.Event()

            async def reveal(secret: Secret) -> str:
                asked.set()
                await enough.wait()
                raise SecretError("the vault is closed")

            authenticator = record.open(self._settings(record), self.target, self._opening(reveal))
            task = asyncio.ensure_future(authenticator.sasl(_private(_EVERYTHING)))
            waiting = asyncio.ensure_future(asked.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            task.cancel()
            await asyncio.gather(task, waiting, return_exceptions=True)
            enough.set()  # a renewal that others share may go on until its secret comes or fails
            await authenticator.aclose()

        run(law())

    # -- what the laws use

    def _settings(self, record: AuthMethod[Any]) -> Any:
        place = self.place(record)
        secrets = {_key(field): CANARY for field in setting_fields(record.settings) if _holds_secret(field)}
        given: Mapping[str, Any] = {
            key: CANARY if key in secrets else value for key, value in self.given(record).items()
        }
        return place.load(place.wrap(given)).auth[1]

    def _open(self, record: AuthMethod[Any], revealed: list[Secret] | None = None) -> Authenticator:
        async def reveal(secret: Secret) -> str:
            if revealed is not None:
                revealed.append(secret)
            return secret.reference

        return record.open(self._settings(record), self.target, self._opening(reveal))

    def _opening(self, reveal: Any) -> Opening:
        return opening_for(ConnectionInfo(provider="smtp", name="law"), http=self.http(), reveal=reveal)


def opening_for(connection: ConnectionInfo, *, http: Http, reveal: Callable[[Secret], Awaitable[str]]) -> Opening:
    """What core hands to methods and providers; tokens are kept in memory."""
    clock = SystemClock()
    desk = TokenDesk(
        name=connection.name, http=http, reveal=reveal, store=MemoryTokenStore(), clock=clock, entropy=SystemEntropy()
    )
    return Opening(connection=connection, http=http, clock=clock, reveal=reveal, tokens=desk)


def _private(mechanisms: frozenset[str]) -> SaslOffer:
    return SaslOffer(mechanisms=mechanisms, encrypted=True, private=True, host="mail.example.org", port=465)


def _answers(machine: Any, challenge: bytes) -> list[bytes]:
    try:
        return [machine.step(challenge)]
    except AuthError:
        return []
