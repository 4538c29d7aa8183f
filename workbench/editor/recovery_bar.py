"""The offer to go on with edits that a killed or crashed window left unsaved: a bar above the views, Restore or Discard."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QWidget

from workbench.editor.journal import Unsaved
from workbench.widgets.text import label


class RecoveryBar(QFrame):
    """Offers one after the other, the latest first. What is neither restored nor discarded is offered again by the next window."""

    restored = Signal(object)
    """Edit this `Unsaved`; whoever does calls `done` when it is safe elsewhere."""
    discarded = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("recovery")
        self.setProperty("notice", "info")
        self.setAccessibleName("Unsaved changes of an earlier window")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 8, 8, 8)
        row.setSpacing(8)
        self.text = label("", wrap=True, selectable=True)
        row.addWidget(self.text, 1)
        self.restore = QPushButton("Restore")
        self.restore.setProperty("primary", True)
        self.restore.setToolTip("Go on where the window ended; the changes are still to be saved")
        self.restore.clicked.connect(lambda: self.restored.emit(self._offers[0]))
        self.discard = QPushButton("Discard")
        self.discard.setToolTip("Give these changes up for good")
        self.discard.clicked.connect(lambda: self.discarded.emit(self._offers[0]))
        self.later = QToolButton()
        self.later.setProperty("bare", True)
        self.later.setText("×")
        self.later.setToolTip("Decide later: the next window offers them again")
        self.later.setAccessibleName("Decide later")
        self.later.clicked.connect(self.leave)
        for button in (self.restore, self.discard, self.later):
            row.addWidget(button)
        self._offers: list[Unsaved] = []
        self.hide()

    @property
    def offers(self) -> Sequence[Unsaved]:
        """What is still offered, the one that is shown first."""
        return self._offers

    def offer(self, found: Sequence[Unsaved]) -> None:
        """Show what was found; nothing for nothing."""
        self._offers = [*self._offers, *found]
        self._show()

    def done(self, unsaved: Unsaved) -> None:
        """Take one from the offers and show the next."""
        self._offers = [each for each in self._offers if each is not unsaved]
        self._show()

    def _show(self) -> None:
        if self._offers:
            from workbench.watching.experiment_list import ago  # It brings numpy, and the bar is made before the first paint.

            first, others = self._offers[0], len(self._offers) - 1
            sentences = [f"“{first.name}” was not saved when an earlier window ended; its last change was made {ago(first.written)}."]
            if first.overtaken:
                sentences.append("The file was written to after that.")
            if others:
                sentences.append(f"There {'are' if others > 1 else 'is'} {others} more after it.")
            self.text.setText(" ".join(sentences))
            self.text.setToolTip(str(first.path or ""))
            for button, act in ((self.restore, "Restore"), (self.discard, "Discard")):
                button.setAccessibleName(f"{act} the unsaved changes of {first.name}")
        self.setVisible(bool(self._offers))

    def leave(self) -> None:
        """Let go of what is offered; it stays where it is."""
        for each in self._offers:
            each.keep()
        self._offers = []
        self._show()
