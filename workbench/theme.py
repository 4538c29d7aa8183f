"""Light and dark: the colours, the palette and the style sheet of the window, drawn from `resources/theme`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication, QStyleFactory

RESOURCES = Path(__file__).resolve().parent.parent / "resources"
Choice = Literal["system", "light", "dark"]
TEXT_SIZES = (80, 90, 100, 110, 125, 140, 160)
"""Percent of the desktop's text size."""
DESKTOP_SIZE = "desktop_point_size"
"""Property of the application: its font size in points before it was scaled."""


@dataclass(frozen=True)
class Theme:
    """Named colours as "#RRGGBB"; `series` holds the curve colours (Okabe and Ito's colour-blind-safe set, tuned for contrast)."""

    name: str
    window: str
    surface: str
    sunken: str
    border: str
    strong: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    danger: str
    danger_soft: str
    warning: str
    warning_soft: str
    ok: str
    ok_soft: str
    selection: str
    grid: str
    series: tuple[str, ...]

    def curve(self, index: int) -> str:
        """The colour of the index-th curve; after the last one the set starts again."""
        return self.series[index % len(self.series)]


@cache
def theme(name: str) -> Theme:
    """Read the light or the dark theme."""
    colours = json.loads((RESOURCES / "theme" / f"{name}.json").read_text(encoding="utf-8"))
    return Theme(name=name, **{**colours, "series": tuple(colours["series"])})


def chosen(choice: Choice, application: QApplication) -> Theme:
    """The theme of a View menu choice; "system" follows the desktop's colour scheme."""
    if choice == "system":
        dark = application.styleHints().colorScheme() == Qt.ColorScheme.Dark
        return theme("dark" if dark else "light")
    return theme(choice)


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for key, colour in {
        role.Window: theme.window, role.WindowText: theme.text, role.Base: theme.surface, role.AlternateBase: theme.window,
        role.Text: theme.text, role.Button: theme.surface, role.ButtonText: theme.text, role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent, role.ToolTipBase: theme.surface, role.ToolTipText: theme.text, role.Link: theme.accent,
        role.LinkVisited: theme.accent, role.PlaceholderText: theme.muted, role.Mid: theme.border, role.Dark: theme.strong,
        role.Light: theme.surface, role.Accent: theme.accent,
    }.items():  # fmt: skip
        palette.setColor(key, QColor(colour))
    for key in (role.Text, role.WindowText, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, key, QColor(theme.strong))
    return palette


def style_sheet(theme: Theme, point_size: float) -> str:
    """The style sheet with this theme's colours; text sizes follow the application font (points)."""
    text = (RESOURCES / "theme" / "workbench.qss").read_text(encoding="utf-8")
    values = {key: value for key, value in vars(theme).items() if isinstance(value, str)}
    folder = (RESOURCES / "theme").as_posix()
    return Template(text).substitute(
        values,
        title=f"{point_size * 1.55:.1f}",
        heading=f"{point_size * 1.18:.1f}",
        caption=f"{point_size * 0.92:.1f}",
        chevron=f"{folder}/chevron-{theme.name}.svg",
        check=f"{folder}/check-{theme.name}.svg",
    )


def apply(application: QApplication, theme: Theme, percent: int = 100) -> None:
    """Give the application this theme, and text of `percent` of the desktop's size. Fusion, and so the style sheet, is the same on every platform."""
    if application.style().name().lower() != "fusion":
        application.setStyle(QStyleFactory.create("Fusion"))
    if application.property(DESKTOP_SIZE) is None:
        application.setProperty(DESKTOP_SIZE, base_point_size(application.font()))
    points = float(application.property(DESKTOP_SIZE)) * percent / 100
    if abs(points - base_point_size(application.font())) > 0.01:
        face = application.font()
        face.setPointSizeF(points)
        application.setFont(face)
    text = style_sheet(theme, points)
    if text != application.styleSheet():
        application.setPalette(_palette(theme))
        application.setStyleSheet(text)


def neighbour(percent: int, by: int) -> int:
    """The next larger (by = 1) or smaller (-1) text size; the last one stays."""
    place = min(range(len(TEXT_SIZES)), key=lambda number: abs(TEXT_SIZES[number] - percent))
    return TEXT_SIZES[max(0, min(len(TEXT_SIZES) - 1, place + by))]


def base_point_size(font: QFont) -> float:
    """The size everything else is scaled from, in points; pixel-sized desktop fonts count as 10."""
    return font.pointSizeF() if font.pointSizeF() > 0 else 10.0
