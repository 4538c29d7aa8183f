"""The recipe: batch and sequence length, then the techniques in the order in which they act; dragged or moved by keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtWidgets import QFrame, QMenu, QToolButton, QVBoxLayout, QWidget

from engines.merging import Index, Merged
from engines.problems import Problem
from engines.recipes import conflicts
from workbench.desk import Desk
from workbench.editor import draft, order
from workbench.editor.document import Document
from workbench.editor.draft import Scope, Tree
from workbench.editor.fix_button import Fixes, fixes_for, show_fixes
from workbench.editor.places import below, sentence, trouble_of
from workbench.editor.plugin_card import PluginCard
from workbench.editor.technique_card import TechniqueCard
from workbench.forms import Form
from workbench.widgets.surfaces import Card
from workbench.widgets.text import flag, label

TRAINING_SCHEMA: Tree = {
    "properties": {
        "batch": {"type": "integer", "minimum": 1, "default": 20, "unit": "sequences", "symbol": "B", "description": "Sequences in a minibatch."},
        "sequence": {"type": "integer", "minimum": 1, "default": 35, "unit": "tokens", "symbol": "T", "description": "Tokens in a sequence."},
    }
}


class RecipePanel(Card):
    """Edits training and techniques of the scope that is shown."""

    fix_asked = Signal(object)
    dragged_to = Signal(QPoint)
    """A technique is dragged; where the pointer is, on the screen."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Recipe", "How it is trained and what is done to it. Techniques that act on the same thing do so in this order.", parent)
        self._desk, self._document = desk, document
        self._scope: Scope = None
        self._merged: Merged | None = None
        self._entries: list[Tree] = []
        self.training = Form(TRAINING_SCHEMA)
        self.training.edited.connect(self._edit_training)
        self.body.addWidget(self.training)
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        self.body.addLayout(self._list)
        self._none = label("No techniques yet: plain training needs at least an optimizer.", "muted", wrap=True)
        self.body.addWidget(self._none)
        self.add_button = QToolButton()
        self.add_button.setProperty("quiet", True)
        self.add_button.setText("Add technique")
        self.add_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._menu = QMenu(self.add_button)
        self._menu.setToolTipsVisible(True)
        self.add_button.setMenu(self._menu)
        self.body.addWidget(self.add_button)
        self._wrong = label("", "error", wrap=True)
        self._wrong.hide()
        self.body.addWidget(self._wrong)
        self._cards: list[TechniqueCard] = []
        self._text: list[Tree | None] = []
        """Task and corpus of what is shown: which finished runs may teach it depends on them."""
        self._line = QFrame(self)
        self._line.setProperty("drop_line", True)
        self._line.hide()

    def offer(self, catalogue: Tree) -> None:
        """Take the techniques of the catalogue."""
        self._entries = [entry for entry in catalogue["plugins"].values() if entry["kind"] == "technique"]
        self._menu.clear()
        families: dict[str, QMenu] = {}
        for entry in self._entries:
            family = str(entry["family"])
            if family not in families:
                families[family] = self._menu.addMenu(family.replace("_", " ").capitalize())
                families[family].setToolTipsVisible(True)
            action = families[family].addAction(str(entry["title"]), partial(self.add, str(entry["id"])))
            action.setToolTip(str(entry["id"]) if entry["available"]["ok"] else f"Not available here: {entry['available']['reason']}")
        for card in self._cards:
            card.offer(self._entries)

    def show_scope(self, merged: Merged, scope: Scope, problems: Sequence[Problem], fixes: Fixes | None = None) -> None:
        """Show training and techniques of the base or of a variant; fixes: what mends which problem."""
        self._scope, self._merged = scope, merged
        self.training.set_values({key: value for key, value in merged.training.items() if value is not None})
        here = "training" if scope is None else f"variant[{scope}].training"
        self.training.complain({
            key: sentence(problem)
            for problem in reversed(problems) for key in TRAINING_SCHEMA["properties"]
            if problem.path in (f"training.{key}", f"{here}.{key}")
        })  # fmt: skip
        while len(self._cards) > len(merged.recipe):
            card = self._cards.pop()
            self._list.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self._cards) < len(merged.recipe):
            self._append_card()
        names = draft.variant_names(self._document.data)
        own = names[scope] if scope is not None and scope < len(names) else ""
        own_path = f"variant[{scope}]."
        clashes = list(conflicts(merged.recipe, Index(self._desk.catalogue or {})))
        for number, (card, part) in enumerate(zip(self._cards, merged.recipe, strict=True)):
            card.show_table(part.table, variants=[name for name in names if name != own], folder=self._document.folder)
            trouble = trouble_of(part, problems)
            mending = [fix for problem in problems if trouble_of(part, [problem]) for fix in fixes_for(fixes or {}, problem)]
            for conflict in clashes:
                if conflict.foe == number and not any(each.seat == number and each.foe == conflict.seat for each in clashes):
                    # The other one says so; whoever looks at this card is to see it too.
                    other = merged.recipe[conflict.seat]
                    trouble.whole.append(f"Conflicts with {other.id}; {conflict.sentence}")
                    mending += fixes.get((other.place("id"), f"conflicts with {conflict.against}"), []) if fixes else []
            card.show_stages()
            card.show_trouble(trouble)
            show_fixes(card.fixes, list({fix.sentence: fix for fix in mending}.values()), self.fix_asked.emit)
            card.up.setEnabled(number > 0)
            card.down.setEnabled(number < len(merged.recipe) - 1)
            flag(card, "current", scope is not None and part.path.startswith(own_path))
        text = [part.table if part else None for part in (merged.task, merged.corpus)]
        if text != self._text:
            self._text = text
            for card in self._cards:
                card.read_models()
        self._none.setVisible(not merged.recipe)
        shown = [sentence(p) for p in problems if p.path in ("training", "training.techniques", here, f"variant[{scope}].techniques")]
        shown += [sentence(p) for p in problems if below(p.path, f"variant[{scope}].without")]
        self._wrong.setText("\n".join(shown))
        self._wrong.setVisible(bool(shown))

    def show_matches(self, found: Sequence[Tree]) -> None:
        """What the techniques find in the model that is shown: the inspector's answers."""
        by_place = {each["technique"]: each for each in found}
        ids = [part.id for part in self._merged.recipe] if self._merged is not None else []
        for place, card in enumerate(self._cards):
            each = by_place.get(place)
            card.show_matches(each if each is not None and place < len(ids) and each["id"] == ids[place] else None)

    def add(self, plugin_id: str) -> None:
        """Append a technique; one of the same group (an optimizer, a schedule) takes the place of the one that is there."""
        index = Index(self._desk.catalogue or {})
        group = index.group(plugin_id)

        def put(recipe: list[Tree]) -> None:
            seat = next((n for n, table in enumerate(recipe) if group and index.group(str(table.get("id"))) == group), None)
            if seat is None:
                recipe.append({"id": plugin_id})
            else:
                recipe[seat] = {"id": plugin_id}

        self._change("Add a technique", put)
        number = next((n for n, card in enumerate(self._cards) if card.choice.currentData() == plugin_id), len(self._cards) - 1)
        if 0 <= number < len(self._cards) and self._cards[number].disclosure.isEnabled():
            self._cards[number].disclosure.setChecked(True)

    def _append_card(self) -> None:
        number = len(self._cards)
        card = TechniqueCard(self._desk, number + 1)
        card.student = self._student
        card.offer(self._entries)
        card.picked.connect(lambda name: self._change("Change a technique", lambda recipe: recipe.__setitem__(number, {"id": name})))
        card.edited.connect(lambda values: self._edit(number, values))
        card.shifted.connect(lambda by: self.move_technique(number, number + by))
        card.dragged.connect(lambda at: self._show_seat(number, at))
        card.dropped.connect(lambda at: self._drop(number, at))
        card.let_go.connect(self._line.hide)
        card.remove.clicked.connect(lambda: self._change("Remove a technique", lambda recipe: recipe.pop(number)))
        self._list.addWidget(card)
        self._cards.append(card)

    def _student(self) -> Tree | None:
        """The plan of the variant that is shown, of the baseline beside the shared base; None while something in it is wrong."""
        from engines.problems import ExperimentError

        data, names = self._document.data, draft.variant_names(self._document.data)
        name = names[self._scope] if self._scope is not None and self._scope < len(names) else draft.baseline(data)
        if self._desk.catalogue is None:
            return None
        try:
            return self._document.experiment.plans(self._desk.catalogue).get(name)
        except ExperimentError:
            return None

    def move_technique(self, number: int, to: int) -> bool:
        """Move a technique to another place; whether it was. What that changes, or why it cannot stand there, is said."""
        ids = [part.id for part in self._merged.recipe] if self._merged is not None else []
        if number == to or not (0 <= number < len(ids) and 0 <= to < len(ids)):
            return False
        index = Index(self._desk.catalogue or {})
        hindrance = order.hindrance(ids, index, number, to)
        if hindrance:
            self._desk.says.emit(f"{hindrance} It was not moved.")
            return False
        opened = [card.disclosure.isChecked() for card in self._cards]
        opened.insert(to, opened.pop(number))
        self._change("Move a technique", lambda recipe: recipe.insert(to, recipe.pop(number)))
        for card, was in zip(self._cards, opened, strict=True):
            card.disclosure.setChecked(was and card.disclosure.isEnabled())
        self._cards[to].setFocus(Qt.FocusReason.OtherFocusReason)
        self._desk.says.emit(order.consequence(ids, index, number, to))
        return True

    def _seat(self, number: int, at: QPoint) -> int:
        """Where a technique would come to stand if it were let go at a point of the screen."""
        y = self.mapFromGlobal(at).y()
        return sum(card.geometry().center().y() < y for other, card in enumerate(self._cards) if other != number)

    def _show_seat(self, number: int, at: QPoint) -> None:
        to = self._seat(number, at)
        others = [card.geometry() for other, card in enumerate(self._cards) if other != number]
        if not others:
            return
        y = others[to].top() - 5 if to < len(others) else others[-1].bottom() + 4
        self._line.setGeometry(QRect(others[0].left(), y, others[0].width(), 3))
        ids = [part.id for part in self._merged.recipe] if self._merged is not None else []
        flag(self._line, "problem", bool(ids and order.hindrance(ids, Index(self._desk.catalogue or {}), number, to)))
        self._line.setVisible(to != number)
        self._line.raise_()
        self.dragged_to.emit(at)

    def _drop(self, number: int, at: QPoint) -> None:
        self._line.hide()
        self.move_technique(number, self._seat(number, at))

    def _edit(self, number: int, values: Tree) -> None:
        def put(recipe: list[Tree]) -> None:
            recipe[number] = {"id": recipe[number]["id"], **values}

        self._change("Change a technique", put, f"{self._scope} technique {number}")

    def _change(self, words: str, change: Callable[[list[Tree]], object], key: str = "") -> None:
        index, scope = Index(self._desk.catalogue or {}), self._scope

        def apply(data: Tree) -> None:
            recipe = [dict(part.table) for part in draft.effective(data, index, scope).recipe]
            change(recipe)
            draft.set_recipe(data, index, scope, recipe)

        self._document.edit(words, apply, key)

    def _edit_training(self, values: Tree) -> None:
        scope = self._scope

        def apply(data: Tree) -> None:
            for key, property_ in TRAINING_SCHEMA["properties"].items():
                value: Any = values.get(key, property_["default"])
                present = key in draft.table_of(data.get("training")) or scope is not None
                if present or value != property_["default"]:
                    draft.set_training(data, scope, key, value)

        self._document.edit("Change the training", apply, f"{scope} training")

    def card(self, name: str) -> PluginCard | None:
        """The card of "technique/N"."""
        kind, _, number = name.partition("/")
        return self._cards[int(number)] if kind == "technique" and int(number) < len(self._cards) else None
