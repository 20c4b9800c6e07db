"""Sessions: tests (the default), contrib, parsers, lint, audit, types, docs, faults, crash, bench."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
CONSTRAINTS = str(ROOT / "constraints.txt")
SUPPORTED = ("3.11", "3.12", "3.13")


def interpreters() -> dict[str, str]:
    """Every supported Python that really runs (version managers leave shims that do not)."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    managed = os.environ.get("PYENV_ROOT")
    if managed:
        folders += [str(path) for path in sorted(Path(managed, "versions").glob("*/bin"))]
    found: dict[str, str] = {}
    for version in SUPPORTED:
        for folder in folders:
            candidate = shutil.which(f"python{version}", path=folder)
            if candidate and _runs(candidate, version):
                found[version] = candidate
                break
    return found


def _runs(candidate: str, version: str) -> bool:
    check = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([candidate, "-c", check], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


PYTHONS = interpreters()


def install(session: nox.Session, *what: str) -> None:
    session.install("-c", CONSTRAINTS, *what)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel once."""
    install(session, "build", "hatchling")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", silent=True)


@nox.session(python=list(PYTHONS.values()) or None, requires=["build"])
def tests(session: nox.Session) -> None:
    """Test the built wheel, from a folder where the source tree is out of reach."""
    wheel = next((ROOT / "dist").glob("*.whl"))
    install(session, f"mailwright[cli,testing] @ {wheel.as_uri()}", *nox.project.dependency_groups(PROJECT, "tests"))
    away = Path(session.create_tmp()) / "away"
    shutil.rmtree(away, ignore_errors=True)
    away.mkdir()
    for name in ("tests", "docs", "contrib", "pyproject.toml", "README.md"):
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, away / name, ignore=ignore) if source.is_dir() else shutil.copy(source, away / name)
    with session.chdir(away):
        session.run(
            "pytest", "-q", "-n", "auto", *session.posargs, env={"MAILWRIGHT_WHEEL": str(wheel), "PYTHONPATH": ""}
        )


@nox.session(requires=["build"])
def contrib(session: nox.Session) -> None:
    """Test every distribution in contrib/ against the built wheel."""
    projects = sorted(path.parent for path in ROOT.glob("contrib/*/pyproject.toml"))
    if not projects:
        session.skip("contrib/ holds no distribution")
    wheel = next((ROOT / "dist").glob("*.whl"))
    extras = [f"{path.name}[test] @ {path.as_uri()}" for path in projects]
    install(
        session,
        f"mailwright[cli,testing] @ {wheel.as_uri()}",
        *extras,
        *nox.project.dependency_groups(PROJECT, "tests"),
    )
    with session.chdir(session.create_tmp()):
        for path in projects:
            session.run("pytest", "-q", "-c", str(ROOT / "pyproject.toml"), str(path / "tests"), *session.posargs)
        others = [str(ROOT / f"tests/docs/test_{name}_page.py") for name in ("django", "postgresql")]
        others.append(str(ROOT / "tests/crash/test_crash.py"))
        session.run("pytest", "-q", "-n", "auto", "-c", str(ROOT / "pyproject.toml"), *others, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the rings."""
    install(session, "-e", ".[cli,testing]", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.notify("audit")


@nox.session
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of what constraints.txt pins (or: nox -s audit -- -s osv); says so when it cannot."""
    install(session, "pip-audit")
    session.run("python", "tests/audit/audit.py", "constraints.txt", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on both source roots; what users see of them, also by pyright."""
    groups = nox.project.dependency_groups(PROJECT, "types", "tests")  # the tests' has every optional package
    install(session, "-e", ".[cli,testing]", *groups)
    session.run("mypy")
    session.run("mypy", "tests/typing/public_api.py")
    session.run("basedpyright", "tests/typing/public_api.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Run every example of the docs."""
    install(session, "-e", ".[cli,testing]", *nox.project.dependency_groups(PROJECT, "tests"))
    session.run("pytest", "-q", "tests/docs", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Break the SMTP server at every stage in every way (or: nox -s faults -- STAGE ...); prints the figures."""
    install(session, "-e", ".[cli,testing]", *nox.project.dependency_groups(PROJECT, "tests"))
    session.run("python", "tests/faults/matrix.py", *session.posargs)


def engines(session: nox.Session) -> None:
    """The outbox's engines beside the built-in one."""
    folders = [ROOT / "contrib" / name for name in ("mailwright-pgqueuer", "mailwright-taskiq")]
    install(session, *(f"{path.name}[test] @ {path.as_uri()}" for path in folders))


@nox.session
def crash(session: nox.Session) -> None:
    """Kill enqueuers, workers and servers two hundred times on each engine (or: nox -s crash -- KILLS ENGINE ...)."""
    install(session, "-e", ".[cli,testing]", *nox.project.dependency_groups(PROJECT, "tests"))
    engines(session)
    session.run("python", "tests/crash/chaos.py", *(session.posargs or ["200"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Print the figures of the benchmarks; peers are measured in the same run where they are installed."""
    install(session, "-e", ".[cli,testing,speed]")  # and no OpenTelemetry, which costs each message a little
    engines(session)
    env = {"MAILWRIGHT_NODEMAILER": os.environ.get("MAILWRIGHT_NODEMAILER") or from_npm(session, "nodemailer@10.6.0")}
    session.run("python", "tests/benchmarks/run.py", *session.posargs, env=env)


@nox.session
def parsers(session: nox.Session) -> None:
    """Have generated messages read by two parsers from npm, more of them than the suite makes."""
    folder = os.environ.get("MAILWRIGHT_NODE_PARSERS") or from_npm(session, "postal-mime@4.0.0", "mailparser@3.14.2")
    if folder is None:
        session.skip("needs node and npm")
    install(session, "-e", ".[cli,testing]", *nox.project.dependency_groups(PROJECT, "tests"))
    env = {"MAILWRIGHT_NODE_PARSERS": folder, "MAILWRIGHT_EXAMPLES": os.environ.get("MAILWRIGHT_EXAMPLES", "1000")}
    session.run("pytest", "-q", "-n", "auto", "tests/property/test_mime_laws.py", *session.posargs, env=env)


def from_npm(session: nox.Session, *packages: str) -> str | None:
    """A folder whose node_modules holds packages; None without npm."""
    if not shutil.which("npm"):
        return None
    folder = Path(session.create_tmp()).resolve() / "npm"
    folder.mkdir(exist_ok=True)
    session.run(
        "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages, external=True
    )
    return str(folder)


PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
