"""For every law of the contracts there is a plugin that breaks it: a law that nothing can break says nothing."""

from __future__ import annotations

import asyncio
import importlib
import re
import socket
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from mailwright import hookimpl
from mailwright.errors import AttachmentError, SecretError
from mailwright.spi import (
    AttachmentSource,
    AuthMethod,
    AuthTarget,
    Limits,
    Part,
    Provider,
    Reply,
    Report,
    Secret,
    SecretScheme,
    Settings,
    SmtpEndpoint,
)
from mailwright.testing import contracts
from mailwright.testing.contracts import (
    CANARY,
    AttachmentContract,
    AuthContract,
    HooksContract,
    PluginContract,
    ProviderContract,
    SecretSchemeContract,
    run,
)

HERE = Path(__file__).parent
BROKEN = (AssertionError, BaseExceptionGroup, pytest.fail.Exception, Exception)


def module(**names: Any) -> types.ModuleType:
    made = types.ModuleType("example")
    vars(made).update(names)
    return made


def breaks(contract: type[PluginContract], law: str, *arguments: Any) -> None:
    """The law is broken, by an assertion or by what the plugin itself raises."""
    records = contract.records()
    given = [records[0], *arguments] if records and law not in OF_THE_PLUGIN else [*arguments]
    with pytest.raises(BROKEN):
        getattr(contract(), law)(*given)


OF_THE_PLUGIN = {
    "test_the_host_takes_it", "test_it_brings_what_the_contract_is_about", "test_it_says_which_interface_it_was_written_for",
    "test_declaring_is_all_that_hooks_do", "test_importing_is_quick_and_does_nothing", "test_it_imports_public_modules_only",
}  # fmt: skip


# -- plugins


def scheme(**changes: Any) -> types.ModuleType:
    async def reveal(name: str) -> str:
        if name != "known":
            raise SecretError(f"vault:{name}: there is none")
        return CANARY

    record: dict[str, Any] = {"name": "vault", "reveal": reveal, **changes}
    return module(mailwright_secret_schemes=hookimpl(lambda: [SecretScheme(**record)]))


def secret(**changes: Any) -> type[SecretSchemeContract]:
    class Contract(SecretSchemeContract):
        plugin = scheme(**changes)
        known = {"known": CANARY}
        unknown = "nothing"
        examples = 20

    return Contract


def test_a_good_scheme_breaks_nothing() -> None:
    good = secret()
    [record] = good.records()
    for law in vars(SecretSchemeContract):
        if law.startswith("test_"):
            getattr(good(), law)(record)


async def wrong(name: str) -> str:
    return "another value"


async def shows(name: str) -> str:
    if name == "known":
        return CANARY
    raise SecretError(f"{name} is not {CANARY}")


async def unnamed(name: str) -> str:
    raise SecretError("no")


async def odd(name: str) -> Any:
    if name not in {"known", "nothing"}:
        raise ZeroDivisionError
    raise SecretError(f"{name}: no")


@frozen
class Showing(SecretScheme):
    """Its repr holds a value."""

    shown: str = field(default=CANARY, kw_only=True)


SECRETS = {
    "test_its_name_is_a_scheme": {"name": "two-words"},
    "test_known_secrets_are_revealed": {"reveal": wrong},
    "test_what_is_not_there_is_an_error_that_names_it": {"reveal": unnamed},
    "test_any_name_is_revealed_or_refused": {"reveal": odd},
}


@pytest.mark.parametrize("law", SECRETS)
def test_a_flawed_scheme_breaks_its_law(law: str) -> None:
    breaks(secret(**SECRETS[law]), law)


def test_a_scheme_that_shows_values_breaks_its_laws() -> None:
    breaks(secret(reveal=shows), "test_any_name_is_revealed_or_refused")

    class Contract(secret()):  # type: ignore[misc]
        plugin = module(mailwright_secret_schemes=hookimpl(lambda: [Showing(name="vault", reveal=shows)]))

    breaks(Contract, "test_its_record_shows_nothing")


# -- attachments


@frozen(kw_only=True)
class NoteSettings(Settings):
    """One text."""

    text: str = "soup"


async def good_note(settings: NoteSettings, fetching: Any) -> list[Part]:
    content = settings.text.encode("utf-8", "replace")
    if fetching.max_bytes is not None and len(content) > fetching.max_bytes:
        raise AttachmentError("text: too large")
    return [Part(content=content, filename="note.txt")]


def source(resolve: Any) -> type[AttachmentContract]:
    class Contract(AttachmentContract):
        plugin = module(
            mailwright_attachment_sources=hookimpl(
                lambda: [AttachmentSource(name="note", title="Note", settings=NoteSettings, resolve=resolve)]
            )
        )
        examples = 20

    return Contract


def test_a_good_source_breaks_nothing() -> None:
    good = source(good_note)
    [record] = good.records()
    for law in vars(AttachmentContract):
        if law.startswith("test_"):
            getattr(good(), law)(record)


async def nothing(settings: Any, fetching: Any) -> list[Part]:
    return []


async def changing(settings: Any, fetching: Any) -> list[Part]:
    return [Part(content=str(time.perf_counter_ns()), filename="t.txt")]


async def fragile(settings: Any, fetching: Any) -> list[Part]:
    settings.text.encode("ascii")
    return [Part(content=settings.text, filename="t.txt")]


async def blocking(settings: Any, fetching: Any) -> list[Part]:
    time.sleep(0.001)
    return [Part(content="x", filename="t.txt")]


async def stubborn(settings: Any, fetching: Any) -> list[Part]:
    task = asyncio.ensure_future(fetching.get("https://example.org/x"))
    try:
        await task
    except asyncio.CancelledError:
        asyncio.current_task().left = asyncio.ensure_future(asyncio.Event().wait())  # type: ignore[union-attr]
    return []


class Unbounded(AttachmentContract):
    """Nobody keeps the limit: neither the source nor, here, the host."""

    plugin = source(good_note).plugin

    async def _prepared(self, *given: Any, **options: Any) -> Any:
        return None


ATTACHMENTS: list[tuple[str, Any]] = [
    ("test_the_document_becomes_parts", nothing),
    ("test_the_document_becomes_parts", changing),
    ("test_the_document_becomes_parts", blocking),
    ("test_whatever_loads_becomes_parts_or_an_error", fragile),
    ("test_a_web_that_never_answers_can_be_cancelled", stubborn),
]


@pytest.mark.parametrize(("law", "resolve"), ATTACHMENTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_flawed_source_breaks_its_law(law: str, resolve: Any) -> None:
    breaks(source(resolve), law)


def test_a_limit_nobody_keeps_breaks_its_law() -> None:
    breaks(Unbounded, "test_limits_are_kept")


# -- authentication


@frozen(kw_only=True)
class KeySettings(Settings):
    """A user and a key."""

    user: str = "ann"
    key: Secret


class Key:
    """Right in every way; the flawed ones change one thing."""

    def __init__(self, settings: KeySettings, target: Any, opening: Any) -> None:
        self.settings, self.opening = settings, opening

    async def sasl(self, offer: Any) -> Any:
        from mailwright.sasl import passwords

        return passwords(self.settings.user, await self.opening.reveal(self.settings.key), offer)

    async def sign(self, request: Any) -> Any:
        key = await self.opening.reveal(self.settings.key)
        return evolve(request, headers={**request.headers, "Authorization": f"Bearer {key}"})

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        return False

    async def aclose(self) -> None:
        pass


def method(opens: Any = Key, **changes: Any) -> type[AuthContract]:
    record: dict[str, Any] = {
        "name": "key", "title": "Key", "settings": KeySettings, "protocols": frozenset({"smtp", "http"}), "open": opens, **changes,
    }  # fmt: skip

    class Contract(AuthContract):
        plugin = module(mailwright_auth_methods=hookimpl(lambda: [AuthMethod(**record)]))
        document = {"key": CANARY}
        examples = 20

    return Contract


def test_a_good_method_breaks_nothing() -> None:
    good = method()
    [record] = good.records()
    for law in vars(AuthContract):
        if law.startswith("test_"):
            getattr(good(), law)(record)


class CloseOnce(Key):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class Weak:
    name = "PLAIN"

    def start(self) -> bytes:
        return b"x"

    def step(self, challenge: bytes) -> bytes:
        return challenge.decode("ascii").encode()


class Fragile(Key):
    async def sasl(self, offer: Any) -> Any:
        return Weak()


class Perhaps(Key):
    async def refused(self, reply: Reply, challenge: bytes | None) -> Any:
        return None


class Leaver(Key):
    async def sasl(self, offer: Any) -> Any:
        self.left = asyncio.ensure_future(asyncio.Event().wait())
        return await super().sasl(offer)


AUTHS: list[tuple[str, dict[str, Any]]] = [
    ("test_it_has_a_title", {"title": " "}),
    ("test_it_works_somewhere", {"protocols": frozenset({"carrier pigeon"})}),
    ("test_it_works_somewhere", {"protocols": frozenset()}),
    ("test_the_user_is_a_text", {"user": lambda settings: ""}),
    ("test_opening_reveals_nothing", {"opens": CloseOnce}),
    ("test_machines_stand_any_challenge", {"opens": Fragile}),
    ("test_a_refusal_gets_yes_or_no", {"opens": Perhaps}),
    ("test_a_secret_that_never_comes_can_be_cancelled", {"opens": Leaver}),
]


@pytest.mark.parametrize(("law", "changes"), AUTHS)
def test_a_flawed_method_breaks_its_law(law: str, changes: dict[str, Any]) -> None:
    breaks(method(**changes), law)


# -- settings, providers, plugins


@frozen(kw_only=True)
class Plain(Settings):
    """Nothing special."""

    region: str = "eu"


@frozen(kw_only=True)
class Growing(Settings):
    """Changes each time it is loaded."""

    region: str = field(default="eu", converter=lambda value: f"{value}!")


@frozen(kw_only=True)
class Raising(Settings):
    """Raises what is no answer to a document."""

    region: Any = "eu"

    def __attrs_post_init__(self) -> None:
        if self.region != "eu":
            raise ZeroDivisionError


@frozen(kw_only=True)
class Needed(Settings):
    """Requires a key."""

    key: Secret


class Loose:
    """No attrs class."""


def provider(**changes: Any) -> type[ProviderContract]:
    record: dict[str, Any] = {
        "name": "acme",
        "title": "Acme",
        "settings": Plain,
        "target": lambda settings: AuthTarget(protocol="smtp", host="mail.example.org"),
        "endpoint": lambda settings: SmtpEndpoint(host="mail.example.org", port=465, tls="tls"),
        **changes,
    }

    class Contract(ProviderContract):
        plugin = module(mailwright_providers=hookimpl(lambda: [Provider(**record)]))
        examples = 20

    return Contract


class Careless(ProviderContract):
    """Its place loads what it likes and shows what it has, as a broken converter would."""

    plugin = provider(settings=Needed).plugin
    document = {"key": CANARY}

    def place(self, record: Any) -> Any:
        place = super().place(record)

        def load(document: Any) -> Any:
            options = {key: value for key, value in document.get("options", {}).items() if key == "key"}
            return place.load({**document, "options": options or {"key": "x"}})

        return evolve(place, load=load, masked=place.plain)


PROVIDERS: list[tuple[str, type[ProviderContract]]] = [
    ("test_settings_are_a_frozen_class", provider(settings=Loose)),
    ("test_the_document_round_trips", provider(settings=Growing)),
    ("test_nonsense_is_refused_by_path", provider(settings=Raising)),
    ("test_unknown_keys_are_refused", Careless),
    ("test_what_is_missing_is_told", Careless),
    ("test_secrets_are_masked", Careless),
    ("test_its_limits_are_sound", provider(limits=Limits(recipients=0))),
]


@pytest.mark.parametrize(("law", "contract"), PROVIDERS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_flawed_provider_breaks_its_law(law: str, contract: type[ProviderContract]) -> None:
    breaks(contract, law)


def test_a_provider_that_forms_do_not_know_breaks_its_law() -> None:
    class Contract(provider()):  # type: ignore[misc]
        @classmethod
        def _new_registry(cls) -> Any:
            from mailwright import Registry

            return Registry(installed=False, environ={})

    breaks(Contract, "test_the_schema_knows_it")


def counting() -> list[Any]:
    counting.calls = getattr(counting, "calls", 0) + 1  # type: ignore[attr-defined]
    return [evolve(provider().records()[0], name=f"acme{counting.calls}")]  # type: ignore[attr-defined]


def test_flawed_declarations_break_their_laws() -> None:
    class Empty(ProviderContract):
        plugin = module(mailwright_providers=hookimpl(lambda: []))

    class Old(ProviderContract):
        plugin = module(MAILWRIGHT_SPI_VERSION=0)

    class Working(ProviderContract):
        plugin = module(mailwright_providers=hookimpl(counting))

    breaks(Empty, "test_it_brings_what_the_contract_is_about")
    breaks(Old, "test_it_says_which_interface_it_was_written_for")
    breaks(Working, "test_declaring_is_all_that_hooks_do")


ACTS = {
    "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.05: pass\n": "ms beyond",
    "import time\ntime.sleep(0.001)\n": "time.sleep",
    "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 0.01)\nexcept OSError: pass\n": "socket",
    "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])\n": "subprocess",
    "import pathlib, tempfile\npathlib.Path(tempfile.mkdtemp(), 'x').write_text('x')\n": "open for writing",
    "from mailwright.net import allowed\n": "private modules",
    "from mailwright import lifecycle\n": "private modules",
}


@pytest.mark.parametrize(("source", "told"), ACTS.items(), ids=ACTS.values())
def test_a_module_that_works_when_it_is_imported_breaks_its_law(
    source: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "busy_plugin.py").write_text(f"from mailwright import hookimpl\n{source}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "busy_plugin", raising=False)
    importlib.invalidate_caches()

    class Contract(PluginContract):
        plugin = "busy_plugin"

    law = "test_it_imports_public_modules_only" if "private" in told else "test_importing_is_quick_and_does_nothing"
    with pytest.raises(AssertionError, match=told):
        getattr(Contract(), law)()
    sys.modules.pop("busy_plugin", None)


# -- hooks


def test_flawed_hooks_break_their_laws() -> None:
    async def swallows() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling() > 1:  # type: ignore[union-attr]
                    raise

    class Nothing(HooksContract):
        plugin = module()

    class Stubborn(HooksContract):
        plugin = module(mailwright_after_send=hookimpl(swallows))

    breaks(Nothing, "test_it_has_a_lifecycle_hook")
    breaks(Stubborn, "test_async_hooks_can_be_cancelled")


# -- transports


@pytest.fixture(scope="module")
def kit() -> Any:
    spec = importlib.util.spec_from_file_location("contract_kit", HERE / "test_kit.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


async def everybody(self: Any, submission: Any) -> Report:
    await submission.commit()
    return Report.all(submission.envelope, "accepted", stage="http")


def mixed_up(kit: Any) -> Any:
    async def deliver(self: Any, submission: Any) -> Any:
        report = await kit.PostTransport.deliver(self, submission)
        self.last, report = report, getattr(self, "last", report)
        return report

    return deliver


def certain(kit: Any) -> Any:
    async def deliver(self: Any, submission: Any) -> Any:
        report = await kit.PostTransport.deliver(self, submission)
        if any(status.outcome == "unknown" for status in report.statuses):
            return Report.all(submission.envelope, "rejected", stage="http", permanent=True)
        return report

    return deliver


def talking(kit: Any) -> Any:
    async def deliver(self: Any, submission: Any) -> Any:
        import logging

        logging.getLogger("flawed").debug("%s", dict((await self._request(submission)).headers))
        return await kit.PostTransport.deliver(self, submission)

    return deliver


async def once(self: Any) -> None:
    if self.closed:
        raise RuntimeError("closed already")
    self.closed = True


async def silent(self: Any) -> Any:
    return
    yield


TRANSPORTS: list[tuple[str, Callable[[Any], dict[str, Any]], list[Any]]] = [
    ("test_accepted_is_delivered", lambda kit: {"deliver": everybody}, []),
    ("test_messages_at_one_time_keep_apart", lambda kit: {"deliver": mixed_up(kit)}, []),
    ("test_garbage_is_no_failure_to_deliver", lambda kit: {"deliver": certain(kit)}, []),
    ("test_closing_twice_is_fine", lambda kit: {"aclose": once}, []),
    ("test_verify_tells_its_steps", lambda kit: {"verify": silent}, []),
]


@pytest.mark.parametrize(("law", "flaw", "more"), TRANSPORTS, ids=[law for law, _, _ in TRANSPORTS])
def test_a_flawed_transport_breaks_its_law(kit: Any, law: str, flaw: Any, more: list[Any]) -> None:
    class Contract(kit.TestGoodTransport):  # type: ignore[misc,name-defined]
        plugin = kit.provider(type("Flawed", (kit.PostTransport,), flaw(kit)))

    breaks(Contract, law, *more)


def test_a_transport_that_logs_its_credential_breaks_its_law(kit: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Contract(kit.TestGoodTransport):  # type: ignore[misc,name-defined]
        plugin = kit.provider(type("Flawed", (kit.PostTransport,), {"deliver": talking(kit)}))

    breaks(Contract, "test_logs_hold_no_secrets", caplog)


# -- the watched loop


@pytest.mark.parametrize("call", ["sleep", "connect", "resolve", "database"])
def test_each_way_to_block_the_loop_is_found(call: str) -> None:
    async def blocks() -> None:
        if call == "sleep":
            time.sleep(0.001)
        elif call == "resolve":
            socket.getaddrinfo("localhost", 80)
        elif call == "database":
            importlib.import_module("sqlite3").connect(":memory:").close()
        else:
            with socket.socket() as one, socket.socket() as server:
                server.bind(("127.0.0.1", 0))
                server.listen()
                one.connect(server.getsockname())

    with pytest.raises(AssertionError, match="blocks the event loop"):
        run(blocks())


def test_every_law_can_be_broken() -> None:
    told = "".join((HERE / name).read_text() for name in ("test_kit.py", "test_laws_can_fail.py"))
    named = set(re.findall(r'"(test_\w+)"|\)\(\)\.(test_\w+)', told))
    broken = {name for pair in named for name in pair if name}
    laws = {
        law
        for kind in (getattr(contracts, name) for name in contracts.__all__ if name.endswith("Contract"))
        if kind.__module__.startswith("mailwright.testing.contracts")
        for law in vars(kind)
        if law.startswith("test_")
    }
    assert len(laws) > 40
    assert laws <= broken, f"no flaw breaks {', '.join(sorted(laws - broken))}"
