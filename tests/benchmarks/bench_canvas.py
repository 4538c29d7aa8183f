"""The model canvas with 200 blocks: how long the window's thread is busy for a frame of a drag, and for an edit.

    python -m tests.benchmarks canvas

Reach: 30 frames a second while a layer is dragged (33 ms a frame; 16 ms is what the window allows itself), over the whole model and zoomed in.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from engines import catalogue
from workbench import theme
from workbench.desk import Desk
from workbench.editor.document import Document
from workbench.views.editor import EditorView

LAYERS, FRAMES = 99, 200
"""With embedding and head that is 200 blocks."""


def drag(view: EditorView, app: QApplication) -> list[float]:
    """Milliseconds of each frame: the mouse moves, and what changed is drawn."""
    canvas = view.model.canvas.canvas
    port, taken = canvas.viewport(), []
    start = QPoint(port.width() // 2, int(canvas._top + canvas.layout_.frames[0].area.center().y() * canvas.zoom))
    QTest.mousePress(port, Qt.MouseButton.LeftButton, pos=start)
    for frame in range(FRAMES):
        place = QPoint(start.x() + round((port.width() / 2 - 10) * (1 if frame % 2 else -1) * frame / FRAMES), start.y())
        began = time.perf_counter()
        QTest.mouseMove(port, place)
        port.repaint()
        app.processEvents()
        taken.append(1000 * (time.perf_counter() - began))
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    return taken[5:]


def main() -> None:
    app = QApplication([])
    colours = theme.theme("light")
    theme.apply(app, colours)
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(colours, QSettings(str(Path(folder) / "s.ini"), QSettings.Format.IniFormat))
        document = Document()
        view = EditorView(desk, document)
        view.checks.rest.timeout.disconnect()
        view.resize(1600, 1000)
        desk.set_catalogue(catalogue.build())
        view.show()

        def layer(number: int) -> dict[str, Any]:
            return {"mixer": {"id": "attention/full", "heads": 1 + number % 4}, "feedforward": {"id": "feedforward/dense"}}

        began = time.perf_counter()
        document.edit("many", lambda data: data["model"].update(layers=[layer(number) for number in range(LAYERS)]))
        app.processEvents()
        print(f"a model of {2 * LAYERS + 2} blocks is shown for the first time: {1000 * (time.perf_counter() - began):.0f} ms")
        canvas = view.model.canvas.canvas
        for words, zoom in (("the whole model in view", 0.0), ("at its own size", 1.0)):
            canvas.fit() if zoom == 0 else canvas.set_zoom(zoom)
            app.processEvents()
            frames = drag(view, app)
            ordered = sorted(frames)
            print(
                f"dragging a layer, {words}: {statistics.median(frames):.1f} ms a frame, 95% {ordered[int(0.95 * len(ordered))]:.1f}, "
                f"worst {ordered[-1]:.1f}"
            )
        edits = []
        for number in range(10):
            canvas.choose(f"layer/{number}/mixer")
            began = time.perf_counter()
            view.model.canvas._act("right")
            app.processEvents()
            edits.append(1000 * (time.perf_counter() - began))
        print(f"a layer is moved: {statistics.median(edits):.0f} ms, worst {max(edits):.0f}")
        view.leave()
        desk.close()


if __name__ == "__main__":
    main()
