"""What `run-a-worker.md` shows is what a worker, systemd and compose take."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from mailwright.outbox import metrics

PAGE = (Path(__file__).parents[2] / "docs/how-to/run-a-worker.md").read_text()
COMMAND = [sys.executable, "-c", "from mailwright.cli import main; main()"]


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found.group(1)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "mailwright"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "mailwright-worker.service"
    unit.write_text(block("ini").replace("/opt/mailwright/bin/mailwright", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    about_us = [line for line in done.stderr.splitlines() if "mailwright" in line]
    assert about_us == []


def test_the_commands_of_unit_and_compose_are_understood(tmp_path: Path) -> None:
    compose = yaml.safe_load(block("yaml"))
    worker = compose["services"]["mail-worker"]
    started = re.search(r"^ExecStart=/opt/mailwright/bin/(.*)$", block("ini"), re.MULTILINE)
    assert started is not None
    for line in (worker["command"], started.group(1)):
        arguments = [re.sub(r":9464$", ":0", word) for word in shlex.split(line)[1:]]
        done = subprocess.run(
            [*COMMAND, *arguments, "--until-empty"], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"MAILWRIGHT_OUTBOX": "sqlite:///outbox.db"}, timeout=50,
        )  # fmt: skip
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "ended: nothing to do")
    assert set(worker["depends_on"]) <= set(compose["services"])
    assert "db" in worker["environment"]["MAILWRIGHT_OUTBOX"]
    assert set(compose["volumes"]) == {compose["services"]["db"]["volumes"][0].split(":")[0]}


def test_the_health_check_finds_a_worker_well_and_nobody_ill(tmp_path: Path) -> None:
    *_, code = yaml.safe_load(block("yaml"))["services"]["mail-worker"]["healthcheck"]["test"]
    with subprocess.Popen(
        [*COMMAND, "outbox", "work", "--metrics", "127.0.0.1:0"], cwd=tmp_path, text=True, stderr=subprocess.PIPE,
        env=os.environ | {"MAILWRIGHT_OUTBOX": "sqlite:///outbox.db"},
    ) as worker:  # fmt: skip
        killer = threading.Timer(40, worker.kill)
        killer.start()
        assert worker.stderr is not None
        port = worker.stderr.readline().rpartition(":")[2].partition("/")[0]
        check = [sys.executable, "-c", code.replace("9464", port)]
        assert subprocess.run(check, capture_output=True, check=False).returncode == 0
        worker.terminate()
        assert worker.wait(30) == 0
        killer.cancel()
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


def test_the_metrics_shown_are_those_served() -> None:
    shown = [line.rpartition(" ")[0] for line in block("text").splitlines() if not line.startswith("#")]
    served = [line.rpartition(" ")[0] for line in metrics.text({}, {}).splitlines() if not line.startswith("#")]
    assert shown == served
