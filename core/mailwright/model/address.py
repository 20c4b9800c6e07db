"""Mailboxes: one strict small grammar, the same for every face of Mailwright.

Half of all advisories against mail libraries are differences between address parsers. So this one does not read the whole
of RFC 5322. It takes

    mailbox     = [display-name] "<" addr-spec ">" / addr-spec
    addr-spec   = local-part "@" domain
    local-part  = dot-atom / quoted-string              RFC 5321 §4.1.2; non-ASCII letters as in RFC 6531
    domain      = LDH labels, or text that IDNA 2008 (UTS 46) maps to them      RFC 5890
    list        = mailbox *( ("," / ";") mailbox )      separators count outside quotes and angle brackets

and refuses comments, groups, source routes and obsolete forms with an error that names them. Domain literals such as
``[192.0.2.1]`` need `allow_literals`. Every pass is linear in the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, TypeAlias

from attrs import field, frozen

from mailwright.errors import AddressError
from mailwright.model.text import FORBIDDEN_CONTROL, SURROGATE

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL: Final = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}+(?<!-)"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")
_PLAIN: Final = re.compile(rf"(?=[^@]{{1,64}}+@){_ATEXT}++(?:\.{_ATEXT}++)*+@{_LABEL}(?:\.{_LABEL})*+")
_LOCAL_ATOM: Final = re.compile(r"[^\s\x00-\x1f\x7f()<>\[\]:;@\\,.\"]+(?:\.[^\s\x00-\x1f\x7f()<>\[\]:;@\\,.\"]+)*")
_QUOTED: Final = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"')
_LITERAL: Final = re.compile(r"\[[!-Z^-~]+\]")
MAX_LOCAL: Final = 64  # octets, RFC 5321 §4.5.3.1.1
MAX_DOMAIN: Final = 255  # octets, §4.5.3.1.2
MAX_ADDRESS: Final = 254  # octets, §4.5.3.1.3 (a path of 256 less its brackets)


@frozen
class Address:
    """One mailbox.

    Args:
        email: ``local@domain``. A domain in another script is kept in its ASCII form (A-labels), so that comparing
            with an allow-list compares what is dialled.
        name: Display name, any text without control characters.
        allow_literals: Accept ``user@[192.0.2.1]``.

    Raises:
        AddressError: With the reason, for anything outside the grammar above.
    """

    email: str
    name: str = ""
    allow_literals: bool = field(default=False, kw_only=True, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        email = self.email
        if not isinstance(email, str) or not isinstance(self.name, str):
            msg = f"an address is text, not {type(email if not isinstance(email, str) else self.name).__name__}"
            raise AddressError(msg)
        if len(email) > MAX_ADDRESS or not _PLAIN.fullmatch(email):
            object.__setattr__(self, "email", _normalise(email, allow_literals=self.allow_literals))
        if self.name and not self.name.isprintable():
            _check_name(self.name)

    @property
    def local_part(self) -> str:
        """What stands before the last ``@``, quotes included where they are needed."""
        return self.email.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """What stands behind the last ``@``, in ASCII."""
        return self.email.rpartition("@")[2]

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only servers with SMTPUTF8 can take it (RFC 6531): the local part is not ASCII."""
        return not self.email.isascii()

    def __str__(self) -> str:
        if not self.name:
            return self.email
        name = self.name
        if not re.fullmatch(r"[\w !#$%&'*+/=?^`{|}~-]+", name) or name != name.strip() or "=?" in name:
            name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{name} <{self.email}>"

    @classmethod
    def parse(cls, text: str, *, allow_literals: bool = False) -> Address:
        """Read one mailbox: ``ann@example.org`` or ``Ann <ann@example.org>``.

        Raises:
            AddressError: If it is none, or more than one.
        """
        found = cls.parse_list(text, allow_literals=allow_literals)
        if len(found) != 1:
            msg = f"{_shown(text)}: expected one address, found {len(found)}"
            raise AddressError(msg)
        return found[0]

    @classmethod
    def parse_list(cls, text: str, *, allow_literals: bool = False) -> tuple[Address, ...]:
        """Read mailboxes separated by commas or semicolons.

        Empty places (``a@x.org,,``) are passed over. Takes time linear in the length.

        Raises:
            AddressError: For the first mailbox outside the grammar.
        """
        if not isinstance(text, str):
            msg = f"addresses are text, not {type(text).__name__}"
            raise AddressError(msg)
        if text.isascii() and _PLAIN.fullmatch(text):
            return (cls(text),)
        return tuple(_mailbox(piece, allow_literals=allow_literals) for piece in _split(text))


_ONLY_ADDRESSES: Final = {Address}

AnyAddresses: TypeAlias = "str | Address | Iterable[str | Address] | None"
"""Every spelling of addresses a user may give."""


def addresses(value: AnyAddresses) -> tuple[Address, ...]:
    """Take every spelling a user may give: text, an `Address`, or a list of either (each text may hold several)."""
    if value is None:
        return ()
    if isinstance(value, str):
        return Address.parse_list(value)
    if isinstance(value, Address):
        return (value,)
    if type(value) is tuple:
        if {*map(type, value)} == _ONLY_ADDRESSES:
            return value
    elif isinstance(value, dict) or not isinstance(value, Iterable):  # asking an ABC takes its time
        msg = f"addresses are text or a list, not {type(value).__name__}; a name stands before its address, as in Ann <ann@x.org>"
        raise AddressError(msg)
    found: list[Address] = []
    for item in value:
        if isinstance(item, Address):
            found.append(item)
        else:
            found.extend(Address.parse_list(item))
    return tuple(found)


def bare(email: str) -> str:
    """The email of an `Address`, without making one."""
    if isinstance(email, str) and len(email) <= MAX_ADDRESS and _PLAIN.fullmatch(email):
        return email
    return Address(email).email


def one_address(name: str, value: AnyAddresses) -> Address | None:
    """Take at most one address for the field called `name`."""
    found = addresses(value)
    if len(found) > 1:
        msg = f"{name}: one address, not {len(found)}"
        raise AddressError(msg)
    return found[0] if found else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _refuse(text: str, reason: str) -> AddressError:
    return AddressError(f"{_shown(text)}: {reason}")


def _check_name(name: str) -> None:
    if found := FORBIDDEN_CONTROL.search(name):
        raise _refuse(name, f"control character U+{ord(found.group()):04X} in a display name")
    if found := SURROGATE.search(name):
        raise _refuse(name, f"lone surrogate U+{ord(found.group()):04X} in a display name")


def _split(text: str) -> Iterator[str]:
    """Cut at commas and semicolons outside quoted strings and angle brackets."""
    start = 0
    quoted = escaped = angled = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            angled = True
        elif char == ">":
            angled = False
        elif char in ",;" and not angled:
            if piece := text[start:index].strip(" "):
                yield piece
            start = index + 1
    if quoted:
        raise _refuse(text[start:], "a quotation mark is not closed")
    if piece := text[start:].strip(" "):
        yield piece


def _mailbox(text: str, *, allow_literals: bool) -> Address:
    if found := FORBIDDEN_CONTROL.search(text):
        raise _refuse(text, f"control character U+{ord(found.group()):04X} in an address")
    if not text.endswith(">"):
        return Address(text, allow_literals=allow_literals)
    before, bracket, inside = text[:-1].rpartition("<")
    if not bracket:
        raise _refuse(text, "a '>' without its '<'")
    if '"' in inside:  # a quoted local part may hold '<': then the first bracket outside quotes counts
        before, inside = _bracket(text)
    return Address(inside, _display_name(before.strip(" "), text), allow_literals=allow_literals)


def _bracket(text: str) -> tuple[str, str]:
    quoted = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            return text[:index], text[index + 1 : -1]
    raise _refuse(text, "a '>' without its '<'")


def _display_name(raw: str, whole: str) -> str:
    if raw.startswith('"'):
        if not _QUOTED.fullmatch(raw):
            raise _refuse(whole, "the quoted display name is not one quoted string")
        return re.sub(r"\\(.)", r"\1", raw[1:-1])
    if found := re.search(r'[()<>\[\]:;@\\,"]', raw):
        if found.group() in "()":
            raise _refuse(whole, "comments in addresses are not accepted; put the name in quotation marks")
        if found.group() == ":":
            raise _refuse(whole, "groups are not accepted; list their members, or put the name in quotation marks")
        raise _refuse(whole, f"put the display name in quotation marks: it holds {found.group()!r}")
    return raw


def _normalise(email: str, *, allow_literals: bool) -> str:
    """The slow path: quoted local parts, other scripts, literals, and the errors."""
    if found := FORBIDDEN_CONTROL.search(email) or SURROGATE.search(email):
        raise _refuse(email, f"U+{ord(found.group()):04X} is not allowed in an address")
    local, at, domain = email.rpartition("@")
    if not at:
        raise _refuse(email, "not an address: there is no '@'")
    local, domain = _local_part(local, email), _domain(domain, email, allow_literals=allow_literals)
    normal = f"{local}@{domain}"
    if len(normal.encode()) > MAX_ADDRESS:
        raise _refuse(email, f"longer than {MAX_ADDRESS} octets (RFC 5321 §4.5.3.1.3)")
    return normal


def _local_part(local: str, email: str) -> str:
    if not local:
        raise _refuse(email, "nothing stands before the '@'")
    if _QUOTED.fullmatch(local):
        content = re.sub(r"\\(.)", r"\1", local[1:-1])
        local = content if _LOCAL_ATOM.fullmatch(content) else _quote(content)
    elif not _LOCAL_ATOM.fullmatch(local):
        raise _refuse(email, _local_reason(local))
    if not local.isascii():
        _check_unicode_local(local, email)
    if len(local.encode()) > MAX_LOCAL:
        raise _refuse(email, f"the part before '@' is longer than {MAX_LOCAL} octets (RFC 5321 §4.5.3.1.1)")
    return local


def _quote(content: str) -> str:
    return '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _local_reason(local: str) -> str:
    for chars, reason in (
        ("()", "comments in addresses are not accepted"),
        ("<>", "an angle bracket is not allowed there"),
        (":", "groups and source routes are not accepted"),
        ('"\\', "a quoted part must be one quoted string before the '@'"),
        ("@", "there is more than one '@'"),
        (" ", "there is a space before the '@'"),
    ):
        if any(char in local for char in chars):
            return reason
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return "dots may only stand between other characters before the '@'"
    return "a character before the '@' is not allowed"


def _check_unicode_local(local: str, email: str) -> None:
    """Letters of any script are welcome (RFC 6531); what cannot be seen or typed is not."""
    import unicodedata  # noqa: PLC0415 - only addresses outside ASCII pay for it

    for char in local:
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}:
            raise _refuse(email, f"U+{ord(char):04X} is not allowed before the '@'")


def _domain(domain: str, email: str, *, allow_literals: bool) -> str:
    if domain.startswith("["):
        return _literal(domain, email, allow_literals=allow_literals)
    if not domain:
        raise _refuse(email, "nothing stands behind the '@'")
    for chars, reason in (
        ("()", "comments in addresses are not accepted"),
        ("<>", "an angle bracket is not allowed there"),
        (" ", "there is a space behind the '@'"),
    ):
        if any(char in domain for char in chars):
            raise _refuse(email, reason)
    if domain.endswith("."):
        raise _refuse(email, "the domain ends with a dot")
    ascii_domain = domain if domain.isascii() else _to_ascii(domain, email)
    if len(ascii_domain) > MAX_DOMAIN or not _DOMAIN.fullmatch(ascii_domain):
        raise _refuse(email, "the domain is not a host name (labels of 1 to 63 letters, digits and inner hyphens)")
    return ascii_domain


@lru_cache(maxsize=1024)
def _idna(domain: str) -> str:
    import idna  # noqa: PLC0415 - only domains outside ASCII pay for it

    return idna.encode(domain, uts46=True, std3_rules=True, transitional=False).decode("ascii")


def _to_ascii(domain: str, email: str) -> str:
    if len(domain) > MAX_DOMAIN:
        raise _refuse(email, f"the domain is longer than {MAX_DOMAIN} octets")
    try:
        return _idna(domain)
    except UnicodeError as error:  # idna.IDNAError is one
        raise _refuse(email, f"the domain cannot be written in ASCII: {error}") from None


def _literal(domain: str, email: str, *, allow_literals: bool) -> str:
    if not allow_literals:
        raise _refuse(email, "address literals such as [192.0.2.1] are not accepted here")
    import ipaddress  # noqa: PLC0415 - rare

    inside = domain[1:-1]
    if _LITERAL.fullmatch(domain):
        try:
            if inside[:5].lower() == "ipv6:":
                return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
            return f"[{ipaddress.IPv4Address(inside)}]"
        except ipaddress.AddressValueError:
            pass
    raise _refuse(email, "not an address literal (RFC 5321 §4.1.3): [192.0.2.1] or [IPv6:2001:db8::1]")
