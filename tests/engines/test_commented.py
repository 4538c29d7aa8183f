"""Writing keeps comments of what was not touched, and always reads back as the same values."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.commented import fresh, render
from engines.experiment import Experiment, dump, from_dict, parse
from engines.keypaths import KeyPathError
from tests.engines.sample import CATALOGUE, TEXT

COMMENTS = re.findall(r"#.*", TEXT)


def experiment() -> Experiment:
    return parse(TEXT, "/data")


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


def changed_lines(text: str) -> tuple[set[str], set[str]]:
    """(lines that went, lines that came) against the sample."""
    before, after = set(TEXT.splitlines()), set(text.splitlines())
    return before - after, after - before


def test_a_new_key_stands_behind_the_last_one_and_not_below_what_is_said_of_the_next_table() -> None:
    text = '[measure]\nrounds = 8\n# of each launch\n\n# The first of two.\n[[variant]]\nname = "a"\n'
    written = render({"measure": {"rounds": 8, "seconds": 0.3}, "variant": [{"name": "a"}]}, text)
    assert written == '[measure]\nrounds = 8\n# of each launch\nseconds = 0.3\n\n# The first of two.\n[[variant]]\nname = "a"\n'


def test_untouched_text_is_returned_as_it_was() -> None:
    assert dump(experiment()) == TEXT
    assert dump(experiment().set("budget.tokens", 2_000_000)) == TEXT


@pytest.mark.parametrize(
    ("path", "value", "gone", "come"),
    [
        ("training.batch", 32, ["batch = 20"], ["batch = 32"]),
        (
            "experiment.device",
            "cpu",
            ['device = "auto"                            # auto | cpu | cuda | cuda:1 | mps'],
            ['device = "cpu"                            # auto | cpu | cuda | cuda:1 | mps'],
        ),
        (
            "model.layers[0].mixer.width",
            64,
            ['    { mixer = { id = "recurrent/lstm", width = 200 }, repeat = 2 },   # two of them'],
            ['    { mixer = { id = "recurrent/lstm", width = 64 }, repeat = 2 },   # two of them'],
        ),
        (
            "variant.adaptive.model.head.cutoffs",
            [100],
            ['model.head = { id = "softmax/adaptive", cutoffs = [2000, 10000] }   # two tails'],
            ['model.head = { id = "softmax/adaptive", cutoffs = [100] }   # two tails'],
        ),
        ("variant.adaptive.training.batch", 5, [], ["training.batch = 5"]),
        ("variant.full.model.head.tied", False, [], ["model.head = { tied = false }"]),
        ("target[0].threads", 2, [], ["threads = 2"]),
    ],
)
def test_an_edit_changes_its_line_and_no_other(path: str, value: Any, gone: list[str], come: list[str]) -> None:
    text = dump(experiment().set(path, value))
    assert changed_lines(text) == (set(gone), set(come))


def test_every_comment_survives_edits_elsewhere() -> None:
    edited = (
        experiment().set("seeds", [7]).set("variant.adaptive.training.batch", 8).add_variant("third", like="adaptive").remove("target[0].threads")
    )
    text = dump(edited)
    assert set(COMMENTS) <= set(comments(text))
    assert parse(text, "/data").data == edited.data


def test_variants_are_added_renamed_and_removed() -> None:
    start = experiment()
    assert [variant.name for variant in start.add_variant("new", position=1).variants] == ["full", "new", "adaptive", "pruned, sgd, larger batch"]
    copied = start.add_variant("copy", like="adaptive")
    assert copied.get("variant.copy.model.head") == start.get("variant.adaptive.model.head")
    renamed = start.set("variant.adaptive.techniques", [{"id": "distillation/soft_labels", "teacher": "full"}]).rename_variant(
        "full", "plain", CATALOGUE
    )
    assert renamed.baseline == "plain"
    assert renamed.get("variant.adaptive.techniques[0].teacher") == "plain"
    assert "# the baseline" in dump(renamed)
    removed = start.remove_variant("full")
    assert (removed.baseline, "# two tails" in dump(removed)) == ("adaptive", True)
    for edited in (copied, renamed, removed):
        assert edited.problems(CATALOGUE) == []
        assert parse(dump(edited), "/data").data == edited.data


def test_edits_leave_the_old_experiment_alone() -> None:
    start = experiment()
    start.set("seeds", [9]).remove("target").add_variant("z")
    assert start.data == experiment().data
    start.get("model.layers").clear()
    assert start.data == experiment().data


def test_edits_that_lead_nowhere_say_so() -> None:
    with pytest.raises(KeyPathError, match='nothing called "adaptve"; did you mean "adaptive"'):
        experiment().set("variant.adaptve.training.batch", 3)
    with pytest.raises(KeyPathError, match="counted from 0"):
        experiment().set("target[4].threads", 3)
    with pytest.raises(KeyPathError, match="no variant"):
        experiment().add_variant("x", like="nobody")
    assert experiment().get("variant.nobody.training", 5) == 5


# --- Properties -----------------------------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
keys = st.one_of(st.sampled_from(["id", "width", "tied", "lr", "model", "training", "name"]), words)
scalars = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), words)
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)), max_leaves=8)
tables = st.dictionaries(keys, values, max_size=4)
documents = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("experiment", "model", "training", "measure"), tables),
        **dict.fromkeys(("target", "variant"), st.lists(tables, max_size=3)),
    },
)


@settings(deadline=None, derandomize=True)
@given(documents)
def test_fresh_text_reads_back(data: dict[str, Any]) -> None:
    assert tomllib.loads(fresh(data)) == data
    assert parse(dump(from_dict(data)), ".").data == data


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(documents)
def test_any_values_can_be_written_into_any_text(data: dict[str, Any]) -> None:
    assert tomllib.loads(render(data, TEXT)) == data


PLACES = [
    "training.batch",
    "experiment.seeds",
    "model.layers",
    "model.layers[0].mixer.width",
    "model.head",
    "training.techniques",
    "training.techniques[0].lr",
    "variant[1].model.head",
    "variant[1].training.batch",
    "variant[2].techniques",
    "target[0].name",
    "measure.metrics",
]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=5))
def test_any_edits_of_a_commented_file_read_back_and_keep_the_head_comment(edits: list[tuple[str, Any]]) -> None:
    edited = experiment()
    for path, value in edits:
        try:
            edited = edited.set(path, value)
        except KeyPathError:  # an earlier edit took the list away that this path counts in
            continue
    text = dump(edited)
    assert parse(text, "/data").data == edited.data
    assert COMMENTS[0] in comments(text)
    assert "# a name, or a table with parameters" in comments(text)
