"""Every wrong thing is refused, all at once, with its path, value, rule and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from engines import extras
from engines.experiment import Experiment, dump, from_dict, parse
from engines.keypaths import KeyPathError
from engines.problems import ExperimentError, Problem
from tests.engines.sample import CATALOGUE, TEXT

ADAPTIVE = "variant[1]"


def experiment() -> Experiment:
    return parse(TEXT, "/data")


def problems_after(*edits: tuple[str, Any]) -> list[Problem]:
    changed = experiment()
    for path, value in edits:
        changed = changed.set(path, value)
    return changed.problems(CATALOGUE)


@pytest.mark.parametrize(
    ("path", "value", "where", "rule", "hint"),
    [
        # keys
        ("experiment.sedes", [1], "experiment.sedes", "is an unknown key", 'did you mean "seeds"?'),
        ("measure.rouns", 3, "measure.rouns", "is an unknown key", 'did you mean "rounds"?'),
        ("variant.adaptive.tecniques", [], f"{ADAPTIVE}.tecniques", "is an unknown key", 'did you mean "techniques"?'),
        ("variant.adaptive.training.bach", 3, f"{ADAPTIVE}.training.bach", "is an unknown key", 'did you mean "batch"?'),
        ("variant.adaptive.training.techniques", [], f"{ADAPTIVE}.training.techniques", "is not a key of a variant's training", "variant itself"),
        ("model.layers[0].reapeat", 2, "model.layers[0].reapeat", "is an unknown key", 'did you mean "repeat"?'),
        # types and bounds
        ("training.batch", 0, "training.batch", "must be at least 1", ""),
        ("training.batch", "20", "training.batch", "must be a whole number", "quotes"),
        ("budget.tokens", 2e6, "experiment.budget.tokens", "must be a whole number", "write 2_000_000"),
        ("device", "gpu", "experiment.device", "must be one of auto, cpu, cuda, cuda:N, mps", 'did you mean "cuda"?'),
        ("device", "GPU:1", "experiment.device", "must be one of auto, cpu, cuda, cuda:N, mps", 'did you mean "cuda:1"?'),
        ("device", "cdua", "experiment.device", "must be one of auto, cpu, cuda, cuda:N, mps", 'did you mean "cuda"?'),
        ("seeds", [1, 2, 1], "experiment.seeds", "must not name a seed twice: 1", ""),
        ("seeds", [], "experiment.seeds", "must not be empty", ""),
        ("experiment.budget", {"tokens": 3, "steps": 3}, "experiment.budget", "exactly one of tokens, steps, seconds, epochs", ""),
        ("experiment.budget", {}, "experiment.budget", "but is empty", ""),
        ("target[0].runtime", "onyxruntime", "target[0].runtime", "must be one of torch, onnxruntime", 'did you mean "onnxruntime"?'),
        ("target[0].max_memory_mib", 100, "target[0].max_memory_mib", "is an unknown key", 'did you mean "max_memory"?'),
        ("target[0].max_memory", 0, "target[0].max_memory", "must be greater than 0", ""),
        ("target[0].max_latency_ms", "5 ms", "target[0].max_latency_ms", "must be a number", ""),
        ("model.layers[0].norm", "batch", "model.layers[0].norm", "must be one of layer, rms, none", ""),
        ("model.layers", [], "model.layers", "must not be empty", ""),
        # ids, slots, parameters
        ("model.head.id", "softmax/adaptiv", "model.head.id", "names no head of the catalogue", 'did you mean "softmax/adaptive"?'),
        ("model.head", "adaptive", "model.head", "names no head of the catalogue", 'did you mean "softmax/adaptive"?'),
        ("model.layers[0].mixer.id", "softmax/full", "model.layers[0].mixer.id", "is a head, but a mixer belongs here", "attention/full"),
        ("task", "langage_model", "experiment.task", "names no task of the catalogue", 'did you mean "tasks/language_model"?'),
        ("variant.adaptive.model.head.cutofs", [2], f"{ADAPTIVE}.model.head.cutofs", "is no parameter of softmax/adaptive", '"cutoffs"'),
        ("variant.adaptive.model.head.cutoffs", [2, "x"], f"{ADAPTIVE}.model.head.cutoffs[1]", "must be a whole number", "quotes"),
        ("variant.adaptive.model.head.factor", 0, f"{ADAPTIVE}.model.head.factor", "must be greater than 0", ""),
        ("training.techniques.optimization/adam.lr", -1.0, "training.techniques[0].lr", "must be greater than 0", ""),
        ("training.techniques.optimization/adam.lr", float("nan"), "training.techniques[0].lr", "must be a finite number", ""),
        ("experiment.corpus.level", "words", "experiment.corpus.level", "must be one of word, char, bpe", 'did you mean "word"?'),
        ("model.head", {"tied": True}, "model.head.id", "is required", ""),
        ("experiment.corpus", {"id": "corpora/text_files"}, "experiment.corpus.train", "is required by corpora/text_files", "Training text."),
        (
            "model.layers[0].feedforward",
            {"id": "feedforward/dense", "width": 0},
            "model.layers[0].feedforward.width",
            "must be at least 1",
            "",
        ),
        (
            "model.layers[0].feedforward",
            {"id": "feedforward/dense", "width": "a"},
            "model.layers[0].feedforward.width",
            "must be a whole number or left out",
            "",
        ),
        ("variant.adaptive.techniques", ["broken/thing"], f"{ADAPTIVE}.techniques[0]", "cannot be loaded", "SyntaxError: invalid syntax"),
        ("variant.adaptive.techniques", ["precision/fp8"], f"{ADAPTIVE}.techniques[0]", "cannot run on this machine", "needs CUDA capability 9.0"),
        # recipes
        ("variant[2].techniques[1]", "optimization/adam", "variant[2].techniques[1]", "is the second optimizer of the recipe", "optimization/sgd"),
        ("variant[2].techniques[1]", "optimization/sgd", "variant[2].techniques[1]", "stands twice in the recipe", "keep one"),
        ("variant.adaptive.without", ["optimization/sgd"], f"{ADAPTIVE}.without[0]", "is not among the techniques of the base", "optimization/adam"),
        ("baseline", "ful", "experiment.baseline", "is not the name of a variant", 'did you mean "full"?'),
        ("variant[1].name", "full", f"{ADAPTIVE}.name", "is also the name of variant[0]", "each its own name"),
        ("measure.metrics", ["speed/infer_tokens_per_s/batch_8"], "measure.metrics[0]", "is not a metric", "speed/infer_tokens_per_s"),
        ("measure.batches", [4, 1, 4], "measure.batches", "must not name a batch size twice: 4", ""),
        ("measure.batches", [1, 0], "measure.batches[1]", "must be at least 1", ""),
        ("measure.metrics", ["speed/train_token_per_s"], "measure.metrics[0]", "is not a metric", "speed/train_tokens_per_s"),
    ],
)
def test_one_thing_is_wrong(path: str, value: Any, where: str, rule: str, hint: str) -> None:
    found = problems_after((path, value))
    assert len(found) == 1, [problem.sentence() for problem in found]
    problem = found[0]
    assert (problem.path, rule in problem.rule, hint in problem.hint) == (where, True, True), problem.sentence()


def test_all_at_once_across_structure_and_meaning() -> None:
    found = problems_after(
        ("training.batch", 0),
        ("experiment.sedes", [1]),
        ("model.head.id", "softmax/ful"),
        ("variant.adaptive.model.head.factor", -1),
        ("baseline", "ful"),
    )
    assert {problem.path for problem in found} == {
        "training.batch",
        "experiment.sedes",
        "model.head.id",
        "variant[1].model.head.factor",
        "experiment.baseline",
    }


def test_a_problem_of_the_base_is_told_once_and_at_its_place() -> None:
    found = problems_after(("model.embedding.width", -1), ("variant.adaptive.model.embedding", {"width": -2}))
    assert [(problem.path, problem.value) for problem in found] == [("model.embedding.width", -1), ("variant[1].model.embedding.width", -2)]


def test_conflict_order_and_requirement() -> None:
    recipe = ["quantization/int8", "pruning/magnitude"]
    conflict = problems_after(("variant.adaptive.techniques", recipe))
    assert [(problem.path, problem.rule) for problem in conflict] == [("variant[1].techniques[1]", "conflicts with quantization/int8")]
    assert "variant of its own" in conflict[0].hint
    order = problems_after(("training.techniques", ["optimization/adam", "pruning/magnitude", "optimization/clip_norm"]))
    assert [(problem.path, problem.rule) for problem in order if "after" in problem.rule] == [
        ("training.techniques[1]", "must stand after optimization/clip_norm")
    ]
    needy = problems_after(("variant.adaptive.techniques", ["optimization/warmup"]), ("variant.adaptive.without", ["optimization/adam"]))
    assert [problem.rule for problem in needy] == ['requires optimizer in the recipe of "adaptive"']
    assert needy[0].hint == "add optimization/adam or optimization/sgd"


def test_references_to_nobody_to_oneself_and_in_circles() -> None:
    labels = [{"id": "distillation/soft_labels", "teacher": "teacher"}]
    (unknown,) = problems_after(("variant.adaptive.techniques", labels))
    assert (unknown.path, unknown.rule) == ("variant[1].techniques[0].teacher", "is not the name of a variant")
    (own,) = problems_after(("variant.adaptive.techniques", [{"id": "distillation/soft_labels", "teacher": "adaptive"}]))
    assert own.rule == 'closes a circle: "adaptive" needs "adaptive"'
    circle = problems_after(
        ("variant.full.techniques", [{"id": "distillation/soft_labels", "teacher": "adaptive"}]),
        ("variant.adaptive.techniques", [{"id": "distillation/soft_labels", "teacher": "full"}]),
    )
    assert [problem.path for problem in circle] == ["variant[0].techniques[0].teacher", "variant[1].techniques[0].teacher"]


def test_missing_tables() -> None:
    found = {problem.path: problem for problem in from_dict({}).problems(CATALOGUE)}
    assert found["experiment"].rule == found["variant"].rule == "is required"
    assert "[[variant]]" in found["variant"].hint
    no_head = from_dict({key: value for key, value in experiment().data.items() if key != "model"}).problems(CATALOGUE)
    assert {"model.embedding", "model.layers", "model.head"} <= {problem.path for problem in no_head}


def test_a_task_without_layers_says_so_where_there_are_some() -> None:
    words = experiment().set("task", "word_embedding")
    (some,) = words.problems(CATALOGUE)
    assert (some.path, some.rule) == ("model.layers", "must be empty: Word embeddings have none.")
    assert "layers = []" in some.hint
    assert words.set("model.layers", []).problems(CATALOGUE) == []
    assert words.remove("model.layers").problems(CATALOGUE) == []
    assert words.set("model.layers", []).plans(CATALOGUE)["full"]["model"]["layers"] == []


@pytest.mark.parametrize("wreck", [3, "text", [1], None, {}, [{}], [[]], {"id": 3}, {"id": None}, True, 1.5])
def test_any_value_at_any_place_is_a_problem_and_never_a_crash(wreck: Any) -> None:
    places = ["experiment", "model", "training", "measure", "target", "variant", "experiment.task", "experiment.corpus", "experiment.budget"]
    places += ["seeds", "baseline", "model.layers", "model.layers[0]", "model.layers[0].mixer", "model.head", "training.techniques"]
    places += ["training.techniques[0]", "variant[1]", "variant[1].model", "variant[1].model.head", "variant[2].without", "variant[2].techniques"]
    for place in places:
        for problem in experiment().set(place, wreck).problems(CATALOGUE):
            assert problem.sentence()


def test_nulls_in_lists_are_told_and_not_written() -> None:
    holey = from_dict({**experiment().data, "target": [None]})
    assert [(problem.path, problem.rule) for problem in holey.problems(CATALOGUE)] == [("target[0]", "must be a table")]
    with pytest.raises(ExperimentError, match="null"):
        dump(holey)
    with pytest.raises(KeyPathError, match="null"):
        experiment().set("target", [None])


def test_plans_of_a_wrong_structure_raise_with_all_problems() -> None:
    wrong = experiment().set("training.batch", 0).set("experiment.sedes", 1)
    with pytest.raises(ExperimentError) as caught:
        wrong.plans(CATALOGUE)
    assert {problem.path for problem in caught.value.problems} == {"training.batch", "experiment.sedes"}


def test_sentences_name_path_value_rule_and_hint() -> None:
    (problem,) = problems_after(("variant.adaptive.model.head.cutofs", [2]))
    assert problem.sentence() == 'variant[1].model.head.cutofs = [2]: is no parameter of softmax/adaptive; did you mean "cutoffs"?'


def test_problems_of_plans_are_told_at_their_place_in_the_file() -> None:
    changed = experiment().set("variant.adaptive.model.embedding", {"width": 7}).set("variant.adaptive.training.batch", 3)
    third = '"pruned, sgd, larger batch"'
    places = {
        "full.model.head": "model.head",
        "adaptive.model.head": "variant[1].model.head",
        "adaptive.model.embedding.width": "variant[1].model.embedding.width",
        "full.model.embedding.width": "model.embedding.width",
        "full.model.layers[0].mixer.width": "model.layers[0].mixer.width",
        "full.model.layers[0].mixer.layers": "model.layers[0].mixer.layers",
        "full.model.layers[0]": "model.layers[0]",
        f"{third}.techniques[0].lr": "variant[2].techniques[0].lr",
        "adaptive.techniques[1].max_norm": "training.techniques[1].max_norm",
        "adaptive.corpus.train": "experiment.corpus.train",
        "adaptive.corpus": "experiment.corpus",
        "adaptive.training.batch": "variant[1].training.batch",
        "full.training.batch": "training.batch",
        "full.device": "experiment.device",
        "full.model": "variant[0]",
        "nobody.model": "nobody.model",
    }
    for path, place in places.items():
        assert [problem.path for problem in changed.placed([Problem(path, None, "rule")], CATALOGUE)] == [place]
    shared = [Problem(f"{name}.corpus.train", "x", "is missing") for name in ("full", "adaptive", third)]
    assert len(changed.placed(shared, CATALOGUE)) == 1


def test_a_runtime_that_is_not_installed_or_not_for_the_device_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "missing", lambda packages: ["onnxscript"])
    (problem,) = problems_after(("target[0].runtime", "onnxruntime"))
    assert problem == Problem("target[0].runtime", "onnxruntime", "needs onnxscript, not installed here", "pip install onnxscript")
    monkeypatch.setattr(extras, "missing", lambda packages: [])
    assert problems_after(("target[0].runtime", "onnxruntime")) == []
    (problem,) = problems_after(("target[0].runtime", "onnxruntime"), ("target[0].device", "cuda:1"))
    assert (problem.path, problem.rule) == ("target[0].device", "must be cpu where onnxruntime runs the model")
