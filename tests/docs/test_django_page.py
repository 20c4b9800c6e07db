"""What `use-with-django.md` shows, in a site: its transaction, a password reset, and allauth's confirmation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mailwright.testing import Sandbox

PAGE = (Path(__file__).parents[2] / "docs/how-to/use-with-django.md").read_text()
BLOCKS = re.findall(r"^```py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
django = pytest.importorskip("django", reason="needs mailwright-django")
pytest.importorskip("mailwright_django")
pytest.importorskip("allauth", reason="needs django-allauth")

SETTINGS = """
SECRET_KEY = "test"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER + "/db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "urls"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                  "django.contrib.messages", "django.contrib.admin", "allauth", "allauth.account", "shop"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware",
              "allauth.account.middleware.AccountMiddleware"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
              "OPTIONS": {"context_processors": ["django.template.context_processors.request",
                          "django.contrib.auth.context_processors.auth",
                          "django.contrib.messages.context_processors.messages"]}}]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("accounts/", include("allauth.urls")), path("", include("django.contrib.auth.urls"))]
"""
MODELS = """
from django.db import models
class Order(models.Model):
    customer = models.EmailField()
"""
VISIT = """
import os, sys
sys.path.insert(0, os.getcwd())
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.core.management import call_command
call_command("migrate", "--run-syncdb", verbosity=0)
from django.contrib.auth.models import User
from django.test import Client
from shop.models import Order
import orders
orders.Order = Order
ann = User.objects.create_user("ann", "ann@example.org", "a long password")
orders.place_order(ann, ["tea"])
try:
    orders.place_order(ann, [])
except ValueError:
    assert Order.objects.count() == 1
else:
    raise AssertionError
browser = Client()
assert browser.post("/password_reset/", {"email": "ann@example.org"}).status_code == 302
new = {"email": "bo@example.org", "username": "bo", "password1": "mJ8 trees grow", "password2": "mJ8 trees grow"}
answer = browser.post("/accounts/signup/", new)
assert answer.status_code == 302, answer.content
"""


@pytest.mark.parametrize("which", ["EMAIL_BACKEND", "MAILERS"])
def test_the_site_mails_through_the_outbox(tmp_path: Path, which: str) -> None:
    if which == "MAILERS" and django.VERSION < (6, 1):
        pytest.skip("Django 6.1 brought MAILERS")
    if which == "EMAIL_BACKEND" and django.VERSION >= (6, 1):
        pytest.skip("Django 6.1 wants MAILERS")
    settings = next(block for block in BLOCKS if block.startswith(which)).replace("/srv/shop", str(tmp_path))
    (tmp_path / "settings.py").write_text(f"FOLDER = {str(tmp_path)!r}\n{SETTINGS}\n{settings}")
    (tmp_path / "urls.py").write_text(URLS)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/models.py").write_text(MODELS)
    (tmp_path / "orders.py").write_text(next(block for block in BLOCKS if "def place_order" in block))
    with Sandbox(tls="none", login=False) as box:
        (tmp_path / "mailwright.toml").write_text(
            f'[connections.support]\nprovider = "smtp"\nhost = "127.0.0.1"\nport = {box.port}\ntls = "none"\n'
        )
        command = ["-c", "from mailwright.cli import main; main()", "outbox"]
        place = ["--outbox", f"sqlite:///{tmp_path}/db.sqlite3"]
        for arguments in (
            [*command, "init", *place],
            ["-c", VISIT],
            [*command, "work", "--until-empty", *place],
        ):
            done = subprocess.run(
                [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50,
                env=os.environ | {"HOME": str(tmp_path)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-3000:]
        found = {message.subject: message.recipients for message in box.messages}
    assert len(box.messages) == 3
    assert found.pop("Your order") == ("ann@example.org",)
    assert set(found.values()) == {("ann@example.org",), ("bo@example.org",)}
    assert any("Password reset" in subject for subject in found)
    assert any("Confirm" in subject for subject in found)
