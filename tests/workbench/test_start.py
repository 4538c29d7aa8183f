"""The start page: the gallery, a text of one's own, recent experiments, the tour; and the command palette."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from workbench import gallery, openings, palette
from workbench.palette import Entry, Palette
from workbench.tour import Tour
from workbench.watching.run_tabs import RUN
from workbench.window import Window

sys.path.insert(0, str(Path(__file__).parent))
import samples

Make = Callable[..., Window]


@pytest.fixture
def window(qtbot: QtBot, make_window: Make) -> Window:
    """A window on its start page, with the gallery read."""
    made = make_window()
    made.go("start")
    qtbot.waitUntil(lambda: bool(made.view("start").cards), timeout=10_000)
    return made


def drop(over: QWidget, *paths: Path) -> None:
    """Drag files over a widget and drop them where they are taken."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    action, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entering = QDragEnterEvent(QPoint(20, 20), action, data, left, none)
    QApplication.sendEvent(over, entering)  # From widget to parent, until one takes it.
    assert entering.isAccepted()
    over.window().dropEvent(QDropEvent(QPoint(20, 20).toPointF(), action, data, left, none))


# --- The gallery ------------------------------------------------------------------------------------------------------------------------------


def test_every_example_stands_in_the_gallery_once() -> None:
    listed = Counter(example.path.name for group in gallery.groups() for example in group.examples)
    assert listed == Counter(path.name for path in gallery.FOLDER.glob("*.toml"))


def test_a_card_says_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "# Does it pay? A sentence. Another one. A third.\n\n[experiment]\nname = 'Does it pay?'\ntask = 'language_model'\n"
        "corpus = { id = 'corpora/text_files', train = 'mine.txt' }\nbudget = { tokens = 90_000 }\nseeds = [0, 1]\n"
        "[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\ntechniques = [{ id = 'pruning/magnitude' }]\n",
        encoding="utf-8",
    )
    example = gallery.read(path)
    assert (example.title, example.about) == ("Does it pay?", "A sentence. Another one.")
    assert example.takes == "2 variants · 90,000 tokens · 2 seeds"
    assert example.plugins == {"tasks/language_model", "corpora/text_files", "pruning/magnitude"}
    assert example.wants_file == "mine.txt"
    (tmp_path / "mine.txt").touch()
    assert gallery.read(path).wants_file == ""
    catalogue = {"plugins": {"pruning/magnitude": {"available": {"ok": False, "reason": "No scissors."}}}}
    assert gallery.unavailable(example, catalogue) == "No scissors."
    assert gallery.unavailable(example, None) == ""


def test_a_card_opens_its_example_and_one_that_lacks_a_file_cannot_run(qtbot: QtBot, window: Window) -> None:
    cards = {card.example.path.stem: card for card in window.view("start").cards}
    assert not cards["output_layers_text"].run.isEnabled()
    qtbot.mouseClick(cards["demo"], Qt.MouseButton.LeftButton)
    assert window.current == "experiment"
    assert window.document.name == cards["demo"].example.title
    assert window.document.path is None


def test_run_on_a_card_starts_it(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(window, "start_run", started.append)
    next(card for card in window.view("start").cards if card.example.path.stem == "demo").run.click()
    assert started == [False]


def test_cards_stand_in_as_many_columns_as_fit(qtbot: QtBot, window: Window) -> None:
    view = window.view("start")
    for width, columns in ((1000, 1), (2400, 5)):
        window.resize(width, 800)
        qtbot.waitUntil(lambda columns=columns: view._columns >= columns, timeout=5_000)
        assert all(card.width() >= 200 for card in view.cards)


def test_the_gallery_is_not_cut_in_the_smallest_window_with_larger_text(qtbot: QtBot, window: Window) -> None:
    window.appearance.choose_text_size(125)
    window.resize(window.minimumSize())
    view = window.view("start")
    qtbot.waitUntil(lambda: view._scroll.widget().width() <= view._scroll.viewport().width(), timeout=5_000)
    assert all(card.run.mapTo(view, card.run.rect().topRight()).x() < view._side_column.x() for card in view.cards)
    longest = window.navigation["experiment"]
    assert longest.width() >= longest.minimumSizeHint().width()
    window.appearance.choose_text_size(100)


# --- A text of one's own ------------------------------------------------------------------------------------------------------------------------


def test_a_dropped_text_becomes_the_corpus(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "Übungen 中文.txt"
    path.write_text("some words " * 50, encoding="utf-8")
    drop(window.view("start"), path)
    assert window.current == "experiment"
    assert window.document.data["experiment"]["corpus"]["train"] == str(path)
    assert window.document.data["experiment"]["name"] == "What pays on Übungen 中文?"
    window.document.undo.undo()
    assert "train" not in str(window.document.data["experiment"]["corpus"])


@pytest.mark.parametrize("key", ["start", "experiment", "runs", "catalogue"])
def test_an_experiment_file_is_opened_wherever_it_is_dropped(window: Window, key: str) -> None:
    window.go(key)
    below = {"start": "drop", "experiment": "model", "runs": "list", "catalogue": "search"}[key]
    drop(getattr(window.view(key), below), gallery.FOLDER / "pruning.toml")
    assert window.current == "experiment"
    assert window.document.path == gallery.FOLDER / "pruning.toml"


def test_the_place_for_texts_shows_that_something_is_dragged(window: Window) -> None:
    card = window.view("start").drop
    window.desk.dragging.emit(True)
    assert card.property("dropping")
    drop(card, Path("nothing.txt"))
    assert not card.property("dropping")


def test_a_dropped_bundle_opens_in_a_window_of_its_own(
    qtbot: QtBot, window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.store import bundles

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    started: list[list[str]] = []
    monkeypatch.setattr(openings.QProcess, "startDetached", lambda program, words: bool(started.append(words)) or True)
    assert window.desk.store is not None
    path = bundles.pack(window.desk.store, samples.finished(window.desk.store), tmp_path / "given.workbench").path
    drop(window.view("start"), path)
    qtbot.waitUntil(lambda: bool(started), timeout=10_000)
    assert started == [["-m", "workbench", "open", str(path)]]
    path.write_bytes(b"PK no archive")
    drop(window.view("start"), path)
    qtbot.waitUntil(lambda: "is no bundle" in window.notice.text, timeout=10_000)
    assert len(started) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\x00\x01\x02", "it is no text"), (b"%PDF-1.7 \xe2\xe3\xcf\xd3", "it is no text"), (None, "could not be read")],
    ids=["empty", "binary", "latin", "missing"],
)
def test_what_is_no_text_is_refused_in_place(window: Window, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "thing.txt"
    if content is not None:
        path.write_bytes(content)
    drop(window.view("start"), path)
    assert window.current == "start"
    assert said in window.notice.text


def test_a_letter_may_be_cut_where_the_head_of_a_text_ends(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" + "ä".encode() * openings.READ)
    drop(window.view("start"), path)
    assert window.current == "experiment"


def test_folders_and_several_files_are_refused(window: Window, tmp_path: Path) -> None:
    drop(window.view("start"), tmp_path)
    assert "is a folder" in window.notice.text
    drop(window.view("start"), tmp_path / "a.txt", tmp_path / "b.txt")
    assert "these are 2" in window.notice.text


# --- Recent experiments -----------------------------------------------------------------------------------------------------------------------


def test_recent_experiments_lead_to_their_runs(qtbot: QtBot, window: Window) -> None:
    store = window.desk.store
    assert store is not None
    recent = window.view("start").recent
    assert recent.item(0).flags() == Qt.ItemFlag.NoItemFlags
    samples.submit(store, name="Older")
    number = samples.submit(store, name="Which head?\nSecond line")
    window.view("start")._read_recent()
    qtbot.waitUntil(lambda: recent.count() == 2, timeout=5_000)
    assert "2 runs to go" in recent.item(0).text()
    recent.itemActivated.emit(recent.item(0))
    assert window.current == "runs"
    qtbot.waitUntil(lambda: window.view("runs").list.current == number, timeout=5_000)


# --- The tour ---------------------------------------------------------------------------------------------------------------------------------


def test_the_tour_frames_real_places_and_ends_where_it_began(qtbot: QtBot, window: Window) -> None:
    window.view("start").tour.click()
    tour = window.findChild(Tour)
    seen = []
    for _ in range(len(tour._stops)):
        seen.append(window.current)
        assert not tour.frame().isEmpty()
        assert tour.rect().contains(tour.card.geometry())
        qtbot.keyClick(tour, Qt.Key.Key_Right)
    assert {"experiment", "runs", "compare", "catalogue"} <= set(seen)
    assert window.current == "start"
    assert window.settings.value("tour") == "seen"


def test_escape_leaves_the_tour(qtbot: QtBot, window: Window) -> None:
    window.view("start").tour.click()
    qtbot.keyClick(window.findChild(Tour), Qt.Key.Key_Escape)
    assert window.settings.value("tour") == "left"
    qtbot.waitUntil(lambda: window.findChild(Tour) is None, timeout=5_000)


# --- The palette ------------------------------------------------------------------------------------------------------------------------------


def test_the_palette_finds_views_cards_examples_and_stored_experiments(qtbot: QtBot, window: Window) -> None:
    assert window.desk.store is not None
    samples.submit(window.desk.store, name="Läuft das?")
    opened = palette.show(window)
    qtbot.waitUntil(lambda: {"example", "runs"} <= {entry.kind for entry in opened._entries}, timeout=10_000)
    for typed, kind in (("mach", "view"), ("awd", ""), ("magnitude", "card"), ("which trick", "example"), ("läuft", "runs")):
        opened.line.setText(typed)
        if kind:
            assert opened.shown[0].kind == kind, typed
    opened.line.setText("läuft das comparison")
    assert opened.shown[0].kind == "comparison"
    opened.line.setText("zzqqxx")
    assert opened.shown == []
    opened.line.setText("machine")
    qtbot.keyClick(opened.line, Qt.Key.Key_Return)
    assert window.current == "machine"


def test_runs_and_studies_are_found_and_shown(qtbot: QtBot, window: Window) -> None:
    assert window.desk.store is not None
    experiment = samples.finished(window.desk.store)
    opened = palette.show(window)
    qtbot.waitUntil(lambda: any(entry.kind == "run, done" for entry in opened._entries), timeout=10_000)
    opened.line.setText("r2 adaptive")
    qtbot.keyClick(opened.line, Qt.Key.Key_Return)
    runs = window.view("runs")
    qtbot.waitUntil(lambda: [run.id for run in runs.selected] == [2], timeout=10_000)
    assert (window.current, runs.list.current, runs.below.tabs.currentIndex()) == ("runs", experiment, RUN)
    runs.choose(experiment, 1)
    assert [run.id for run in runs.selected] == [1]
    opened = palette.show(window)
    opened.line.setText("study studies/head_vocabulary")
    qtbot.keyClick(opened.line, Qt.Key.Key_Return)
    assert (window.current, window.view("studies").study) == ("studies", "studies/head_vocabulary")


def test_the_palette_is_walked_by_keys(qtbot: QtBot, window: Window) -> None:
    opened = palette.show(window)
    qtbot.keyClick(opened.line, Qt.Key.Key_Down)
    qtbot.keyClick(opened.line, Qt.Key.Key_Down)
    qtbot.keyClick(opened.line, Qt.Key.Key_Up)
    assert opened.list.currentRow() == 1
    opened.close()
    qtbot.waitUntil(lambda: window.findChild(Palette) is None, timeout=5_000)


def test_ctrl_k_opens_it(qtbot: QtBot, window: Window) -> None:
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    opened = window.findChild(Palette)
    assert opened is not None
    opened.close()


@given(st.text(max_size=30), st.text(max_size=30))
def test_scores_never_fail_and_a_name_finds_itself(name: str, other: str) -> None:
    palette.score(other, name)
    entries = [Entry(each, "", "", lambda: None) for each in (other, name)]
    if name.split() and name.lower().split() != other.lower().split():
        found = [entry.name for entry in palette.best(name, entries)]
        assert name in found


@pytest.mark.parametrize(
    ("typed", "better", "worse"),
    [("comp", "Compare", "Decompose"), ("mag", "Magnitude pruning", "Machine again"), ("run", "Run", "Drop all that was undone and grown")],
)
def test_beginnings_and_whole_words_come_first(typed: str, better: str, worse: str) -> None:
    entries = [Entry(each, "", "", lambda: None) for each in (worse, better)]
    assert palette.best(typed, entries)[0].name == better
