"""A real store in, the one JSON object out: shape, pairing, verdicts, and everything that must be said beside them."""

from __future__ import annotations

import json

import pytest

from engines.comparison import VERDICTS, ComparisonError, compare
from engines.report import labels, writing
from engines.store import commands, queries
from engines.store.commands import EffectRow, ResultRow
from tests.engines.compared import DETAIL, submit, time_rounds, work


def test_the_object_has_the_shape_of_the_design(store):
    experiment = submit(store)
    work(store)
    found = compare(store, [experiment])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["experiment"], found["baseline"], list(found["variants"])) == ("Which?", "full", ["full", "small"])
    for variant in found["variants"].values():
        assert len(variant["runs"]) == 5
        for result in variant["results"].values():
            assert {"value", "unit", "better", "n", "low", "high", "ratio", "ratio_low", "ratio_high", "verdict"} <= set(result)
            assert result["verdict"] in VERDICTS
    results = found["variants"]["small"]["results"]
    assert results["quality/test_perplexity"]["verdict"] == "worse"
    assert results["quality/test_perplexity"]["ratio"] == pytest.approx(200 / 180, rel=0.01)
    assert results["size/model_mib"]["verdict"] == "better"
    assert results["cost/train_tokens"]["verdict"] == "no practical difference"
    assert results["speed/train_tokens_per_s"]["verdict"] == "not enough data"
    assert "memory/train_peak_host_mib" not in results
    assert found["variants"]["small"]["status"] == {"done": 5}
    assert found["variants"]["small"]["effects"] == [
        {"technique": "pruning/magnitude", "hook": "finish", "sentence": "Half are zero.", "facts": {"zeros": 5}}
    ]
    assert (found["verdicts"]["made"], found["verdicts"]["exact"]) == (3, 2)
    assert sum(found["verdicts"]["all"].values()) == 5  # the unigram floor is no verdict
    assert found["warnings"] == []


def test_three_seeds_are_not_enough_for_quality_but_for_counts(store):
    experiment = submit(store, seeds=(0, 1, 2))
    work(store)
    results = compare(store, [experiment])["variants"]["small"]["results"]
    assert results["quality/test_perplexity"]["verdict"] == "not enough data"
    assert list(results["quality/test_perplexity"]["points"]) == ["0", "1", "2"]
    assert results["size/model_mib"]["verdict"] == "better"


def test_failed_variants_appear_with_their_reason(store):
    experiment = submit(store)
    work(store, fail=("small",))
    found = compare(store, [experiment])["variants"]["small"]
    assert found["results"] == {}
    assert found["status"] == {"failed": 5}
    assert found["failures"][0]["reason"] == "It broke <b>badly</b>."
    assert found["failures"][0]["advice"] == "Mend it."


def test_a_baseline_without_a_finished_run_is_said(store):
    experiment = submit(store)
    work(store, fail=("full",))
    found = compare(store, [experiment])
    assert found["warnings"][0] == (
        'The baseline "full" has no finished run, so no variant can be compared with it: run 1 (seed 0) failed. It broke <b>badly</b>. Mend it. '
        "So ended 4 more of its runs."
    )
    assert {result["verdict"] for result in found["variants"]["small"]["results"].values()} == {"not enough data"}


def test_unfinished_runs_are_counted(store):
    experiment = submit(store)
    found = compare(store, [experiment])
    assert "10 of 10 runs have not ended yet." in found["warnings"]
    assert found["variants"]["full"]["results"] == {}


def test_smoke_runs_measure_nothing(store):
    experiment = submit(store, smoke=True)
    work(store, extra=lambda run: [ResultRow(key="quality/test_unigram_perplexity", value=100.0, better="none")])
    found = compare(store, [experiment])
    assert "word frequencies" not in json.dumps(found)
    assert {result["verdict"] for result in found["variants"]["small"]["results"].values()} == {"not enough data"}
    assert "Smoke runs only show that everything works; they measure nothing." in found["warnings"]


@pytest.mark.parametrize("which", ["full", "small"])
def test_a_variant_that_learned_only_word_frequencies_says_so(store, which):
    def floor(run):
        return [ResultRow(key="quality/test_unigram_perplexity", value=100.0, better="none")] if run.variant == which else []

    experiment = submit(store)
    work(store, extra=floor)
    both = compare(store, [experiment])["variants"]
    small, result = both["small"], both["small"]["results"]["quality/test_perplexity"]
    whose = {"full": "The baseline", "small": "This variant"}[which]
    assert (result["verdict"], result["reason"]) == ("not enough data", f"{whose} has not learned more than word frequencies.")
    assert small["notes"] == ([result["reason"]] if which == "small" else [])
    assert both["full"]["notes"] == ([result["reason"]] if which == "full" else [])
    assert small["results"]["size/model_mib"]["verdict"] == "better"


def test_a_variant_that_orders_words_well_is_judged_whatever_its_perplexity(store):
    figures = {"quality/test_unigram_perplexity": 1.0, "quality/test_reciprocal_rank": 0.3, "quality/test_unigram_reciprocal_rank": 0.2}
    experiment = submit(store)
    work(store, extra=lambda run: [ResultRow(key=key, value=value, better="none") for key, value in figures.items() if run.variant == "small"])
    small = compare(store, [experiment])["variants"]["small"]
    assert [note.partition(",")[0] for note in small["notes"]] == ["Orders words better than their frequencies do"]
    assert "word frequencies" not in (small["results"]["quality/test_perplexity"].get("reason") or "")


def test_training_that_equals_the_baselines_is_noted(store):
    experiment = submit(store)
    work(store, digests={"full": "same", "small": "same"})
    assert compare(store, [experiment])["variants"]["small"]["notes"][0].startswith("Trained exactly as the baseline")


def test_a_resumed_run_has_no_training_speed_to_judge(store):
    experiment = submit(store)
    work(store, fail=("small",))
    commands.requeue(store, [run.id for run in queries.runs(store, experiment, status="failed")])
    work(store)
    found = compare(store, [experiment])
    results = found["variants"]["small"]["results"]
    assert "resumed" in results["speed/train_tokens_per_s"]["reason"]
    assert results["quality/test_perplexity"]["verdict"] == "worse"
    assert any("resumed" in sentence for sentence in found["warnings"])


def test_several_experiments_are_held_against_the_first_baseline(store):
    first = submit(store, name="A")
    work(store)
    second = submit(store, name="B")
    work(store, machine="there")
    found = compare(store, [first, second])
    assert list(found["variants"]) == ["full (A)", "small (A)", "full (B)", "small (B)"]
    assert found["baseline"] == "full (A)"
    other = found["variants"]["full (B)"]["results"]
    assert other["speed/train_tokens_per_s"]["reason"] == "Measured on different machines."
    assert other["quality/test_perplexity"]["verdict"] == "no practical difference"
    third = submit(store, name="A")
    assert f"full (A #{first})" in compare(store, [first, third])["variants"]
    assert list(compare(store, [first, first])["variants"]) == ["full", "small"]


@pytest.mark.parametrize(
    ("share", "verdict"), [({"test": 0.0}, "no practical difference"), ({"test": 0.1}, "not enough data"), ({}, "not enough data")]
)
def test_unknown_words_decide_whether_vocabularies_are_compared_by_the_character(store, share, verdict):
    def bits(run):
        return [ResultRow(key="quality/test_bits_per_char", value=2.0, unit="bits", better="lower")]

    conditions = {"full": {"corpus": "a", "unknown_share": {"test": 0.0}}, "small": {"corpus": "b", "unknown_share": share}}
    experiment = submit(store)
    work(store, extra=bits, conditions=conditions)
    results = compare(store, [experiment])["variants"]["small"]["results"]
    assert results["quality/test_bits_per_char"]["verdict"] == verdict
    assert results["quality/test_perplexity"]["verdict"] == "not enough data"


def test_nan_and_missing_values_are_absent(store):
    experiment = submit(store, seeds=(0,))
    work(store, extra=lambda run: [ResultRow(key="quality/valid_perplexity", value=float("nan"), better="lower")])
    assert "quality/valid_perplexity" not in compare(store, [experiment])["variants"]["full"]["results"]


def test_unknown_experiments_are_refused_in_a_sentence(store):
    submit(store)
    with pytest.raises(ComparisonError, match=r'There is no experiment 9 .* Stored: 1 "Which\?"'):
        compare(store, [9])
    with pytest.raises(ComparisonError, match="at least one"):
        compare(store, [])


def test_every_report_is_written_from_the_store(store, tmp_path):
    hostile = '<script>alert("x")</script>'
    experiment = submit(store, variants=("full", hostile, "broken"), name="Is <b> bold?")
    work(store, fail=("broken",))
    time_rounds(store, experiment)
    html = writing.write(store, [experiment], "html", tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    assert html.count("<script") == 2  # its own, and its data
    assert "Is &lt;b&gt; bold?" in html
    assert "It broke &lt;b&gt;badly&lt;/b&gt;." in html
    assert html.count("<figure>") >= 4
    assert 'class="curve"' in html
    assert "torch 2" in html
    assert "A/A control" in html
    for form in ("markdown", "csv", "latex", "json"):
        assert writing.write(store, [experiment], form, tmp_path / f"r.{form}").stat().st_size > 200
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == compare(store, [experiment])


def test_explanations_and_savings_follow_from_what_the_store_holds(store):
    """Zeros that took no byte, a technique that is new, work and memory that the engine recorded, and the peaks of the machine."""
    unchanged = {"parameters_before": 9, "parameters_after": 9, "bytes_before": 36, "bytes_after": 36, "nonzero_before": 9}

    def extra(run):
        share = 1.0 if run.variant == "full" else 0.2
        figures = {"size/parameters": 9.0, "size/nonzero_parameters": 9 * share, "compute/flops_per_token": 1000.0}
        return [ResultRow(key=key, value=value, better="lower", detail=DETAIL) for key, value in figures.items()]

    def effects(run):
        facts = unchanged | {"nonzero_after": 9 if run.variant == "full" else 2}
        peak = 100.0 if run.variant == "full" else 50.0
        return [
            EffectRow("pruning/magnitude", "finish", "Zeros.", facts),
            EffectRow("", "memory", "", {"peak_mib": peak, "owners_mib": {"activations": peak}}),
            EffectRow("", "work", "", {"per_token": {"training_flops": 30 * peak}}),
        ]

    experiment = submit(store, seeds=(0,))
    work(store, extra=extra, effects=effects)
    found = compare(store, [experiment])["variants"]["small"]
    (zeros,) = (row for row in found["savings"]["nominal"] if row["key"] == "size/nonzero_parameters")
    assert zeros["simulated"]
    assert {row["key"]: row["ratio"] for row in found["savings"]["executed"]} == {"compute/flops_per_token": 1.0, "executed/training_flops": 0.5}
    sentences = [each["sentence"] for each in found["explanations"]]
    assert any("left 2 of 9 weights non-zero" in each for each in sentences)
    assert any(each.startswith("Training does 0.50x the operations per token, scoring 1.00x") for each in sentences)
    assert any("50 MiB at their peak against 100, 0.50x: activations 50 against 100." in each for each in sentences)
    assert found["differences"] == []


def test_a_variant_without_a_distribution_says_so_and_what_it_can_be_compared_by(store):
    def ranks(run):
        return [ResultRow(key="quality/test_reciprocal_rank", value=0.3, unit="", better="higher", detail=DETAIL)] if run.variant == "small" else []

    def why(run):
        sentence = "No perplexity, because it only ranks: judged by rank and accuracy."
        return [EffectRow("", "no_distribution", sentence, {"sentence": sentence})] if run.variant == "small" else []

    experiment = submit(store)
    work(store, extra=ranks, effects=why)
    found = compare(store, [experiment])["variants"]
    assert found["small"]["notes"][:2] == [
        "No perplexity, because it only ranks: judged by rank and accuracy.",
        "The baseline has no ranks to compare these with: set ranks = true in the experiment's task.",
    ]
    assert found["full"]["notes"] == []
    assert found["small"]["results"]["quality/test_reciprocal_rank"]["verdict"] == "not enough data"


def test_figures_of_the_users_own_function_judge_by_default_and_have_names(store):
    def worst(run):
        detail = {"judged_by": "mine:worst", "judged_by_source": "a"}
        value = 3.0 if run.variant == "full" else 2.0
        rows = [("quality/test_worst_line", "lower"), ("quality/valid_worst_line", "lower"), ("quality/test_lines", "none")]
        return [ResultRow(key=key, value=value + 0.01 * run.seed, unit="nats", better=better, detail=detail) for key, better in rows]

    experiment = submit(store)
    work(store, extra=worst)
    found = compare(store, [experiment])
    assert "quality/test_worst_line" in found["metrics"]
    assert not {"quality/valid_worst_line", "quality/test_lines", "quality/own"} & set(found["metrics"])
    assert found["metrics"].index("quality/test_worst_line") < found["metrics"].index("speed/train_tokens_per_s")
    assert found["variants"]["small"]["results"]["quality/test_worst_line"]["verdict"] == "better"
    assert (labels.name("quality/valid_worst_line"), labels.short("quality/test_worst_line@gpu")) == ("validation worst line", "test worst line @gpu")
    for form in ("markdown", "html", "latex"):
        assert "worst line" in writing.text(store, [experiment], form), form
