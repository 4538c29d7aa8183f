"""The source or the documentation of Python's own standard library, as installed with the interpreter that runs."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from engines.api import Corpus, CorpusError, Text, param
from engines.toolbox import pretrained
from engines.toolbox.corpora import SPLITS, check_level, known_types, prepared

SKIPPED = frozenset(
    {
        *("test", "tests", "idle_test", "__pycache__", "site-packages", "dist-packages", "lib-dynload"),
        # Generated, or tables: character maps, help topics.
        *("encodings", "pydoc_data", "__phello__"),
        # What systems often leave out or install apart, so that two installations of one Python version agree.
        *("idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "distutils", "venv"),
    }
)

DOCSTRING = re.compile(r'^[ \t]*[rRuU]?"""(.*?)"""', re.MULTILINE | re.DOTALL)


class PythonStdlib(Corpus):
    """Python's standard library

    Close to 8 million characters of real code by many hands that every interpreter brings along, so no download is needed. The files are the
    `.py` files of the interpreter's library folder in the order of their paths, without tests, generated tables and the parts that systems
    often leave out (tkinter, idlelib, ensurepip ...). A file belongs as a whole to one split: a hash of its path sends about 1 in 20 to
    `valid`, 1 in 20 to `test`, the others to `train`. The text depends on the Python version and on nothing else that should differ
    between machines; the fingerprint says whether it did.

    Tokens at word level: a name, a number, three quotes, an operator of up to three signs, any other sign, and the line end. Blanks and
    indentation are no tokens of their own; they count as characters of the token after them. At `char` level every character is a token, at
    `bpe` level byte pairs learned on the training split, at `pretrained` level those of the model of models/pretrained (all 49,152 of them).

    source = "docstrings" takes the texts between triple quotes that open a line: documentation in English with some code.

    Facts recorded: Python version, files, tokens, types and characters per split, share of unknown tokens.

    Does nothing when: never; it is the text. Keep in mind that code is easier to predict than prose: compare perplexities within one
    corpus only.

    Reference: Python Software Foundation (2001 on), The Python Standard Library, https://docs.python.org/3/library/
    """

    paper = "Python Software Foundation (2001 on), The Python Standard Library, https://docs.python.org/3/library/"

    source: Literal["code", "docstrings"] = param("code", "Program text, or the documentation in it.")
    level: Literal["word", "char", "bpe", "pretrained"] = param(
        "word", "What a token is: a word of the language, a character, a byte pair, or a token of models/pretrained."
    )
    max_vocabulary: int = param(10_000, "Token types kept at most; the rarer ones become the unknown token.", unit="types", symbol="V", ge=2)
    min_count: int = param(1, "Types seen less often in the training split become the unknown token.", ge=1)
    fraction: float = param(1.0, "Share of the training split's files that is used.", gt=0, le=1)

    def prepare(self, cache: Path, announce: Callable[[str], None]) -> Text:
        root = _root()
        files = sorted(self._files(root))
        prose = self.source == "docstrings"

        def read() -> dict[str, str]:
            parts: dict[str, list[str]] = {split: [] for split in SPLITS}
            for path in files:
                text = _source(path)
                text = "".join(f"{found.strip()}\n" for found in DOCSTRING.findall(text)) if prose else text
                parts[_split(path.relative_to(root))].append(text if text.endswith("\n") or not text else text + "\n")
            return {split: "".join(texts) for split, texts in parts.items()}

        return prepared(
            cache,
            files,
            self._settings(),
            read,
            announce,
            licence="PSF-2.0",
            facts=lambda: {"python": platform.python_version(), "implementation": platform.python_implementation(), "files": len(files)},
        )

    def check(self) -> None:
        check_level(self.level)
        _root()

    def vocabulary_size(self, cache: Path) -> int | None:
        if self.level == "pretrained":
            return pretrained.TYPES
        return known_types(cache, sorted(self._files(_root())), self._settings()) or (None if self.level == "char" else self.max_vocabulary)

    def is_prepared(self, cache: Path) -> bool:
        return known_types(cache, sorted(self._files(_root())), self._settings()) is not None

    def _settings(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "fraction": self.fraction,
            "level": ("word" if self.source == "docstrings" else "code") if self.level == "word" else self.level,
            "max_vocabulary": self.max_vocabulary,
            "min_count": self.min_count,
            "lowercase": False,
            "unknown": "<unk>",
            "end_of_line": True,
        }

    def _files(self, root: Path) -> Iterator[Path]:
        """Files of the library that this corpus uses; of the training split only the chosen share."""
        for place, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith("config-")]
            for name in names:
                path = Path(place, name)
                if not name.endswith(".py") or name.startswith("_sysconfigdata"):
                    continue
                relative = path.relative_to(root)
                if _split(relative) != "train" or _place(relative, "fraction") < self.fraction:
                    yield path


def _root() -> Path:
    root = Path(sysconfig.get_paths()["stdlib"])
    if not root.is_dir():
        raise CorpusError(
            f"This Python keeps its standard library in {root}, which is no folder of source files: use corpora/text_files or another Python."
        )
    return root


def _place(relative: Path, purpose: str) -> float:
    """A number in [0, 1) that depends on a file's path alone."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{relative.as_posix()}".encode()).digest()[:6], "big") / 2**48


def _split(relative: Path) -> str:
    place = _place(relative, "held out")
    return "valid" if place < 0.05 else "test" if place < 0.10 else "train"


def _source(path: Path) -> str:
    try:
        return path.read_text("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return path.read_text("latin-1")
