"""How the mouse moves a plot: it drags and zooms x; y fits what is seen, until somebody zooms it over its axis."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg


class PaneBox(pg.ViewBox):
    """A view box whose inside moves in x alone; over the y axis the wheel and the mouse move y."""

    def __init__(self) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self.disableAutoRange()

    def wheelEvent(self, ev: Any, axis: int | None = None) -> None:
        super().wheelEvent(ev, axis=0 if axis is None else axis)

    def mouseDragEvent(self, ev: Any, axis: int | None = None) -> None:
        super().mouseDragEvent(ev, axis=0 if axis is None else axis)
