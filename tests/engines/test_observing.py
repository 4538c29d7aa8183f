"""What observing cost, from counted seconds to words."""

from __future__ import annotations

import pytest

from engines import observing


def test_shares_are_of_this_attempt_alone():
    counted = observing.Bookkeeping(records=0.5, validation=2.0, checkpoints=1.0, before=90.0)
    facts = counted.facts(trained=100.0, writer=0.25, supervisor=0.125)
    assert facts["share_of_training"] == pytest.approx(0.05)
    assert facts["training_s"] == pytest.approx(10.0)
    text = observing.sentence(facts)
    assert text.startswith("Recording took 0.500 s of 10.0 s of training (5%); the writer thread used 0.250 s and the supervisor 0.12 s")


def test_a_supervisor_that_has_not_told_yet_is_not_a_zero():
    facts = observing.Bookkeeping(records=0.001).facts(trained=1.0, writer=0.0, supervisor=None)
    assert "supervisor_cpu_s" not in facts
    assert "supervisor" not in observing.sentence(facts)


def test_a_comparison_tells_the_middle_and_the_worst():
    runs = [observing.Bookkeeping(records=r).facts(trained=10.0, writer=0.1, supervisor=0.2) for r in (0.01, 0.02, 0.3)]
    text = observing.summary(runs)
    assert "in 3 runs: recording took 0.2% of the training time (at most 3%)" in text
    assert "0.90 s of processor time beside it, 3% of the training time." in text
    assert observing.summary([]) == ""


def test_steps_that_were_watched_are_told():
    facts = observing.Bookkeeping(records=0.001, watched=0.5, watched_steps=2).facts(trained=10.0, writer=0.0, supervisor=None)
    assert facts["share_of_training"] == pytest.approx(0.0001)
    assert observing.sentence(facts).endswith("2 steps were slowed to tell memory apart (0.50 s), and left out of the speed.")
