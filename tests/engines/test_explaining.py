"""Each rule speaks where its figures are and is silent where one is missing; no sentence holds a number that is not among its figures."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import explaining
from engines.case import Case
from engines.explaining import explanations
from engines.phrases import say
from engines.report import labels


def result(ratio=1.0, verdict="no practical difference", *, value=10.0, spread=0.01, better="lower", unit="", interleaved=True):
    low, high = (None, None) if spread is None else (ratio * (1 - spread), ratio * (1 + spread))
    return {
        "value": value, "unit": unit, "better": better, "ratio": ratio, "ratio_low": low, "ratio_high": high, "verdict": verdict,
        "interleaved": interleaved,
    }  # fmt: skip


def effect(technique="theirs/idea", hook="finish", sentence="", **facts):
    return {"technique": technique, "hook": hook, "sentence": sentence, "facts": facts}


STILL = {"parameters_before": 100, "parameters_after": 100, "nonzero_before": 100, "nonzero_after": 100, "bytes_before": 400, "bytes_after": 400}
SPEED, LATENCY, OPERATIONS = "speed/infer_tokens_per_s", "latency/p50_ms", "compute/flops_per_token"
TRAINING = "speed/train_tokens_per_s"


def even(**more):
    return {"format": "CSR", "device": "cpu", "threads": 1, "batch": 1, "width": 256, "density": None, "always": False} | more


def case(own, **more):
    """A case whose baseline has the same keys."""
    return Case(own, {key: result(value=20.0) for key in own}, **more)


ZEROS = {
    "size/parameters": result(value=1000), "size/nonzero_parameters": result(0.17, "better", value=170), OPERATIONS: result(), SPEED: result(1.003),
}  # fmt: skip
SIBLINGS = {
    "not faster": {"size/parameters": result(0.17, "better", value=170), SPEED: result(1.01)},
    "rows taken out": {"size/parameters": result(0.2, "better", value=200), SPEED: result(1.6, "better", better="higher")},
    "less taken out": {"size/parameters": result(0.9, "better", value=900), SPEED: result(1.7, "better", better="higher")},
    "as large": {"size/parameters": result(value=1000), SPEED: result(1.8, "better", better="higher")},
    "timed elsewhere": {"size/parameters": result(0.17, "better", value=170), f"{SPEED}@phone": result(1.9, "better", better="higher")},
}
"""Of these the second is cited: faster on the same target, and smaller by about as much as there are zeros."""
MEMORY = {"peak_mib": 100.0, "owners_mib": {"parameters": 20.0, "activations": 80.0}}
LESS = {"peak_mib": 60.0, "owners_mib": {"parameters": 21.0, "activations": 39.0}}
PROFILE = {
    "step_ms": {"median": 10.0, "data": 3.0, "each": [9.0, 10.0, 11.0], "quartiles": {"step": [9.5, 10.5], "data": [2.8, 3.1]}},
    "layers": [{"name": "a", "forward_ms": 1.0, "backward_ms": 2.0}, {"name": "b", "forward_ms": 0.5, "backward_ms": 0.5}],
    "roofline": {"layers": [{"name": "a", "bound": "memory"}, {"name": "b", "bound": "launch"}]},
}

UNCOUNTED = {"work": {"uncounted": {"aten._linalg_svd": 2}, "per_token": {"training_flops": 1.0}}}

# rule, a case that it speaks about, what it says, changes that silence it
SPOKEN = [
    (
        "without_effect",
        case({}, effects=[effect(**STILL), effect(hook="stated", sentence="0 of 48 Linear layers matched.")], new_techniques=["theirs/idea"],
             trained_alike=True),
        "theirs/idea had no effect: training equals the baseline's loss by loss, and no module, parameter or byte changed. "
        "0 of 48 Linear layers matched.",
        [{"trained_alike": False}, {"effects": []}, {"effects": [effect(**STILL | {"bytes_after": 200})]}],
    ),
    (
        "zeros_without_speed", case(ZEROS),
        "83% of the weights are zero, but dense kernels multiply zeros: 1.00x the operations, inference speed 1.00x [0.99, 1.01].",
        [
            {"results": {key: each for key, each in ZEROS.items() if key != gone}} for gone in ZEROS
        ] + [{"results": ZEROS | {SPEED: result(1.6, "better")}}, {"results": ZEROS | {OPERATIONS: result(0.5, "better")}}],
    ),
    (
        "zeros_without_speed", case(ZEROS, siblings=SIBLINGS),
        "83% of the weights are zero, but dense kernels multiply zeros: 1.00x the operations, inference speed 1.00x [0.99, 1.01]. "
        'The same model made smaller instead ("rows taken out", 0.20x the parameters): 1.60x [1.58, 1.62].',
        [{"results": ZEROS | {SPEED: result(1.6, "better")}}],
    ),
    (
        "rounded_without_speed",
        case({"size/model_mib": result(value=4.0), SPEED: result(0.995)}, simulated=[{"key": "nominal/bits", "ratio": 0.25}],
             siblings={"int8": {"size/model_mib": result(0.3, "better", value=1.2), SPEED: result(1.3, "better")}}),
        "Its weights are rounded to 0.25x the bits, but stored in 1.00x the bytes: inference speed 0.99x [0.99, 1.00]. "
        'The same model stored in fewer bytes instead ("int8", 0.30x the bytes): 1.30x [1.29, 1.31].',
        [{"simulated": []}, {"simulated": [{"key": "size/nonzero_parameters", "ratio": 0.2}]}, {"results": {SPEED: result(0.995)}},
         {"results": {"size/model_mib": result(value=4.0), SPEED: result(1.3, "better")}}],
    ),
    (
        "where_sparse_pays",
        case(ZEROS, effects=[effect(hook="stated", zero_weights=90, prunable_weights=100)],
             break_even=[even(batch=8, density=0.2), even(batch=1, density=0.05), even(batch=64, density=0.12)]),
        "Of the weights that may be zero 10% are left. Measured on this machine, CSR is faster than dense where the share of weights left is below "
        "5% (batch 1, 256 wide), below 20% (batch 8, 256 wide): stored so, they would be faster at some of these sizes.",
        [{"break_even": []}, {"results": ZEROS | {OPERATIONS: result(0.5)}}, {"results": ZEROS | {"size/nonzero_parameters": result(value=999)}}],
    ),
    (
        "zeros_stored_densely", case({}, effects=[effect(**STILL | {"nonzero_after": 17})]),
        "theirs/idea left 17 of 100 weights non-zero, and the model holds 400 bytes as before: zeros are stored like any other number.",
        [{"effects": []}, {"effects": [effect(nonzero_before=100, nonzero_after=17)]}, {"effects": [effect(**STILL)]}],
    ),
    (
        "few_against_many", case({LATENCY: result(1.41, "worse", value=3.1, unit="ms"), SPEED: result(1.3, "better", better="higher")}),
        "One token at a time it is slower, 1.41x [1.40, 1.42] (3.1 against 20 ms), with whole batches faster, 1.30x [1.29, 1.31]: "
        "it adds a cost to each call, which more work in a call outweighs.",
        [{"results": {LATENCY: result(1.41, "worse")}}, {"results": {LATENCY: result(1.41, "worse", spread=None), SPEED: result(1.3, "better")}}],
    ),
    (
        "few_against_many",
        case({f"{SPEED}/batch_1": result(1.3, "better", value=9.0, unit="tokens/s"), f"{SPEED}/batch_32": result(0.8, "worse")}),
        "At batch 1 it is faster, 1.30x [1.29, 1.31] (9 against 20 tokens/s), at batch 32 slower, 0.80x [0.79, 0.81]: "
        "it saves in each call, but adds to the cost of each token.",
        [{"results": {f"{SPEED}/batch_1": result(1.3, "better")}}],
    ),
    (
        "smaller_but_slower", case({"size/model_mib": result(0.6, "better"), LATENCY: result(1.41, "worse", value=3.1)}),
        "It is stored in 0.60x the bytes, yet a step of one token takes 3.1 against 20 ms, 1.41x [1.40, 1.42]: "
        "what it adds to a step costs more than the smaller weights save.",
        [{"results": {LATENCY: result(1.41, "worse")}}, {"results": {"size/model_mib": result(0.6, "better")}}],
    ),
    (
        "smaller_and_faster", case({"size/model_mib": result(0.6, "better"), OPERATIONS: result(), LATENCY: result(0.5, "better", value=3.1)}),
        "It does 1.00x the operations per token on weights of 0.60x the bytes, and a step of one token takes 3.1 against 20 ms, 0.50x [0.49, 0.51].",
        [{"results": {"size/model_mib": result(0.6, "better"), LATENCY: result(0.5, "better")}}, {"results": {OPERATIONS: result()}}],
    ),
    (
        "fewer_operations", case({OPERATIONS: result(0.25, "better"), SPEED: result(3.1, "better")}),
        "It does 0.25x the operations per token, which alone would make inference 4.00x as fast; measured: 3.10x [3.07, 3.13].",
        [{"results": {SPEED: result(3.1, "better")}}, {"results": {OPERATIONS: result(0.25, "better")}}],
    ),
    (
        "operations_not_the_limit", case({OPERATIONS: result(0.6, "better"), SPEED: result(), "compute/bytes_per_token": result(1.01)}),
        "It does 0.60x the operations per token, yet inference speed is 1.00x [0.99, 1.01]: it moves 1.01x the bytes.",
        [{"results": {OPERATIONS: result(0.6, "better"), SPEED: result()}}, {"results": {SPEED: result(), "compute/bytes_per_token": result()}}],
    ),
    (
        "operations_not_the_limit", case({OPERATIONS: result(0.6, "better"), SPEED: result()}, peaks={"flops_per_s": {"float32": 4000.0}}),
        "It does 0.60x the operations per token, yet inference speed is 1.00x [0.99, 1.01]: "
        "the baseline uses 10% of the machine's measured arithmetic, so something else is the limit.",
        [{"peaks": None}, {"peaks": {"flops_per_s": {"float32": 500.0}}}],
    ),
    (
        "where_operations_changed",
        case({}, recorded={"work": {"layers": [{"name": "head", "forward_flops": 66.0}, {"name": "head.inner", "forward_flops": 60.0}]}},
             baseline_recorded={"work": {"layers": [{"name": "layers.0", "forward_flops": 20.0}, {"name": "head", "forward_flops": 384.0}]}}),
        "Operations of scoring a token differ most in head 66 against 384.",
        [{"recorded": {}}, {"baseline_recorded": {}}, {"recorded": {"work": {"layers": [{"name": "other", "forward_flops": 404.0}]}}}],
    ),
    (
        "training_alone",
        case({OPERATIONS: result(), "cost/train_flops": result(0.35), "cost/train_tokens": result(), TRAINING: result(2.1, "better"),
              SPEED: result()}, price={"cost/train_flops": {"of_needed_runs": 0.0}}),
        "Training does 0.35x the operations per token, scoring 1.00x: what it saves, it saves in training alone. "
        "Training speed: 2.10x [2.08, 2.12]. Inference speed: 1.00x [0.99, 1.01].",
        [{"price": {}}, {"results": {OPERATIONS: result()}}, {"price": {"cost/train_flops": {"of_needed_runs": 5.0}}}],
    ),
    (
        "training_alone",
        case({OPERATIONS: result(0.5, "better")}, recorded={"work": {"per_token": {"training_flops": 3.0}}},
             baseline_recorded={"work": {"per_token": {"training_flops": 2.0}}}),
        "Scoring does 0.50x the operations per token, and training 1.50x: the saving is paid for in training.",
        [{"recorded": {}}, {"baseline_recorded": {}}, {"results": {}}],
    ),
    (
        "operations_not_counted", case({}, recorded=UNCOUNTED),
        "Its operations and the baseline's are not compared, since some have no formula and are in no count: aten._linalg_svd.",
        [{"recorded": {}}, {"recorded": {"work": {"uncounted": {}}}}],
    ),
    (
        "memory_by_owner", case({}, recorded={"memory": LESS}, baseline_recorded={"memory": MEMORY}),
        "Tensors of training take 60 MiB at their peak against 100, 0.60x: activations 39 against 80.",
        [{"recorded": {}}, {"baseline_recorded": {}}, {"recorded": {"memory": MEMORY}}, {"recorded": {"memory": {"peak_mib": 60.0}}}],
    ),
    (
        "price_of_others", case({}, price={"cost/train_s": {"total": 80.0, "of_needed_runs": 40.0}}),
        "40 of the 80 s of training, 50%, went into the other runs that it needs.",
        [{"price": {}}, {"price": {"cost/train_s": {"total": 80.0, "of_needed_runs": 0.0}}}, {"price": {"cost/train_s": {"total": 80.0}}}],
    ),
    (
        "price_of_finishing", case({}, price={"cost/train_s": {"own": 50.0, "finishing_s": 10.0}}),
        "Of its own 50 s 10 s, 20%, were spent after training, to finish the model.",
        [{"price": {}}, {"price": {"cost/train_s": {"own": 50.0}}}],
    ),
    (
        "faster_steps_longer_way", case({TRAINING: result(2.0, "better"), "speed/time_to_quality_s": result(1.2, "not enough data", spread=None)}),
        "It trains at 2.00x [1.98, 2.02] the tokens a second, yet reaches the stated quality after 1.20x the time: a token teaches it less.",
        [
            {"results": {TRAINING: result(2.0, "better")}}, {"results": {"speed/time_to_quality_s": result(1.2)}},
            {"price": {"cost/train_s": {"of_needed_runs": 5.0, "finishing_s": 0.0}}}, {"price": {"cost/train_s": {"finishing_s": 2.0}}},
        ],
    ),
    (
        "within_noise",
        case({LATENCY: result(0.98, "not enough data"), SPEED: result(0.9)}, metrics=[LATENCY, SPEED],
             control={LATENCY: {"ratio": 1.0, "ratio_low": 0.96, "ratio_high": 1.03}}),
        "May be noise, since the baseline timed against itself in the same rounds differs as much: "
        "median latency 0.98x [0.97, 0.99] (itself 0.96 to 1.03).",
        [{"control": {}}, {"metrics": [SPEED]}, {"results": {}}, {"results": {LATENCY: result(0.9, "better")}}, {"results": {LATENCY: result(1.02)}}],
    ),
    (
        "quality_paid",
        case({"quality/test_perplexity": result(1.05, "worse"), SPEED: result(1.8, "better")}, metrics=["quality/test_perplexity", SPEED]),
        "It pays with test perplexity 1.05x [1.04, 1.06] for inference speed 1.80x [1.78, 1.82].",
        [{"metrics": []}, {"results": {SPEED: result(1.8, "better")}}, {"results": {"quality/test_perplexity": result(1.05, "worse")}}],
    ),
    (
        "waits_and_bounds", case({}, profile={"step_ms": PROFILE["step_ms"]}),
        "A profiled training step of 10 ms waits 3 ms for data, 30% (medians of 3 steps).",
        [
            {"profile": None}, {"profile": {"step_ms": {"median": 10.0}}},
            {"profile": {"step_ms": {"median": 10.0, "data": 3.0, "each": [9.0, 10.0, 11.0]}}},
            {"profile": {"step_ms": PROFILE["step_ms"] | {"quartiles": {"step": [9.5, 10.5], "data": [0.1, 3.1]}}}},
            {"profile": {"step_ms": PROFILE["step_ms"] | {"quartiles": {"step": [6.0, 14.0], "data": [2.8, 3.1]}}}},
            {"profile": {"step_ms": PROFILE["step_ms"], "load": {"machine_percent": 40.0}}},
        ],
    ),
    (
        "waits_and_bounds", case({}, profile={"layers": PROFILE["layers"], "roofline": PROFILE["roofline"]}),
        "Of the time of its layers in a profiled step, 75% is spent in layers that memory bandwidth limits.",
        [{"profile": {"layers": PROFILE["layers"]}}, {"profile": {"roofline": PROFILE["roofline"], "layers": []}}],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "spoken", "sentence", "silent"), SPOKEN, ids=[f"{n}-{each[0]}" for n, each in enumerate(SPOKEN)])
def test_a_rule_speaks_where_its_figures_are_and_is_silent_where_one_is_missing(rule, spoken, sentence, silent):
    speak = getattr(explaining, rule)
    found = list(speak(spoken))
    assert [each["sentence"] for each in found] == [sentence]
    assert sentence in [each["sentence"] for each in explanations(spoken)]
    assert_backed(found[0])
    for change in silent:
        assert list(speak(replace(spoken, **change))) == [], change


def test_every_rule_is_tried_here():
    assert {rule.__name__ for rule in explaining.RULES} == {rule for rule, *_ in SPOKEN}


def test_nothing_is_explained_from_nothing():
    assert explanations(Case({}, {})) == []


def test_operations_of_which_some_are_not_counted_explain_nothing():
    """A count without a heavy operator is small for that reason alone."""
    counted = {"work": {"per_token": {"training_flops": 2.0}, "layers": [{"name": "head", "forward_flops": 66.0}]}}
    own = {OPERATIONS: result(0.2), "cost/train_flops": result(0.2), SPEED: result(1.5, "better")}
    fewer = case(own, recorded=counted, baseline_recorded=counted)
    assert "fewer_operations" in [rule.__name__ for rule in explaining.RULES if list(rule(fewer))]
    for change in ({"recorded": UNCOUNTED}, {"baseline_recorded": UNCOUNTED}):
        (said,) = explanations(replace(fewer, **change))
        assert said["sentence"].startswith("Its operations and the baseline's are not compared")


def test_a_sentence_names_its_target():
    own = {key if key.startswith("size") or key == OPERATIONS else f"{key}@one core": each for key, each in ZEROS.items()}
    (found,) = explaining.zeros_without_speed(case(own))
    assert found["sentence"].endswith('1.00x [0.99, 1.01] on target "one core".')
    assert found["figures"]["target"] == "one core"


def numbers(text):
    return re.findall(r"\d[\d,.]*\d|\d", text)


def assert_backed(found):
    """Every number of the sentence is one of the figures, as people read it."""
    written = {form(value) for value in found["figures"].values() if not isinstance(value, str) for form in FORMS}
    texts = [value for value in found["figures"].values() if isinstance(value, str)]
    rest = found["sentence"]
    for text in sorted(texts, key=len, reverse=True):
        rest = rest.replace(text, " ")
    known = {number for text in written for number in numbers(text)}
    assert set(numbers(rest)) <= known, (rest, found["figures"])


FORMS = (labels.times, labels.figure, lambda v: f"{v:.0%}", lambda v: f"{v:.2%}", lambda v: f"{v:.2f}", lambda v: f"{v:.3g}", lambda v: f"{v:.4g}")
RATIOS = st.floats(0.01, 50)
RESULTS = st.builds(
    result, RATIOS, st.sampled_from(["better", "worse", "no practical difference", "not enough data"]), value=st.floats(0.001, 1e9),
    spread=st.one_of(st.none(), st.floats(0, 0.2)), better=st.sampled_from(["lower", "higher"]), unit=st.sampled_from(["", "ms", "tokens/s"]),
)  # fmt: skip
KEYS = (
    "size/parameters", "size/nonzero_parameters", "size/model_mib", "size/packed_mib", OPERATIONS, "compute/bytes_per_token", SPEED,
    f"{SPEED}/batch_1", f"{SPEED}/batch_32", f"{SPEED}@core 2", LATENCY, f"{LATENCY}@core 2", TRAINING, "speed/time_to_quality_s",
    "quality/test_perplexity", "cost/train_flops", "cost/train_tokens",
)  # fmt: skip
MANY = st.dictionaries(st.sampled_from(KEYS), RESULTS)
FACTS = st.fixed_dictionaries({key: st.integers(0, 10**9) for key in STILL})
RECORDED = st.fixed_dictionaries({
    "memory": st.fixed_dictionaries({
        "peak_mib": st.floats(1, 1e5), "owners_mib": st.dictionaries(st.sampled_from(["parameters", "activations", "other"]), st.floats(0, 1e5)),
    }),
    "work": st.fixed_dictionaries({
        "per_token": st.fixed_dictionaries({"training_flops": st.floats(1, 1e12)}),
        "layers": st.lists(st.fixed_dictionaries({
            "name": st.sampled_from(["head", "layers.0", "layers.0.mixer"]), "forward_flops": st.floats(0, 1e9),
        })),
    }),
})  # fmt: skip


@given(MANY, MANY, st.lists(FACTS, max_size=2), RECORDED, RECORDED, st.booleans(), st.floats(0, 100), st.floats(0, 100))
def test_no_explanation_holds_a_number_that_is_not_among_its_figures(own, base, facts, mine, theirs, alike, total, part):
    effects = [effect(f"theirs/idea{n}", **each) for n, each in enumerate(facts)]
    control = {key: {"ratio": 1.0, "ratio_low": 0.5, "ratio_high": 2.0} for key in own}
    price = {"cost/train_s": {"total": total, "own": total, "of_needed_runs": part, "finishing_s": part}, "cost/train_flops": {"of_needed_runs": 0.0}}
    tried = Case(own, base, 0.02, list(KEYS), effects, ["theirs/idea0"], mine, theirs, control, price, PROFILE,
                 {"flops_per_s": {"float32": 1e12}}, trained_alike=alike, siblings={"other 7": base, "third": own},
                 simulated=[{"key": "nominal/bits", "ratio": 0.25}])  # fmt: skip
    for found in explanations(tried):
        assert_backed(found)


def test_a_sentence_takes_texts_as_they_are():
    assert say("{name}: {part:share}", name="{odd} 7", part=0.5) == {"sentence": "{odd} 7: 50%", "figures": {"name": "{odd} 7", "part": 0.5}}


def test_a_sparse_format_that_never_paid_or_always_did_is_told_so():
    zeros = [effect(hook="stated", zero_weights=90, prunable_weights=100)]
    for rows, said in (
        ([even()], "is none that was measured (batch 1, 256 wide): stored so, they would be slower."),
        ([even(always=True)], "is any that was measured (batch 1, 256 wide): stored so, they would be faster."),
        ([even(batch=8, density=0.3), even(batch=1, always=True)],
         "is below 30% (batch 8, 256 wide), any that was measured (batch 1, 256 wide): stored so, they would be faster."),
        ([even(density=0.3), even(batch=64)],
         "is none that was measured (batch 64, 256 wide), below 30% (batch 1, 256 wide): stored so, they would be faster at some of these sizes."),
    ):  # fmt: skip
        (found,) = explaining.where_sparse_pays(case(ZEROS, effects=zeros, break_even=rows))
        assert found["sentence"].endswith(said)
    assert "weights that may be zero" not in next(explaining.where_sparse_pays(case(ZEROS, break_even=[even(density=0.3)])))["sentence"]
