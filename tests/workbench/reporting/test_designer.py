"""A report is designed with mouse and keyboard; what was done can be undone, is kept, and is what the files hold."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pypdf import PdfReader
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QListWidget
from pytestqt.qtbot import QtBot

from engines.report import design as designs
from engines.report.design import Design, Section
from engines.store.database import Store
from workbench.desk import Desk
from workbench.reporting.designer import Designer
from workbench.views.compare import CompareView

sys.path.insert(0, str(Path(__file__).parent.parent))
import samples

CONTROL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[CompareView]:
    samples.finished(store)
    desk.set_store(Store.open(store_url))
    made = CompareView(desk)
    qtbot.addWidget(made)
    made.resize(1280, 800)
    made.show()
    qtbot.waitUntil(lambda: made.comparison is not None, timeout=10_000)
    yield made
    made.leave()


@pytest.fixture
def designer(qtbot: QtBot, view: CompareView) -> Designer:
    view.tabs.go("report")
    part = view.tabs.part("report")
    assert isinstance(part, Designer)
    qtbot.waitUntil(lambda: part.design is not None and part.preview.settled, timeout=20_000)
    return part


def kinds(designer: Designer) -> list[str]:
    return [section.kind for section in designer.draft.design.sections]


def test_a_text_is_written_seen_undone_and_kept(qtbot: QtBot, designer: Designer, store: Store) -> None:
    assert designer.draft.design == Design()
    designer.draft.choose(1)
    designer.add_text()
    assert kinds(designer)[:3] == ["summary", "verdicts", "text"]
    qtbot.keyClicks(designer.editor.text, "Held **against**")
    assert designer.draft.section == Section(kind="text", text="Held **against**")
    qtbot.waitUntil(lambda: designer.preview.settled, timeout=10_000)
    assert any("Held against" in sheet.picture.words for sheet in designer.preview._sheets() if sheet.picture)
    assert designer.list.item(2).text() == "Text: Held **against**"
    qtbot.waitUntil(lambda: designs.remembered(store, designer.draft.experiments) == designer.draft.design, timeout=5_000)
    qtbot.keyClick(designer.editor.text, Qt.Key.Key_Z, CONTROL)
    assert designer.draft.section == Section(kind="text")
    assert designer.editor.text.toPlainText() == ""
    qtbot.keyClick(designer.list, Qt.Key.Key_Z, CONTROL)
    assert designer.draft.design == Design()
    qtbot.keyClick(designer.list, Qt.Key.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    assert kinds(designer)[2] == "text"


def test_sections_are_hidden_moved_and_dropped(qtbot: QtBot, designer: Designer, monkeypatch: pytest.MonkeyPatch) -> None:
    designer.list.setFocus()
    qtbot.keyClick(designer.list, Qt.Key.Key_Space)
    assert not designer.draft.design.sections[0].shown
    qtbot.keyClick(designer.list, Qt.Key.Key_Down, ALT)
    assert kinds(designer)[:2] == ["verdicts", "summary"]
    assert designer.list.currentRow() == 1
    assert designer.list.item(1).checkState() == Qt.CheckState.Unchecked

    def dropped(listed: QListWidget, _event: object) -> None:
        listed.insertItem(0, listed.takeItem(4))

    monkeypatch.setattr(QListWidget, "dropEvent", dropped)
    fifth = kinds(designer)[4]
    designer.list.dropEvent(None)
    assert kinds(designer)[:3] == [fifth, "verdicts", "summary"]
    qtbot.keyClick(designer.list, Qt.Key.Key_Delete)
    assert len(kinds(designer)) == len(Design().sections)  # only hidden: it is none of one's own
    for _ in range(designer.draft.undo.count()):
        designer.draft.undo.undo()
    assert designer.draft.design == Design()


def test_files_hold_what_is_designed(qtbot: QtBot, view: CompareView, designer: Designer, tmp_path: Path) -> None:
    designer.draft.take(Design(title="Größe", sections=(Section(kind="text", text="Only this."),)), "test")
    for form in ("html", "pdf", "markdown", "latex", "design"):
        view.notice.clear()
        view.export(form, tmp_path / form)
        qtbot.waitUntil(lambda: "Written" in view.notice.text, timeout=20_000)
    assert "Only this." in (tmp_path / "html").read_text(encoding="utf-8")
    assert (tmp_path / "markdown").read_text(encoding="utf-8").startswith("# Größe\n\nOnly this.\n")
    assert "Only this." in PdfReader(io.BytesIO((tmp_path / "pdf").read_bytes())).pages[0].extract_text()
    designer.draft.reset()
    designer.open_file(tmp_path / "design")
    qtbot.waitUntil(lambda: designer.draft.design.title == "Größe", timeout=5_000)


def test_a_damaged_description_is_told_and_left_alone(qtbot: QtBot, view: CompareView, store: Store) -> None:
    place = designs.place(store, view.comparison["experiments"])  # type: ignore[index]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("[[section]]\nkind = 'savins'\n", encoding="utf-8")
    view.tabs.go("report")
    part = view.tabs.part("report")
    assert isinstance(part, Designer)
    qtbot.waitUntil(lambda: part.design is not None, timeout=10_000)
    assert 'did you mean "savings"' in part.notice.text
    assert "savins" in place.read_text(encoding="utf-8")


def test_what_was_changed_last_is_kept_as_the_window_closes(view: CompareView, designer: Designer, store: Store) -> None:
    designer.draft.entitle("At the last moment")
    view.leave()
    assert designs.remembered(store, designer.draft.experiments).title == "At the last moment"


def test_a_tradeoff_takes_its_axes(qtbot: QtBot, designer: Designer) -> None:
    designer.draft.choose(kinds(designer).index("tradeoff"))
    choice = designer.editor.axes["x"]
    assert choice.isVisible()
    choice.setCurrentIndex(choice.findData("size/model_mib"))
    choice.activated.emit(choice.currentIndex())
    assert designer.draft.section is not None
    assert designer.draft.section.x == "size/model_mib"
    designer.draft.choose(0)
    assert not choice.isVisible()


def test_the_chosen_section_is_in_sight(qtbot: QtBot, designer: Designer) -> None:
    """Also after it was moved, when other sections stand above it."""
    preview = designer.preview

    def in_sight() -> bool:
        (sheet,) = (sheet for sheet in preview._sheets() if sheet.place == designer.draft.chosen)
        return preview.settled and not sheet.visibleRegion().isEmpty()

    designer.draft.choose(kinds(designer).index("method"))
    qtbot.waitUntil(in_sight, timeout=10_000)
    designer.draft.arrange([designer.draft.chosen, *(place for place in range(len(kinds(designer))) if place != designer.draft.chosen)])
    assert designer.draft.chosen == 0
    qtbot.waitUntil(in_sight, timeout=10_000)
    assert preview.verticalScrollBar().value() < 200
