"""A chart of the comparison as a file of its own: the drawing that reports have, as SVG, PDF or PNG."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog, QMenu, QToolButton

from workbench.desk import Desk
from workbench.widgets.surfaces import icon_button

if TYPE_CHECKING:
    from engines.report.drawing import Drawing

FORMS = {"svg": "SVG picture (*.svg)", "pdf": "PDF picture (*.pdf)", "png": "PNG picture (*.png)"}


def picture_button(desk: Desk, drawing: Callable[[], Drawing | None]) -> QToolButton:
    """A button with a menu of the forms. drawing: what is saved, None where there is nothing to draw."""
    button = icon_button("export", "Save this chart as a picture: SVG, PDF or PNG", desk.theme)
    menu = QMenu(button)
    for form in FORMS:
        menu.addAction(f"Save as {form.upper()} …", partial(_ask, desk, button, drawing, form))
    button.setMenu(menu)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    return button


def _ask(desk: Desk, button: QToolButton, drawing: Callable[[], Drawing | None], form: str) -> None:
    made = drawing()
    if made is None:
        desk.says.emit("There is nothing to draw yet.")
        return
    folder = str(desk.settings.value("export/folder", str(Path.home())))
    stem = "-".join("".join(letter if letter.isalnum() else " " for letter in made.title.lower()).split()) or "chart"
    chosen, _ = QFileDialog.getSaveFileName(button, f"Save as {form.upper()}", f"{folder}/{stem}.{form}", FORMS[form])
    if chosen:
        desk.settings.setValue("export/folder", str(Path(chosen).parent))
        desk.errands.run(lambda: write(made, form, Path(chosen)), lambda path: desk.says.emit(f"Written: {path}"), desk.says.emit)


def write(drawing: Drawing, form: str, path: Path) -> Path:
    """Write a drawing; returns the path. Raises OSError."""
    from engines.report import paper, png, svg  # They bring fonts, which a window that saves nothing does not need.

    made = {"svg": lambda: svg.svg(drawing).encode(), "pdf": lambda: paper.picture(drawing), "png": lambda: png.png(drawing)}[form]()
    path.write_bytes(made)
    return path
