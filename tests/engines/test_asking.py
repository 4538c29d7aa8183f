"""The client of the inspector: answers, refusals, and the death of the other side."""

from __future__ import annotations

import pytest

from engines.asking import Inspector, InspectorError

MODULE = "tests.engines.answering"


def test_answers_are_told_from_noise() -> None:
    with Inspector(MODULE) as inspector:
        assert inspector.ask("echo", text="ä \n b") == "ä \n b"
        assert inspector.ask("echo", text=[1, 2]) == [1, 2]


def test_a_refusal_is_its_sentence_and_the_next_question_is_answered() -> None:
    with Inspector(MODULE) as inspector:
        with pytest.raises(InspectorError, match='no question "nonsense"'):
            inspector.ask("nonsense")
        assert inspector.ask("echo", text=1) == 1


def test_a_death_is_a_sentence_and_the_next_question_starts_anew() -> None:
    with Inspector(MODULE) as inspector:
        with pytest.raises(InspectorError, match=r"exit code 7.*took me along"):
            inspector.ask("die")
        assert inspector.ask("echo", text=1) == 1


def test_one_that_does_not_answer_is_ended() -> None:
    with Inspector(MODULE) as inspector, pytest.raises(InspectorError, match="within"):
        inspector.ask("sleep", timeout=0.5)


def test_one_that_cannot_start_is_a_sentence() -> None:
    with Inspector("engines.no_such_module") as inspector, pytest.raises(InspectorError, match="no_such_module"):
        inspector.ask("echo", text=1)


def test_nothing_is_started_before_the_first_question() -> None:
    with Inspector(MODULE) as inspector:
        assert inspector._process is None
