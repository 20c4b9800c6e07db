"""What a user writes: `Message`. Checked when made, immutable afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Literal, TypeVar

from attrs import evolve, field, frozen

from mailwright.errors import MessageError
from mailwright.model.address import Address, AnyAddresses, addresses, one_address
from mailwright.model.delivery import Envelope
from mailwright.model.parts import Attachment, Calendar, Part, RawPart
from mailwright.model.settings import Settings
from mailwright.model.text import check_body, check_header, check_text

_MESSAGE_ID = re.compile(r"<[!#-'*+./0-9=?A-Z^-~-]+@(?:[!#-'*+./0-9=?A-Z^-~-]+|\[[!-Z^-~]+\])>")

T = TypeVar("T")


class Priority(Enum):
    """How urgent a message claims to be; `NORMAL` writes no header."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


Notification = Literal["success", "failure", "delay"]


def _notifications(value: Notification | Iterable[Notification]) -> frozenset[Notification]:
    return frozenset([value] if isinstance(value, str) else value)


@frozen(kw_only=True)
class Dsn:
    """Delivery status notifications wanted (RFC 3461); refused at servers that do not offer them.

    Args:
        notify: Any of ``success``, ``failure``, ``delay``; empty: never.
        ret: Return the ``full`` message or its ``headers``.
        envid: Your id for the transaction, printable ASCII, at most 100 characters.
    """

    notify: frozenset[Notification] = field(default=frozenset({"failure"}), converter=_notifications)
    ret: Literal["full", "headers"] | None = None
    envid: str | None = None

    def __attrs_post_init__(self) -> None:
        if unknown := self.notify - {"success", "failure", "delay"}:
            msg = f"dsn.notify: {min(unknown)!r} is not one of success, failure, delay"
            raise MessageError(msg)
        if self.ret not in {None, "full", "headers"}:
            msg = f"dsn.ret: full or headers, not {self.ret!r}"
            raise MessageError(msg)
        if self.envid is not None and not re.fullmatch(r"[ -~]{1,100}", self.envid):
            msg = "dsn.envid: 1 to 100 printable ASCII characters"
            raise MessageError(msg)


def _from(value: AnyAddresses) -> Address | None:
    return value if value is None or type(value) is Address else one_address("from", value)


def _sender(value: AnyAddresses) -> Address | None:
    return value if value is None or type(value) is Address else one_address("sender", value)


def _mailboxes(value: AnyAddresses) -> tuple[Address, ...]:
    return addresses(value) if value else ()


def _header_pairs(value: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if not value:
        return ()
    return tuple([check_header(name, text) for name, text in _pairs("headers", value)])


def _pairs(field: str, value: Mapping[str, T] | Iterable[tuple[str, T]]) -> tuple[tuple[str, T], ...]:
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        msg = f"{field}: a mapping, or a list of pairs of name and value, not {type(pairs).__name__}"
        raise MessageError(msg)
    found = tuple(pairs)
    if any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in found):
        msg = f"{field}: each must be a pair of name and value"
        raise MessageError(msg)
    return found


def is_message_id(text: str) -> bool:
    """Whether it is one as RFC 5322 §3.6.4 wants it, angle brackets included."""
    return len(text) <= 900 and _MESSAGE_ID.fullmatch(text) is not None


def _message_id(value: str | None) -> str | None:
    return None if value is None else _id("message_id", value)


def _id(field: str, value: str) -> str:
    if not isinstance(value, str):
        msg = f"{field}: text, not {type(value).__name__}"
        raise MessageError(msg)
    text = value.strip(" ")
    text = text if text.startswith("<") else f"<{text}>"
    if not is_message_id(text):
        msg = f"{field}: {value[:80]!r} is not an id such as <unique@example.org>"
        raise MessageError(msg)
    return text


def _in_reply_to(value: str | Iterable[str]) -> tuple[str, ...]:
    return _ids("in_reply_to", value) if value else ()


def _references(value: str | Iterable[str]) -> tuple[str, ...]:
    return _ids("references", value) if value else ()


def _ids(field: str, value: str | Iterable[str]) -> tuple[str, ...]:
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, Iterable):
        msg = f"{field}: message ids, not {type(items).__name__}"
        raise MessageError(msg)
    return tuple([_id(field, item) for item in items])


def _unsubscribe(value: str | Iterable[str]) -> tuple[str, ...]:
    return _texts("list_unsubscribe", value) if value else ()


def _tags(value: str | Iterable[str]) -> tuple[str, ...]:
    return _texts("tags", value) if value else ()


def _texts(field: str, value: str | Iterable[str]) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    for text in found:
        if not isinstance(text, str):
            msg = f"{field}: text, or a list of texts, not {type(text).__name__}"
            raise MessageError(msg)
    return found


def _attachments(value: Iterable[Attachment] | Attachment) -> tuple[Attachment, ...]:
    if not value:
        return ()
    if isinstance(value, (Part, RawPart, Settings)):
        value = (value,)
    elif not isinstance(value, Iterable):
        msg = f"attachments: a list, not {type(value).__name__}"
        raise MessageError(msg)
    items: tuple[Attachment, ...] = tuple(value)
    for index, item in enumerate(items):
        if not isinstance(item, (Part, RawPart, Settings)):
            msg = f"attachments[{index}]: a Part, RawPart or an attachment's settings, not {type(item).__name__}"
            raise MessageError(msg)
    return items


def _url(name: str, url: str, *schemes: str) -> str:
    check_text(name, url)
    if not url.isascii() or re.search(r"[<>\"\s,()\\]", url):
        msg = f"{name}: percent-encode blanks, commas, brackets and non-ASCII characters in {url[:80]!r}"
        raise MessageError(msg)
    if not url.lower().startswith(schemes):
        msg = f"{name}: {url[:80]!r} must start with {' or '.join(schemes)}"
        raise MessageError(msg)
    if len(url) > 900:
        msg = f"{name}: longer than 900 characters"
        raise MessageError(msg)
    return url


_LIST_FIELDS = ("id", "help", "subscribe", "post", "owner", "archive")


def _priority(value: Priority | str) -> Priority:
    try:
        return value if type(value) is Priority else Priority(value)
    except ValueError:
        msg = f"priority: high, normal or low, not {value!r}"
        raise MessageError(msg) from None


def _options(value: Mapping[str, Settings] | Iterable[tuple[str, Settings]]) -> tuple[tuple[str, Settings], ...]:
    return _pairs("options", value) if value else ()


def _list_headers(value: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if not value:
        return ()
    pairs = _pairs("list_headers", value)
    if len({name for name, _ in pairs}) < len(pairs):
        msg = "list_headers: each at most once (RFC 2369 §3)"
        raise MessageError(msg)
    for name, text in pairs:
        if name not in _LIST_FIELDS:
            msg = f"list_headers: {name!r} is not one of {', '.join(_LIST_FIELDS)} (unsubscribe has its own field)"
            raise MessageError(msg)
        if name == "id":
            if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", text):
                msg = f"list_headers.id: {str(text)[:80]!r} is not an id such as news.example.org (RFC 2919)"
                raise MessageError(msg)
        else:
            _url(f"list_headers.{name}", text, "https://", "http://", "mailto:")
    return pairs


@frozen(kw_only=True, slots=False)
class Message:
    """A message as its author means it.

    Addresses are given as `Address`, as text (``"Ann <ann@example.org>, bo@example.org"``) or as a list of either.

    Args:
        from_: Author; absent: the connection's, else the authenticated user.
        sender: Who really sent it, when that is someone else.
        to: Recipients.
        cc: Further recipients, visible.
        bcc: Further recipients, never in the transmitted headers.
        reply_to: Where answers go.
        subject: Any text without control characters.
        html: HTML body. Images given as ``data:`` URLs become inline parts.
        text: Own plain text. None: derived from the HTML. False: HTML only.
        attachments: `Part`, `RawPart`, or an attachment plugin's settings, resolved by `prepare`.
        calendar: An invitation as an alternative of the body.
        priority: high, normal or low.
        headers: Further headers; those that Mailwright writes itself are refused.
        message_id: Default: made by `prepare` and kept over retries.
        date: Timezone-aware; default: now, fixed by `prepare`.
        in_reply_to: Message-ID (or ids) answered.
        references: Message-IDs of the thread.
        list_unsubscribe: ``https:`` and ``mailto:`` URLs.
        one_click: Adds List-Unsubscribe-Post (RFC 8058); needs exactly one ``https:`` URL and no ``http:`` URL.
        list_headers: Of ``id, help, subscribe, post, owner, archive`` (RFC 2369, RFC 2919).
        auto_submitted: ``auto-generated`` or ``auto-replied`` (RFC 3834).
        envelope: Replaces the envelope that the addresses make.
        dsn: Delivery status notifications.
        require_tls: Ask every hop for TLS (RFC 8689).
        tags: For the outbox: filter, count, stop by tag. Never sent.
        options: Per provider, a plugin's own settings.

    Raises:
        MessageError, AddressError: Name the field.
    """

    from_: Address | None = field(default=None, converter=_from)
    sender: Address | None = field(default=None, converter=_sender)
    to: tuple[Address, ...] = field(default=(), converter=_mailboxes)
    cc: tuple[Address, ...] = field(default=(), converter=_mailboxes)
    bcc: tuple[Address, ...] = field(default=(), converter=_mailboxes)
    reply_to: tuple[Address, ...] = field(default=(), converter=_mailboxes)
    subject: str = ""
    html: str | None = field(default=None, repr=False)
    text: str | Literal[False] | None = field(default=None, repr=False)
    attachments: tuple[Attachment, ...] = field(default=(), converter=_attachments)
    calendar: Calendar | None = None
    priority: Priority = field(default=Priority.NORMAL, converter=_priority)
    headers: tuple[tuple[str, str], ...] = field(default=(), converter=_header_pairs)
    message_id: str | None = field(default=None, converter=_message_id)
    date: datetime | None = None
    in_reply_to: tuple[str, ...] = field(default=(), converter=_in_reply_to)
    references: tuple[str, ...] = field(default=(), converter=_references)
    list_unsubscribe: tuple[str, ...] = field(default=(), converter=_unsubscribe)
    one_click: bool = False
    list_headers: tuple[tuple[str, str], ...] = field(default=(), converter=_list_headers)
    auto_submitted: Literal["auto-generated", "auto-replied"] | None = None
    envelope: Envelope | None = None
    dsn: Dsn | None = None
    require_tls: bool = False
    tags: tuple[str, ...] = field(default=(), converter=_tags)
    options: tuple[tuple[str, Settings], ...] = field(default=(), converter=_options)

    def __attrs_post_init__(self) -> None:
        check_text("subject", self.subject)
        html, text, date = self.html, self.text, self.date
        if html is not None:
            check_body("html", html)
        if text is False:
            if html is None:
                msg = "text: false means HTML only, but there is no html"
                raise MessageError(msg)
        elif text is not None:
            check_body("text", text)
        if date is not None and (not isinstance(date, datetime) or date.utcoffset() is None):
            msg = "date: a datetime with a time zone"
            raise MessageError(msg)
        if self.list_unsubscribe or self.one_click:
            self._check_unsubscribe()
        if self.auto_submitted is not None and self.auto_submitted not in ("auto-generated", "auto-replied"):
            msg = f"auto_submitted: auto-generated or auto-replied, not {self.auto_submitted!r}"
            raise MessageError(msg)
        if self.calendar is not None or self.envelope is not None or self.dsn is not None:
            self._check_kinds()

    def _check_kinds(self) -> None:
        for name, kind in (("calendar", Calendar), ("envelope", Envelope), ("dsn", Dsn)):
            found = getattr(self, name)
            if found is not None and not isinstance(found, kind):
                msg = f"{name}: {kind.__name__}, not {type(found).__name__}"
                raise MessageError(msg)

    def _check_unsubscribe(self) -> None:
        for url in self.list_unsubscribe:
            _url("list_unsubscribe", url, "https://", "mailto:", "http://")
        if self.one_click:
            schemes = [url.partition(":")[0].lower() for url in self.list_unsubscribe]
            if schemes.count("https") != 1 or "http" in schemes:
                msg = "one_click: list_unsubscribe must hold one https: URL and no http: URL (RFC 8058 §3.1)"
                raise MessageError(msg)

    @property
    def recipients(self) -> tuple[Address, ...]:
        """To, Cc and Bcc in this order, exact duplicates once."""
        everyone = (*self.to, *self.cc, *self.bcc)
        if len(everyone) < 2:
            return everyone
        found: dict[str, Address] = {}
        for address in everyone:
            found.setdefault(address.email, address)
        return tuple(found.values())

    def with_checked(self, **changes: object) -> Message:
        """A copy with values that are known to be sound, such as a Date and Message-ID just made."""
        found = object.__new__(Message)
        object.__setattr__(found, "__dict__", self.__dict__ | changes)  # frozen; in half the time of an update
        return found

    def replace(self, **changes: object) -> Message:
        """A copy with other values, checked like a new one."""
        return evolve(self, **changes)  # type: ignore[arg-type]
