"""The model as a stack of blocks: embedding, layers, head. Layers can be added, removed, moved, copied and repeated. Or a whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, get_args

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from engines.api import Slot
from engines.merging import BLOCKS, Index, Merged
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.canvas.panel import CanvasPanel
from workbench.editor.document import Document
from workbench.editor.draft import Scope, Tree
from workbench.editor.layer_card import LayerCard
from workbench.editor.places import Trouble, below, sentence, trouble_of
from workbench.editor.plugin_card import PluginCard
from workbench.widgets.surfaces import Card
from workbench.widgets.text import flag, label

FORMS = 12
"""Layers whose forms are shown at once; of a deeper model only those that are chosen on the canvas."""


class ModelPanel(Card):
    """Edits embedding, layers and head of the scope that is shown, or the whole model in their place; on the canvas and in forms below it.

    `opened(name)`: the form of a block was asked for on the canvas."""

    opened = Signal(str)

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Model", "From text to prediction: the embedding first, then the layers in order, the head last.", parent)
        self._desk, self._document = desk, document
        self._scope: Scope = None
        self.canvas = CanvasPanel(desk, document)
        self.canvas.opened.connect(self.opened)
        self.canvas.chosen.connect(lambda _key: self._show_layers())
        self.body.addWidget(self.canvas)
        self.whole = PluginCard(desk, "Made of", optional=True, nothing="Blocks")
        self.whole.picked.connect(lambda name: self._set_whole({"id": name} if name else None))
        self.whole.edited.connect(self._edit_whole)
        self.body.addWidget(self.whole)
        self.embedding = PluginCard(desk, "Embedding")
        self.head = PluginCard(desk, "Head")
        for slot, card in (("embedding", self.embedding), ("head", self.head)):
            card.picked.connect(lambda name, slot=slot: self._set_block(slot, {"id": name}))
            card.edited.connect(lambda values, slot=slot: self._edit_block(slot, values))
        self.body.addWidget(self.embedding)
        self._layers = QVBoxLayout()
        self._layers.setSpacing(8)
        self.body.addLayout(self._layers)
        self._deep = label("", "caption", wrap=True)
        self._deep.hide()
        self.body.addWidget(self._deep)
        self.add_layer = QPushButton("Add layer")
        self.add_layer.setProperty("quiet", True)
        self.add_layer.clicked.connect(self._add)
        self.body.addWidget(self.add_layer, 0, Qt.AlignmentFlag.AlignLeft)
        self.body.addWidget(self.head)
        self._wrong = label("", "error", wrap=True)
        self._wrong.hide()
        self.body.addWidget(self._wrong)
        self._cards: list[LayerCard] = []
        self._numbers: list[int] = []
        """Which layer each card shows."""
        self._problems: Sequence[Problem] = ()
        self._merged: Merged | None = None
        self._entries: dict[str, list[Tree]] = {}

    def offer(self, catalogue: Tree) -> None:
        """Take the blocks of the catalogue."""
        blocks = [entry for entry in catalogue["plugins"].values() if entry["kind"] == "block"]
        self._entries = {slot: [entry for entry in blocks if entry["slot"] == slot] for slot in get_args(Slot)}
        self.whole.offer(self._entries["model"])
        self.embedding.offer(self._entries["embedding"])
        self.head.offer(self._entries["head"])
        self.canvas.offer(self._entries)
        for card in self._cards:
            card.mixer.offer(self._entries["mixer"])
            card.feedforward.offer(self._entries["feedforward"])

    def show_scope(self, merged: Merged, scope: Scope, problems: Sequence[Problem]) -> None:
        """Show the model of the base or of a variant."""
        self._scope, self._merged = scope, merged
        names, folder = draft.variant_names(self._document.data), self._document.folder
        self.whole.show_table(merged.whole.table if merged.whole else None, variants=names, folder=folder)
        self.whole.show_trouble(trouble_of(merged.whole, problems))
        for shown_with_blocks in (self.embedding, self.add_layer, self.head):
            shown_with_blocks.setVisible(merged.whole is None)
        for slot, card in (("embedding", self.embedding), ("head", self.head)):
            part = getattr(merged, slot)
            card.show_table(part.table if part else None, variants=names, folder=folder)
            card.show_trouble(self._trouble(part, slot, problems))
        task = Index(self._desk.catalogue or {}).entry(merged.task.id) if merged.task else None
        without = str((task or {}).get("no_layers") or "")
        self.canvas.show_scope(merged, scope, problems, without)
        self.add_layer.setEnabled(not without)
        self.add_layer.setToolTip(without or "Add a copy of the last layer")
        self._problems = problems
        self._show_layers()
        shown = [sentence(problem) for problem in problems if problem.path in ("model", "model.layers", f"variant[{scope}].model")]
        self._wrong.setText("\n".join(shown))
        self._wrong.setVisible(bool(shown))

    def _trouble(self, part: Any, slot: str, problems: Sequence[Problem]) -> Trouble:
        if part is not None:
            return trouble_of(part, problems)
        return Trouble([sentence(problem) for problem in problems if below(problem.path, f"model.{slot}")])

    def _show_layers(self) -> None:
        """The forms of the layers; of a deep model those that are chosen on the canvas."""
        if self._merged is None:
            return
        layers, without = draft.raw_layers(self._merged), bool(self.canvas.canvas.refuses)
        names, folder = draft.variant_names(self._document.data), self._document.folder
        deep = len(layers) > FORMS
        self._numbers = sorted(self.canvas.canvas.layers)[:FORMS] if deep else list(range(len(layers)))
        self._deep.setText(f"{len(layers)} layers: the forms of those that are chosen in the picture stand here, {FORMS} at most.")
        self._deep.setVisible(deep)
        while len(self._cards) > len(self._numbers):
            gone = self._cards.pop()
            self._layers.removeWidget(gone)
            gone.hide()
            gone.deleteLater()
        while len(self._cards) < len(self._numbers):
            self._append_card()
        for card, number in zip(self._cards, self._numbers, strict=True):
            part = (self._merged.layers or [])[number]
            card.show_layer(number, layers[number], names, folder)
            card.up.setEnabled(number > 0)
            card.down.setEnabled(number < len(layers) - 1)
            card.remove.setEnabled(len(layers) > 1 or without)
            card.mixer.show_trouble(trouble_of(part.mixer, self._problems))
            card.feedforward.show_trouble(trouble_of(part.feedforward, self._problems))

    def _append_card(self) -> None:
        place = len(self._cards)
        card = LayerCard(self._desk)
        card.mixer.offer(self._entries.get("mixer", []))
        card.feedforward.offer(self._entries.get("feedforward", []))

        def change(words: str, what: Callable[[list[Tree], int], object], joined: bool = False) -> None:
            number = self._numbers[place]
            self._change(words, lambda layers: what(layers, number), f"layer {number}" if joined else "")

        card.edited.connect(lambda table: change("Change a layer", lambda layers, n: layers.__setitem__(n, table), True))
        card.up.clicked.connect(lambda: change("Move a layer", lambda layers, n: layers.insert(n - 1, layers.pop(n))))
        card.down.clicked.connect(lambda: change("Move a layer", lambda layers, n: layers.insert(n + 1, layers.pop(n))))
        card.copy.clicked.connect(lambda: change("Duplicate a layer", lambda layers, n: layers.insert(n, deepcopy(layers[n]))))
        card.remove.clicked.connect(lambda: change("Remove a layer", lambda layers, n: layers.pop(n)))
        self._layers.addWidget(card)
        self._cards.append(card)

    def _add(self) -> None:
        def add(layers: list[Tree]) -> None:
            layers.append(deepcopy(layers[-1]) if layers else {"mixer": {"id": self._entries["mixer"][0]["id"]}})
            layers[-1].pop("repeat", None)

        self._change("Add a layer", add)

    def _change(self, words: str, change: Callable[[list[Tree]], object], key: str = "") -> None:
        index, scope = Index(self._desk.catalogue or {}), self._scope

        def apply(data: Tree) -> None:
            layers = draft.raw_layers(draft.effective(data, index, scope))
            change(layers)
            draft.set_layers(data, index, scope, layers)

        self._document.edit(words, apply, f"{scope} {key}" if key else "")

    def _edit_block(self, slot: str, values: Tree) -> None:
        part = getattr(self._merged, slot)
        if part is not None:
            self._set_block(slot, {"id": part.table["id"], **values}, f"{self._scope} {slot}")

    def _set_block(self, slot: str, table: Tree, key: str = "") -> None:
        index, scope = Index(self._desk.catalogue or {}), self._scope
        self._document.edit(f"Change the {slot}", lambda data: draft.set_block(data, index, scope, slot, table), key)

    def mark_changes(self, changed: set[str]) -> None:
        """Mark what a variant changes of the base: "embedding", "head", "layers", or parameters of a whole model."""
        self.canvas.mark_changes(changed)
        flag(self.whole, "current", bool(changed - set(BLOCKS)))
        for slot, card in (("embedding", self.embedding), ("head", self.head)):
            flag(card, "current", slot in changed)
        for layer in self._cards:
            flag(layer, "current", "layers" in changed)

    def _set_whole(self, table: Tree | None, key: str = "") -> None:
        index, scope = Index(self._desk.catalogue or {}), self._scope
        self._document.edit("Choose what the model is made of", lambda data: draft.set_whole(data, index, scope, table), key)

    def _edit_whole(self, values: Tree) -> None:
        whole = self._merged.whole if self._merged else None
        if whole is not None:
            self._set_whole({"id": whole.table["id"], **values}, f"{self._scope} model")

    def card(self, name: str) -> PluginCard | None:
        """The card of "model" (a whole one), "embedding", "head" or "layer/N/mixer"."""
        if name == "model":
            return self.whole
        if name in ("embedding", "head"):
            return self.embedding if name == "embedding" else self.head
        kind, _, rest = name.partition("/")
        number, _, part = rest.partition("/")
        if kind != "layer" or not number.isdigit():
            return None
        if int(number) not in self._numbers:
            self.canvas.canvas.choose(name)
            self._show_layers()
        card = next((card for card, shown in zip(self._cards, self._numbers, strict=True) if shown == int(number)), None)
        return None if card is None else card.mixer if part == "mixer" else card.feedforward
