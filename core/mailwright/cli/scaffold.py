"""`mailwright plugins new`: a distribution from the templates beside this module."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Final

from mailwright.errors import ConfigurationError, PluginError
from mailwright.registry import Registry

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_TEMPLATES: Final = Path(__file__).with_name("scaffold_templates")


def write(name: str, kind: str, folder: Path) -> Path:
    """Write a plugin.

    Args:
        name: Such as ``acme``; a leading ``mailwright-`` is taken as said.
        kind: provider, auth, attachment, secret, queue or hooks.
        folder: Where its folder goes.

    Returns:
        Its folder.

    Raises:
        ConfigurationError: A name nobody could type or that is built in, or the folder is there already.
    """
    short = name.removeprefix("mailwright-")
    if not _NAME.fullmatch(short) or len(short) > 40:
        raise ConfigurationError(f"{name!r}: use lower-case letters and digits, with single hyphens between them")
    if _is_built_in(kind, short):
        raise ConfigurationError(f"{short!r} is built in, and a built-in keeps its name; choose another one")
    target = folder / f"mailwright-{short}"
    if target.exists():
        raise ConfigurationError(f"{target} is there already; choose another name or --folder")
    snake = short.replace("-", "_")
    words = {
        "name": short,
        "scheme": snake,
        "module": f"mailwright_{snake}",
        "title": short.replace("-", " ").title(),
        "cls": "".join(word.title() for word in short.split("-")),
        "upper": snake.upper(),
        "kind": kind,
    }
    for path, template in _files(kind, words["module"]).items():
        text = Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(words)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
    (target / "src" / words["module"] / "py.typed").touch()
    return target


def _is_built_in(kind: str, name: str) -> bool:
    """Whether a plugin of that name would be there in vain."""
    registry = Registry(installed=False, environ={})
    if kind == "provider":
        try:
            return bool(registry.provider(name))
        except PluginError as error:
            return "unknown provider" not in error.message
    return kind != "hooks" and name.replace("-", "_" if kind == "secret" else "-") in registry.names(kind)  # type: ignore[arg-type]


def next_steps(target: Path) -> list[str]:
    """What to do with a new plugin."""
    return [
        f"{target} is written. Next:",
        f"  cd {target}",
        '  pip install -e ".[test]"',
        "  pytest",
        "  mailwright plugins",
    ]


def _files(kind: str, module: str) -> dict[str, str]:
    return {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": f"{kind}_readme.txt",
        "CHANGELOG.md": "changelog.txt",
        f"src/{module}/__init__.py": f"{kind}_module.txt",
        f"tests/test_{module}.py": f"{kind}_tests.txt",
    }
