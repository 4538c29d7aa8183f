"""Labelled texts of the user's, from one to three files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines.api import Documents, Text, param
from engines.toolbox.corpora import prepared
from engines.toolbox.filecorpus import FileCorpus
from engines.toolbox.labelled import Form, Labelled, Side, classes_of, line_ends, read_labelled, repeated, split_lines
from engines.toolbox.plainfiles import check_text


class LabelledFiles(FileCorpus):
    """Labelled files

    One UTF-8 file for training, and one each for validation and test; where one of those is not given, its share of the training lines is
    drawn, the same for every run. A line is a label and a text:

        label ||| text              form = "bars"
        label <tab> text            form = "tab"
        label text                  form = "blank"      as `0 a gob of drivel` in the files of the Stanford Sentiment Treebank

    `auto` takes bars or tabs where the first lines all have them, else blanks. label = "last": the text stands first. header: the first line
    is none of them. The classes are the labels of the training lines; a class is known by its label as it is written.

    Levels, vocabulary and unknown words are as in `corpora/text_files`; line ends are no tokens, and every text ends where its line ends.
    Texts that are word for word in the training split too are counted in the facts: they tell nothing of new texts.

    Does nothing when: never; it is the text.

    Reference: Socher et al. (2013), Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank,
    https://aclanthology.org/D13-1170/
    """

    paper = "Socher et al., Recursive deep models for semantic compositionality, EMNLP 2013, https://aclanthology.org/D13-1170/"

    train: Path = param(help="File with the labelled texts to train on.", path=True)
    valid: Path | None = param(None, "File with the texts for validation; without it a share of the training texts.", path=True)
    test: Path | None = param(None, "File with the test texts; without it a share of the training texts.", path=True)
    form: Form = param("auto", "What stands between label and text: bars (|||), a tab, a blank; auto: as the first lines are written.")
    label: Side = param("first", "Whether the label stands before the text or behind it.")
    header: bool = param(False, "Whether the first line of each file names the columns.")
    valid_share: float = param(0.1, "Share of the training texts that is validation where no file is given.", gt=0, lt=0.5)
    test_share: float = param(0.1, "Share of the training texts that is test where no file is given.", gt=0, lt=0.5)
    fraction: float = param(1.0, "Share of the training texts that is used, drawn at random.", gt=0, le=1)
    level: Literal["word", "char", "bpe", "encoder"] = param(
        "word", "What a token is: a word between blanks, a character, a byte pair, or a token of models/sentence_encoder."
    )
    max_vocabulary: int | None = param(None, "Token types kept at most; none: all (bpe: 10,000).", unit="types", symbol="V", ge=2)
    min_count: int = param(1, "Types seen less often in the training split become the unknown token (bpe: pairs are not merged).", ge=1)
    lowercase: bool = param(False, "Turn everything into lower case first.")
    unknown: str = param("<unk>", "How the unknown token is written.")
    licence: str = param("not stated", "Licence of the texts, for the report.")

    def prepare(self, cache: Path, announce: Callable[[str], None]) -> Text:
        splits, classes = self._splits()
        files = self.files()
        facts = {
            "files": {name: path.name for name, path in files.items()},
            "texts": {split: len(lines) for split, lines in splits.items()},
            "classes": {split: dict(Counter(label for label, _ in lines)) for split, lines in splits.items()},
            "texts_also_in_training": repeated(splits),
        }
        text = prepared(
            cache, list(files.values()), self.settings(), lambda: {split: _joined(lines) for split, lines in splits.items()}, announce,
            licence=self.licence, facts=lambda: facts,
        )  # fmt: skip
        number = {label: i for i, label in enumerate(classes)}
        documents = {
            split: Documents(line_ends(text.character_ends[split], [line for _, line in lines]), np.array([number[label] for label, _ in lines]))
            for split, lines in splits.items()
        }
        seal = hashlib.sha256(text.fingerprint.encode())
        for split in sorted(documents):
            seal.update(documents[split].labels.astype("<i8").tobytes())
        return replace(text, fingerprint=seal.hexdigest(), facts={**text.facts, **facts}, classes=classes, documents=documents)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"labelled": (self.form, self.label, self.header)}

    def check(self) -> None:
        super().check()
        self._splits()

    def classes(self) -> tuple[str, ...]:
        return self._splits()[1]

    def _splits(self) -> tuple[dict[str, Labelled], tuple[str, ...]]:
        """The lines of each split, and the classes. Raises CorpusError."""
        files = self.files()
        for name, path in files.items():
            check_text(name, path)
        given = {name: read_labelled(name, path, self.form, self.label, self.header) for name, path in files.items()}
        splits = split_lines(given, {"valid": self.valid_share, "test": self.test_share}, self.fraction)
        return splits, classes_of(splits, self.train)


def _joined(lines: Labelled) -> str:
    return "\n".join(text for _, text in lines)
