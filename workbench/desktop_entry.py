"""The window among the applications of a Linux desktop: an entry and its icon, as freedesktop.org's Desktop Entry and Icon Theme specifications say.

    workbench desktop-entry [--remove]
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAME = "efficiency-workbench"
"""Also the window's application id, by which a desktop finds icon and name of a window."""
ICON = Path(__file__).resolve().parent.parent / "resources" / "icons" / "workbench.svg"


def main(words: list[str]) -> int:
    """Write the entry, or with --remove take it away; returns the exit code."""
    if words not in ([], ["--remove"]):
        sys.stderr.write(f"workbench desktop-entry takes --remove or nothing, not {' '.join(words)}\n")
        return 2
    if not sys.platform.startswith("linux"):
        sys.stderr.write("Desktop entries are a thing of Linux desktops; here start the window with: workbench\n")
        return 2
    try:
        if words:
            removed = remove()
            sys.stdout.write("".join(f"Removed {path}\n" for path in removed) or "There was no entry.\n")
        else:
            sys.stdout.write(f"Written: {install()}\n")
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'The entry'} could not be written: {error.strerror or error}\n")
        return 1
    return 0


def install() -> Path:
    """Write entry and icon for this user; returns the path of the entry. Raises OSError where a folder cannot be written."""
    entry, picture = _places()
    for path in (entry, picture):
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ICON, picture)
    entry.write_text(text(sys.executable), encoding="utf-8")
    return entry


def remove() -> list[Path]:
    """Take entry and icon away; returns what there was."""
    there = [path for path in _places() if path.exists()]
    for path in there:
        path.unlink()
    return there


def text(program: str) -> str:
    """The entry; `program` is the Python whose environment holds the workbench."""
    lines = {
        "Type": "Application", "Version": "1.5", "Name": "Efficiency Workbench", "GenericName": "Comparison of neural networks",
        "Comment": "Assemble a model, apply efficiency techniques, and compare them honestly with a baseline",
        "Exec": f"{_quoted(program)} -m workbench", "Icon": NAME, "Terminal": "false", "Categories": "Science;ArtificialIntelligence;",
        "Keywords": "pruning;quantization;distillation;softmax;benchmark;", "StartupWMClass": NAME,
    }  # fmt: skip
    return "[Desktop Entry]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def _quoted(word: str) -> str:
    """An argument of Exec: quoted, what stays special within quotes escaped, every backslash once more for the string, % doubled."""
    for letter in ("\\", '"', "`", "$"):
        word = word.replace(letter, "\\" + letter)
    return '"' + word.replace("\\", "\\\\").replace("%", "%%") + '"'


def _places() -> tuple[Path, Path]:
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "applications" / f"{NAME}.desktop", folder / "icons" / "hicolor" / "scalable" / "apps" / f"{NAME}.svg"
