"""Neighbours of a word as a table: the word, the cosine of its vector with what was asked, and how often the training text has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from workbench.widgets.pills import BAR

Index = QModelIndex | QPersistentModelIndex
COLUMNS = (
    ("Word", "Enter or a double click asks for its neighbours"),
    ("Cosine", "1: the same direction as what was asked, 0: nothing in common, below 0: away from it"),
    ("In the text", "Occurrences in the training text: vectors of rare words are uncertain"),
)
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def shown(word: str) -> str:
    """A token as it is drawn: blanks and line ends of subword tokens are made visible."""
    return word.replace("\n", "⏎").replace("Ċ", "⏎").replace("Ġ", "␣").replace(" ", "␣") or "(empty)"


class NeighbourTable(QAbstractTableModel):
    """Rows as the engine gives them, {"word", "cosine", "count"}, nearest first."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.rows: list[Mapping[str, Any]] = []

    def show_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def row_of(self, word: str) -> int | None:
        """The row of a word; None where it is not among them."""
        return next((place for place, row in enumerate(self.rows) if row["word"] == word), None)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section][0]
        if role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section][1]
        return (RIGHT if section == 2 else LEFT) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return (shown(row["word"]), f"{row['cosine']:.3f}", f"{row['count']:,}")[column]
        if role == BAR:
            return max(0.0, row["cosine"]) if column == 1 else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT if column == 2 else LEFT
        if role == Qt.ItemDataRole.ToolTipRole and column == 0:
            return COLUMNS[0][1]
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{COLUMNS[column][0]}: {self.data(index)}"
        return None
