"""Every Python example of README and docs runs as written, page by page."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mailwright
from mailwright import hookspecs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEEDS = {"use-with-fastapi": "fastapi", "use-with-celery": "celery"}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Frameworks set up the root logger as they like it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def _has_tests_for_pytest(page: Path) -> bool:
    """Tests that the page does not call itself: those have run with its examples."""
    code = "\n".join(BLOCK.findall(page.read_text()))
    return any(f"\n{name}()\n" not in code for name in re.findall(r"^(?:async )?def (test_\w+)", code, re.MULTILINE))


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.stem)
@pytest.mark.usefixtures("logging_as_it_was")
def test_examples_run_as_written(page: Path) -> None:
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason="the dependency group `tests` has it")
    namespace: dict[str, object] = {"__name__": page.stem}
    text = page.read_text()
    for found in BLOCK.finditer(text):
        lines = text[: found.start(1)].count("\n")
        exec(compile("\n" * lines + found.group(1), str(page), "exec"), namespace)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if _has_tests_for_pytest(page)],
    ids=lambda page: page.stem,
)
def test_tests_among_the_examples_pass(page: Path, tmp_path: Path) -> None:
    """As their reader runs them: in a file, with the fixtures that pytest finds by itself."""
    blocks = [found.group(1) for found in BLOCK.finditer(page.read_text())]
    (tmp_path / "test_page.py").write_text("\n\n".join(blocks))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-o",
        "asyncio_mode=auto",
        "-p",
        "no:cacheprovider",
        "test_page.py",
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            there = page.parent / target
            assert there.exists() or target.endswith("CHANGELOG.md"), target


def test_what_the_explanations_name_as_proof_exists() -> None:
    sources = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "contrib").glob("*/tests/*.py")]
    tests = set(
        re.findall(r"^ *(?:async )?def (test_\w+)", "\n".join(path.read_text() for path in sources), re.MULTILINE)
    )
    core = Path(mailwright.__file__).parent
    named = 0
    for page in (ROOT / "docs/explanation").glob("*.md"):
        text = page.read_text()
        for name in re.findall(r"`(test_\w+)`", text):
            assert name in tests, f"{page.name}: {name}"
            named += 1
        for row in re.findall(r"^\|.*\|$", text, re.MULTILINE) if page.stem == "security" else ():
            for module in re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", row):
                assert (core / module).exists() or (ROOT / module).exists() or module == "noxfile.py", module
    assert named > 50


def test_every_hook_is_in_the_reference_with_its_arguments() -> None:
    reference = (ROOT / "docs/reference/hooks.md").read_text()
    names = [name for name in vars(hookspecs) if name.startswith("mailwright_")]
    assert sorted(re.findall(r"^### (\w+)$", reference, re.MULTILINE)) == sorted(names)
    for name in names:
        arguments = list(inspect.signature(getattr(hookspecs, name)).parameters)
        entry = reference.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert f"def {name}({', '.join(arguments)})" in entry
        assert all(f"- `{argument}`: " in entry for argument in arguments), f"{name}: say what each argument is"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="signatures read a little differently elsewhere")
def test_the_reference_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("generate", Path(__file__).with_name("generate.py"))
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, make in generate.PAGES.items():
        made = make()
        assert (ROOT / "docs" / "reference" / name).read_text() == made, f"{name}: run python tests/docs/generate.py"
