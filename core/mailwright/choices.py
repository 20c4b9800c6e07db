"""What the user decided about plugins: remembered in the configuration folder, and hook files named for this process."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from attrs import frozen

from mailwright.errors import ConfigurationError, PluginError

VARIABLE: Final = "MAILWRIGHT_PLUGIN_FILES"
_KEYS: Final = frozenset({"disabled", "files"})


@frozen(kw_only=True)
class Choices:
    """What stands in ``plugins.toml``.

    Attributes:
        disabled: Names of plugins to leave out.
        files: Python files with hooks to load.
    """

    disabled: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def choices_file() -> Path:
    """``plugins.toml`` in the user's configuration folder."""
    import platformdirs  # noqa: PLC0415 - as everywhere: only where a folder is needed

    return platformdirs.user_config_path("mailwright") / "plugins.toml"


def read_choices(path: Path) -> Choices:
    """What is remembered; nothing, when there is no file.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    import tomllib  # noqa: PLC0415 - only where something is remembered

    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Choices()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    for key, value in found.items():
        if key not in _KEYS or not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"{path}: {key}: only disabled and files stand here, each a list of texts")
    return Choices(disabled=tuple(found.get("disabled", ())), files=tuple(found.get("files", ())))


def write_choices(path: Path, choices: Choices) -> None:
    """Remember; the file is replaced as a whole."""
    lines = [
        f"{key} = {json.dumps(list(values))}\n"  # JSON texts are TOML texts
        for key, values in (("disabled", choices.disabled), ("files", choices.files))
        if values
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text("".join(lines), encoding="utf-8")
    beside.replace(path)


def named_files(choices: Choices, environ: Mapping[str, str]) -> Iterable[str]:
    """Hook files of the configuration folder, then of ``MAILWRIGHT_PLUGIN_FILES`` (separated as in PATH)."""
    yield from choices.files
    yield from (name for name in environ.get(VARIABLE, "").split(os.pathsep) if name)


def load_file(name: str | Path) -> ModuleType:
    """A Python file as a plugin. It runs with all your rights: name only files you would run.

    Raises:
        PluginError: It is not there, or does not load.
    """
    path = Path(name).expanduser()
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.suffix == ".py" else None
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"{path}: not a Python file; name one such as hooks.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{path}: does not load: {type(error).__name__}: {error}") from error
    return module
