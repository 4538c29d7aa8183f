"""Every fix that is offered mends its problem and brings no other, and the likeliest stands first."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest

from engines.experiment import Experiment, dump, parse
from engines.fixes import fixes_of, told
from engines.problems import Problem, did_you_mean, names_in
from tests.engines.sample import CATALOGUE, TEXT

INT8, PRUNE, CLIP = "quantization/int8", "pruning/magnitude", "optimization/clip_norm"
TWO_CONFLICTS = [("variant.full.techniques", [PRUNE, INT8]), ("variant.adaptive.techniques", [PRUNE, INT8])]
LABELS = {"id": "distillation/soft_labels", "teacher": "ful"}

BROKEN: list[tuple[list[tuple[str, Any]], list[str]]] = [
    # names
    ([("experiment.sedes", [1])], ["Take sedes out"]),  # so is `seeds`
    ([("variant.adaptive.model.head.cutofs", [2])], ["Take cutofs out"]),  # `cutoffs` is there already
    ([("model.layers[0].mixer.widht", 2), ("model.layers[0].mixer.width", None)], ["Write width in place of widht", "Take widht out"]),
    ([("model.head.id", "softmax/adaptiv")], ["Replace softmax/adaptiv by softmax/adaptive, without tied"]),
    ([("model.head", "full")], ["Replace full by softmax/full"]),
    ([("model.layers[0].mixer", "softmax/full")], ["Replace softmax/full by attention/full"]),
    ([("device", "GPU:1")], ["Replace GPU:1 by cuda:1", "Leave device at its default"]),
    ([("baseline", "ful")], ["Replace ful by full", "Compare with the first variant, “full”"]),
    ([("variant[1].name", "full")], ["Call the second one “full 2”"]),
    ([("measure.metrics", ["speed/train_token_per_s@one core"])], ["Replace speed/train_token_per_s@one core by speed/train_tokens_per_s@one core"]),
    ([("variant.adaptive.techniques", [LABELS])], ["Replace ful by full"]),
    ([("variant.adaptive.techniques", ["pruning/magnitud"])], ["Replace pruning/magnitud by pruning/magnitude"]),
    # values
    ([("training.batch", 0)], ["Set batch to 1, the smallest that is allowed"]),
    ([("training.batch", "20")], ["Write 20 without quotes"]),
    ([("budget.tokens", 2e6)], ["Write 2_000_000, a whole number"]),
    ([("seeds", [1, 2, 1])], ["Name each of seeds once"]),
    ([("measure.batches", [4, 1, 4])], ["Name each of batches once"]),
    ([("measure.launches", 40)], ["Set launches to 10, as many as rounds"]),
    ([("experiment.budget", {"tokens": 3, "steps": 4})], ["Keep tokens = 3 alone", "Keep steps = 4 alone"]),
    ([("model.layers[0].mixer", {"id": "recurrent/lstm", "layers": 9})], ["Set layers to 8, the largest that is allowed"]),
    ([("training.techniques.optimization/adam.lr", -1.0)], ["Set lr to 0.001, its default"]),
    ([("variant.adaptive.model.head.factor", 0)], ["Set factor to 4.0, its default"]),
    ([("variant.adaptive.model.head.cutoffs", [2, "7"])], ["Write 7 without quotes"]),
    ([("task", "word_embedding")], ["Take the layers out"]),
    # recipes
    ([("variant[2].techniques[1]", "optimization/adam")], ["Take optimization/adam out of “pruned, sgd, larger batch”"]),
    ([("training.techniques", ["optimization/adam", CLIP, CLIP])], [f"Take {CLIP} out of the shared base"]),
    ([("training.techniques", ["optimization/adam", PRUNE, CLIP])], [f"Put {CLIP} before {PRUNE} in the shared base"]),
    ([("variant.adaptive.techniques", [INT8, PRUNE])], [f"Take {PRUNE} out of “adaptive”", f"Take {INT8} out of “adaptive”"]),
    ([("training.techniques", ["optimization/adam", CLIP, PRUNE, INT8])], [f"Take {PRUNE} out of the shared base"]),
    (TWO_CONFLICTS, [f"Take {PRUNE} out of “full”"]),
    (
        [("variant.adaptive.techniques", ["optimization/warmup"]), ("variant.adaptive.without", ["optimization/adam"])],
        ["Add optimization/adam to “adaptive”", "Add optimization/sgd to “adaptive”", "Take optimization/warmup out of “adaptive”"],
    ),
    ([("variant.adaptive.without", ["optimization/sgd"])], ["Replace optimization/sgd by optimization/adam"]),
    ([("variant.adaptive.techniques", ["precision/fp8"])], ["Take precision/fp8 out of “adaptive”"]),
    ([("variant.adaptive.techniques", ["broken/thing"])], ["Take broken/thing out of “adaptive”"]),
    # several at once
    ([("variant.adaptive.techniques", [INT8, PRUNE, "optimization/warmup", "optimization/warmup"])], [f"Take {PRUNE} out of “adaptive”"]),
    ([("training.batch", 0), ("baseline", "ful"), ("model.head.id", "softmax/ful")], ["Set batch to 1, the smallest that is allowed"]),
]


def broken(edits: list[tuple[str, Any]]) -> Experiment:
    experiment = parse(TEXT, "/data")
    for path, value in edits:
        experiment = experiment.set(path, value)
    return experiment


def said(problems: list[Problem]) -> Counter[str]:
    return Counter(f"{problem.rule} {problem.value}" for problem in problems)


@pytest.mark.parametrize(("edits", "sentences"), BROKEN, ids=lambda part: str(part)[:60] if isinstance(part, list) else None)
def test_fixes_mend_and_break_nothing(edits: list[tuple[str, Any]], sentences: list[str]) -> None:
    experiment = broken(edits)
    before, kept = experiment.problems(CATALOGUE), copy.deepcopy(experiment.data)
    offered = fixes_of(before[0], experiment, CATALOGUE)
    assert [fix.sentence for fix in offered][: len(sentences)] == sentences
    for problem in before:
        for fix in fixes_of(problem, experiment, CATALOGUE, before):
            after = experiment.with_tables(fix.data).problems(CATALOGUE)
            assert said(after) < said(before), fix.sentence
            assert said(after)[f"{problem.rule} {problem.value}"] < said(before)[f"{problem.rule} {problem.value}"]
    assert experiment.data == kept


def test_one_fix_after_another_mends_them_all_and_comments_stay() -> None:
    experiment = broken([("training.batch", 0), ("baseline", "ful"), ("model.head.id", "softmax/ful"), *TWO_CONFLICTS])
    for _ in range(10):
        problems = experiment.problems(CATALOGUE)
        if not problems:
            break
        experiment = experiment.with_tables(fixes_of(problems[0], experiment, CATALOGUE)[0].data)
    assert problems == []
    assert "# two tails" in dump(experiment)
    assert experiment.get("variant.full.techniques") == [{"id": INT8}]


def test_what_the_base_loses_variants_no_longer_leave_out() -> None:
    experiment = broken([("training.techniques", ["optimization/adam", CLIP, PRUNE, INT8]), ("variant.adaptive.without", [PRUNE])])
    problem = experiment.problems(CATALOGUE)[0]
    first = fixes_of(problem, experiment, CATALOGUE)[0]
    assert first.sentence == f"Take {PRUNE} out of the shared base"
    assert "without" not in experiment.with_tables(first.data).get("variant.adaptive")


def test_a_group_member_that_does_not_conflict_is_offered_in_place() -> None:
    catalogue = copy.deepcopy(CATALOGUE)
    catalogue["plugins"][INT8]["conflicts"] = {"optimization/adam": "its steps are too small for the grid."}
    experiment = broken([("variant.adaptive.techniques", [INT8])])
    (problem,) = experiment.problems(catalogue)
    first = fixes_of(problem, experiment, catalogue)[0]
    assert first.sentence == "Replace optimization/adam by optimization/sgd in “adaptive”"
    assert first.data["training"] == experiment.data["training"]


def test_only_a_person_can_tell() -> None:
    experiment = broken([("experiment.corpus", {"id": "corpora/text_files"})])
    (problem,) = experiment.problems(CATALOGUE)
    assert fixes_of(problem, experiment, CATALOGUE) == []
    assert fixes_of(Problem("", None, "the file is not valid TOML"), experiment, CATALOGUE) == []


def test_names_are_read_from_hints() -> None:
    known = ['a "quoted" name', "softmax/full", "softmax/ful l"]
    assert set(names_in(did_you_mean("softmax/ful", known))) == {"softmax/full", "softmax/ful l"}
    assert names_in(did_you_mean('a "quoted" nam', known)) == ['a "quoted" name']
    assert names_in(did_you_mean("zzz", ["one", "two"])) == names_in('write "this"') == []


def test_told_says_what_would_mend() -> None:
    experiment = broken([("training.batch", 0), ("baseline", "ful")])
    assert told(experiment.problems(CATALOGUE), experiment, CATALOGUE).splitlines() == [
        "training.batch = 0: must be at least 1",
        "    fix: Set batch to 1, the smallest that is allowed",
        "    or: Leave batch at its default",
        'experiment.baseline = "ful": is not the name of a variant; did you mean "full"?',
        "    fix: Replace ful by full",
        "    or: Compare with the first variant, “full”",
    ]
