from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from engines.experiment import load
from engines.problems import ExperimentError
from workbench.editor.document import Document

FILE = """# What we ask
[experiment]
name = "small"   # its name
task = "language_model"
corpus = { id = "corpora/python_stdlib" }
budget = { tokens = 1000 }

[model]
embedding = { id = "embeddings/lookup", width = 8 }
layers = [{ mixer = { id = "recurrent/lstm" } }]
head = { id = "softmax/full" }

[[variant]]
name = "one"
"""


@pytest.fixture
def document(qapp: QApplication) -> Document:
    return Document()


def test_edits_can_be_undone_and_typing_is_one_step(document: Document) -> None:
    before = document.data
    for text in ("a", "ab", "abc"):
        document.edit("Rename", lambda data, text=text: data["experiment"].__setitem__("name", text), "name")
    document.edit("Budget", lambda data: data["experiment"].__setitem__("budget", {"steps": 5}))
    assert document.undo.count() == 2
    assert document.dirty
    document.undo.undo()
    assert document.data["experiment"]["name"] == "abc"
    document.undo.undo()
    assert document.data == before
    assert not document.dirty
    document.undo.redo()
    assert document.data["experiment"]["name"] == "abc"


def test_an_edit_that_changes_nothing_is_none(document: Document) -> None:
    document.edit("Nothing", lambda data: None)
    assert document.undo.count() == 0


def test_saving_keeps_comments_and_gives_the_same_experiment(document: Document, tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(FILE)
    document.open(path)
    assert document.folder == tmp_path
    document.edit("Width", lambda data: data["model"]["embedding"].__setitem__("width", 16))
    document.save(path)
    text = path.read_text()
    assert "# What we ask" in text
    assert "# its name" in text
    assert load(path).data == document.data
    assert load(path).data["model"]["embedding"]["width"] == 16
    assert not document.dirty


def test_saving_as_json(document: Document, tmp_path: Path) -> None:
    document.save(tmp_path / "new.json")
    assert load(tmp_path / "new.json").data == document.data


def test_a_file_that_is_no_experiment_leaves_the_document_as_it_was(document: Document, tmp_path: Path) -> None:
    before = document.data
    (tmp_path / "bad.toml").write_text("[[[")
    with pytest.raises(ExperimentError):
        document.open(tmp_path / "bad.toml")
    assert document.data is before
