"""What differs between a variant and the baseline is said, and stands in the way of just the figures it touches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.comparability import Circumstances, obstacles, only_ordered, unlearned, warnings

PLAN = {"task": {"id": "tasks/language_model"}, "corpus": {"id": "corpora/text_files", "test": "/t.txt", "level": "word"}, "budget": {"tokens": 10},
        "device": "cpu", "threads": 1, "measure": {"held_out_tokens": 0}}  # fmt: skip
HERE = Circumstances(PLAN, frozenset({"machine a"}), frozenset({"cpu with 1 threads"}), frozenset({"text 1"}))


def blocked(own, key, interleaved=False, baseline=HERE):
    return [o.sentence for o in obstacles(own, baseline) if o.holds_for(key, interleaved)]


def test_equal_circumstances_have_no_obstacle():
    assert obstacles(HERE, HERE) == []
    assert warnings({"full": HERE, "other": HERE}, "full") == []


@pytest.mark.parametrize(
    ("change", "blocks", "leaves"),
    [
        ({"smoke": True}, ["quality/test_perplexity", "size/parameters", "speed/infer_tokens_per_s"], []),
        ({"machines": frozenset({"machine b"})}, ["speed/train_tokens_per_s", "memory/train_peak_host_mib", "cost/train_s"],
         ["quality/test_perplexity", "size/model_mib", "cost/train_tokens"]),
        ({"conditions": frozenset({"cpu with 2 threads"})}, ["latency/p50_ms", "speed/train_tokens_per_s"], ["quality/test_perplexity"]),
        ({"corpora": frozenset({"text 2"})}, ["quality/test_perplexity", "quality/test_bits_per_char",
          "speed/train_tokens_per_s", "compute/flops_per_token"],
         ["size/model_mib", "memory/train_peak_host_mib"]),
        ({"resumed": True}, ["speed/train_tokens_per_s", "memory/train_peak_host_mib", "cost/train_s"],
         ["quality/test_perplexity", "speed/infer_tokens_per_s", "size/parameters"]),
        ({"plan": PLAN | {"measure": {"held_out_tokens": 500}}}, ["quality/test_perplexity"], ["speed/train_tokens_per_s", "size/parameters"]),
        ({"plan": PLAN | {"task": {"id": "tasks/other"}}}, ["quality/test_perplexity"], ["size/parameters"]),
    ],
)  # fmt: skip
def test_each_difference_stands_in_the_way_of_what_it_touches(change, blocks, leaves):
    own = replace(HERE, **change)
    for key in blocks:
        assert blocked(own, key), key
    for key in leaves:
        assert not blocked(own, key), key
    assert warnings({"full": HERE, "other": own}, "full")


def test_the_users_own_function_is_no_other_task_and_an_edited_one_blocks_its_figures_alone():
    judged = PLAN | {"task": {"id": "tasks/language_model", "evaluate": "mine:worst"}}
    own = replace(HERE, plan=judged, own_judges={"quality/test_worst": frozenset({"a"})})
    assert obstacles(own, HERE) == []
    edited = replace(own, own_judges={"quality/test_worst": frozenset({"b"})})
    assert blocked(edited, "quality/test_worst", baseline=own) == ["The function of your own that judges was edited between the runs."]
    assert blocked(edited, "quality/test_perplexity", baseline=own) == []
    assert blocked(replace(own, own_judges={"quality/test_worst": frozenset({"a", "b"})}), "quality/test_worst", baseline=own)


def test_interleaved_rounds_do_not_mind_where_the_runs_were_trained():
    own = replace(HERE, machines=frozenset({"machine b"}), conditions=frozenset({"cuda with 1 threads"}))
    assert blocked(own, "speed/infer_tokens_per_s")
    assert not blocked(own, "speed/infer_tokens_per_s", interleaved=True)


def test_interleaved_training_does_not_mind_that_a_run_was_resumed():
    own = replace(HERE, resumed=True)
    assert not blocked(own, "speed/train_tokens_per_s", interleaved=True)
    assert blocked(own, "speed/train_tokens_per_s", baseline=replace(HERE, resumed=True))


def test_other_text_spoils_even_bits_per_character():
    own = replace(HERE, plan=PLAN | {"corpus": PLAN["corpus"] | {"test": "/other.txt"}}, corpora=frozenset({"text 2"}))
    assert blocked(own, "quality/test_bits_per_char")


def level(name, unknown_share, corpus="text 2"):
    """Circumstances of the same text cut at another level or with another vocabulary."""
    plan = PLAN | {"corpus": PLAN["corpus"] | {"level": name}}
    return replace(HERE, plan=plan, corpora=frozenset({corpus}), unknown_share=unknown_share)


def test_another_level_of_the_same_text_is_compared_by_the_character():
    own, baseline = level("char", 0.0), replace(HERE, unknown_share=0.001)
    assert blocked(own, "quality/test_perplexity", baseline=baseline)
    assert not blocked(own, "quality/test_bits_per_char", baseline=baseline)


@pytest.mark.parametrize(("own", "baseline", "says"), [
    (0.0, 0.08, "0.0% unknown words in the test text against 8.0%"), (0.05, 0.0, "5.0% unknown words in the test text against 0.0%"),
    (None, 0.0, "is not recorded"), (0.0, None, "is not recorded"),
])  # fmt: skip
def test_unknown_words_spoil_even_bits_per_character(own, baseline, says):
    (sentence,) = blocked(level("char", own), "quality/test_bits_per_char", baseline=replace(HERE, unknown_share=baseline))
    assert says in sentence
    assert not blocked(level("char", own), "size/model_mib", baseline=replace(HERE, unknown_share=baseline))


def test_unknown_words_of_the_same_vocabulary_are_no_obstacle():
    assert not blocked(level("word", 0.08, "text 1"), "quality/test_bits_per_char", baseline=replace(HERE, unknown_share=0.08))


def test_plans_stand_in_where_nothing_was_recorded():
    bare = Circumstances(PLAN, frozenset(), frozenset(), frozenset())
    assert obstacles(bare, bare) == []
    assert blocked(replace(bare, plan=PLAN | {"threads": 2}), "speed/train_tokens_per_s", baseline=bare)
    assert blocked(replace(bare, plan=PLAN | {"corpus": {"id": "corpora/other"}}), "quality/test_perplexity", baseline=bare)


def test_warnings_name_the_variants_unless_all_are_concerned():
    away, longer = replace(HERE, machines=frozenset({"machine b"})), replace(HERE, plan=PLAN | {"budget": {"tokens": 20}})
    found = warnings({"full": HERE, "a": away, "b": longer}, "full")
    assert found == ["a: measured on different machines.", "b: trained with another budget than the baseline."]
    assert warnings({"full": HERE, "a": away}, "full") == ["Measured on different machines."]


def test_learning_is_measured_against_word_frequencies():
    assert unlearned({"quality/test_perplexity": 700.0, "quality/test_unigram_perplexity": 650.0})
    assert not unlearned({"quality/test_perplexity": 300.0, "quality/test_unigram_perplexity": 650.0})
    assert not unlearned({"quality/test_perplexity": 300.0})
    assert unlearned({"quality/test_reciprocal_rank": 0.1, "quality/test_unigram_reciprocal_rank": 0.12})
    assert not unlearned({"quality/test_reciprocal_rank": 0.2, "quality/test_unigram_reciprocal_rank": 0.12})
    near = {"quality/test_context_reciprocal_rank": 0.1, "quality/test_context_unigram_reciprocal_rank": 0.12}
    assert not unlearned(near), "vectors that rank by association alone have learned what they are for"
    both = {"quality/test_perplexity": 300.0, "quality/test_unigram_perplexity": 650.0}
    assert not unlearned({"quality/test_reciprocal_rank": 0.1, "quality/test_unigram_reciprocal_rank": 0.12} | both), "perplexity decides"


@pytest.mark.parametrize("whose", ["", "context_"])
def test_who_orders_words_well_and_is_too_sure_of_them_has_learned(whose):
    """As codes with redundant bits do, which count the same evidence several times."""
    improbable = {f"quality/test_{whose}perplexity": 499.0, f"quality/test_{whose}unigram_perplexity": 196.0}
    own, floor = f"quality/test_{whose}reciprocal_rank", f"quality/test_{whose}unigram_reciprocal_rank"
    ordered, unordered = ({own: rank, floor: 0.21} for rank in (0.35, 0.2))
    assert (unlearned(improbable | ordered), only_ordered(improbable | ordered)) == (False, True)
    assert (unlearned(improbable | unordered), only_ordered(improbable | unordered)) == (True, False)
    assert not only_ordered(improbable)
    assert not only_ordered(ordered)
