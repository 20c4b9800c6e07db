"""Django's own mail functions, over a real SMTP server and a real outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings

if not settings.configured:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_FROM_EMAIL="Site <site@example.org>",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        USE_TZ=True,
    )
    django.setup()

from django.core import mail
from django.core.mail import EmailMultiAlternatives, send_mail
from django.db import connections, transaction
from django.test.utils import override_settings
from mailwright_django import backends

from mailwright.errors import ConfigurationError, SendError
from mailwright.testing import Sandbox

MAILERS = django.VERSION >= (6, 1)


def mailing(backend: str, **options: Any) -> dict[str, Any]:
    """Settings for a backend: `MAILERS` where Django has them, else the older ones."""
    path = f"mailwright_django.{backend}"
    if MAILERS:
        return {"MAILERS": {"default": {"BACKEND": path, "OPTIONS": options}}}
    return {"EMAIL_BACKEND": path, "MAILWRIGHT": {name.upper(): value for name, value in options.items()}}


def get_connection() -> Any:
    return mail.mailers.default if MAILERS else mail.get_connection()


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(tls="none", login=False) as box:
        yield box


@pytest.fixture
def site(tmp_path: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("mailwright.toml").write_text(
        f'[connections.support]\nprovider = "smtp"\nhost = "127.0.0.1"\nport = {box.port}\ntls = "none"\n'
    )
    backends._outboxes.clear()
    known = {"CONNECTION": "support", "OUTBOX": f"sqlite:///{tmp_path}/site.db", "DATABASE": "default"}
    with override_settings(**mailing("EmailBackend") | {"MAILWRIGHT": known}):
        yield tmp_path


def letter(**more: Any) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives("Größe", "text", to=["Ann <a@example.org>"], bcc=["b@example.org"], **more)
    message.attach_alternative("<p>html</p>", "text/html")
    message.attach("a.txt", "content", "text/plain")
    return message


def test_djangos_messages_arrive_with_everything_but_bcc(site: Path, box: Sandbox) -> None:
    assert letter().send() == 1
    (found,) = box.messages
    assert found.subject == "Größe"
    assert found.recipients == ("a@example.org", "b@example.org")
    assert b"b@example.org" not in found.raw
    assert b"text/html" in found.raw


def test_several_share_a_session(site: Path, box: Sandbox) -> None:
    with get_connection() as connection:
        assert connection.send_messages([letter(), letter()]) == 2
        assert connection.send_messages([EmailMultiAlternatives("s", "t", to=["c@example.org"])]) == 1
    assert len(box.messages) == 3
    assert len(box._server.sessions) == 1


def test_failures_are_raised_or_silent(site: Path, box: Sandbox) -> None:
    box.refuse("a@example.org")
    box.refuse("b@example.org")
    with pytest.raises(SendError):
        letter().send()
    silent = type(get_connection())(fail_silently=True)
    assert silent.send_messages([letter()]) == 0
    with override_settings(MAILWRIGHT={}), pytest.raises(ConfigurationError, match="CONNECTION"):
        letter().send()


@pytest.mark.skipif(not MAILERS, reason="Django 6.1 brought MAILERS")
def test_mailers_have_options_of_their_own(site: Path, box: Sandbox) -> None:
    options = {"connection": "support", "outbox": f"sqlite:///{site}/own.db", "tags": ["site"], "fail_silently": True}
    both = mailing("EmailBackend", connection="support")
    both["MAILERS"]["bulk"] = mailing("OutboxBackend", **options)["MAILERS"]["default"]
    with override_settings(**both, MAILWRIGHT={}):
        assert send_mail("now", "t", None, ["a@example.org"]) == 1
        assert send_mail("later", "t", None, ["a@example.org"], using="bulk") == 1
        assert [message.subject for message in box.messages] == ["now"]
        assert count(site / "own.db") == 1
    slip = mailing("EmailBackend", connection="support", conection="slip")
    with override_settings(**slip), pytest.raises(mail.InvalidMailer, match="conection"):
        letter().send()


def count(path: Path) -> int:
    with sqlite3.connect(path) as own:
        found = own.execute("SELECT count(*) FROM jobs").fetchone()[0]
    own.close()
    return int(found)


@pytest.fixture
def own_database(site: Path) -> Iterator[Path]:
    """The application's database is the file that the outbox is in."""
    path = site / "site.db"
    before = connections.databases["default"]["NAME"]
    connections["default"].close()
    connections.databases["default"]["NAME"] = connections["default"].settings_dict["NAME"] = str(path)
    yield path
    connections["default"].close()
    connections.databases["default"]["NAME"] = connections["default"].settings_dict["NAME"] = before


def test_the_outbox_joins_atomic(own_database: Path) -> None:
    class Undo(Exception):
        pass

    @transaction.atomic
    def fail() -> None:
        letter().send()
        raise Undo

    with override_settings(**{k: v for k, v in mailing("OutboxBackend").items() if k != "MAILWRIGHT"}):
        assert letter().send() == 1
        assert count(own_database) == 1
        with pytest.raises(Undo):
            fail()
        assert count(own_database) == 1
        with transaction.atomic():
            letter().send()
            assert count(own_database) == 1
        assert count(own_database) == 2


def test_password_resets_go_through(site: Path, box: Sandbox) -> None:
    from django.contrib.auth.forms import PasswordResetForm

    (site / "subject.txt").write_text("Password reset")
    (site / "body.txt").write_text("Follow the link, {{ name }}")
    templates = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [site]}]
    with override_settings(TEMPLATES=templates):
        PasswordResetForm().send_mail("subject.txt", "body.txt", {"name": "Ann"}, None, "a@example.org")
    assert box.messages[0].subject == "Password reset"
    assert b"Follow the link, Ann" in box.messages[0].raw
