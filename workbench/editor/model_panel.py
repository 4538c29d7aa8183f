"""The model as a stack of blocks: embedding, layers, head. Layers can be added, removed, moved, copied and repeated. Or a whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, get_args

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from engines.api import Slot
from engines.merging import BLOCKS, Index, Merged
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.document import Document
from workbench.editor.draft import Scope, Tree
from workbench.editor.places import Trouble, below, sentence, trouble_of
from workbench.editor.plugin_card import PluginCard
from workbench.forms import Form
from workbench.widgets.surfaces import Card, icon_button
from workbench.widgets.text import flag, label

LAYER_SCHEMA: Tree = {
    "properties": {
        "repeat": {"type": "integer", "minimum": 1, "default": 1, "description": "How many equal layers stand here.", "unit": "layers"},
        "residual": {
            "anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None,
            "description": "Add the input back around each block. Not set: as the block declares.",
        },
        "norm": {
            "anyOf": [{"enum": ["layer", "rms", "none"]}, {"type": "null"}], "default": None,
            "description": "Normalise in front of each block. Not set: where there is a residual.",
        },
    }
}  # fmt: skip


class LayerCard(QFrame):
    """One entry of `layers`. `edited(table)` tells the whole table."""

    edited = Signal(dict)

    def __init__(self, desk: Desk, number: int) -> None:
        super().__init__()
        self.setProperty("block", True)
        self._table: Tree = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 8, 10)
        column.setSpacing(4)
        row = QHBoxLayout()
        row.setSpacing(2)
        self.title = label(f"Layer {number + 1}", "strong")
        row.addWidget(self.title)
        self.times = label("", "caption")
        row.addSpacing(8)
        row.addWidget(self.times)
        row.addStretch(1)
        self.fewer = icon_button("minus", "One layer fewer here", desk.theme)
        self.more = icon_button("plus", "Repeat this layer once more", desk.theme)
        self.up = icon_button("up", "Move towards the embedding", desk.theme)
        self.down = icon_button("down", "Move towards the head", desk.theme)
        self.copy = icon_button("duplicate", "Duplicate this layer", desk.theme)
        self.remove = icon_button("trash", "Remove this layer", desk.theme)
        for button in (self.fewer, self.more, self.up, self.down, self.copy, self.remove):
            row.addWidget(button)
        column.addLayout(row)
        self.mixer = PluginCard(desk, "Mixer", framed=False)
        self.feedforward = PluginCard(desk, "Feed-forward", optional=True, framed=False)
        for key, card in (("mixer", self.mixer), ("feedforward", self.feedforward)):
            card.picked.connect(lambda name, key=key: self._pick(key, name))
            card.edited.connect(lambda values, key=key: self._edit(key, values))
            column.addWidget(card)
        self._options_button = QToolButton()
        self._options_button.setProperty("quiet", True)
        self._options_button.setText("Residual and norm")
        self._options_button.setCheckable(True)
        self._options_button.setToolTip("Repeat, residual connection, normalisation of this layer")
        column.addWidget(self._options_button, 0, Qt.AlignmentFlag.AlignLeft)
        self._options = Form(LAYER_SCHEMA)
        self._options.setContentsMargins(30, 0, 6, 0)
        self._options.hide()
        self._options.edited.connect(self._options_edited)
        self._options_button.toggled.connect(self._options.setVisible)
        column.addWidget(self._options)
        self.fewer.clicked.connect(lambda: self._repeat(-1))
        self.more.clicked.connect(lambda: self._repeat(1))

    def show_layer(self, table: Tree, variants: Sequence[str], folder: Any) -> None:
        self._table = table
        repeat = table.get("repeat", 1)
        self.times.setText(f"× {repeat}" if repeat != 1 else "")
        self.fewer.setEnabled(isinstance(repeat, int) and repeat > 1)
        self.mixer.show_table(table.get("mixer"), variants=variants, folder=folder)
        self.feedforward.show_table(table.get("feedforward"), variants=variants, folder=folder)
        self._options.set_values({key: table[key] for key in LAYER_SCHEMA["properties"] if key in table})

    def _tell(self, **changes: Any) -> None:
        table = {**deepcopy(self._table), **changes}
        self.edited.emit({key: value for key, value in table.items() if value is not None})

    def _pick(self, key: str, name: str) -> None:
        self._tell(**{key: {"id": name} if name else None})

    def _edit(self, key: str, values: Tree) -> None:
        self._tell(**{key: {"id": self._table[key]["id"], **values}})

    def _repeat(self, by: int) -> None:
        repeat = self._table.get("repeat", 1)
        repeat = max(1, (repeat if isinstance(repeat, int) else 1) + by)
        self._tell(repeat=repeat if repeat != 1 else None)

    def _options_edited(self, values: Tree) -> None:
        self._tell(**{key: values.get(key) for key in LAYER_SCHEMA["properties"]})


class ModelPanel(Card):
    """Edits embedding, layers and head of the scope that is shown, or the whole model in their place."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Model", "From text to prediction: the embedding first, then the layers in order, the head last.", parent)
        self._desk, self._document = desk, document
        self._scope: Scope = None
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
        self.add_layer = QPushButton("Add layer")
        self.add_layer.setProperty("quiet", True)
        self.add_layer.clicked.connect(self._add)
        self.body.addWidget(self.add_layer, 0, Qt.AlignmentFlag.AlignLeft)
        self.body.addWidget(self.head)
        self._wrong = label("", "error", wrap=True)
        self._wrong.hide()
        self.body.addWidget(self._wrong)
        self._cards: list[LayerCard] = []
        self._merged: Merged | None = None
        self._entries: dict[str, list[Tree]] = {}

    def offer(self, catalogue: Tree) -> None:
        """Take the blocks of the catalogue."""
        blocks = [entry for entry in catalogue["plugins"].values() if entry["kind"] == "block"]
        self._entries = {slot: [entry for entry in blocks if entry["slot"] == slot] for slot in get_args(Slot)}
        self.whole.offer(self._entries["model"])
        self.embedding.offer(self._entries["embedding"])
        self.head.offer(self._entries["head"])
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
        layers = draft.raw_layers(merged)
        task = Index(self._desk.catalogue or {}).entry(merged.task.id) if merged.task else None
        without = str((task or {}).get("no_layers") or "")
        self.add_layer.setEnabled(not without)
        self.add_layer.setToolTip(without or "Add a copy of the last layer")
        while len(self._cards) > len(layers):
            gone = self._cards.pop()
            self._layers.removeWidget(gone)
            gone.hide()
            gone.deleteLater()
        while len(self._cards) < len(layers):
            self._append_card()
        places = [(layer.mixer, layer.feedforward) for layer in merged.layers or []]
        for number, (layer_card, table, (mixer, feedforward)) in enumerate(zip(self._cards, layers, places, strict=True)):
            layer_card.show_layer(table, names, folder)
            layer_card.up.setEnabled(number > 0)
            layer_card.down.setEnabled(number < len(layers) - 1)
            layer_card.remove.setEnabled(len(layers) > 1 or bool(without))
            layer_card.mixer.show_trouble(trouble_of(mixer, problems))
            layer_card.feedforward.show_trouble(trouble_of(feedforward, problems))
        shown = [sentence(problem) for problem in problems if problem.path in ("model", "model.layers", f"variant[{scope}].model")]
        self._wrong.setText("\n".join(shown))
        self._wrong.setVisible(bool(shown))

    def _trouble(self, part: Any, slot: str, problems: Sequence[Problem]) -> Trouble:
        if part is not None:
            return trouble_of(part, problems)
        return Trouble([sentence(problem) for problem in problems if below(problem.path, f"model.{slot}")])

    def _append_card(self) -> None:
        number = len(self._cards)
        card = LayerCard(self._desk, number)
        card.mixer.offer(self._entries.get("mixer", []))
        card.feedforward.offer(self._entries.get("feedforward", []))
        card.edited.connect(lambda table: self._change("Change a layer", lambda layers: layers.__setitem__(number, table), f"layer {number}"))
        card.up.clicked.connect(lambda: self._change("Move a layer", lambda layers: layers.insert(number - 1, layers.pop(number))))
        card.down.clicked.connect(lambda: self._change("Move a layer", lambda layers: layers.insert(number + 1, layers.pop(number))))
        card.copy.clicked.connect(lambda: self._change("Duplicate a layer", lambda layers: layers.insert(number, deepcopy(layers[number]))))
        card.remove.clicked.connect(lambda: self._change("Remove a layer", lambda layers: layers.pop(number)))
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
        if kind == "layer" and number.isdigit() and int(number) < len(self._cards):
            return self._cards[int(number)].mixer if part == "mixer" else self._cards[int(number)].feedforward
        return None
