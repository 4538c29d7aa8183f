"""Sweeps and ablations: what the values are, what each variant then is, and what is refused."""

from __future__ import annotations

import itertools
import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import cli
from engines.differences import differences
from engines.experiment import Experiment, dump, parse
from engines.keypaths import KeyPathError
from engines.merging import Index, merge
from engines.problems import ExperimentError
from engines.sweeping import Axis, ablate, axis, sweep, sweepable
from tests.engines.sample import CATALOGUE

TEXT = """
# What this is about.
[experiment]
name = "Sweep me"
task = "language_model"
corpus = "python_stdlib"
budget = { tokens = 20_000 }
baseline = "full"

[model]
embedding = { id = "embeddings/lookup", width = 32 }
layers = [{ mixer = { id = "recurrent/lstm", width = 32 }, repeat = 2 }]   # two layers
head = "softmax/full"

[training]
batch = 8
techniques = [{ id = "optimization/adam", lr = 1e-3 }, "optimization/clip_norm"]

[[variant]]
name = "full"      # as it is

[[variant]]
name = "all"
without = ["optimization/clip_norm"]
techniques = [{ id = "pruning/magnitude", sparsity = 0.8 }, { id = "optimization/warmup" }, { id = "optimization/sgd", lr = 2.0 }]
"""
INDEX = Index(CATALOGUE)


@pytest.fixture
def experiment() -> Experiment:
    return parse(TEXT, ".")


def new(before: Experiment, after: Experiment) -> dict[str, Any]:
    """{name: plan} of what was added."""
    plans = after.plans(CATALOGUE)
    return {each.name: plans[each.name] for each in after.variants[len(before.variants) :]}


# --- Axes -------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("training.batch=8,16, 32", (8, 16, 32)),
        ("optimization/adam.lr=1e-3", (0.001,)),
        ("model.head.id=softmax/full,softmax/adaptive", ("softmax/full", "softmax/adaptive")),
        ("model.head.cutoffs=[10, 20], [30]", ([10, 20], [30])),
        ("model.head.tied=[true, false]", (True, False)),
        ("training.batch=8:32:4", (8, 16, 24, 32)),
        ("pruning/magnitude.sparsity=0.5:0.9:3", (0.5, 0.7, 0.9)),
        ("optimization/adam.lr=1e-4:1e-1:4:log", (1e-4, 1e-3, 1e-2, 1e-1)),
        ("training.batch=1:3:9", (1, 2, 3)),
        ('variant."a.b".x="1:2:3"', ("1:2:3",)),
    ],
)
def test_values_are_listed_or_a_range(text: str, values: tuple[Any, ...]) -> None:
    assert axis(text).values == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training.batch", "names no values"), ("training.batch=", "names no values"), ("training.batch=8,8", "the value 8 twice"),
        ("x=1:2", "no range"), ("x=1:2:1", "two values"), ("x=0:1:3:log", "above zero"), ("x=a:b:c", "no range"), (".x=1", "not a key path"),
        ("x=1:2:3:lin", "no range"), ("x=1:2:3:4", "no range"), ("x=1:inf:3", "two ends"),
        ("x=1:9:99999999", "more than 10,000"), ("x=[]", "has no values"),
    ],
)  # fmt: skip
def test_what_is_no_axis_is_a_sentence(text: str, said: str) -> None:
    with pytest.raises(KeyPathError, match=said):
        axis(text)


@given(st.lists(st.one_of(st.integers(-999, 999), st.floats(-10, 10), st.booleans(), st.text(st.characters(categories=["L"]), min_size=1))))
def test_any_values_are_read_back(values: list[Any]) -> None:
    distinct = [value for place, value in enumerate(values) if value not in values[:place]]
    if not distinct:
        return
    assert list(axis(f"a/b.c={json.dumps(distinct, ensure_ascii=False)}").values) == distinct


@given(st.text(max_size=30))
def test_any_text_is_an_axis_or_a_sentence(text: str) -> None:
    try:
        found = axis(text)
    except KeyPathError:
        return
    assert found.values


# --- Sweeps -----------------------------------------------------------------------------------------------------------------------------------


def test_all_combinations_become_variants_of_the_baseline(experiment: Experiment) -> None:
    axes = [axis("training.batch=4,16"), axis("optimization/adam.lr=0.1,0.2,0.3")]
    found = new(experiment, sweep(experiment, axes, CATALOGUE))
    assert list(found) == [f"batch {batch}, lr {rate}" for batch, rate in itertools.product((4, 16), (0.1, 0.2, 0.3))]
    for name, plan in found.items():
        adam = plan["techniques"][0]
        assert (adam["id"], plan["techniques"][1]["id"]) == ("optimization/adam", "optimization/clip_norm")
        assert name == f"batch {plan['training']['batch']}, lr {adam['lr']}"


def test_together_the_nth_values_meet(experiment: Experiment) -> None:
    axes = [axis("training.batch=4,16"), axis("corpus.vocabulary=10,20")]
    found = new(experiment, sweep(experiment, axes, CATALOGUE, together=True))
    assert [(plan["training"]["batch"], plan["corpus"]["vocabulary"]) for plan in found.values()] == [(4, 10), (16, 20)]
    with pytest.raises(ExperimentError, match=r"training\.batch 2, corpus\.vocabulary 1"):
        sweep(experiment, [axes[0], Axis("corpus.vocabulary", (1,))], CATALOGUE, together=True)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("model.head.id=softmax/adaptive", lambda plan: plan["model"]["head"]["id"]),
        ("model.embedding.width=64", lambda plan: plan["model"]["embedding"]["width"]),
        ("model.layers[0].mixer.width=64", lambda plan: plan["model"]["layers"][0]["mixer"]["width"]),
        ("model.layers[0].repeat=5", lambda plan: plan["model"]["layers"][0]["repeat"]),
        ("experiment.corpus.vocabulary=99", lambda plan: plan["corpus"]["vocabulary"]),
        ("training.sequence=77", lambda plan: plan["training"]["sequence"]),
        ("training.techniques.optimization/adam.lr=0.5", lambda plan: plan["techniques"][0]["lr"]),
        ("training.techniques[1].max_norm=0.5", lambda plan: plan["techniques"][1]["max_norm"]),
        ("clip_norm.max_norm=0.5", None),
    ],
)
def test_every_field_of_a_variant_can_be_swept(experiment: Experiment, text: str, read: Any) -> None:
    swept = axis(text)
    if read is None:
        with pytest.raises(ExperimentError, match="the same for all variants, or unknown"):
            sweep(experiment, [swept], CATALOGUE)
        return
    (plan,) = new(experiment, sweep(experiment, [swept], CATALOGUE)).values()
    assert read(plan) == swept.values[0]
    path_is_id = text.startswith("model.head.id")
    (apart,) = differences(experiment.plans(CATALOGUE)["full"], plan)
    new_value = apart["new"]["id"] if path_is_id else apart["new"]
    assert new_value == read(plan)


def test_a_variant_keeps_what_it_changes(experiment: Experiment) -> None:
    found = new(experiment, sweep(experiment, [axis("pruning/magnitude.sparsity=0.5,0.9")], CATALOGUE, variant="all"))
    assert list(found) == ["all, sparsity 0.5", "all, sparsity 0.9"]
    assert [[each["id"] for each in plan["techniques"]] for plan in found.values()] == [
        ["optimization/sgd", "pruning/magnitude", "optimization/warmup"]
    ] * 2


def test_names_that_are_taken_get_a_number_and_comments_stay(experiment: Experiment) -> None:
    twice = sweep(sweep(experiment, [axis("training.batch=4")], CATALOGUE), [axis("training.batch=4")], CATALOGUE)
    assert [each.name for each in twice.variants] == ["full", "all", "batch 4", "batch 4 (2)"]
    text = dump(twice)
    assert "# as it is" in text
    assert "# two layers" in text
    assert tomllib.loads(text) == twice.data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("experiment.seeds=1,2", "the same for all variants"), ("budget.tokens=1,2", "the same for all variants"), ("measure.rounds=1", "the same"),
        ("optimization/adm.lr=1", 'did you mean "optimization/adam"'), ("optimization/adam.rl=1", "no parameter of optimization/adam"),
        ("optimization/adam.lr=-1", "greater than 0"), ("optimization/adam=1", "names a technique, no field"),
        ("model.layers[3].mixer.width=1", "there are 1 layers"), ("model.head.id=softmax/adaptve", 'did you mean "softmax/adaptive"'),
        ("training.techniques=1", "the same for all variants"), ("training.rate=1", "no field of a variant"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused(experiment: Experiment, text: str, said: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        sweep(experiment, [axis(text)], CATALOGUE)
    assert said in str(refused.value)


def test_unknown_variants_and_thousands_of_them_are_refused(experiment: Experiment) -> None:
    with pytest.raises(ExperimentError, match='did you mean "all"'):
        sweep(experiment, [axis("training.batch=1")], CATALOGUE, variant="al")
    with pytest.raises(ExperimentError, match="would make 400 variants, more than 200"):
        sweep(experiment, [axis("training.batch=1:20:20"), axis("training.sequence=1:20:20")], CATALOGUE)
    with pytest.raises(ExperimentError, match="more than 3"):
        sweep(experiment, [axis("training.batch=1:4:4")], CATALOGUE, most=3)


def test_every_field_that_is_offered_can_be_swept(experiment: Experiment) -> None:
    merged = next(each for each in merge(experiment.data, INDEX) if each.name == "all")
    offered = sweepable(merged, INDEX)
    assert {"training.batch", "pruning/magnitude.sparsity", "model.layers[0].mixer.width", "corpus.vocabulary"} <= set(offered)
    for path in offered:
        steps = path.rpartition(".")[2]
        values = {"tied": (True,)}.get(steps, (3,))
        said = ""
        try:
            sweep(experiment, [Axis(path, values)], CATALOGUE, variant="all")
        except ExperimentError as refused:
            said = str(refused)
        # A value may be out of bounds; the place is right.
        assert not said or "must be" in said, path


# --- Ablations --------------------------------------------------------------------------------------------------------------------------------


def test_each_technique_is_left_out_once(experiment: Experiment) -> None:
    found = new(experiment, ablate(experiment, CATALOGUE))
    recipes = {name: [each["id"].rpartition("/")[2] for each in plan["techniques"]] for name, plan in found.items()}
    assert recipes == {
        "all without magnitude": ["sgd", "warmup"], "all without warmup": ["sgd", "magnitude"],
        "all without sgd": ["adam", "magnitude", "warmup"],
    }  # fmt: skip


def test_each_technique_is_added_alone(experiment: Experiment) -> None:
    found = new(experiment, ablate(experiment, CATALOGUE, add_one=True))
    recipes = {name: [each["id"].rpartition("/")[2] for each in plan["techniques"]] for name, plan in found.items()}
    assert recipes == {
        "full with magnitude alone": ["adam", "clip_norm", "magnitude"], "full with warmup alone": ["adam", "clip_norm", "warmup"],
        "full with sgd alone": ["sgd", "clip_norm"],
    }  # fmt: skip


def test_the_baseline_loses_its_own_and_what_cannot_run_is_left_out(experiment: Experiment) -> None:
    """Warm-up asks for an optimiser, so nothing is made that lacks one."""
    wanted = experiment.set("variant.full.techniques", ["optimization/warmup"])
    names = list(new(wanted, ablate(wanted, CATALOGUE, variant="full")))
    assert "full without adam" not in names
    assert {"full without clip_norm", "full without warmup"} <= set(names)


def test_an_ablation_of_nothing_is_refused(experiment: Experiment) -> None:
    bare = experiment.set("variant.all.techniques", [{"id": "pruning/magnitude"}])
    with pytest.raises(ExperimentError, match="one technique beyond the baseline"):
        ablate(bare, CATALOGUE)
    with pytest.raises(ExperimentError, match="nothing that could be added"):
        ablate(experiment, CATALOGUE, variant="full", add_one=True)


# --- The command line ---------------------------------------------------------------------------------------------------------------------------


def test_the_verbs_write_files(tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from engines import catalogue

    monkeypatch.setattr(catalogue, "read", lambda: CATALOGUE)
    path, out = tmp_path / "a.toml", tmp_path / "b.toml"
    path.write_text(TEXT)
    assert cli.main(["sweep", str(path), "--over", "training.batch=4,16", "--out", str(out)]) == 0
    assert "2 variants more: batch 4, batch 16. With the others and 1 seed(s) that is 4 runs." in capsys.readouterr().err
    assert [each["name"] for each in tomllib.loads(out.read_text())["variant"]] == ["full", "all", "batch 4", "batch 16"]
    assert cli.main(["ablate", str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["variant"]) == 5
    assert cli.main(["sweep", str(path), "--over", "training.batch"]) == 2
    assert "names no values" in capsys.readouterr().err
    assert cli.main(["sweep", str(path), "--over", "training.bath=1"]) == 2
    assert cli.main(["sweep", str(path), "--over", "training.batch=1", "--out", str(tmp_path / "no" / "where.toml")]) == 2
    assert "cannot be written" in capsys.readouterr().err
