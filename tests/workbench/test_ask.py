"""The view that asks finished models: which faces a model has, what is asked for it, what the answers look like. The inspector is a stand-in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from pytestqt.qtbot import QtBot

from engines.store.database import Store
from tests.workbench import samples
from workbench import theme
from workbench.asking.neighbour_table import NeighbourTable, shown
from workbench.asking.word_map import WordMap
from workbench.asking.words_face import terms
from workbench.desk import Desk
from workbench.views.ask import TEXT, WORDS, AskView
from workbench.widgets.pills import BAR

TASKS = {"tasks/language_model": {"no_steps": ""}, "tasks/word_embedding": {"no_steps": "Word vectors predict no next word."}}
EMBEDDING = {"embedding": {"id": "embeddings/lookup"}}


class StandIn:
    """Answers when it is told to, in any order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.waiting: dict[int, tuple[Callable[[Any], None], Callable[[str], None]]] = {}

    def ask(self, what: str, answered: Callable[[Any], None], refused: Callable[[str], None], **fields: Any) -> int:
        self.asked.append((what, fields))
        self.waiting[len(self.asked)] = (answered, refused)
        return len(self.asked)

    def forget(self, number: int) -> None:
        self.waiting.pop(number, None)

    def close(self) -> None:
        self.waiting.clear()

    def number_of(self, what: str) -> int:
        """The latest question of this kind that still waits."""
        return max(number for number in self.waiting if self.asked[number - 1][0] == what)

    def answer(self, what: str, answer: Any) -> None:
        self.waiting.pop(self.number_of(what))[0](answer)

    def refuse(self, what: str, sentence: str) -> None:
        self.waiting.pop(self.number_of(what))[1](sentence)


@pytest.fixture
def inspector(desk: Desk) -> StandIn:
    made = StandIn()
    desk._inspector = made  # type: ignore[assignment]
    desk.catalogue = {"plugins": TASKS}
    return made


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, inspector: StandIn, store_url: str, monkeypatch: pytest.MonkeyPatch) -> AskView:
    """Two finished runs: the latest, 2, of word vectors, 1 of a language model."""
    from engines.store import queries

    store = Store.open(store_url)
    samples.finished(store)
    plans = {1: {"task": {"id": "tasks/language_model"}, "model": EMBEDDING}, 2: {"task": {"id": "tasks/word_embedding"}, "model": EMBEDDING}}
    monkeypatch.setattr(queries, "plan", lambda _store, run: plans[run])
    made = AskView(desk)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    desk.set_store(store)
    made.show()
    qtbot.waitUntil(lambda: bool(inspector.asked), timeout=10_000)
    return made


def plane(words: list[str]) -> dict[str, Any]:
    """Words on a circle."""
    turns = [2 * math.pi * place / len(words) for place in range(len(words))]
    points = [{"word": word, "x": math.cos(turn), "y": math.sin(turn), "count": 7} for word, turn in zip(words, turns, strict=True)]
    return {"points": points, "explained": [0.5, 0.25]}


def near(*words: str) -> list[dict[str, Any]]:
    return [{"word": word, "cosine": 0.9 - 0.1 * place, "count": 1200 - place} for place, word in enumerate(words)]


@pytest.mark.parametrize(
    ("text", "plus", "minus"),
    [
        ("king", ["king"], []),
        ("king − man + woman", ["king", "woman"], ["man"]),
        ("king - man + woman", ["king", "woman"], ["man"]),
        ("well-known", ["well-known"], []),
        ("-", ["-"], []),
        ("big small", ["big", "small"], []),
        ("a - b c", ["a", "c"], ["b"]),
        ("  ", [], []),
    ],
)
def test_a_sum_of_words_is_read_as_it_is_written(text: str, plus: list[str], minus: list[str]) -> None:
    assert terms(text) == (plus, minus)


def test_word_vectors_have_no_text_face_and_show_their_frequent_words_first(view: AskView, inspector: StandIn) -> None:
    assert view.faces.currentIndex() == WORDS
    assert not view.tabs.isVisible()
    what, fields = inspector.asked[0]
    assert (what, fields["run"], fields["words"]) == ("projection", 2, [])
    inspector.answer("projection", plane(["a", "b", "c", "d"]))
    assert view.words.map.words == ["a", "b", "c", "d"]
    assert "75%" in view.words.told.text()
    assert view.words.empty.isVisible()
    assert not view.words.table.isVisible()


def test_neighbours_are_listed_and_drawn_and_lead_on(qtbot: QtBot, view: AskView, inspector: StandIn) -> None:
    inspector.answer("projection", plane(["a", "b", "c", "d"]))
    view.words.line.setText("a − b + c")
    qtbot.keyClick(view.words.line, Qt.Key.Key_Return)
    what, fields = inspector.asked[-1]
    assert what == "neighbours"
    assert (fields["plus"], fields["minus"], fields["k"]) == (["a", "c"], ["b"], 10)
    assert not view.words.find_button.isEnabled()
    inspector.answer("neighbours", {"words": ["a", "c", "b"], "neighbours": near("x", "y")})
    assert view.words.find_button.isEnabled()
    assert view.words.sum.text() == "a + c − b"
    assert [view.words.model.index(row, 0).data() for row in range(2)] == ["x", "y"]
    assert view.words.model.index(0, 1).data(BAR) == 0.9
    assert view.words.model.index(0, 2).data() == "1,200"
    assert inspector.asked[-1][1]["words"] == ["a", "c", "b", "x", "y"]
    inspector.answer("projection", plane(["a", "c", "b", "x", "y"]))
    assert view.words.map.words == ["a", "c", "b", "x", "y"]
    view.words.table.activated.emit(view.words.model.index(1, 0))
    assert view.words.line.text() == "y"
    assert inspector.asked[-1][1]["plus"] == ["y"]
    view.words.back_button.click()
    assert view.words.line.text() == "a − b + c"
    assert inspector.asked[-1][1]["minus"] == ["b"]


def test_only_the_latest_question_is_answered_and_a_refusal_is_said_in_place(view: AskView, inspector: StandIn) -> None:
    view.words.ask_for("slow")
    slow = inspector.number_of("neighbours")
    view.words.ask_for("quick")
    assert slow not in inspector.waiting
    inspector.refuse("neighbours", '"quick" is not in the vocabulary.')
    assert view.notice.text == '"quick" is not in the vocabulary.'
    assert view.words.find_button.isEnabled()
    assert view.words.find_button.text() == "Find neighbours"


def test_a_language_model_has_both_faces_and_forgets_what_another_said(qtbot: QtBot, view: AskView, inspector: StandIn) -> None:
    view.words.ask_for("a")
    inspector.answer("neighbours", {"words": ["a"], "neighbours": near("x", "y")})
    view.choose(1)
    qtbot.waitUntil(lambda: view.tabs.isVisible(), timeout=10_000)
    assert [fields["run"] for _what, fields in inspector.asked[-2:]] == [1, 1]
    assert view.words.model.rowCount() == 0
    view.tabs.setCurrentIndex(TEXT)
    assert view.faces.currentIndex() == TEXT
    view.text.prompt.setPlainText("so")
    view.text.write()
    assert inspector.asked[-1][0] == "generate"
    inspector.answer("generate", {"text": "so it goes"})
    assert view.text.text.toPlainText().strip() == "so it goes"
    view.choose(2)
    qtbot.waitUntil(lambda: not view.tabs.isVisible(), timeout=10_000)
    assert view.faces.currentIndex() == WORDS


def test_a_question_under_way_outlives_a_new_list_of_runs(qtbot: QtBot, view: AskView, inspector: StandIn) -> None:
    """The run that is asked is not the first of the list; the list is read again whenever the view is shown."""
    view.choose(1)
    qtbot.waitUntil(lambda: view.runs.currentData() == 1 and view.faces.isEnabled(), timeout=10_000)
    view.text.prompt.setPlainText("once")
    view.text.write_button.click()
    with qtbot.waitSignal(view._desk.errands._finished, timeout=10_000):
        view._load()
    qtbot.wait(50)
    inspector.answer("generate", {"text": "once upon"})
    assert "once upon" in view.text.text.toPlainText()


def test_a_model_of_counts_has_no_vectors(qtbot: QtBot, view: AskView) -> None:
    view._offer_faces({"task": {"id": "tasks/language_model"}, "model": {"id": "baselines/ngram"}})
    assert view.faces.currentIndex() == TEXT
    assert not view.tabs.isVisible()
    view._offer_faces({"task": {"id": "tasks/language_model"}, "model": EMBEDDING})
    assert view.tabs.isVisible()
    assert view.tabs.isTabVisible(WORDS)
    qtbot.waitUntil(lambda: view.tabs.width() >= view.tabs.tabRect(WORDS).right(), timeout=5000)
    assert view.faces.currentIndex() == TEXT


def test_blanks_of_tokens_are_seen() -> None:
    assert [shown("Ġthe"), shown("\n"), shown(""), shown("über")] == ["␣the", "⏎", "(empty)", "über"]
    table = NeighbourTable()
    table.show_rows([{"word": "a", "cosine": -0.5, "count": 3}])
    assert table.index(0, 1).data(BAR) == 0.0
    assert table.index(0, 1).data() == "-0.500"


@pytest.fixture
def word_map(qtbot: QtBot) -> WordMap:
    made = WordMap(theme.theme("light"))
    qtbot.addWidget(made)
    made.resize(500, 400)
    made.show()
    return made


def test_names_of_the_map_cover_nothing_and_asked_words_are_always_named(word_map: WordMap) -> None:
    words = [f"word{number}" for number in range(300)]
    draw = np.random.default_rng(0).normal(size=(300, 2))
    points = [{"word": word, "x": x, "y": y, "count": 1} for word, (x, y) in zip(words, draw.tolist(), strict=True)]
    word_map.show_words(points, (0.5, 0.25), plus=["word299"], minus=["word298"])
    assert {"word299", "word298"} <= set(word_map.named)
    assert 10 < len(word_map.named) < 300
    boxes = [text.mapRectToScene(text.boundingRect()) for text in word_map._texts if text.isVisible()]
    covering = [(one, other) for place, one in enumerate(boxes[:-2]) for other in boxes[:place] if _overlap(one, other)]
    assert covering == []


def _overlap(one: Any, other: Any) -> bool:
    """Whether two names cover each other by more than their own margins."""
    shared = one.intersected(other)
    return bool(shared.width() > 8 and shared.height() > 8)


def test_a_click_and_the_keyboard_ask_for_a_word(qtbot: QtBot, word_map: WordMap) -> None:
    word_map.show_words(plane(["east", "north", "west", "south"])["points"], (0.5, 0.25))
    asked: list[str] = []
    word_map.asked.connect(asked.append)
    place = word_map._box.mapViewToScene(QPointF(-1.0, 0.0))
    qtbot.mouseClick(word_map.viewport(), Qt.MouseButton.LeftButton, pos=word_map.mapFromScene(place))
    assert asked == ["west"]
    qtbot.keyClick(word_map, Qt.Key.Key_Right)
    qtbot.keyClick(word_map, Qt.Key.Key_Left)
    qtbot.keyClick(word_map, Qt.Key.Key_Return)
    assert asked == ["west", "east"]
