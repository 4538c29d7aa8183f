"""The form of one entry of `layers`: mixer, feed-forward, how often it stands, residual connection and norm."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QToolButton, QVBoxLayout

from workbench.desk import Desk
from workbench.editor.draft import Tree
from workbench.editor.plugin_card import PluginCard
from workbench.forms import Form
from workbench.widgets.surfaces import icon_button
from workbench.widgets.text import label

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

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setProperty("block", True)
        self._table: Tree = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 8, 10)
        column.setSpacing(4)
        row = QHBoxLayout()
        row.setSpacing(2)
        self.title = label("", "strong")
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

    def show_layer(self, number: int, table: Tree, variants: Sequence[str], folder: Any) -> None:
        self._table = table
        self.title.setText(f"Layer {number + 1}")
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
