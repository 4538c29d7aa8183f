"""The canvas with the list of blocks beside it and its buttons; turns what is done on it into edits of the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from engines.merging import Index, Merged
from engines.predicting import memory_within
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.canvas import layers as edits
from workbench.editor.canvas.block_list import BlockList
from workbench.editor.canvas.layers import Chosen, Layers, Tree
from workbench.editor.canvas.layout import Figures, Layout, Memory, lay_out, layer_of
from workbench.editor.canvas.menu import menu
from workbench.editor.canvas.view import Canvas
from workbench.editor.cells import as_written
from workbench.editor.document import Document
from workbench.editor.draft import Scope
from workbench.editor.places import parts_of, trouble_of
from workbench.widgets.surfaces import icon_button
from workbench.widgets.text import ElidedLabel

SHOWN = "editor/blocks_beside_canvas"
"""Setting: whether the list of blocks stands beside the canvas."""
NARROW = 50
"""Lines of text of width up to which the list of blocks stands below the canvas, so that a transformer is seen whole and can be read."""
LOWEST = 11
"""Height of the list at least, in lines of text, where it stands beside the canvas."""
HINT = "Drag blocks here from the list, layers to another place; right-click for more."


class CanvasPanel(QWidget):
    """`chosen(key)` when a piece is chosen, `opened(key)` when its form is wanted: "embedding", "head", "model" or "layer/3/mixer"."""

    chosen = Signal(str)
    opened = Signal(str)

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk, self._document = desk, document
        self._scope: Scope = None
        self._merged: Merged | None = None
        self._problems: Sequence[Problem] = ()
        self._figures: Figures = {}
        self._figures_of: Any = None
        """What the file says of the model that the figures belong to."""
        self._memory: Memory = {}
        self._memory_of: Any = None
        self._changed: set[str] = set()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(self._bar())
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._row.setSpacing(8)
        self.blocks = BlockList(desk.theme)
        self.blocks.used.connect(self.use)
        self._row.addWidget(self.blocks)
        self.canvas = Canvas(desk.theme, self._slot_of)
        self.canvas.chosen.connect(self._choose)
        self.canvas.opened.connect(self.opened)
        self.canvas.dropped.connect(self._drop)
        self.canvas.moved.connect(self._move)
        self.canvas.typed.connect(self._act)
        self.canvas.menu_wanted.connect(self._offer_menu)
        self.canvas.searched.connect(lambda: self._act("find"))
        self._row.addWidget(self.canvas, 1)
        self._arrange(below=False)
        column.addLayout(self._row)
        desk.theme_changed.connect(self._paint_with)
        self._toggle.setChecked(bool(desk.settings.value(SHOWN, True, bool)))
        self.blocks.setVisible(self._toggle.isChecked())
        self._enable()

    def _bar(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        self._toggle = QToolButton()
        self._toggle.setProperty("quiet", True)
        self._toggle.setText("Blocks")
        self._toggle.setCheckable(True)
        self._toggle.setToolTip("Show the list of blocks beside the model")
        self._toggle.toggled.connect(self._show_blocks)
        row.addWidget(self._toggle)
        self._hint = ElidedLabel("caption")
        self._hint.setText(HINT)
        row.addWidget(self._hint, 1)
        theme = self._desk.theme
        self.fewer = icon_button("minus", "One layer fewer here (−)", theme)
        self.more = icon_button("plus", "Repeat the chosen layers once more (+)", theme)
        self.copy = icon_button("duplicate", "Duplicate the chosen layers (Ctrl+D); Ctrl+C and Ctrl+V take them to another variant", theme)
        self.remove = icon_button("trash", "Remove what is chosen (Del)", theme)
        for button, word in ((self.fewer, "fewer"), (self.more, "more"), (self.copy, "duplicate"), (self.remove, "remove")):
            button.clicked.connect(lambda _=False, word=word: self._act(word))
            row.addWidget(button)
        self.fit = QPushButton("Fit")
        self.fit.setProperty("quiet", True)
        self.fit.setToolTip("The whole model in view (F)")
        self.fit.clicked.connect(lambda: self.canvas.fit())
        row.addWidget(self.fit)
        return row

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        below = event.size().width() < NARROW * self.canvas.unit
        if below != (self._row.direction() == QBoxLayout.Direction.BottomToTop):
            self._arrange(below=below)

    def _arrange(self, *, below: bool) -> None:
        """The list of blocks below the canvas or beside it."""
        self._row.setDirection(QBoxLayout.Direction.BottomToTop if below else QBoxLayout.Direction.LeftToRight)
        self.blocks.stand(in_columns=below)
        self.canvas.leave_height(0 if below else LOWEST)

    def _show_blocks(self, shown: bool) -> None:
        if hasattr(self, "blocks"):
            self.blocks.setVisible(shown)
            self._desk.settings.setValue(SHOWN, shown)

    def _paint_with(self, theme: Any) -> None:
        self.canvas.paint_with(theme)
        self.blocks.paint_with(theme)

    # --- What is shown ---------------------------------------------------------------------------------------------------------------------

    def offer(self, entries: Mapping[str, Sequence[Tree]]) -> None:
        """Take the blocks of the catalogue, by slot."""
        self.blocks.offer(entries)

    def show_scope(self, merged: Merged, scope: Scope, problems: Sequence[Problem], without_layers: str = "") -> None:
        """Show the model of the base or of a variant. without_layers: why the task takes none; empty where it does."""
        if scope != self._scope:
            self._changed = set()
        self._merged, self._scope, self._problems, self.canvas.refuses = merged, scope, problems, without_layers
        self._lay_out()

    def mark_changes(self, changed: set[str]) -> None:
        """Mark what a variant changes of the base: "embedding", "head" or "layers"."""
        if changed != self._changed:
            self._changed = changed
            self._lay_out()

    def show_figures(self, shapes: Mapping[str, Any], merged: Merged) -> None:
        """The inspector's answer about the model of `merged`. They stand on the blocks as long as these are of that model."""
        self._figures, self._figures_of = {row["name"]: row for row in shapes.get("rows", ())}, _said(merged)
        self._lay_out()

    def show_memory(self, predicted: Mapping[str, Any], merged: Merged) -> None:
        """What training the model and recipe of `merged` was predicted to take: an answer of `engines.runtime.predict`."""
        self._memory, self._memory_of = memory_within(predicted.get("modules", ())), deepcopy(as_written(merged))
        self._lay_out()

    def _lay_out(self) -> None:
        if self._merged is None:
            return
        wrong = {}
        for key, part in parts_of(self._merged).items():
            trouble = trouble_of(part, self._problems)
            if trouble:
                wrong[key] = " ".join([*trouble.whole, *trouble.parameters.values()])
        figures = self._figures if _said(self._merged) == self._figures_of else {}
        memory = self._memory if as_written(self._merged) == self._memory_of else {}
        layout: Layout = lay_out(self._merged, self._index, figures, wrong, memory)
        self.canvas.show_layout(layout, self._changed)
        self._enable()

    @property
    def _index(self) -> Index:
        return Index(self._desk.catalogue or {})

    def _slot_of(self, plugin_id: str) -> str:
        entry = self._desk.entry(plugin_id)
        return str(entry["slot"]) if entry is not None and entry["kind"] == "block" else ""

    def _choose(self, key: str) -> None:
        self._enable()
        self.chosen.emit(key)

    def _enable(self) -> None:
        in_layers = bool(self.canvas.layers)
        for button in (self.fewer, self.more, self.copy, self.remove):
            button.setEnabled(in_layers)
        layers = draft.raw_layers(self._merged) if self._merged else []
        self.fewer.setEnabled(any(layers[number].get("repeat", 1) != 1 for number in self.canvas.layers if number < len(layers)))

    # --- Edits -----------------------------------------------------------------------------------------------------------------------------

    def _edit(self, words: str, change: Callable[[Layers], tuple[Layers, Chosen]], slot: str = "mixer") -> None:
        """Change the layers as one step of the undo history; what the change chooses is chosen then."""
        index, scope = self._index, self._scope
        chosen: Chosen = []

        def apply(data: Tree) -> None:
            made, then = change(draft.raw_layers(draft.effective(data, index, scope)))
            chosen[:] = then
            draft.set_layers(data, index, scope, made)

        self._document.edit(words, apply)
        if chosen:
            self.canvas.choose(f"layer/{chosen[0]}/{slot}", set(chosen))
            self._choose(self.canvas.key)
        self._enable()

    def use(self, plugin_id: str) -> None:
        """Put a block where the chosen piece stands if it fits there, else where it belongs: behind the chosen layer or at the end."""
        slot, key = self._slot_of(plugin_id), self.canvas.key
        number = layer_of(key) if key else None
        if slot in ("embedding", "head", "model"):
            self._drop(plugin_id, slot, -1)
        elif number is not None and slot == "feedforward":
            self._drop(plugin_id, f"layer/{number}/feedforward", -1)
        elif number is not None and key.endswith("/mixer"):
            self._drop(plugin_id, key, -1)
        else:
            self._drop(plugin_id, "", len(self._layers) if number is None else number + 1)

    @property
    def _layers(self) -> Layers:
        return draft.raw_layers(self._merged) if self._merged else []

    def _drop(self, plugin_id: str, key: str, gap: int) -> None:
        slot, index, scope = self._slot_of(plugin_id), self._index, self._scope
        title = str((self._desk.entry(plugin_id) or {}).get("title") or plugin_id)
        if slot == "model":
            self._document.edit(f"Choose {title}", lambda data: draft.set_whole(data, index, scope, {"id": plugin_id}))
        elif slot in draft.SLOTS:
            self._document.edit(f"Choose {title}", lambda data: draft.set_block(data, index, scope, slot, {"id": plugin_id}))
            self.canvas.choose(slot)
        elif self.canvas.refuses:
            self._desk.says.emit(self.canvas.refuses)
        elif key:
            number = layer_of(key)
            assert number is not None
            self._edit(f"Choose {title}", lambda layers: edits.replaced(layers, number, slot, plugin_id), slot)
        else:
            mixer = next((name for name, entry in (self._desk.catalogue or {}).get("plugins", {}).items() if entry.get("slot") == "mixer"), "")
            self._edit(f"Add {title}", lambda layers: edits.inserted(layers, gap, slot, plugin_id, mixer), slot)

    def _move(self, to: int) -> None:
        chosen = set(self.canvas.layers)
        self._edit("Move layers" if len(chosen) > 1 else "Move a layer", lambda layers: edits.moved(layers, chosen, to))

    def _act(self, word: str) -> None:
        """What was typed or clicked, on what is chosen."""
        chosen, key = set(self.canvas.layers), self.canvas.key
        if word in _WITHOUT_LAYERS:
            _WITHOUT_LAYERS[word](self)
            return
        if not chosen:
            return
        several = "layers" if len(chosen) > 1 else "a layer"
        if word in ("copy", "cut"):
            self._copy(chosen)
        if word in ("remove", "cut"):
            self._remove(chosen, key if word == "remove" else "", several)
        elif word == "duplicate":
            self._edit(f"Duplicate {several}", lambda layers: edits.duplicated(layers, chosen))
        elif word in ("more", "fewer"):
            self._edit(f"Repeat {several}", lambda layers: edits.repeated(layers, chosen, 1 if word == "more" else -1))
        elif word == "left" and min(chosen) > 0:
            self._move(min(chosen) - 1)
        elif word == "right" and max(chosen) < len(self._layers) - 1:
            self._move(max(chosen) + 2)

    def _possible(self) -> set[str]:
        """The words that mean something now."""
        chosen, last = self.canvas.layers, len(self._layers) - 1
        on_layers = {"more", "cut", "copy", "duplicate", "remove"} if chosen else set()
        on_layers |= {"fewer"} if self.fewer.isEnabled() else set()
        on_layers |= {"left"} if chosen and min(chosen) > 0 else set()
        on_layers |= {"right"} if chosen and max(chosen) < last else set()
        on_layers |= {"all"} if last > 0 else set()
        on_piece = {"open"} | ({"about"} if self._block_at(self.canvas.key) else set()) if self.canvas.key else set()
        return on_layers | on_piece | {"paste", "find"}

    def _offer_menu(self, at: QPoint) -> None:
        made = menu(self, self._possible(), self._act)
        made.exec(at)
        made.deleteLater()

    def _block_at(self, key: str) -> str:
        """The id of the block of a piece; empty where there is none."""
        part = parts_of(self._merged).get(key) if self._merged else None
        return part.id if part is not None else ""

    def _find(self) -> None:
        self._toggle.setChecked(True)
        self.blocks.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.blocks.search.selectAll()

    def _remove(self, chosen: set[int], key: str, several: str) -> None:
        """The feed-forward alone where it is chosen alone; else the layers. A model keeps one layer unless its task takes none."""
        number = layer_of(key) if key else None
        if key.endswith("/feedforward") and len(chosen) == 1 and number is not None and self._layers[number].get("feedforward"):
            self._edit("Remove a feed-forward", lambda layers: edits.without_feedforward(layers, number))
        elif len(chosen) == len(self._layers) and not self.canvas.refuses:
            self._desk.says.emit("A model keeps at least one layer: put another in its place.")
        else:
            self._edit(f"Remove {several}", lambda layers: edits.removed(layers, chosen))

    def _copy(self, chosen: set[int]) -> None:
        text = edits.as_text([self._layers[number] for number in sorted(chosen)])
        QGuiApplication.clipboard().setText(text)
        self._desk.says.emit(f"{len(chosen)} layer{'s' if len(chosen) > 1 else ''} copied; Ctrl+V puts them into any variant.")

    def _paste(self) -> None:
        new = edits.from_text(QGuiApplication.clipboard().text())
        if not new:
            self._desk.says.emit("There are no layers on the clipboard; Ctrl+C on the model copies those that are chosen.")
            return
        at = max(self.canvas.layers, default=len(self._layers) - 1) + 1
        self._edit("Paste layers", lambda layers: edits.pasted(layers, new, at))


_WITHOUT_LAYERS: Mapping[str, Callable[[CanvasPanel], object]] = {
    "paste": lambda panel: panel._paste(),
    "all": lambda panel: panel.canvas.choose_all(),
    "find": lambda panel: panel._find(),
    "open": lambda panel: panel.opened.emit(panel.canvas.key),
    "about": lambda panel: panel._desk.wants_card_beside.emit(panel._block_at(panel.canvas.key)),
}
"""What needs no layer to be chosen."""


def _said(merged: Merged) -> Any:
    """What the figures of the blocks depend on."""
    said = as_written(merged)
    return deepcopy([said[key] for key in ("task", "corpus", "model", "training")])
