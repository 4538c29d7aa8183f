"""A package from outside in the real window: found in the catalogue, its card read, used in a variant, run by real processes, compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from engines.store import queries
from tests.third_party.installing import install
from workbench.fields import SwitchField
from workbench.forms import Row
from workbench.window import Window

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_supervisor_left")]

ID = "descent/sign_gradient"
EXPERIMENT = """
[experiment]
name = "Do signs learn?"
task = "language_model"
corpus = { id = "corpora/text_files", train = "text.txt", level = "word", max_vocabulary = 200 }
budget = { steps = 60 }
device = "cpu"
threads = 1

[model]
embedding = { id = "embeddings/lookup", width = 16 }
layers = [{ mixer = "recurrent/lstm" }]
head = "softmax/full"

[training]
batch = 4
sequence = 8
techniques = [{ id = "optimization/sgd", lr = 0.01 }]

[measure]
rounds = 0

[[variant]]
name = "plain"
"""


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and those that it starts see the package."""
    folder = install(tmp_path_factory.mktemp("site"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH")))))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    words = [f"word{n % 150}" for n in range(6000)]
    (tmp_path / "text.txt").write_text("\n".join(" ".join(words[n : n + 10]) for n in range(0, len(words), 10)) + "\n")
    path = tmp_path / "signs.toml"
    path.write_text(EXPERIMENT)
    return path


def test_a_technique_from_outside_is_found_used_and_run(
    qtbot: QtBot, make_window: Callable[..., Window], installed: None, experiment: Path
) -> None:
    window = make_window(experiment_path=experiment)
    window.go("experiment")
    editor = window.view("experiment")
    editor.variants.add()
    editor.variants.rename(1, "signed")
    window.go("catalogue")
    catalogue = window.view("catalogue")
    qtbot.waitUntil(lambda: catalogue.choose(ID), timeout=60_000)
    assert catalogue.title.text() == "Sign of the gradient"
    assert "signSGD" in catalogue.card.accessibleName()
    certificates = catalogue.certificates
    certificates.verify_button.click()
    qtbot.waitUntil(lambda: certificates.verify_button.text() == "Verify again", timeout=120_000)
    assert any("holds: error" in certificates.statements.itemAt(n).widget().text() for n in range(certificates.statements.count()))
    catalogue.use_button.click()
    assert window.current == "experiment"
    card = editor.recipe.card("technique/1")
    assert card is not None
    assert card.form is not None
    row = card.form.rows["scaled"]
    assert isinstance(row, Row)
    assert isinstance(row.field, SwitchField)
    row.field.box.click()
    assert window.document.data["variant"][1]["techniques"] == [{"id": ID, "scaled": True}]
    qtbot.waitUntil(lambda: editor.checks.done and not editor.all_problems, timeout=60_000)
    qtbot.keyClick(window, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.current == "runs", timeout=60_000)
    runs = window.view("runs")
    qtbot.waitUntil(lambda: [run.status for run in runs.model.runs] == ["done", "done"], timeout=240_000)
    assert window.desk.store is not None
    (effect,) = [each for each in queries.effects(window.desk.store, runs.model.runs[1].id) if each.technique == ID]
    assert effect.sentence.endswith("gradients are replaced by their signs times their mean size.")
    runs.bar.compare_button.click()
    compare = window.view("compare")
    qtbot.waitUntil(lambda: compare.tabs.part("overview").model.rowCount() == 2, timeout=30_000)
