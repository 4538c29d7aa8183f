"""The heading of the middle of the editor: the variant that is shown, whether it differs from the base, and the way back to it."""

from __future__ import annotations

from PySide6.QtWidgets import QPushButton, QWidget

from engines.merging import Index
from workbench.editor import draft
from workbench.editor.document import Document
from workbench.editor.draft import Scope
from workbench.widgets.flow import Beside
from workbench.widgets.text import ElidedLabel, label


class ScopeTitle(QWidget):
    """Drops all changes of a variant, as one step of the undo history."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._scope: Scope = None
        row = Beside(self, gap=14, least=120)
        self._title = ElidedLabel("heading")
        row.addWidget(self._title)
        self._caption = label("", "caption")
        row.addWidget(self._caption)
        self._revert = QPushButton("Drop all changes of this variant")
        self._revert.setProperty("quiet", True)
        self._revert.clicked.connect(self._drop)
        row.addWidget(self._revert)

    def show_scope(self, index: Index, scope: Scope) -> None:
        """scope: the number of a variant, None for the base."""
        self._scope = scope
        data = self._document.data
        changes = draft.differences(data, index, scope) if scope is not None else []
        self._title.setText("Shared base" if scope is None else draft.variant_names(data)[scope])
        self._caption.setText(
            "every variant starts from this" if scope is None else "changes of the base are outlined" if changes else "same as the base"
        )
        self._revert.setVisible(bool(changes))

    def _drop(self) -> None:
        scope = self._scope
        if scope is not None:

            def drop(data: draft.Tree) -> None:
                data["variant"][scope] = {"name": data["variant"][scope].get("name", "")}

            self._document.edit("Drop the changes of a variant", drop)
