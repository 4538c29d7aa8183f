"""Opaque colours in place of translucent ones: translucent pens are slow."""

from __future__ import annotations

from PySide6.QtGui import QColor


def mixed(ground: str, colour: str, share: float) -> str:
    """`share` of a colour on a ground."""
    parts = [(QColor(ground).getRgb()[n], QColor(colour).getRgb()[n]) for n in range(3)]  # type: ignore[index]
    return QColor(*(round(g + (c - g) * share) for g, c in parts)).name()
