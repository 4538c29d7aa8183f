"""Plain text files of the user's: what is plainly none is refused with a sentence before anything starts."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from engines.api import CorpusError

BEGINNING = 1 << 16
"""Bytes of a file that are looked at before anything starts."""


class FileError(CorpusError):
    """A file of a corpus that is missing, empty or no text. parameter: the one that names it ("train")."""

    def __init__(self, sentence: str, parameter: str) -> None:
        super().__init__(sentence)
        self.parameter = parameter


def check_text(name: str, path: Path) -> None:
    """Refuse what is plainly no text file before anything is read. name: of the parameter that names the file."""
    if path.is_dir():
        raise FileError(f"The {name} text {path} is a folder: name a file in it.", name)
    if not path.is_file():
        raise FileError(f"The {name} text {path} does not exist: choose a file. Paths are relative to the experiment file.", name)
    if path.stat().st_size == 0:
        raise FileError(f"The {name} text {path} is empty: use a file with some text.", name)
    with _opened(name, path) as file:
        start = file.read(BEGINNING)
    # The last character may be cut in two here; `read_text` judges the whole.
    _decoded(name, path, start, final=False)


def read_text(name: str, path: Path) -> str:
    """The whole file, line ends as \\n. Raises FileError."""
    with _opened(name, path) as file:
        text = _decoded(name, path, file.read(), final=True).replace("\r\n", "\n")
    if not text.strip():
        raise FileError(f"The {name} text {path} holds nothing but blanks: use a file with some text.", name)
    return text


def seal(path: Path) -> tuple[int, int]:
    """Size and time of a file: another pair where it was changed."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _opened(name: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise FileError(f"The {name} text {path} cannot be read: {error.strerror}.", name) from error


def _decoded(name: str, path: Path, content: bytes, *, final: bool) -> str:
    if b"\0" in content:
        sentence = f"The {name} text {path} is a binary file (it has a zero byte at {content.index(0)}): use plain text in UTF-8."
        raise FileError(sentence, name)
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(content, final)
    except UnicodeDecodeError as error:
        raise FileError(
            f"The {name} text {path} is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}): convert it, for example with "
            f"`iconv -f latin1 -t utf-8`.",
            name,
        ) from error
