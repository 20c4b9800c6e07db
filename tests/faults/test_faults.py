"""The short form of the fault matrix; the long one is ``nox -s faults``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mailwright import Envelope
from mailwright.errors import SessionError
from mailwright.model import Reply
from mailwright.smtp import ProtocolError, State, Transaction


def _matrix() -> ModuleType:
    if "fault_matrix" in sys.modules:
        return sys.modules["fault_matrix"]
    spec = importlib.util.spec_from_file_location("fault_matrix", Path(__file__).with_name("matrix.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fault_matrix"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("stage", _matrix().STAGES)
async def test_S11_S13_S14_S16_one_thing_goes_wrong(stage: str) -> None:  # noqa: N802
    matrix = _matrix()
    wanted = [
        one
        for one in matrix.scenarios(stage)
        if one.kind not in matrix.SLOW and one.pipelining != one.chunking and one.together == one.pipelining
    ] + [one for one in matrix.scenarios(stage) if one.kind in matrix.SLOW and one.pipelining and one.chunking]
    wanted += [one for one in matrix.scenarios(stage) if one.kind in {"5xx", "two-replies"} and one.pipelining]
    verdicts = await matrix.run(wanted)
    assert wanted
    assert [(str(one.scenario), one.hung, one.wrong, one.leaks) for one in verdicts if not one.good] == []


def _transaction(*, chunking: bool) -> Transaction:
    transaction = Transaction(
        Envelope(sender=None, recipients=("a@x.org", "b@x.org")), pipelining=True, chunking=chunking
    )
    assert transaction.commands()
    return transaction


@pytest.mark.parametrize("chunking", [True, False])
def test_D6_a_refused_mail_ends_when_the_recipients_are_answered(chunking: bool) -> None:  # noqa: N802
    transaction = _transaction(chunking=chunking)
    for code in (451, 503, 503, *(() if chunking else (503,))):
        assert transaction.state is State.ASKING
        transaction.receive(Reply(code=code, text="no"))
    assert transaction.state is State.DONE
    assert {status.stage for status in transaction.statuses} == {"mail"}


@pytest.mark.parametrize("chunking", [True, False])
def test_D6_a_session_out_of_step_is_believed_in_nothing(chunking: bool) -> None:  # noqa: N802
    """An answer too many to MAIL pairs every refusal with somebody else."""
    transaction = _transaction(chunking=chunking)
    for code in (250, 250, 550):  # the second 250 was MAIL's too, so 550 was for a
        transaction.receive(Reply(code=code, text="x"))
    with pytest.raises(ProtocolError) as caught:
        transaction.receive(Reply(code=250, text="x"))
    transaction.lost(caught.value)
    assert [(status.outcome, status.permanent) for status in transaction.statuses] == [("rejected", False)] * 2


def test_a_lost_session_keeps_what_was_refused() -> None:
    transaction = _transaction(chunking=False)
    for code in (250, 250, 550):
        transaction.receive(Reply(code=code, text="x"))
    transaction.lost(SessionError("gone"))
    assert [status.permanent for status in transaction.statuses] == [False, True]
