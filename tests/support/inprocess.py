"""The command line within the test's own process: a tenth of the time that a process of its own takes."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import frozen

from mailwright.cli import main
from mailwright.registry import default_registry


@frozen
class Done:
    """What `subprocess.run` would have told."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str, cwd: Path, env: Mapping[str, str], said: bytes = b"") -> Done:
    """Run ``mailwright`` with these arguments, in that folder, with these variables beside the test's own.

    What lives in the process stays: a test about that, about signals or about what is imported when, starts one.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    default_registry.cache_clear()  # the variables choose plugins
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        for name, value in env.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["mailwright", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said), encoding="utf-8"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    default_registry.cache_clear()
    texts = (stream.buffer.getvalue().decode().replace("\r\n", "\n") for stream in (out, err))
    return Done(ended.value.code, *texts)
