"""The sensitivity of a run in the profile view: what is drawn, what is copied, what is refused, and the process beside the window."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from engines.store import commands
from engines.store.database import Store
from workbench.desk import Desk
from workbench.profiling.sensitivity_bars import AXIS, _step
from workbench.profiling.sensitivity_page import SensitivityPage
from workbench.views.profile import ProfileView

sys.path.insert(0, str(Path(__file__).parent))
import samples

LOSSES = {"embedding.weight": (0.001, 0.02), "layers.0.mixer.lstm.weight_ih_l0": (-0.0004, 0.003), "head.output.weight": (0.002, 0.3)}
RECIPE = {"id": "quantization/weight_only", "types": ["Linear"], "include": ["head.output"], "layer_bits": {"head.output.weight": 4}}


def measured(*, recipe: dict[str, Any] | None = RECIPE) -> dict[str, Any]:
    """A sensitivity file with figures that are easy to find again."""

    def level(value: float, loss: float) -> dict[str, Any]:
        return {"level": value, "loss": loss, "low": loss - 0.001, "high": loss + 0.001, "figure": 60.0, "error": 0.1}

    layers = [
        {"name": name, "names": [name], "kinds": ["Linear"], "shape": [8, 8], "weights": 64, "place": place,
         "levels": [level(4, losses[0]), level(2, losses[1])]}
        for place, (name, losses) in enumerate(LOSSES.items())
    ]  # fmt: skip
    mix = {"allowed": 0.01, "levels": {"head.output.weight": 4} if recipe else {}, "recipe": recipe, "foretold": 0.002, "mean": 22.7,
           "figure": 60.1, "loss": 0.0021, "low": 0.001, "high": 0.003}  # fmt: skip
    return {
        "version": 1, "mode": "bits", "levels": [4, 2], "split": "valid", "targets": 400, "pieces": 20, "again": 0.0,
        "figure": {"key": "quality/valid_perplexity", "value": 60.0, "unit": "", "better": "lower"}, "loss": {"value": 4.1, "unit": "nats"},
        "layers": layers, "suggestion": mix,
    }  # fmt: skip


@pytest.fixture
def page(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[SensitivityPage]:
    """That of the profile view, on a store with one finished run."""
    desk.set_store(Store.open(store_url))
    view = ProfileView(desk)
    qtbot.addWidget(view)
    view.resize(1184, 746)
    view.show()
    view.faces.setCurrentIndex(1)
    samples.finished(store, variants=("full",))
    qtbot.waitUntil(lambda: view.sensitivity._run is not None, timeout=20_000)
    yield view.sensitivity
    view.leave()


def keep(store: Store, page: SensitivityPage, found: dict[str, Any]) -> None:
    path = Path(store.folder) / "sensitivity.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    commands.add_artifact(store, 1, "sensitivity", "bits", path)
    page._load()


def test_layers_are_drawn_by_what_they_lose_and_the_mix_is_copied(qtbot: QtBot, page: SensitivityPage, store: Store) -> None:
    assert page.pages.currentWidget() is page.empty
    keep(store, page, measured())
    qtbot.waitUntil(lambda: bool(page.bars.rows), timeout=20_000)
    assert [row["name"] for row in page.bars.rows] == ["head.output.weight", "embedding.weight", "layers.0.mixer.lstm.weight_ih_l0"]
    assert page._table is not None
    assert [row["mixed"] for row in page._table.figures.rows] == [4, None, None]
    assert "head.output.weight: 4 bits +0.0020 [+0.0010, +0.0030]; 2 bits +0.3000 [+0.2990, +0.3010] nats lost a target." in (
        page.bars.accessibleDescription()
    )
    second = QPointF(100, AXIS + page.bars._group() + 4).toPoint()
    qtbot.mouseClick(page.bars, Qt.MouseButton.LeftButton, pos=second)
    assert page._table.selected == "embedding.weight"
    assert "foretold, as if losses added up, +0.0020 nats, measured together +0.0021 [+0.0010, +0.0030]" in page.mix.text()
    assert "validation perplexity 60 becomes 60.1." in page.mix.text()
    page.copy()
    assert QGuiApplication.clipboard().text() == (
        '{ id = "quantization/weight_only", types = ["Linear"], include = ["head.output"], layer_bits = { "head.output.weight" = 4 } }'
    )
    page.modes.setCurrentIndex(1)
    assert page.pages.currentWidget() is page.empty


def test_where_no_layer_fits_there_is_nothing_to_copy(qtbot: QtBot, page: SensitivityPage, store: Store) -> None:
    keep(store, page, measured(recipe=None))
    qtbot.waitUntil(lambda: bool(page.bars.rows), timeout=20_000)
    assert page.mix.text() == "No layer can be rounded so within 0.01 nats a target: allow more, or try milder levels."
    assert page.copy_button.isHidden()


@pytest.mark.slow
def test_what_is_typed_wrongly_and_what_fails_stand_in_place(qtbot: QtBot, page: SensitivityPage) -> None:
    page.levels.setText("4, 9")
    page.start()
    assert page.notice.text.startswith("9 bits: weights are rounded to 2 to 8 whole bits")
    page.levels.setText("4")
    page.allowed.setText("much")
    page.start()
    assert page.notice.text.startswith('"much" is no number')
    page.allowed.setText("0.01")
    page.start()
    assert not page.working.isHidden()
    qtbot.waitUntil(lambda: "There is no finished model" in page.notice.text, timeout=60_000)
    assert page.working.isHidden()
    page.start()
    page.program.stop()
    qtbot.waitUntil(lambda: "nothing of it was stored" in page.notice.text, timeout=20_000)
    assert not page.program.running


def test_a_damaged_file_is_a_sentence(qtbot: QtBot, page: SensitivityPage, store: Store) -> None:
    keep(store, page, {"version": 7})
    qtbot.waitUntil(lambda: "of another version" in page.notice.text, timeout=20_000)


@pytest.mark.parametrize("span", [1e-6, 0.0031, 0.029, 0.5, 3.0, 47.0, 1234.0])
def test_axes_have_a_few_round_steps(span: float) -> None:
    step = _step(span)
    assert 1 < span / step <= 6
    assert f"{step:.0e}"[0] in "125"
