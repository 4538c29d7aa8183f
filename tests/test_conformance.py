"""What every plugin of the catalogue must be, whoever wrote it: loaded, described, as its certificates say; and what every study must tell.

What blocks, techniques, texts and compression must be besides stands in the test_conformance_of_ files, which take their examples from here.
A plugin that is added is tested without a line of its own, unless it has parameters without a default or does nothing in a tiny model under
its defaults: then EXAMPLES names some.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from engines import catalogue
from engines.api import Block, Plugin, Study
from engines.runtime.plan import block
from engines.runtime.study import measure, study_of
from engines.runtime.verify import verify

EXAMPLES: dict[str, dict[str, Any]] = {
    "corpora/labelled_files": {"train": "text.txt"},
    "corpora/sentence_pairs": {"train": "pairs.tsv"},
    "corpora/text_files": {"train": "text.txt"},
    "distillation/layerwise": {"teacher": "teacher"},
    "distillation/pretraining": {"teacher": "teacher"},
    "distillation/soft_labels": {"teacher": "teacher"},
    "models/own": {"factory": "tests.plugins.models.nets:recurrent"},
    "softmax/adaptive": {"cutoffs": [50, 200], "div_value": 2.0},
    "softmax/importance_sampled": {"samples": 64},
    "softmax/hard_negatives": {"negatives": 100},
    "softmax/nce": {"samples": 64},
    "softmax/negative_sampling": {"samples": 64},
    "experts/switch": {"experts": 2},
    "optimization/clip_norm": {"max_norm": 0.01},
    "quantization/ternary_distilled": {"teacher": "teacher"},
    "pruning/structured": {"recurrent": 0.5},
    "batching/random_bptt": {"spread": 3.0, "shortest": 4},
    "studies/combined_operations": {"words": [1, 3, 5], "width": 8, "batch": 2},
    "studies/data_movement": {"mib": [0.0625, 0.125], "words": 4, "width": 8},
    "studies/minibatch": {"batches": [1, 3], "lines": 7, "width": 4, "source": {"id": "corpora/python_stdlib", "fraction": 0.001}},
    "studies/operation_parallel": {"sizes": [4, 8], "operations": 2},
    "studies/threads": {"sizes": [4, 8], "threads": [1, 2]},
    "studies/head_vocabulary": {"vocabularies": [60, 120], "tokens": 8, "width": 32},
    "studies/matmul": {"largest": 64, "dtypes": ["float32", "float64"], "threads": [1]},
    "studies/prediction_search": {
        "source": "synthetic",
        "vocabulary": 300,
        "width": 8,
        "contexts": 20,
        "calibration": 30,
        "dimensions": [4],
        "candidates": [20],
        "lists": 8,
        "probed": [2],
        "links": 8,
        "beams": [8],
        "bits": [64],
    },
    "studies/sparse_matmul": {"densities": [0.1, 0.5], "batches": [1, 3], "widths": [16, 32]},
    "studies/repeated_operations": {"words": [1, 3, 5], "width": 8, "vectors": 3, "example_width": 4},
}
"""Parameters that a plugin needs, or needs to matter with 500 words, 24 numbers and 12 tokens."""

ELSEWHERE = {
    "baselines/linear": "tells texts apart and predicts no token: tests/plugins/baselines/test_linear.py",
    "models/pretrained": "has 134.5 M parameters and tokens of its own: tests/plugins/models/test_pretrained.py",
    "models/sentence_encoder": "has tokens of its own: tests/plugins/models/test_sentence_encoder.py",
}
"""Blocks that are what they are, and where they are tried."""

ADAM = {"id": "optimization/adam", "lr": 0.01}
SGD = {"id": "optimization/sgd", "lr": 0.5}


def plugins(kind: type[Plugin] = Plugin) -> list[str]:
    return [id for id in catalogue.sources() if issubclass(catalogue.load(id), kind)]


def small_blocks() -> list[str]:
    """Blocks that can be tried in a tiny model."""
    return [id for id in plugins(Block) if id not in ELSEWHERE]


def choice(id: str) -> dict[str, Any]:
    return {"id": id} | EXAMPLES.get(id, {})


def made(id: str) -> Any:
    return catalogue.load(id)(**EXAMPLES.get(id, {}))


def test_every_built_in_loads() -> None:
    entries = catalogue.build()["plugins"]
    assert len(entries) >= 25
    assert {id: entry["error"] for id, entry in entries.items() if entry["error"]} == {}


@pytest.mark.parametrize("id", plugins())
def test_the_card_says_what_a_reader_needs(id: str) -> None:
    entry = catalogue.entry(id)
    title, card = entry["title"], entry["card"]
    assert 3 <= len(title) <= 80
    assert re.search(r"https?://", entry["paper"]), "a paper needs a link"
    assert re.search(r"\d{4}", entry["paper"] + card), "a reference needs a year"
    assert "Does nothing when" in card
    if entry["kind"] in ("block", "technique"):
        assert re.search(r"\(1\)|\(\w, \w\)|\([A-Z]\)", card), "equations or shapes"
        assert "Cost:" in card
    for name, field in entry["parameters"].get("properties", {}).items():
        assert field.get("description"), f"{name} has no help"


@pytest.mark.parametrize("id", plugins())
def test_parameters_round_trip_through_json_and_fit_their_schema(id: str) -> None:
    plugin = made(id)
    written = plugin.model_dump_json()
    assert type(plugin).model_validate_json(written) == plugin
    jsonschema.validate(json.loads(written), catalogue.entry(id)["parameters"])
    with pytest.raises(ValueError, match="no_such_parameter"):
        type(plugin)(**EXAMPLES.get(id, {}), no_such_parameter=1)


@pytest.mark.parametrize("id", [id for id, entry in catalogue.build()["plugins"].items() if entry["certificates"]])
@pytest.mark.parametrize("trial", [{}, {"batch": 3, "length": 7, "width": 8, "vocabulary": 31, "seed": 1}], ids=["default", "small and odd"])
def test_every_certificate_holds(id: str, trial: dict[str, Any]) -> None:
    if reason := catalogue.load(id).unavailable():
        pytest.skip(reason)
    for each in verify(id, trial):
        assert each["holds"], f"{each['statement']}: {each.get('reason') or each['error']}"


@pytest.mark.slow
@pytest.mark.parametrize("id", plugins(Study))
def test_a_study_measures_and_concludes(id: str) -> None:
    """Its alternatives compute the same values, or nothing is measured."""
    study = study_of(id, EXAMPLES.get(id, {}) | {"seconds": 0.01})
    told: list[dict[str, Any]] = []
    found = measure(study, "which?", tell=lambda **event: told.append(event))
    json.dumps(found, allow_nan=False)
    points = [point for curve in found["curves"] for point in curve["points"]]
    assert points or found["steps"]
    assert all(point["value"] > 0 and (point["low"] is None or point["low"] <= point["value"] <= point["high"]) for point in points)
    assert [event["event"] for event in told].count("point") == len(points)
    assert told[-1]["done"] == told[-1]["total"] > 0
    assert found["findings"]
    assert found["expectation"]["outcome"] in ("met", "refuted", "not decided")
    for sentence in (*found["findings"], *found["not_shown"], found["expectation"]["sentence"], found["expectation"]["reason"]):
        assert re.fullmatch(r"\S.*[.!]", sentence), sentence


@pytest.mark.parametrize("id", plugins(Study))
def test_a_study_says_what_it_will_measure_without_allocating(id: str) -> None:
    study = study_of(id, {})
    if study.corpus() is None:
        groups = list(study.groups_with(None, block))
        assert all(len({cell.curve for cell in group.cells}) == len(group.cells) > 0 for group in groups)
        xs = [group.x for group in groups if group.x is not None]
        assert xs == sorted(xs)
