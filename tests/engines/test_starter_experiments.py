"""The experiments that come with the workbench are sound against the real catalogue, and stay as they are when they are opened and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines import catalogue
from engines.experiment import dump, load

FOLDER = Path(__file__).parents[2] / "resources" / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))


@pytest.fixture(scope="module")
def plugins() -> dict[str, Any]:
    return catalogue.read()


LARGE = ("output_layers", "output_layers_text")
"""About large vocabularies: they have one, and less text for it."""


def test_the_ones_that_the_documents_name_are_there() -> None:
    assert {path.stem for path in FILES} >= {"demo", "small_transformer", "distillation", "trees_and_classes", *LARGE}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_sound(path: Path, plugins: dict[str, Any]) -> None:
    experiment = load(path)
    model = experiment.get("model.id")
    if model in ("models/pretrained", "models/sentence_encoder") and not plugins["plugins"][model]["available"]["ok"]:
        pytest.skip(plugins["plugins"][model]["available"]["reason"])
    assert [problem.sentence() for problem in experiment.problems(plugins)] == []
    assert [problem.sentence() for problem in experiment.smoke().problems(plugins)] == []
    assert len(experiment.plans(plugins)) == len(experiment.variants) >= 2
    assert dump(experiment) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_cheap_enough_for_two_cores(path: Path) -> None:
    """The vocabulary and the held-out text bound what a variant costs; each has to learn within its minute."""
    experiment = load(path)
    if experiment.get("experiment.task") == "text_classification" and experiment.get("corpus.level") == "encoder":
        # Each text that is fine-tuned on takes 30 ms of a core.
        assert experiment.get("experiment.budget.tokens") <= 2_000
        assert 0 < experiment.file.measure.held_out_tokens <= 2_000
        return
    if experiment.get("corpus.level") in ("pretrained", "encoder"):
        assert experiment.get("experiment.budget") == {"steps": 0}
        # Tokens, or pairs of sentences, which an encoder reads faster.
        assert 0 < experiment.file.measure.held_out_tokens <= (1_000 if experiment.get("corpus.level") == "pretrained" else 2_000)
        return
    assert experiment.get("corpus.max_vocabulary") <= (100_000 if path.stem in LARGE else 10_000)
    assert path.stem not in LARGE or experiment.get("experiment.budget.tokens") <= 50_000
    assert 0 < experiment.file.measure.held_out_tokens <= 20_000
    assert experiment.file.experiment.threads == 1


def test_distilled_students_wait_for_their_teacher(plugins: dict[str, Any]) -> None:
    assert load(FOLDER / "distillation.toml").needs(plugins) == {
        "student alone": [], "teacher": [], "student distilled": ["teacher"], "student layerwise": ["teacher"],
    }  # fmt: skip
