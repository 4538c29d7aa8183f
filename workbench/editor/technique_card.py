"""A technique of a recipe: when it acts, its parameters, and how it is moved: buttons, Alt with an arrow key, or dragging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QMouseEvent, QShortcut
from PySide6.QtWidgets import QApplication

from workbench.desk import Desk
from workbench.editor import order
from workbench.editor.plugin_card import PluginCard
from workbench.widgets.text import flag, label

NAMED, LISTED = 3, 40
"""Names of what a technique finds: beside it, and when the pointer rests on them."""


class TechniqueCard(PluginCard):
    """Dragged at its upper row; a click there, or Enter, asks for its card; Delete removes it."""

    shifted = Signal(int)
    """-1: one place earlier, 1: one place later."""
    dragged = Signal(QPoint)
    """Where the pointer is, on the screen."""
    dropped = Signal(QPoint)
    let_go = Signal()
    """Dragging was given up."""

    def __init__(self, desk: Desk, number: int) -> None:
        super().__init__(desk, f"Technique {number}")
        self._number = number
        self._pressed: QPoint | None = None
        self._dragging = False
        self._found = label("", "muted", wrap=True)
        self._found.setContentsMargins(30, 0, 6, 0)
        self._found.hide()
        self._found_of: str | None = None
        self.add_below(self._found)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleDescription("Enter shows the card, Alt with an arrow key moves it, Delete removes it.")
        self.up = self.add_action("up", "Earlier in the recipe (Alt+Up)", lambda: self.shifted.emit(-1))
        self.down = self.add_action("down", "Later in the recipe (Alt+Down)", lambda: self.shifted.emit(1))
        self.remove = self.add_action("trash", "Remove this technique", lambda: None)
        for keys, by in (("Alt+Up", -1), ("Alt+Down", 1)):
            shortcut = QShortcut(QKeySequence(keys), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda by=by: self.shifted.emit(by))

    def show_stages(self) -> None:
        """Say when the technique acts, which is what the order is about."""
        if self._found_of != self._id:
            self.show_matches(None)  # of another technique, that stood here before
        entry = self._desk.entry(self._id or "") or {}
        when, hooks = order.stages(entry), entry.get("hooks", ())
        self._caption.setText(when or f"Technique {self._number}")
        self._caption.setToolTip(f"Acts on {order.places(hooks)}. Techniques that act on the same thing do so in this order." if hooks else "")
        self.setAccessibleName(f"Technique {self._number}: {entry.get('title', self._id)}" + (f", {when}" if when else ""))

    def show_matches(self, found: Mapping[str, Any] | None) -> None:
        """What the technique finds in the model, one answer of the inspector; None where it does not go by types and patterns, or nothing is
        known."""
        self._found_of = self._id if found is not None else None
        self._found.setVisible(found is not None)
        if found is None:
            return
        count = len(found["names"])
        shown = ", ".join(found["names"][:NAMED]) + (" …" if count > NAMED else "")
        nothing = " ".join(found["left"]) or "Finds nothing in this model: it would leave it as it is."
        self._found.setText(f"Finds {count}, {found['weights']:,} numbers: {shown}" if count else nothing)
        self._found.setToolTip("\n".join([*found["names"][:LISTED], *(["…"] if count > LISTED else []), *found["left"]]))
        flag(self._found, "role", "muted" if count else "error")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        at = event.position().toPoint()
        inside = self._room.isVisible() and self._room.geometry().top() <= at.y()
        self._pressed = at if event.button() == Qt.MouseButton.LeftButton and not inside else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed is None:
            return
        far = (event.position().toPoint() - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        if far and not self._dragging:
            self._dragging = True
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            flag(self, "dragged", True)
        if self._dragging:
            self.dragged.emit(event.globalPosition().toPoint())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, dragging = self._pressed, self._dragging
        self._stop()
        if dragging:
            self.dropped.emit(event.globalPosition().toPoint())
        elif pressed is not None:
            self._desk.wants_card_beside.emit(self._id or "")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self._dragging:
            self._stop()
            self.let_go.emit()
        elif self.hasFocus() and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.modifiers():
            self._desk.wants_card_beside.emit(self._id or "")
        elif self.hasFocus() and event.key() == Qt.Key.Key_Delete:
            self.remove.click()
        else:
            super().keyPressEvent(event)

    def _stop(self) -> None:
        self._pressed, self._dragging = None, False
        self.unsetCursor()
        flag(self, "dragged", False)
