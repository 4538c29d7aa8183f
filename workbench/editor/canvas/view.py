"""The canvas: pointed at, dragged on and typed to. What an edit does is told by signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
)  # fmt: skip
from PySide6.QtWidgets import QApplication, QToolTip, QWidget

from workbench.editor.canvas.layout import layer_of
from workbench.editor.canvas.surface import Surface
from workbench.theme import Theme

BLOCK = "application/x-efficiency-workbench-block"
"""The id of a block that is dragged."""


class Canvas(Surface):
    """chosen(key): a piece was chosen. opened(key): its form is wanted. dropped(id, key, gap): a block was dropped on a piece, or in a gap
    (then the key is empty). moved(to): the chosen layers go in front of layer `to`. typed(word): remove, duplicate, more, fewer, copy, cut,
    paste, left or right, for what is chosen. menu_wanted: at a point of the screen. searched: a double click where nothing stands."""

    chosen = Signal(str)
    opened = Signal(str)
    dropped = Signal(str, str, int)
    moved = Signal(int)
    typed = Signal(str)
    menu_wanted = Signal(QPoint)
    searched = Signal()

    def __init__(self, theme: Theme, slot_of: Callable[[str], str], parent: QWidget | None = None) -> None:
        """slot_of: the slot that a block fits in, by its id; empty where it is unknown."""
        super().__init__(theme, parent)
        self._slot_of = slot_of
        self.refuses = ""
        """Why no layers can be put here; empty where they can."""
        self._anchor = 0
        self._pressed: QPoint | None = None
        self._panning: QPointF | None = None
        self.viewport().setMouseTracking(True)
        self.viewport().setAcceptDrops(True)
        self.setAcceptDrops(True)

    # --- Pointing ---------------------------------------------------------------------------------------------------------------------------

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent):
            piece = self.piece_at(QPointF(event.pos()))
            text = "" if piece is None else f"{piece.words}\n{piece.wrong}".strip()
            QToolTip.showText(event.globalPos(), text, self)
            return True
        if event.type() == QEvent.Type.Leave and self.look.pointed:
            self.look = replace(self.look, pointed="")
            self.viewport().update()
        return super().viewportEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        point = event.position()
        if self._strip_hit(point) or event.button() == Qt.MouseButton.MiddleButton:
            self._panning = point
            self._pan(point)
            return
        if event.button() == Qt.MouseButton.RightButton:
            self._choose_for_menu(point)
            return
        if event.button() != Qt.MouseButton.LeftButton:
            return
        piece, number = self.piece_at(point), self._layer_at(point)
        if piece is None and number is None:
            self._panning = point
            return
        key = piece.key if piece is not None else f"layer/{number}/mixer"
        several = event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        if number is not None and several:
            span = set(range(min(self._anchor, number), max(self._anchor, number) + 1))
            together = self.layers ^ {number} if event.modifiers() & Qt.KeyboardModifier.ControlModifier else span
            self.choose(key, together)
        elif number is not None and number in self.layers and len(self.layers) > 1:
            self.choose(key, self.layers)  # Perhaps all of them are dragged.
        else:
            self._anchor = number or 0
            self.choose(key)
        self._pressed = point.toPoint() if number is not None else None
        self.chosen.emit(key)

    def _pan(self, point: QPointF) -> None:
        bar = self.horizontalScrollBar()
        assert self._panning is not None
        if self._strip().contains(self._panning) and self._overflows:
            share = point.x() / max(1, self.viewport().width())
            bar.setValue(int(share * self.layout_.size.width() * self.zoom - self.viewport().width() / 2))
        else:
            bar.setValue(int(bar.value() - (point.x() - self._panning.x())))
            self._panning = point

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        point = event.position()
        if self._panning is not None:
            self._pan(point)
            return
        far = self._pressed is not None and (point.toPoint() - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        if far and not self.look.moving:
            self.look = replace(self.look, moving=frozenset(self.layers), gaps=True)
        if self.look.moving:
            self.look = replace(self.look, gap=self.gap_at(point))
            self._scroll_near_edge(point)
            self.viewport().update()
            return
        piece = self.piece_at(point)
        pointed = piece.key if piece is not None else ""
        if pointed != self.look.pointed:
            self.look = replace(self.look, pointed=pointed)
            self.viewport().update()

    def _scroll_near_edge(self, point: QPointF) -> None:
        bar = self.horizontalScrollBar()
        if point.x() < 2 * self.unit:
            bar.setValue(bar.value() - int(self.unit))
        elif point.x() > self.viewport().width() - 2 * self.unit:
            bar.setValue(bar.value() + int(self.unit))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        moving, to = self.look.moving, self.look.gap
        self._end_drag()
        if moving and to is not None:
            self.moved.emit(to)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        piece = self.piece_at(event.position())
        if piece is not None:
            self.opened.emit(piece.key)
        elif self._layer_at(event.position()) is None and not self._strip_hit(event.position()):
            self.searched.emit()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        keyboard = event.reason() == QContextMenuEvent.Reason.Keyboard
        self.menu_wanted.emit(self.viewport().mapToGlobal(self.place_of(self.key)) if keyboard else event.globalPos())

    def _choose_for_menu(self, point: QPointF) -> None:
        """What was clicked is chosen, unless it is among several that are."""
        piece, number = self.piece_at(point), self._layer_at(point)
        if (piece is None and number is None) or (number is not None and number in self.layers):
            return
        key = piece.key if piece is not None else f"layer/{number}/mixer"
        self._anchor = number or 0
        self.choose(key)
        self.chosen.emit(key)

    def _end_drag(self) -> None:
        self._pressed = self._panning = None
        self.look = replace(self.look, moving=(), gap=None, gaps=False, takes=None)
        self.viewport().update()

    # --- Blocks that are dragged here -----------------------------------------------------------------------------------------------------

    def takes(self, slot: str) -> set[str]:
        """Keys of the pieces that a block of this slot fits in; a whole model takes the place of everything."""
        return {piece.key for piece in self.layout_.pieces if slot in (piece.slot, "model")}

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        slot = self._slot_of(block_of(event.mimeData()))
        if not slot:
            event.ignore()
            return
        layered = slot in ("mixer", "feedforward") and not self.refuses
        self.look = replace(self.look, takes=frozenset(self.takes(slot)), gaps=layered)
        self.viewport().update()
        event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        piece = self.piece_at(event.position())
        on = piece is not None and self.look.takes is not None and piece.key in self.look.takes
        gap = self.gap_at(event.position()) if self.look.gaps and piece is None else None
        self.look = replace(self.look, pointed=piece.key if on and piece else "", gap=gap)
        self._scroll_near_edge(event.position())
        self.viewport().update()
        if on or gap is not None:
            event.acceptProposedAction()
        else:
            event.ignore()
            if piece is not None:
                block = block_of(event.mimeData())
                sentence = f"{block} is a {self._slot_of(block)}; here stands a {piece.slot}."
                QToolTip.showText(self.viewport().mapToGlobal(event.position().toPoint()), self.refuses or sentence, self)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._end_drag()

    def dropEvent(self, event: QDropEvent) -> None:
        key, gap = self.look.pointed, self.look.gap
        self._end_drag()
        if key or gap is not None:
            event.acceptProposedAction()
            self.dropped.emit(block_of(event.mimeData()), key, -1 if gap is None or key else gap)

    # --- Keyboard -------------------------------------------------------------------------------------------------------------------------

    def step(self, by: int, *, whole_layers: bool, extend: bool) -> None:
        """Choose the next piece, or the next layer; extend: keep the layers that are chosen."""
        keys = [piece.key for piece in self.layout_.pieces]
        if whole_layers or extend:
            keys = [key for key in keys if not key.endswith("/feedforward") or key == self.key]
        if not keys:
            return
        at = keys.index(self.key) if self.key in keys else (-1 if by > 0 else len(keys))
        key = keys[min(len(keys) - 1, max(0, at + by))]
        number = layer_of(key)
        self.choose(key, self.layers | ({number} if number is not None else set()) if extend else None)
        self.chosen.emit(key)

    def event(self, event: QEvent) -> bool:
        """Keys that mean something here are not those of the menus while this has the focus."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
            if (Qt.Key(event.key()), control) in {*_WORDS, (Qt.Key.Key_A, True)}:
                event.accept()
                return True
        return super().event(event)

    def choose_all(self) -> None:
        """Choose every layer."""
        if self.layout_.frames:
            key = self.key if layer_of(self.key or "head") is not None else f"layer/{self.layout_.frames[0].number}/mixer"
            self.choose(key, {frame.number for frame in self.layout_.frames})
            self.chosen.emit(key)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, modifiers = Qt.Key(event.key()), event.modifiers()
        control, alt = bool(modifiers & Qt.KeyboardModifier.ControlModifier), bool(modifiers & Qt.KeyboardModifier.AltModifier)
        shift = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            if alt:
                self.typed.emit("left" if key == Qt.Key.Key_Left else "right")
            else:
                self.step(-1 if key == Qt.Key.Key_Left else 1, whole_layers=control, extend=shift)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            self.step(-(10**6) if key == Qt.Key.Key_Home else 10**6, whole_layers=False, extend=shift)
        elif key == Qt.Key.Key_A and control:
            self.choose_all()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and not control:
            self.opened.emit(self.key)
        elif key == Qt.Key.Key_Escape and (self.look.moving or self.look.takes is not None):
            self._end_drag()
        elif word := _WORDS.get((key, control)):
            self.typed.emit(word)
        elif key == Qt.Key.Key_F and not control:
            self.fit()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.look = replace(self.look, focus=event.reason() != Qt.FocusReason.MouseFocusReason)
        if not self.key and event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason) and self.layout_.pieces:
            self.choose(self.layout_.pieces[0].key)
        self.viewport().update()
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.look = replace(self.look, focus=False)
        self.viewport().update()
        super().focusOutEvent(event)


_WORDS = {
    (Qt.Key.Key_Delete, False): "remove", (Qt.Key.Key_Backspace, False): "remove", (Qt.Key.Key_D, True): "duplicate",
    (Qt.Key.Key_Plus, False): "more", (Qt.Key.Key_Minus, False): "fewer", (Qt.Key.Key_C, True): "copy", (Qt.Key.Key_X, True): "cut",
    (Qt.Key.Key_V, True): "paste",
}  # fmt: skip


def block_of(data: QMimeData) -> str:
    """The id of the block that is dragged; empty where something else is."""
    return bytes(data.data(BLOCK).data()).decode(errors="replace") if data.hasFormat(BLOCK) else ""
