"""Every Python example of README and docs runs as written, page by page."""

from __future__ import annotations

import ast
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
from mailwright import Registry, hookspecs, spi
from mailwright.registry.unknown import KNOWN_DISTRIBUTIONS

sys.path.insert(0, str(Path(__file__).parent))
import plugin_page

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
        exec(compile("\n" * lines + found.group(1), str(page), "exec", dont_inherit=True), namespace)


@pytest.mark.timeout(180)  # pages that generate examples, in a process of their own
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


def examples_of_records() -> dict[str, str]:
    page = (ROOT / "docs/reference/spi.md").read_text()
    return dict(re.findall(r"^### (\w+)\n\n```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", examples_of_records())
def test_each_example_of_a_record_is_whole(name: str) -> None:
    code = examples_of_records()[name]
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert name in used, "the example does not use what it is about"
    exec(compile(code, f"spi.md: {name}", "exec", dont_inherit=True), {"__name__": "example"})


def test_every_record_and_protocol_has_an_example() -> None:
    classes = {name for name in spi.__all__ if inspect.isclass(getattr(spi, name))}
    assert classes <= set(examples_of_records())


def test_every_known_distribution_is_in_the_directory() -> None:
    rows = re.findall(
        r"^\| `(mailwright-[\w-]+)` \| (.*) \|$", (ROOT / "docs/reference/plugins.md").read_text(), re.MULTILINE
    )
    told = dict(rows)
    if not (ROOT / "contrib").exists():
        pytest.skip("contrib is not here")
    listed = (ROOT / "contrib/README.md").read_text()
    for distribution, points in plugin_page.distributions().items():
        assert distribution in told, f"{distribution}: add a row to docs/reference/plugins.md"
        assert all(f"`{point}`" in told[distribution] for point in points), distribution
        assert f"`{distribution}`" in listed
    registry = Registry(environ={})
    for info in registry.plugins:
        if info.distribution in told:
            for added in info.adds:
                assert added in told[info.distribution], f"{info.distribution} adds {added}"
                keys = plugin_page.settings_of(registry, added)
                assert all(f"`{key}`" in told[info.distribution] for key in keys), f"{info.distribution}: {keys}"


def test_an_error_recommends_only_what_is_in_the_directory() -> None:
    page = (ROOT / "docs/reference/plugins.md").read_text()
    for (kind, name), distribution in KNOWN_DISTRIBUTIONS.items():
        [row] = [row for row in page.splitlines() if row.startswith(f"| `{distribution}`")]
        assert f"{kind} {name}" in row or (kind, name) == ("provider", "graph"), f"{kind} {name}"


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
