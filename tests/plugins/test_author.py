"""From `plugins new` to mail sent through the installed wheel, as an author does it; nothing is fetched from anywhere."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from mailwright.cli import scaffold
from mailwright.errors import ConfigurationError
from mailwright.testing import Sandbox

KINDS = ("provider", "auth", "attachment", "secret", "queue", "hooks")
CLI = "from mailwright.cli import main; main()"
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/publish-a-provider.md"
FINISHED = ROOT / "contrib/mailwright-example"


def run(*command: str, cwd: Path, python: str = sys.executable, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    environment |= {"NO_COLOR": "1", "COLUMNS": "200", "HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd / "config")} | more
    done = subprocess.run(
        [python, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(wheel: Path, folder: Path) -> str:
    """A fresh environment: the wheel unpacked as pip does it, its dependencies taken from this one."""
    venv.create(folder, with_pip=False, symlinks=True)
    place = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    zipfile.ZipFile(wheel).extractall(place)
    here = [path for path in sys.path if path and Path(path).name in {"site-packages", "dist-packages"}]
    places = dict.fromkeys([*here, *site.getsitepackages()])
    # addsitedir also follows the .pth files there, those of editable installs
    lines = [f"import site; site.addsitedir({path!r})" for path in places]
    (place / "dependencies.pth").write_text("\n".join(lines) + "\n")
    return str(folder / "bin" / "python")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_of_each_kind_passes_its_tests_at_once(kind: str, tmp_path: Path) -> None:
    said = run("-c", CLI, "plugins", "new", f"our-{kind}", "--kind", kind, cwd=tmp_path)
    assert f"cd mailwright-our-{kind}" in said
    project = tmp_path / f"mailwright-our-{kind}"
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project, PYTHONPATH=str(project / "src"))
    assert " passed" in told
    assert "failed" not in told


def test_a_new_plugin_is_well_written(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for kind in KINDS:
        run("-c", CLI, "plugins", "new", f"our-{kind}", "--kind", kind, cwd=tmp_path)
    sources = [str(path) for path in tmp_path.glob("*/src/*/__init__.py")]
    assert len(sources) == len(KINDS)
    assert "Success" in run("-m", "mypy", "--strict", "--python-version", "3.11", *sources, cwd=tmp_path)


def test_built_installed_and_sent_through(tmp_path: Path) -> None:
    run("-c", CLI, "plugins", "new", "acme", cwd=tmp_path)
    project = tmp_path / "mailwright-acme"
    run("-m", "hatchling", "build", "-t", "wheel", cwd=project)
    [wheel] = (project / "dist").glob("*.whl")
    python = install(wheel, tmp_path / "clean")
    listed = json.loads(run("-c", CLI, "plugins", "--json", cwd=tmp_path, python=python))
    [acme] = [plugin for plugin in listed if plugin["name"] == "acme"]
    assert (acme["status"], acme["distribution"], acme["version"]) == ("active", "mailwright-acme", "0.1.0")
    assert acme["adds"] == ["provider acme"]
    with Sandbox(tls="none", login=False) as box:
        node = {
            "connection": {"provider": "acme", "host": box.host, "port": box.port, "tls": "none"},
            "from": "zoe@example.org",
            "to": "ann@example.org",
            "subject": "Through acme",
            "content": "<p>It works.</p>",
        }
        (tmp_path / "node.json").write_text(json.dumps(node))
        sent = json.loads(run("-c", CLI, "send", "node.json", "--json", cwd=tmp_path, python=python))
        assert box.messages[0].subject == "Through acme"
    assert '"provider": "acme"' in json.dumps(sent)
    run("-c", CLI, "plugins", "disable", "acme", cwd=tmp_path, python=python)
    assert "disabled" in run("-c", CLI, "plugins", "info", "acme", cwd=tmp_path, python=python)
    run("-c", CLI, "plugins", "enable", "acme", cwd=tmp_path, python=python)
    assert "active" in run("-c", CLI, "plugins", "info", "acme", cwd=tmp_path, python=python)


@pytest.mark.parametrize("name", ["Acme", "a b", "../x", "", "a" * 50, "9x", "a--b"])
def test_names_nobody_could_type_are_refused(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLI, "plugins", "new", name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("provider", "gmail"),
        ("provider", "fastmail"),
        ("auth", "basic"),
        ("attachment", "url"),
        ("secret", "env"),
        ("queue", "sqlite"),
    ],
)
def test_names_that_are_built_in_are_refused_where_they_would_be_in_vain(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is built in"):
        scaffold.write(name, kind, tmp_path)
    assert scaffold.write(name, "hooks", tmp_path).exists()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_finished_plugin_is_the_tutorials() -> None:
    if not FINISHED.exists():
        pytest.skip("contrib is not here")
    module, tests = blocks("py")
    assert module == (FINISHED / "src/mailwright_example/__init__.py").read_text()
    assert tests == (FINISHED / "tests/test_mailwright_example.py").read_text()


def test_every_step_of_the_tutorial(tmp_path: Path) -> None:
    run("-c", CLI, "plugins", "new", "example", cwd=tmp_path)
    project = tmp_path / "mailwright-example"
    module, tests = blocks("py")
    (project / "src/mailwright_example/__init__.py").write_text(module)
    (project / "tests/test_mailwright_example.py").write_text(tests)
    passed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project, PYTHONPATH=str(project / "src"))
    assert re.search(r"\d+ passed", passed)
    run("-m", "hatchling", "build", "-t", "wheel", cwd=project)
    wheel = project / "dist" / "mailwright_example-0.1.0-py3-none-any.whl"
    assert str(wheel.relative_to(project)) in PAGE.read_text()
    python = install(wheel, tmp_path / "clean")
    assert "Example Mail" in run("-c", CLI, "plugins", "info", "example", cwd=tmp_path, python=python)
    [node] = map(json.loads, blocks("json"))
    with Sandbox(tls="none", login=False) as box:
        assert node["connection"]["host"] == box.host
        node["connection"]["port"] = box.port
        (tmp_path / "node.json").write_text(json.dumps(node))
        run("-c", CLI, "send", "node.json", cwd=tmp_path, python=python)
        assert [one.subject for one in box.messages] == [node["subject"]]


def test_its_commands_exist(tmp_path: Path) -> None:
    said = "".join(blocks("console"))
    for command in re.findall(r"mailwright (\w+(?: \w+)?)", said):
        words = [word for word in command.split() if word != "example"]
        run("-c", CLI, *words[:2], "--help", cwd=tmp_path)
