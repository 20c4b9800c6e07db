"""`mailwright connections` and `mailwright discover`: saved connections, made by questions or by options."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import NOTHING, frozen

from mailwright import load_connection
from mailwright.cli import saving
from mailwright.cli.output import DELIVERED, complain, show_json
from mailwright.connections import find_connection, saved_connections
from mailwright.documents import unstructure_connection
from mailwright.documents.fields import fields, key_of
from mailwright.errors import ConfigurationError, MailwrightError
from mailwright.model import Connection
from mailwright.registry import default_registry
from mailwright.routing import advice

if TYPE_CHECKING:
    from mailwright.discovery import Finding
    from mailwright.spi import Provider


@frozen(kw_only=True)
class Wanted:
    """What the options of ``add`` say.

    Attributes:
        address: Mail address: its domain names the provider, itself is the user.
        set: ``key=value`` with dotted keys; values as in TOML, else text.
        secrets: Fields of ``auth`` whose values are asked for.
        keep: Where secrets go.
    """

    provider: str | None = None
    address: str | None = None
    auth: str | None = None
    set: Sequence[str] = ()
    secrets: Sequence[str] = ()
    keep: saving.Keep | None = None
    project: bool = False
    replace: bool = False


def add(name: str, wanted: Wanted) -> int:
    """Ask what the options do not say; check; save."""
    saving.check_name(name, replace=wanted.replace)
    registry = default_registry()
    document: dict[str, Any] = {}
    for pair in wanted.set:
        _put(document, pair)
    provider, user = _provider(wanted)
    document.setdefault("provider", provider.name)
    if provider.note:
        _say(f"{provider.title or provider.name}: {provider.note}")
    settings = registry.provider_settings(provider.name)
    for attribute in fields(settings):
        if attribute.default is NOTHING and (key := key_of(attribute)) not in document:
            document[key] = _prompt(attribute.metadata.get("title", key), option=f"--set {key}=…")
    _auth(name, document, provider, wanted, user)
    connection = load_connection({"name": name, **document}, registry=registry)
    path = saving.save(name, document, project=wanted.project)
    _say(f"✓ saved: {name} in {path}")
    _advise(connection)
    tokens = connection.auth is not None and connection.auth[0] == "oauth2"
    login = tokens and not {"refresh_token", "access_token"} & set(document["auth"])
    _say(f"next: mailwright {'auth login' if login else 'connections verify'} {name}")
    return DELIVERED


def _provider(wanted: Wanted) -> tuple[Provider[Any], str | None]:
    """The provider, and the mailbox if one was named."""
    registry, address = default_registry(), wanted.address
    if wanted.provider is not None:
        return registry.provider(wanted.provider), address
    if address is None:
        address = _prompt("Mail address (or a service's name)", option="--address ADDRESS or --provider NAME")
    if "@" not in address:
        return registry.provider(address), None
    known = registry.provider_for(address)
    if known is not None:
        return known, address
    _say(f"{address.rpartition('@')[2]} is not in the table: mailwright discover {address} may find its server")
    return registry.provider("smtp"), address


def _auth(name: str, document: dict[str, Any], provider: Provider[Any], wanted: Wanted, user: str | None) -> None:
    """The method, its required fields, its secrets: kept elsewhere, referred to here."""
    given = document.get("auth", {})
    kind = wanted.auth or given.get("type")
    if kind is None:
        choices = [*(provider.auth or ("basic", "oauth2")), "none"]
        kind = _prompt(f"How to log in ({', '.join(choices)})", option="--auth METHOD", default=choices[0])
    if kind == "none":
        document.pop("auth", None)
        return
    auth = document["auth"] = {"type": kind, **{key: value for key, value in given.items() if key != "type"}}
    asked = {*wanted.secrets, *(() if wanted.auth else ("client_secret",))}
    for attribute in fields(default_registry().auth_settings(kind)):
        key, title = key_of(attribute), attribute.metadata.get("title", key_of(attribute))
        if key in auth:
            if attribute.metadata.get("secret") and not _is_reference(str(auth[key])):
                auth[key] = saving.keep_secret(name, key, str(auth[key]), keep=wanted.keep)
            continue
        required = attribute.default is NOTHING
        if attribute.metadata.get("secret"):
            if required or key in asked:
                default = None if required or key in wanted.secrets else ""
                value = _prompt(title, option=f"--set auth.{key}=env:NAME", hidden=True, default=default)
                if value:
                    auth[key] = saving.keep_secret(name, key, value, keep=wanted.keep)
        elif required or key == "client_id":
            mailbox = user if key in {"user", "username"} else None
            auth[key] = _prompt(title, option=f"--set auth.{key}=…", default=mailbox)


def list_(*, json: bool) -> int:
    """Names, providers, files."""
    known = saved_connections()
    rows = [
        {"name": name, "provider": str(doc.get("provider", "")), "file": str(path)}
        for name, (path, doc) in known.items()
    ]
    if json:
        show_json(rows)
        return DELIVERED
    for row in rows:
        _say(f"{row['name']:<20} {row['provider']:<20} {row['file']}")
    if not rows:
        _say("no connection is saved yet: mailwright connections add NAME")
    return DELIVERED


def show(name: str, *, json: bool) -> int:
    """The document without its secrets, and what to watch out for."""
    connection = _load(name)
    document = {
        key: value for key, value in unstructure_connection(connection, mask_secrets=True).items() if key != "name"
    }
    _keep_references(document, saved_connections()[name][1] if name in saved_connections() else {})
    if json:
        show_json(document)
        return DELIVERED
    import tomlkit  # noqa: PLC0415 - this command only

    _say(tomlkit.dumps({"connections": {name: document}}).strip())
    _advise(connection)
    return DELIVERED


def verify(name: str) -> int:
    """Connect, encrypt, log in; send nothing."""
    from mailwright import Mailer  # noqa: PLC0415 - this command only

    async def steps() -> None:
        async with Mailer(name) as mailer:
            async for step in mailer.verify():
                _say(f"✓ {step}")

    _advise(_load(name))
    try:
        asyncio.run(steps())
    except MailwrightError as error:
        return complain(error)
    return DELIVERED


def remove(name: str, *, yes: bool) -> int:
    """Take it away, with the secrets and tokens kept for it."""
    saving.saved(name)
    if not yes and not _agreed(f"Remove {name}, its secrets and its tokens?"):
        return DELIVERED
    path = saving.remove(name)
    asyncio.run(_drop_tokens(name))
    _say(f"✓ removed: {name} from {path}")
    return DELIVERED


def discover(address: str, *, save: str | None, json: bool) -> int:
    """Find settings, say where each is from, ask before one is used."""
    from mailwright import discovery  # noqa: PLC0415 - this command only
    from mailwright.net import GuardedHttp  # noqa: PLC0415

    http = GuardedHttp(timeout_s=10.0)
    registry = default_registry()
    found = asyncio.run(discovery.discover(address, registry=registry, http=http, srv=discovery.srv_by_system))
    if json:
        show_json(
            [
                {
                    **finding.document(),
                    "username": finding.username,
                    "auth": finding.auth,
                    "source": finding.source,
                    "note": finding.note,
                }
                for finding in found
            ]
        )
        return DELIVERED if found else 1
    return choose(address, found, save=save)


def choose(address: str, found: Sequence[Finding], *, save: str | None) -> int:
    """Show findings; save the one a person agrees to."""
    for number, finding in enumerate(found, 1):
        server = finding.endpoint
        _say(f"{number}. {server.host}:{server.port} {server.tls}  (from {finding.source})")
        _say(
            "".join(
                f"   {line}\n"
                for line in (f"user {finding.username}" if finding.username else "", finding.note)
                if line
            ).rstrip()
        )
    if not found:
        _say(
            "nobody knows: ask the provider for its SMTP server, then: mailwright connections add NAME --provider smtp"
        )
        return 1
    if save is None:
        _say("to use one: mailwright discover ADDRESS --save NAME")
        return DELIVERED
    number = int(_prompt(f"Use which (1 to {len(found)}, 0: none)", option="connections add", default="0") or 0)
    if not 1 <= number <= len(found):
        return DELIVERED
    chosen = found[number - 1]
    pairs = [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}" for key, value in chosen.document().items()
    ]
    return add(save, Wanted(provider=chosen.provider, address=chosen.username or address, auth=chosen.auth, set=pairs))


def _load(name: str) -> Connection:
    return asyncio.run(find_connection(name, registry=default_registry()))


def _advise(connection: Connection) -> None:
    registry = default_registry()
    user = registry.auth_method(connection.auth[0]).user(connection.auth[1]) if connection.auth else None
    for warning in advice(registry.provider(connection.provider), connection, user):
        sys.stderr.write(f"warning: {warning}\n")


def _keep_references(document: dict[str, Any], saved: Mapping[str, Any]) -> None:
    """References are no secrets: ``env:NAME`` may be shown, ``***`` stands for literals only."""
    for part in ("auth", "options"):
        for key, value in saved.get(part, {}).items():
            if document.get(part, {}).get(key) == "***" and isinstance(value, str) and _is_reference(value):
                document[part][key] = value


async def _drop_tokens(name: str) -> None:
    from mailwright.oauth import FileTokenStore  # noqa: PLC0415 - this command only

    store = FileTokenStore()
    for key in store.keys():  # noqa: SIM118 - no mapping
        if key.startswith(f"{name}:"):
            await store.compare_and_swap(key, await store.load(key), None)


def _put(document: dict[str, Any], pair: str) -> None:
    """``limits.rate=30/min`` into nested tables."""
    path, equals, text = pair.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        msg = f"--set {pair.partition('=')[0]!r}: write KEY=VALUE"
        raise ConfigurationError(msg)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in keys[:-1]:
        document = document.setdefault(key, {})
        if not isinstance(document, dict):
            msg = f"--set {path}: {key} holds a value already"
            raise ConfigurationError(msg)
    document[keys[-1]] = value


def _is_reference(value: str) -> bool:
    prefix, colon, _ = value.partition(":")
    return bool(colon) and prefix.isidentifier() and default_registry().secret_scheme(prefix) is not None


def _prompt(text: str, *, option: str, default: str | None = None, hidden: bool = False) -> str:
    """Ask; where nobody answers the default counts, or the error names the option that would have answered."""
    says = f"{text}: nobody answers; give it as {option}, or pipe it in"
    if hidden and not sys.stdin.isatty():
        answer = sys.stdin.readline().rstrip("\r\n") or default
        if answer is None:
            raise ConfigurationError(says)
        return answer
    import typer  # noqa: PLC0415 - questions only

    try:
        return str(
            typer.prompt(text, default=default, hide_input=hidden, show_default=not hidden and bool(default), err=True)
        )
    except typer.Abort:
        if default is None or sys.stdin.isatty():
            _stopped(says)
        sys.stderr.write("\n")
        return default


def _stopped(says: str) -> NoReturn:
    """A question without an answer: the input has ended, or a person pressed Ctrl-C."""
    sys.stderr.write("\n")
    if sys.stdin.isatty():
        raise KeyboardInterrupt
    raise ConfigurationError(says)


def _agreed(text: str) -> bool:
    import typer  # noqa: PLC0415 - questions only

    try:
        return bool(typer.confirm(text, err=True))
    except typer.Abort:
        _stopped(f"{text} Nobody answers; say --yes")


def _say(line: str) -> None:
    if line:
        sys.stdout.write(line + "\n")
