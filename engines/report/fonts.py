"""Fonts of this machine for the letters of a text: one for reading, one for code, and more for scripts that those do not have.

Paper carries its fonts along, so they have to be found as files. A machine without any has the built-in Helvetica for Latin-1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont, TTLibError

READING = (
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"), ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf"),
    ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
    ("segoeui.ttf", "segoeuib.ttf"), ("arial.ttf", "arialbd.ttf"), ("Arial.ttf", "Arial Bold.ttf"), ("Arial Unicode.ttf", "Arial Unicode.ttf"),
    ("OpenSans-Regular.ttf", "OpenSans-Bold.ttf"), ("Roboto-Regular.ttf", "Roboto-Bold.ttf"), ("FreeSans.ttf", "FreeSansBold.ttf"),
)  # fmt: skip
CODE = (
    "DejaVuSansMono.ttf", "NotoSansMono-Regular.ttf", "LiberationMono-Regular.ttf", "consola.ttf", "Menlo.ttc", "cour.ttf", "Courier New.ttf",
)  # fmt: skip
MOST = 200
"""Files that are looked into for letters that the usual font does not have; each takes some ten milliseconds."""
SUFFIXES = (".ttf", ".otf", ".ttc")


@dataclass(frozen=True)
class Font:
    """A file, and which of the fonts in it where it is a collection."""

    path: Path
    number: int = 0


@dataclass(frozen=True)
class Fonts:
    """What a text is set with; None is the built-in. missing: letters that no font of this machine has."""

    reading: Font | None
    bold: Font | None
    code: Font | None
    others: tuple[Font, ...] = ()
    missing: frozenset[str] = field(default_factory=frozenset)


def fonts_for(text: str) -> Fonts:
    """Fonts that together have the letters of a text as far as this machine has them."""
    files = _files()
    pair = next((pair for pair in READING if pair[0] in files), None)
    mono = next((name for name in CODE if name in files), None)
    letters = {letter for letter in text if not letter.isspace() and letter.isprintable()}
    if pair is None:
        return Fonts(None, None, None, missing=frozenset(letter for letter in letters if ord(letter) > 255))
    reading = Font(files[pair[0]])
    bold = Font(files[pair[1]]) if pair[1] in files else reading
    missing = letters - _letters(reading)
    others: list[Font] = []
    for font in _candidates(files.values()):
        if not missing:
            break
        if found := missing & _letters(font):
            others.append(font)
            missing -= found
    return Fonts(reading, bold, Font(files[mono]) if mono else reading, tuple(others), frozenset(missing))


def has(font: Font, letter: str) -> bool:
    """Whether a font has a letter."""
    return letter in _letters(font)


def _candidates(paths: Iterable[Path]) -> Iterator[Font]:
    """Those with many scripts first, then plain weights: a bold face for a single word of another script would stand out."""
    wide = ("cjk", "unicode", "wqy", "fallback", "noto", "pingfang", "msyh", "malgun", "meiryo", "symbol")
    styled = ("bold", "italic", "oblique", "black", "light", "thin", "condensed", "mono")


    def rank(path: Path) -> tuple[bool, bool, str]:
        name = path.name.lower()
        return any(word in name for word in styled), not any(word in name for word in wide), name

    for path in sorted(paths, key=rank)[:MOST]:
        yield Font(path)


@cache
def _files() -> dict[str, Path]:
    """Name -> path of every font file of the system and of the person."""
    home = Path.home()
    if sys.platform == "win32":
        folders = [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", home / "AppData/Local/Microsoft/Windows/Fonts"]
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    else:
        folders = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"]
    return {path.name: path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}


@cache
def _letters(font: Font) -> frozenset[str]:
    """The letters that a font has; none where the file is no font that can be embedded."""
    try:
        path = str(font.path)
        opened = TTCollection(path, lazy=True).fonts[font.number] if font.path.suffix.lower() == ".ttc" else TTFont(path, lazy=True)
        # Bitmaps of emoji and outlines of PostScript flavour cannot be embedded everywhere.
        if "glyf" not in opened:
            return frozenset()
        return frozenset(map(chr, opened.getBestCmap() or {}))
    except (OSError, TTLibError, AttributeError, KeyError):
        return frozenset()
