"""Labels in the roles of the style sheet, and numbers as people read them."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget


def label(text: str = "", role: str = "", *, wrap: bool = False, selectable: bool = False, parent: QWidget | None = None) -> QLabel:
    """A plain-text label; role: title, heading, strong, caption, overline, muted, error, figure."""
    widget = QLabel(text, parent)
    widget.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        widget.setProperty("role", role)
    if wrap:
        widget.setWordWrap(True)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        widget.setSizePolicy(policy)
    if selectable:
        widget.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard)
    return widget


def left_to_right(text: str) -> str:
    """Words of the window's own below or beside a name that may run from right to left: they stay in their order."""
    return f"\u2066{text}\u2069"


def restyle(widget: QWidget) -> None:
    """Apply the style sheet again after a dynamic property changed."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def flag(widget: QWidget, name: str, value: bool | str) -> None:
    """Set a dynamic property that the style sheet reads; restyles only on a change."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        restyle(widget)


def number(value: float | None, digits: int = 4) -> str:
    """A figure in the fewest characters that keep `digits` digits: 1234567 -> 1,234,567; 0.000123 -> 1.23e-04; None -> a dash."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 10 ** (digits + 5) or size < 1e-4:
        return f"{value:.{max(digits - 2, 1)}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text and float(value).is_integer() else text


def short(value: float | None) -> str:
    """A count with a prefix: 33278 -> 33.3k; 4600000 -> 4.60M."""
    if value is None or not math.isfinite(value):
        return "–"
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scaled = value / (1e3 if letter == "k" else limit)
            return f"{scaled:.3g}{letter}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 8 s, 2 min 05 s, 3 h 07 min."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class ElidedLabel(QLabel):
    """One line of text that ends in an ellipsis where it does not fit; the whole of it is the tool tip."""

    def __init__(self, role: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(80)
        if role:
            self.setProperty("role", role)

    def setText(self, text: str) -> None:
        self._whole = text
        self.setToolTip(text)
        self._fit()

    def text(self) -> str:
        return self._whole

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        super().setText(self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, self.width()))
