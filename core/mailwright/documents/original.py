"""The original Send Email node's settings → our document, with a note wherever the two behave differently.

The vendor publishes labels, not the spelling of stored settings. So keys are compared by their letters and digits only, and
the labels, their camelCase forms and Nodemailer's option names are all known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

_OTHER: Final = frozenset({"", "other", "othersmtpservice", "othersmtp", "custom", "smtp"})
_ATTACHMENTS: Final = {
    "noattachment": None, "none": None, "": None, "fromurl": "url", "url": "url", "fromtextcontent": "text", "text": "text",
    "frombase64string": "base64", "base64": "base64", "customcontentattachment": "custom", "custom": "custom",
    "frompregeneratedmimenode": "mime", "mime": "mime", "raw": "mime",
}  # fmt: skip
_MESSAGE: Final = {
    "to": ("to", "recipienttoemailaddresses", "recipientemailaddresses", "recipient", "recipients", "toemailaddresses"),
    "cc": ("cc", "recipientccemailaddresses", "ccemailaddresses"),
    "bcc": ("bcc", "recipientbccemailaddresses", "bccemailaddresses"),
    "reply_to": ("replyto", "replytoemailaddress", "replytoemailaddresses"),
    "from": ("from", "customfrom", "customfromemailaddress", "fromemailaddress"),
    "subject": ("subject", "emailsubject"),
    "content": ("content", "html", "emailcontent"),
    "priority": ("priority", "emailpriority"),
    "stop_on_error": ("stoponerror",),
    "execute_async": ("executerequestasynchronous", "executeasync", "executerequestasync", "async", "asynchronous"),
}
_TEXT: Final = ("text", "customtext", "textcontent", "customtextemailcontent", "emailtextcontent")
_TEXT_ON: Final = ("definecustomtextemailcontent", "definecustomtext", "usecustomtext")
_SERVICE: Final = ("emailservice", "service", "emailprovider", "provider")
_HOLDERS: Final = (
    "connection",
    "smtpconnection",
    "oauth2connection",
    "basicauthconnection",
    "auth",
    "smtp",
    "smtpsettings",
)
_SERVER: Final = {
    "host": ("host", "smtphost", "server"),
    "port": ("port", "smtpport"),
    "tls": ("tlsoption", "security", "tls", "encryption"),
    "secure": ("secure",),
    "name": ("connectionname", "name"),
}
_AUTH: Final = {
    "kind": ("authentication", "authenticationtype", "authtype", "type"),
    "user": ("user", "username", "email"),
    "password": ("password", "pass"),
    "client_id": ("clientid",),
    "client_secret": ("clientsecret",),
    "access_token": ("accesstoken",),
    "refresh_token": ("refreshtoken",),
    "expiry_date": ("expirydate", "expires"),
    "token_url": ("tokenendpointurl", "tokenurl", "tokenendpoint", "accessurl"),
    "scope": ("scope",),
}
_STORE: Final = {
    "in": ("storelocationofsmtprequestresult", "storelocation", "storeresult", "storelocationofresult"),
    "input": ("inputkeytostoreresult", "inputkey"),
    "context": ("contextkeytostoreresult", "contextkey"),
}
_FILE: Final = {
    "type": ("attachment", "attachmenttype"),
    "url": ("url", "attachmenturl", "path", "href"),
    "filename": ("filename", "attachmentfilename", "customfilename", "attachmentname"),
    "content": ("content", "attachmentcontent", "base64string", "textcontent", "attachmenttext", "attachmentbase64"),
    "content_type": ("contenttype", "attachmentcontenttype", "mimetype", "custommimetype"),
    "raw": ("raw", "mimenode", "pregeneratedmimenode", "attachmentmime", "attachmentraw"),
    "encoding": ("encoding",),
}
_ORIGINAL_TOKEN_URL: Final = "https://accounts.google.com/o/oauth2/token"  # noqa: S105 - an address
_ABOUT_THE_NODE: Final = frozenset({"type", "id", "label", "comment", "nodetype", "extension", "enabled"})
_EXPRESSION: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@frozen(kw_only=True)
class Original:
    """What was made of the original's settings.

    Attributes:
        document: A node document of ours.
        notes: (path in it, what differs).
    """

    document: dict[str, Any]
    notes: tuple[tuple[str, str], ...] = field(default=())


def _letters(key: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(key).lower())


class _Settings:
    """The original's settings by the letters of their keys; what is taken is ticked off."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.values = {_letters(key): value for key, value in raw.items()}
        self.written = {_letters(key): str(key) for key in raw}

    def take(self, names: tuple[str, ...]) -> Any:
        found = None
        for name in names:
            if name in self.values:
                value = self.values.pop(name)
                found = value if found is None or found == "" else found
        return found


class _Translation:
    def __init__(self, raw: Mapping[str, Any], knows: Callable[[str], bool]) -> None:
        inner = next((raw[key] for key in ("config", "settings", "node") if isinstance(raw.get(key), Mapping)), raw)
        self.given = _Settings(inner)
        self.knows = knows
        self.notes: list[tuple[str, str]] = []
        self.document: dict[str, Any] = {}

    def note(self, path: str, says: str) -> None:
        self.notes.append((path, says))

    def run(self) -> Original:
        self.attachments()  # before the message: both have a key called content
        self.connection()
        self.message()
        self.storing()
        for key in self.given.values.keys() - _ABOUT_THE_NODE:
            self.note("$", f"{self.given.written[key]!r} is not known and was left out")
        return Original(document=_scripts(self.document, self.notes), notes=tuple(self.notes))

    # -- connection

    def connection(self) -> None:
        holders = [self.given.take((name,)) for name in _HOLDERS]
        named = next((holder for holder in holders if isinstance(holder, str) and holder), None)
        merged: dict[str, Any] = {}
        for holder in holders:
            if isinstance(holder, Mapping):
                merged |= holder
                merged |= holder.get("auth", {}) if isinstance(holder.get("auth"), Mapping) else {}
        inner = _Settings({key: value for key, value in merged.items() if key != "auth"})

        def either(names: tuple[str, ...]) -> Any:
            outer = self.given.take(tuple(name for name in names if name not in {"name", "type", "email"}))
            return outer if outer not in {None, ""} else inner.take(names)

        service = str(either(_SERVICE) or "")
        server = {key: either(names) for key, names in _SERVER.items()}
        auth = {key: either(names) for key, names in _AUTH.items()}
        if named is not None and not any(auth.values()) and not server["host"]:
            self.document["connection"] = named
            self.note("$.connection", f"save the connection {named!r}: [connections.{named}] in mailwright.toml")
            return
        connection: dict[str, Any] = {"name": named or server["name"]} if named or server["name"] else {}
        self.service(connection, service, server)
        if found := self.auth(auth, connection):
            connection["auth"] = found
        self.document["connection"] = connection

    def service(self, connection: dict[str, Any], service: str, server: Mapping[str, Any]) -> None:
        if _letters(service) in _OTHER:
            connection |= {"provider": "smtp", "host": server["host"] or ""}
        else:
            name = next((n for n in (service, service.lower(), _letters(service)) if self.knows(n)), service)
            connection["provider"] = name
            if server["host"] or server["port"]:
                self.note("$.connection.provider", "a service brings its own host and port, there as here")
        tls = _letters(server["tls"]) if server["tls"] is not None else None
        if tls is None and server["secure"] is not None:
            tls = "tls" if server["secure"] in {True, "true"} else "starttls"
        port = int(server["port"]) if str(server["port"] or "").isdecimal() else None
        if connection["provider"] != "smtp":
            if tls == "none":
                self.note("$.connection.tls", "the service's own encryption is used: its servers take no mail without")
            return
        if port == 443:
            self.note("$.connection.port", "443 is the port of https; mail over TLS has 465, which is used instead")
            port = None
        connection["tls"] = tls if tls in {"starttls", "none"} else "tls"
        if port is not None:
            connection["port"] = port
        if connection["tls"] == "starttls":
            self.note(
                "$.connection.tls", "starttls is required here; the original went on in clear where it was missing"
            )
        if connection["tls"] == "none":
            self.note("$.connection.tls", "credentials do not cross an unencrypted link, except to this machine")

    def auth(self, auth: Mapping[str, Any], connection: Mapping[str, Any]) -> dict[str, Any] | None:
        kind = _letters(auth["kind"]) if isinstance(auth["kind"], str) else ""
        given = {key: value for key, value in auth.items() if key != "kind" and value not in {None, ""}}
        if not given:
            return None
        if "password" in given:
            return {"type": "basic", "username": given.get("user", ""), "password": given["password"]}
        if "credentials" in kind or not ({"access_token", "refresh_token"} & given.keys()):
            keys = ("user", "client_id", "client_secret", "token_url", "scope")
            return {"type": "oauth2_client_credentials", **{key: given[key] for key in keys if key in given}}
        self.note("$.connection.auth", "the vendor has deprecated this kind of OAuth2; client credentials replace it")
        if given.get("token_url") == _ORIGINAL_TOKEN_URL and connection["provider"] != "smtp":
            del given["token_url"]
            self.note("$.connection.auth.token_url", "the original's default; left out, the provider's own is used")
        if connection.get("tls") == "none":
            self.note("$.connection.tls", "a token does not cross an unencrypted link: choose tls or starttls")
        given.pop("scope", None)
        return {"type": "oauth2", **given}

    # -- message

    def message(self) -> None:
        for key, names in _MESSAGE.items():
            value = self.given.take(names)
            if value not in (None, "", [], False):
                self.document[key] = value
        wanted, text = self.given.take(_TEXT_ON), self.given.take(_TEXT)
        if text and wanted is not False:
            self.document["text"] = text
        elif self.document.get("content"):
            self.note("$.text", 'plain text is derived from the content; the original sent HTML only ("text": false)')
        priority = str(self.document.get("priority", "normal")).lower()
        self.document["priority"] = priority
        if priority == "normal":
            del self.document["priority"]
        else:
            self.note("$.priority", "X-Priority and Importance are written, X-MSMail-Priority is not")
        if self.document.get("execute_async") and self.document.get("stop_on_error"):
            self.note(
                "$.stop_on_error", "with execute_async it stops only for what is wrong before the message goes on"
            )
        if len(_addresses(self.document)) > 1:
            self.note(
                "$.fail_on", 'one accepted recipient makes a success, as there; "any" makes one refusal a failure'
            )

    def storing(self) -> None:
        where = {"input": "input", "context": "context"}.get(_letters(self.given.take(_STORE["in"])), "none")
        keys = {name: self.given.take(_STORE[name]) for name in ("input", "context")}
        if where != "none":
            self.document["store_result"] = {"in": where, "key": keys[where] or ""}

    # -- attachments

    def attachments(self) -> None:
        found: list[dict[str, Any] | None] = []
        listed = self.given.take(("attachments",))
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, Mapping):
                found.append(self.attachment(_Settings(item), len(found)))
        kind = _ATTACHMENTS.get(_letters(self.given.take(_FILE["type"]) or ""))
        names = {key: tuple(n for n in names if n not in {"content", "textcontent"}) for key, names in _FILE.items()}
        values = {key: self.given.take(names[key]) for key in _FILE if key != "type"}
        if kind is not None:
            found.append(self.made(kind, values, len(found)))
        if attachments := [item for item in found if item is not None]:
            self.document["attachments"] = attachments

    def attachment(self, given: _Settings, index: int) -> dict[str, Any] | None:
        """One of Nodemailer's, which is what its values make it."""
        kind = _ATTACHMENTS.get(_letters(given.take(_FILE["type"]) or ""))
        values = {key: given.take(names) for key, names in _FILE.items() if key != "type"}
        if kind is None:
            kind = (
                "mime" if values["raw"] else "url" if values["url"]
                else "base64" if values["encoding"] == "base64" else "custom" if values["content_type"] else "text"
            )  # fmt: skip
        return self.made(kind, values, index)

    def made(self, kind: str, values: Mapping[str, Any], index: int) -> dict[str, Any]:
        path = f"$.attachments[{index}]"
        if kind == "url":
            self.note(path, "fetched before the session opens, from public addresses only; allow_fetch names others")
            return {"type": "url", "url": values["url"] or "", **_given(values, "filename")}
        if kind == "mime":
            self.note(path, "one whole part, checked, then sent byte for byte")
            return {"type": "mime", "content": values["raw"] or values["content"] or ""}
        if kind == "base64":
            self.note(path, "foreign characters in base64 are an error with their position, not skipped")
        more = ("filename", "content_type") if kind in {"base64", "custom"} else ("filename",)
        return {"type": kind, "content": values["content"] or "", **_given(values, *more)}


def _given(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if values[name] not in {None, ""}}


def _addresses(document: Mapping[str, Any]) -> list[str]:
    texts = [str(document[name]) for name in ("to", "cc", "bcc") if name in document]
    return [part for text in texts for part in re.split("[,;]", text) if part.strip()]


def _scripts(value: Any, notes: list[tuple[str, str]], path: str = "$") -> Any:
    """The original's short names in expressions: ``ci`` is the input, ``cc`` the context."""
    if isinstance(value, Mapping):
        return {key: _scripts(item, notes, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_scripts(item, notes, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    changed = _EXPRESSION.sub(
        lambda found: re.sub(
            r"(?<![\w.'\"])c([ic])(?=[.\[])", lambda m: {"i": "input", "c": "context"}[m[1]], found[0]
        ),
        value,
    )
    if changed != value:
        notes.append((path, "ci and cc are written input and context"))
    if any(word in changed for word in ("===", "&&", "||", "?.", "??")):
        notes.append((path, "expressions are Jinja's, not JavaScript: and, or, ==, default(…)"))
    return changed


def translate(raw: Mapping[str, Any], knows: Callable[[str], bool]) -> Original:
    """Read the original's settings.

    Args:
        raw: As exported; flat, or below ``config``.
        knows: Whether a provider of that name is installed.

    Returns:
        A node document and notes on what differs. Whether the document is sound is for `check_node` to say.
    """
    return _Translation(raw, knows).run()
