"""A prediction beside what was measured, and the process that makes one."""

from __future__ import annotations

import pytest

from engines.predicting import PredictionError, Predictor, held_against, verdict
from tests.engines.runtime import session as small


def test_only_what_is_known_on_both_sides_is_compared() -> None:
    found = held_against({"step_ms": 30.0, "parameters": 7, "train_peak_mib": 90.0}, {"step_ms": 20.0, "parameters": None, "flops_per_token": 3.0})
    assert found == {"step_ms": {"predicted": 30.0, "measured": 20.0, "error": 0.5}}
    assert verdict(found) == "Predicted from the plan alone: a step of 30 ms (+50%)."
    assert verdict(held_against({"train_peak_mib": 90.0}, {"train_peak_mib": 100.0})).endswith("a peak of 90 MiB (-10%).")


@pytest.mark.slow
def test_a_process_of_its_own_answers_or_says_why_not() -> None:
    with Predictor(small.plan([{"id": "optimization/adam"}])) as predictor:
        found = predictor.answer()
    assert found["parameters"] > 0
    assert found["step_ms"] > 0
    assert found["memory_mib"]["optimizer"] == pytest.approx(2 * found["memory_mib"]["parameters"], rel=0.1)
    # Interpreter and torch alone take some 200 MiB.
    assert found.get("train_peak_mib", 200) > 100
    with Predictor(small.plan([])) as predictor:
        assert predictor._process is not None
        # It works while nobody waits for it.
        predictor._process.wait(timeout=60)
        with pytest.raises(PredictionError, match="has no optimizer"):
            predictor.answer()
    with Predictor(small.plan([])) as predictor, pytest.raises(PredictionError, match="stopped"):
        predictor.answer(lambda: True)
