"""Heads over the vocabulary: built through the catalogue, exact ones agree with themselves, memory is counted, findings follow from figures."""

from __future__ import annotations

import math

import pytest
import torch

from engines import catalogue
from engines.api import Trial
from engines.runtime import allocated
from engines.runtime.plan import block
from engines.runtime.rounds import Rounds
from engines.toolbox import trials
from engines.toolbox.heads import LinearSoftmax
from plugins.studies.head_vocabulary import CALLS, ENOUGH, HEADS, HeadVocabulary
from tests.plugins.studies.figures import figures


def groups_of(study: HeadVocabulary):
    return list(study.groups_with(None, block))


def test_every_head_of_the_study_is_a_head_and_takes_its_parameters() -> None:
    for table in HEADS.values():
        assert catalogue.entry(table["id"])["slot"] == "head"
        assert block(table).slot == "head"


@pytest.mark.parametrize("name", HEADS)
def test_exact_heads_are_judged_by_their_own_distribution(name: str) -> None:
    """What the call `nll` times is -log_prob of the targets, summed."""
    study = HeadVocabulary(call="nll", heads={name: HEADS[name]}, vocabularies=[700], tokens=20, width=32)
    (group,) = groups_of(study)
    given = group.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = block(HEADS[name]).build(given.site).eval()
    if not head.normalised:
        pytest.skip("gives scores, no distribution")
    with torch.no_grad():
        found = group.cells[0].build(given)()
        log_prob_NV = head.log_prob(given.hidden_ND)
        torch.testing.assert_close(log_prob_NV.exp().sum(1), torch.ones(20), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found, -log_prob_NV.gather(1, given.target_N[:, None]).sum(), rtol=1e-5, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_tiny_study_measures_time_and_memory_of_every_call(call: str) -> None:
    study = HeadVocabulary(call=call, vocabularies=[60, 240], tokens=4, width=32, seconds=0.01)
    rounds = Rounds(study.seconds, memory=True)
    measured = list(rounds.run(groups_of(study)))
    assert [times.group.x for times in measured] == [60.0, 240.0]
    for times in measured:
        assert set(times.seconds) | {each.curve for each in rounds.left} == set(HEADS)
        assert all(math.isfinite(value) and value > 0 for values in times.seconds.values() for value in values)
        assert all(held > 0 for held in times.memory.values())
        assert times.memory.keys() == times.seconds.keys()


def test_the_memory_of_the_full_softmax_is_that_of_its_scores_and_gradients() -> None:
    n, width, size = 64, 16, 4000
    (group,) = groups_of(HeadVocabulary(heads={"full": HEADS["full"]}, vocabularies=[size], tokens=n, width=width))
    step = group.cells[0].build(group.build())
    step()
    held = allocated.highest_of(step, torch.device("cpu"))
    scores, weights = 4 * n * size, 4 * size * (width + 1)
    assert 2 * scores <= held <= 3 * scores + weights + 10_000


def test_memory_is_what_is_held_at_most_beyond_what_was_there() -> None:
    kept = torch.zeros(1000)

    def call() -> torch.Tensor:
        first = torch.zeros(3000)
        first = first[:10].clone()
        return first + torch.zeros(2000)[:10] + kept[:10]

    assert 12_000 + 40 <= allocated.highest_of(call, torch.device("cpu")) <= 12_000 + 1000


def test_a_head_that_does_not_fit_a_small_vocabulary_is_left_out_with_its_sentence() -> None:
    study = HeadVocabulary(heads={"full": HEADS["full"], "wide": {"id": "softmax/adaptive", "cutoffs": [100]}}, vocabularies=[60], tokens=4, width=8)
    rounds = Rounds(0.01, memory=True)
    (times,) = rounds.run(groups_of(study))
    assert list(times.seconds) == ["full"]
    assert "must stay below the vocabulary size 60" in rounds.left[0].why


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(ValueError, match="which is no head"):
        groups_of(HeadVocabulary(heads={"x": {"id": "recurrent/lstm"}}))
    with pytest.raises(ValueError, match="each with an id"):
        HeadVocabulary(heads={"x": {}})
    with pytest.raises(ValueError, match="at least 2"):
        HeadVocabulary(vocabularies=[1])


@pytest.mark.parametrize(("gain", "outcome"), [(1.3 * ENOUGH, "met"), (0.5 * ENOUGH, "refuted"), (ENOUGH, "not decided")])
def test_the_expectation_follows_from_the_fastest_at_the_largest_vocabulary(gain: float, outcome: str) -> None:
    study = HeadVocabulary(heads={"full": HEADS["full"], "adaptive": HEADS["adaptive"]})
    groups = groups_of(study)
    seconds = {(cell.curve, group.x): 1e-6 * group.x / (gain if cell.curve == "adaptive" else 1.0) for group in groups for cell in group.cells}
    found = study.conclude(figures(groups, seconds, noise=0.02))
    assert found.outcome == outcome
    assert "adaptive, training at V = 300,000: " in found.findings[1]
    assert "time grows as V^1.0" in found.findings[0]


def test_targets_are_drawn_by_zipfs_law() -> None:
    (group,) = groups_of(HeadVocabulary(vocabularies=[50], tokens=20_000, width=1))
    found = torch.bincount(group.build().target_N, minlength=50) / 20_000
    law = 1 / torch.arange(1, 51)
    assert (found - law / law.sum()).abs().max() < 0.01


def test_an_update_moves_weights_and_a_training_call_none() -> None:
    for call, moves in (("training", False), ("update", True)):
        with trials.seeded(Trial()):
            head = LinearSoftmax(trials.site(Trial()), tied=False, bias=True)
            before = head.output.weight.detach().clone()
            CALLS[call](head, torch.randn(8, 16).requires_grad_(), torch.arange(8))()
        assert torch.equal(before, head.output.weight) is not moves


@pytest.mark.gpu
@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_measured_on_a_gpu_with_its_memory(call: str) -> None:
    study = HeadVocabulary(call=call, vocabularies=[2000], tokens=64, width=32, seconds=0.05, device="cuda")
    rounds = Rounds(study.seconds, memory=True)
    (times,) = rounds.run(groups_of(study))
    assert set(times.seconds) | {each.curve for each in rounds.left} == set(HEADS)
    assert "full" in times.seconds
    assert all(held > 0 for held in times.memory.values())
