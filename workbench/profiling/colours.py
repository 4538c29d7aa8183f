"""Colours of phases, owners and shares, the same in every picture of a profile."""

from __future__ import annotations

from PySide6.QtGui import QColor

from workbench.profiling.reading import OWNERS, PHASES
from workbench.theme import Theme

_ORDER = {"data": 4, "forward": 0, "backward": 1, "optimizer": 2}
_OWNERS = {"parameters": 0, "gradients": 1, "optimizer": 2, "activations": 3, "workspace": 4}
BOUNDS = {"compute": 0, "memory": 1, "launch": 2, "data": 3}


def phases(theme: Theme) -> dict[str, QColor]:
    return {phase: QColor(theme.curve(_ORDER[phase])) if phase in _ORDER else QColor(theme.strong) for phase in PHASES}


def owners(theme: Theme) -> dict[str, QColor]:
    return {owner: QColor(theme.curve(_OWNERS[owner])) if owner in _OWNERS else QColor(theme.strong) for owner in OWNERS}


def bound(theme: Theme, name: str | None) -> QColor:
    return QColor(theme.curve(BOUNDS[name])) if name in BOUNDS else QColor(theme.muted)


def mixed(ground: QColor, colour: QColor, share: float) -> QColor:
    """`share` of the colour on the ground."""
    share = min(1.0, max(0.0, share))
    return QColor(*(round(g + (c - g) * share) for g, c in zip(ground.getRgb()[:3], colour.getRgb()[:3], strict=True)))  # type: ignore[index]


def heat(theme: Theme, share: float, largest: float) -> QColor:
    """How much of the time a block takes, beside the one that takes the most."""
    return mixed(QColor(theme.surface), QColor(theme.accent), 0.08 + 0.82 * share / largest if largest else 0.0)


def ink(colour: QColor) -> QColor:
    """Black or white, whichever reads better on a colour."""
    red, green, blue = (value / 255 for value in colour.getRgb()[:3])  # type: ignore[index]
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return QColor("#111417") if luminance > 0.2 else QColor("#FFFFFF")
