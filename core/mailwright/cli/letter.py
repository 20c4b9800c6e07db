"""What a command sends: a node's letter, an ``.eml``, or one put together from options."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailwright import Address, Envelope, FlowState, Mailer, Message, Part, background, load_connection, load_node
from mailwright.connections import is_saved, saved_files
from mailwright.documents import FORMATS
from mailwright.errors import ConfigurationError, DocumentError, MessageError
from mailwright.model import Connection
from mailwright.node.running import ATTACHMENT_LIMIT
from mailwright.registry import default_registry
from mailwright.routing import endpoint_of

if TYPE_CHECKING:
    from mailwright.mime.tree import Structure
    from mailwright.sending import AnyMessage, Draft

Reference = Connection | Mapping[str, Any] | str


@frozen(kw_only=True)
class Options:
    """What the command line says of a letter; files are named by path, ``-`` is standard input."""

    to: Sequence[str] = ()
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    from_: str | None = None
    reply_to: Sequence[str] = ()
    subject: str | None = None
    html: Path | None = None
    text: Path | None = None
    attach: Sequence[Path] = field(default=())

    @property
    def given(self) -> tuple[str, ...]:
        """The options that only a letter without a document takes."""
        names = ("from_", "cc", "bcc", "reply_to", "subject", "html", "text", "attach")
        return tuple(f"--{name.strip('_').replace('_', '-')}" for name in names if getattr(self, name))


@frozen(kw_only=True)
class Letter:
    """What goes, and by which connections."""

    message: AnyMessage = field(repr=False)
    connection: tuple[Reference, ...]
    envelope: Envelope | None = None
    attach_root: Path | None = None

    @property
    def mailer(self) -> Mailer:
        """The mailer that sends it."""
        return Mailer(self.connection, attachment_limit=ATTACHMENT_LIMIT, attach_root=self.attach_root)

    def draft(self) -> Draft:
        """As it would leave."""

        async def made() -> Draft:
            async with self.mailer as mailer:
                return await mailer.draft(self.message, envelope=self.envelope)

        return background.run(made())


def node_letter(
    node: Path, state: FlowState, *, attach_root: Path | None, render_timeout: float | None = None
) -> Letter:
    """A node's letter, rendered.

    Raises:
        MailwrightError: Whatever would keep the node from sending, as far as it can be known without network.
    """
    loaded = load_node(node, attach_root=attach_root, render_timeout=render_timeout)
    document = loaded.document
    message = background.run(loaded.message(state))
    if not document.connection:
        msg = "$.connection: missing; name a saved connection"
        raise ConfigurationError(msg)
    return Letter(message=message, connection=document.connection, attach_root=attach_root)


def ready_letter(path: Path, connection: str | None, options: Options) -> Letter:
    """An ``.eml`` file, or standard input; ``--to`` and ``--from`` are its envelope then."""
    if other := [name for name in options.given if name != "--from"]:
        msg = f"{other[0]}: not with a ready message, which says that itself; --to and --from make the envelope"
        raise ConfigurationError(msg)
    data = _octets(path)
    envelope = None
    if options.to:
        recipients = Address.parse_list(", ".join(options.to))
        envelope = Envelope(sender=options.from_ or _author(data, path), recipients=recipients)
    elif options.from_:
        msg = "--from: with a ready message it needs --to beside it: together they are the envelope"
        raise ConfigurationError(msg)
    return Letter(message=data, connection=(_connection(connection),), envelope=envelope)


def _author(data: bytes, path: Path) -> Address:
    from email.parser import BytesHeaderParser  # noqa: PLC0415 - for an envelope of its own only

    header = BytesHeaderParser().parsebytes(data)
    found = Address.parse_list(str(header["sender"] or header["from"] or ""))
    if not found:
        msg = f"{path.name}: no From field; name the return path with --from"
        raise MessageError(msg)
    return found[0]


def own_letter(connection: str | None, options: Options) -> Letter:
    """A letter put together from options; the text comes from standard input where neither body is given."""
    if not options.to and not options.cc and not options.bcc:
        msg = "--to: name somebody to send to, or give a node document or an .eml file"
        raise ConfigurationError(msg)
    text_from = options.text
    if text_from is None and options.html is None:
        if sys.stdin is None or sys.stdin.isatty():  # None: closed
            msg = "nothing to say: give --html FILE or --text FILE, or pipe the text in"
            raise ConfigurationError(msg)
        text_from = Path("-")
    if [str(options.html), str(text_from)] == ["-", "-"]:
        msg = "--html, --text: standard input can be one of them"
        raise ConfigurationError(msg)
    message = Message(
        from_=options.from_ or None,
        to=", ".join(options.to),
        cc=", ".join(options.cc),
        bcc=", ".join(options.bcc),
        reply_to=", ".join(options.reply_to),
        subject=options.subject or "",
        html=_text(options.html) if options.html else None,
        text=_text(text_from) if text_from else None,
        attachments=[_part(path) for path in options.attach],
    )
    return Letter(message=message, connection=(_connection(connection),))


def _connection(name: str | None) -> Reference:
    """A saved connection by name, a document by path, or the sandbox."""
    if name is None:
        places = " or ".join(str(path) for path in saved_files())
        msg = (
            "--connection: name a saved connection (of "
            f"{places}), the file of a connection document, or sandbox; $MAILWRIGHT_CONNECTION works too"
        )
        raise ConfigurationError(msg)
    path = Path(name)
    if path.suffix.lower() in FORMATS and (path.is_file() or not is_saved(name)):
        return _read_connection(path)
    if name == "sandbox" and not is_saved(name):
        return {"provider": "sandbox"}
    return name


def _read_connection(path: Path) -> Connection:
    try:
        return load_connection(path)
    except DocumentError as error:
        raise DocumentError(error.problems, source=path.name) from None


def _octets(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read() if sys.stdin else b""
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from None


def _text(path: Path) -> str:
    try:
        return _octets(path).decode()
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 at octet {error.start}"
        raise MessageError(msg) from None


def _part(path: Path) -> Part:
    if not path.is_file():
        msg = f"--attach: {path} is not a file"
        raise ConfigurationError(msg)
    return Part(content=path)


def summary(draft: Draft) -> dict[str, Any]:
    """Plain values for programs."""
    return {
        **route_of(draft),
        "envelope": {"from": draft.envelope.sender, "to": list(draft.envelope.recipients)},
        "keptBack": list(draft.kept_back),
        "messageId": draft.composed.message_id,
        "messageSize": draft.composed.size,
        "headers": [{"name": name, "value": value} for name, value in headers_of(draft)],
        "structure": _plain(draft.composed.structure),
    }


def headers_of(draft: Draft) -> Iterator[tuple[str, str]]:
    """Header fields, unfolded, as they stand in the octets."""
    for name, value in draft.composed.headers:
        yield name, value.replace(b"\r\n", b"").decode()


def route_of(draft: Draft) -> dict[str, Any]:
    """Provider, kind of login, and for SMTP the endpoint."""
    connection = draft.connection
    provider = default_registry().provider(connection.provider)
    route: dict[str, Any] = {"provider": provider.name, "auth": connection.auth[0] if connection.auth else None}
    if provider.endpoint is not None:
        endpoint = endpoint_of(provider, connection)
        route |= {"host": endpoint.host, "port": endpoint.port, "tls": endpoint.tls}
    return route


def _plain(structure: Structure) -> dict[str, Any]:
    found: dict[str, Any] = {"type": structure.content_type, "size": structure.size}
    if structure.filename:
        found["filename"] = structure.filename
    if structure.children:
        found["parts"] = [_plain(child) for child in structure.children]
    return found
