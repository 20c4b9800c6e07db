"""The table of services: every well-known name resolves, every fact has a source, every wrong pairing is told."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from mailwright import Mailer, Message, Registry, SendError, load_connection
from mailwright.errors import PluginError
from mailwright.routing import advice, endpoint_of
from mailwright.spi import Provider, Reply, SmtpEndpoint
from mailwright.testing import ScriptedServer
from mailwright_plugins import providers

TABLE = Path(providers.__file__).with_name("services.json")
NODEMAILER = [
    "126", "163", "1und1", "Aliyun", "aliyun.com", "AliyunQiye", "AOL", "aol.com", "Aruba", "Aruba PEC",
    "aruba.it", "pec.aruba.it", "Bluewin", "bluewin.ch", "BOL", "bol.com.br", "DebugMail", "Disroot",
    "disroot.org", "DynectEmail", "Dynect", "ElasticEmail", "Elastic Email", "Ethereal", "ethereal.email",
    "FastMail", "fastmail.com", "fastmail.fm", "Feishu Mail", "Feishu", "FeishuMail", "www.feishu.cn",
    "Forward Email", "FE", "ForwardEmail", "forwardemail.net", "GandiMail", "Gandi", "Gandi Mail", "Gmail",
    "Google Mail", "gmail.com", "googlemail.com", "GmailWorkspace", "Google Workspace Mail", "GMX", "gmx.com",
    "gmx.net", "gmx.de", "Godaddy", "GodaddyAsia", "GodaddyEurope", "Groundmail", "hot.ee", "Hotmail", "Outlook",
    "Outlook.com", "Hotmail.com", "hotmail.com", "outlook.com", "iCloud", "Me", "Mac", "icloud.com", "me.com",
    "mac.com", "Infomaniak", "ik.me", "ikmail.com", "etik.com", "KolabNow", "Kolab", "kolabnow.com", "Loopia",
    "Loops", "mail.ee", "Mail.ru", "Mailcatch.app", "Maildev", "MailerSend", "Mailgun", "Mailjet", "Mailosaur",
    "MailSenpai", "Mailtrap", "Mandrill", "Naver", "OhMySMTP", "One", "OpenMailBox", "OMB", "openmailbox.org",
    "Outlook365", "Oveyon", "Postmark", "PostmarkApp", "Proton", "ProtonMail", "Proton.me", "Protonmail.com",
    "Protonmail.ch", "proton.me", "protonmail.com", "pm.me", "protonmail.ch", "qiye.aliyun", "QQ", "qq.com",
    "QQex", "QQ Enterprise", "exmail.qq.com", "Resend", "Runbox", "runbox.com", "SendCloud", "SendGrid",
    "SendinBlue", "Brevo", "SendPulse", "Seznam", "Seznam Email", "seznam.cz", "email.cz", "post.cz",
    "spoluzaci.cz", "SMTP2GO", "SpacePost", "Sparkpost", "SparkPost", "SparkPost Mail", "sparkpost.com",
    "Tipimail", "TurboSMTP", "TurboSMTP-EU", "Tutanota", "tutanota.com", "tuta.com", "tutanota.de", "tuta.io",
    "Yahoo", "yahoo.com", "Yandex", "yandex.ru", "Zimbra", "Zimbra Collaboration", "Zoho", "SES-AP-NORTHEAST-1",
    "SES-AP-NORTHEAST-2", "SES-AP-NORTHEAST-3", "SES-AP-SOUTH-1", "SES-AP-SOUTHEAST-1", "SES-AP-SOUTHEAST-2",
    "SES-CA-CENTRAL-1", "SES-EU-CENTRAL-1", "SES-EU-NORTH-1", "SES-EU-WEST-1", "SES-EU-WEST-2", "SES-EU-WEST-3",
    "SES-SA-EAST-1", "SES-US-EAST-1", "SES-US-EAST-2", "SES-US-GOV-EAST-1", "SES-US-GOV-WEST-1", "SES-US-WEST-1",
    "SES-US-WEST-2", "SES",
]  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(installed=False, environ={})


@pytest.mark.parametrize("name", NODEMAILER)
def test_every_nodemailer_name_resolves_or_is_explained(name: str, registry: Registry) -> None:
    try:
        provider = registry.provider(name)
    except PluginError as error:
        assert "offers no SMTP" in error.message or "has closed" in error.message  # noqa: PT017 - either is fine
    else:
        assert provider.endpoint is not None
        assert provider.endpoint(provider.settings()).host


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Outlook365", "microsoft365"), ("GMAIL", "gmail"), ("ann@hotmail.com", "outlook"), ("SES", "ses-us-east-1"),
        ("SES-EU-WEST-1", "ses-eu-west-1"), ("Elastic Email", "elasticemail"), ("web.de", "webde"), ("Me", "icloud"),
        ("Hotmail", "outlook"), ("GmailWorkspace", "google-workspace-relay"),
    ],
)  # fmt: skip
def test_spellings(spelling: str, name: str, registry: Registry) -> None:
    assert registry.provider(spelling).name == name
    assert load_connection({"provider": spelling}, registry=registry).provider == spelling


def test_the_table_is_whole(registry: Registry) -> None:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    usable = [row for row in table if "unavailable" not in row]
    assert len(usable) >= 80
    names = [row["name"] for row in table]
    assert len(set(names)) == len(names)
    spelled = [alias for row in table for alias in [row["name"], *row.get("aliases", ()), *row.get("domains", ())]]
    assert len(set(spelled)) == len(spelled)
    for row in usable:
        assert row["sources"], row["name"]
        assert row["confidence"] != "high" or any(re.search(r"20[0-9]{2}|stored|undated", s) for s in row["sources"]), (
            row
        )
        assert 0 < row["port"] < 65536
        assert row["tls"] in {"tls", "starttls", "none"}
        assert (row["port"] == 465) <= (row["tls"] == "tls"), row["name"]
        assert row["tls"] != "none" or row["host"] == "localhost"
        provider: Provider[Any] = registry.provider(row["name"])
        assert provider.target(provider.settings()).host == row["host"]


def test_an_unknown_service_is_refused_with_the_nearest(registry: Registry) -> None:
    with pytest.raises(PluginError, match="did you mean 'fastmail'"):
        registry.provider("fastmial")


def test_a_plugin_cannot_take_an_alias_of_a_built_in_one() -> None:
    class Thief:
        def mailwright_providers(self) -> list[Provider[Any]]:
            known = Registry(installed=False, environ={}).provider("gmail")
            return [
                Provider(
                    name="thief", settings=known.settings, target=known.target, endpoint=known.endpoint,
                    aliases=("outlook365",), domains=("gmail.com",),
                )
            ]  # fmt: skip

    from mailwright import hookimpl

    Thief.mailwright_providers = hookimpl(Thief.mailwright_providers)  # type: ignore[method-assign]
    registry = Registry([Thief()], installed=False, environ={})
    registry.load_all()
    assert registry.provider("thief").name == "thief"
    assert registry.provider("outlook365").name == "microsoft365"
    assert registry.provider("ann@gmail.com").name == "gmail"


@pytest.mark.parametrize(
    ("cloud", "host", "login", "scope"),
    [
        ("worldwide", "smtp.office365.com", "login.microsoftonline.com", "https://outlook.office.com/SMTP.Send"),
        ("us-gov", "smtp.office365.us", "login.microsoftonline.us", "https://outlook.office365.us/SMTP.Send"),
        (
            "china",
            "smtp.partner.outlook.cn",
            "login.partner.microsoftonline.cn",
            "https://partner.outlook.cn/SMTP.Send",
        ),
    ],
)
def test_microsoft_clouds_and_tenants(cloud: str, host: str, login: str, scope: str, registry: Registry) -> None:
    document = {"provider": "microsoft365", "options": {"cloud": cloud, "tenant": "contoso.example"}}
    connection = load_connection(document, registry=registry)
    provider = registry.provider("microsoft365")
    target = provider.target(connection.settings)
    assert endpoint_of(provider, connection) == SmtpEndpoint(host=host, port=587, tls="starttls")
    assert target.oauth_urls["token"] == f"https://{login}/contoso.example/oauth2/v2.0/token"
    assert scope in target.scopes
    assert target.app_scopes[0].endswith("/.default")


def pair(registry: Registry, user: str | None = None, **document: Any) -> tuple[str, ...]:
    connection = load_connection(document, registry=registry)
    return advice(registry.provider(connection.provider), connection, user)


BASIC = {"type": "basic", "username": "me@example.org", "password": "p"}


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (
            {"provider": "microsoft365", "tls": "tls", "auth": BASIC},
            "$.tls: Microsoft 365 does not offer tls; starttls on port 587",
        ),
        ({"provider": "microsoft365", "auth": BASIC}, "end of December 2026"),
        ({"provider": "outlook", "auth": BASIC}, "use oauth2"),
        ({"provider": "smtp", "host": "h", "port": 465, "tls": "starttls"}, "say tls: tls"),
        ({"provider": "smtp", "host": "h", "port": 587, "tls": "tls"}, "say tls: starttls"),
        ({"provider": "smtp", "host": "smtp.office365.com", "auth": BASIC}, "microsoft365"),
        ({"provider": "smtp", "host": "smtp.gmail.com", "auth": BASIC}, "$.provider: gmail"),
        (
            {"provider": "gmail", "auth": BASIC, "from": "other@example.org"},
            "Gmail replaces other@example.org by me@example.org",
        ),
        ({"provider": "microsoft365", "auth": BASIC, "from": "other@example.org"}, "Send As"),
        ({"provider": "gmail"}, "$.auth: Gmail"),
        ({"provider": "sendgrid"}, "an API key as password"),
        ({"provider": "icloud", "tls": "tls", "auth": BASIC}, "does not offer tls"),
    ],
)
def test_wrong_pairings_are_told(document: dict[str, Any], wanted: str, registry: Registry) -> None:
    assert any(wanted in warning for warning in pair(registry, "me@example.org", **document))


@pytest.mark.parametrize(
    "document",
    [
        {"provider": "gmail", "auth": BASIC},
        {"provider": "gmail", "tls": "starttls", "auth": BASIC},
        {"provider": "smtp", "host": "mail.example.org", "auth": BASIC},
        {"provider": "smtp", "host": "mail.example.org", "port": 465, "tls": "tls", "auth": BASIC},
        {"provider": "mailpit"},
        {"provider": "sandbox"},
    ],
)
def test_right_pairings_are_quiet(document: dict[str, Any], registry: Registry) -> None:
    assert pair(registry, "me@example.org", **document) == ()


def test_a_tls_choice_finds_its_port(registry: Registry) -> None:
    for tls, port in (("tls", 465), ("starttls", 587), ("none", 465)):
        connection = load_connection({"provider": "gmail", "tls": tls}, registry=registry)
        assert endpoint_of(registry.provider("gmail"), connection).port == port


async def test_warnings_are_logged_once_for_each_opening(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mailwright"):
        async with Mailer({"name": "old", "provider": "outlook", "auth": BASIC}):
            pass
    assert [record.getMessage() for record in caplog.records if "old" in record.getMessage()] == [
        "connection old: $.auth.type: Outlook.com takes no passwords since September 2024, app passwords included: use oauth2"
    ]


@pytest.mark.parametrize(
    ("stage", "reply", "wanted"),
    [
        ("mail", "530 5.7.57 Client not authenticated to send mail", "enable SMTP AUTH"),
        ("data", "432 4.3.2 Concurrent connections limit exceeded", "limits.connections to 3"),
        ("mail", "550 5.7.30 Basic authentication is not supported", "auth.type = oauth2"),
    ],
)
async def test_replies_of_every_stage_come_with_cause_and_fix(
    stage: Any, reply: str, wanted: str, registry: Registry
) -> None:
    known = registry.provider("microsoft365")
    async with ScriptedServer(replies={stage: reply}) as server:

        class Local:
            def mailwright_providers(self) -> list[Provider[Any]]:
                endpoint = SmtpEndpoint(host=server.host, port=server.port, tls="none")
                return [
                    Provider(
                        name="local", settings=known.settings, target=known.target, endpoint=lambda settings: endpoint,
                        explain=known.explain,
                    )
                ]  # fmt: skip

        from mailwright import hookimpl

        Local.mailwright_providers = hookimpl(Local.mailwright_providers)  # type: ignore[method-assign]
        own = Registry([Local()], installed=False, environ={})
        async with Mailer({"provider": "local", "from": "me@example.org"}, registry=own) as mailer:
            with pytest.raises(SendError, match=wanted):
                await mailer.send(Message(to="ann@example.org", subject="Hi", text="Hi"))


@pytest.mark.parametrize(
    ("provider", "reply", "wanted"),
    [
        ("gmail", Reply(code=550, enhanced="5.4.5", text="Daily user sending limit exceeded"), "24 hours"),
        (
            "gmail",
            Reply(code=421, enhanced="4.7.0", text="Try again later, closing connection. (EHLO)"),
            "local_hostname",
        ),
        ("gmail", Reply(code=534, enhanced="5.7.9", text="Application-specific password required"), "apppasswords"),
        ("microsoft365", Reply(code=535, enhanced="5.7.3", text="Authentication unsuccessful"), "SMTP.SendAsApp"),
        ("microsoft365", Reply(code=554, enhanced="5.2.0", text="x.SubmissionQuotaExceededException"), "10,000"),
        ("microsoft365", Reply(code=554, enhanced="5.2.252", text="SendAsDenied"), "Send As"),
        ("microsoft365", Reply(code=451, enhanced="4.7.500", text="Server busy"), "limits.rate"),
    ],
)
def test_replies_are_explained(provider: str, reply: Reply, wanted: str, registry: Registry) -> None:
    assert wanted in (registry.provider(provider).explain(reply) or "")
