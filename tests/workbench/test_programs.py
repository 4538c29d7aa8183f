"""Programs beside the window: progress, answers, refusals, crashes, stopping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from workbench.programs import Program


@pytest.fixture
def program(qtbot: QtBot) -> Iterator[Program]:
    made = Program(fine=(0, 1))
    yield made
    made.close()


def heard(program: Program) -> list[tuple[str, Any]]:
    """Every signal of the program as it comes: (name, value)."""
    found: list[tuple[str, Any]] = []
    program.told.connect(lambda line: found.append(("told", line)))
    program.said.connect(lambda line: found.append(("said", line)))
    program.answered.connect(lambda text: found.append(("answered", text)))
    program.failed.connect(lambda sentence: found.append(("failed", sentence)))
    program.stopped.connect(lambda: found.append(("stopped", None)))
    return found


def test_progress_comes_before_the_answer(qtbot: QtBot, program: Program) -> None:
    found = heard(program)
    with qtbot.waitSignal(program.answered, timeout=20_000):
        program.start(["-c", "import sys; print('step 1\\rstep 2', file=sys.stderr, flush=True); print('{}'); sys.exit(1)"])
    assert [value for name, value in found if name == "said"] == ["step 1", "step 2"]
    assert [value for name, value in found if name != "said"] == ["{}", "{}\n"]
    assert found[-1][0] == "answered"
    assert not program.running


def test_letters_of_several_bytes_survive_being_cut(qtbot: QtBot, program: Program) -> None:
    code = "import sys, time; o = sys.stdout.buffer; o.write(b'\\xc2'); o.flush(); time.sleep(0.2); o.write(b'\\xb5s'); o.flush()"
    with qtbot.waitSignal(program.answered, timeout=20_000) as caught:
        program.start(["-c", code])
    assert caught.args == ["µs"]


def test_a_refusal_is_the_last_sentence(qtbot: QtBot, program: Program) -> None:
    with qtbot.waitSignal(program.failed, timeout=20_000) as caught:
        program.start(["-c", "import sys; print('There is no run 7.', file=sys.stderr); sys.exit(2)"])
    assert caught.args == ["There is no run 7."]


def test_a_traceback_is_told_as_the_end_of_the_process(qtbot: QtBot, program: Program) -> None:
    with qtbot.waitSignal(program.failed, timeout=20_000) as caught:
        program.start(["-c", "import os, sys; print('Traceback', file=sys.stderr); print('KeyError: 3', file=sys.stderr, flush=True); os._exit(9)"])
    assert caught.args == ["The process ended with exit code 9. Its last words: KeyError: 3"]


def test_a_program_that_is_stopped_says_so_and_another_can_start(qtbot: QtBot, program: Program) -> None:
    found = heard(program)
    with qtbot.waitSignal(program.said, timeout=20_000):
        program.start(["-c", "import sys, time; print('on', file=sys.stderr, flush=True); time.sleep(60)"])
    with qtbot.waitSignal(program.stopped, timeout=20_000):
        program.stop()
    with qtbot.waitSignal(program.answered, timeout=20_000):
        program.start(["-c", "print('again')"])
    assert found[-1] == ("answered", "again\n")


def test_a_program_that_cannot_start_is_a_sentence(qtbot: QtBot, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with qtbot.waitSignal(program.failed, timeout=20_000) as caught:
        program.start(["-c", ""])
    assert "killed or crashed" in caught.args[0] or "could not be started" in caught.args[0]
