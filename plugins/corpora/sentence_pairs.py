"""Pairs of texts of the user's with what people say of them, from one to three files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from engines.api import CorpusError, Documents, Text, param
from engines.toolbox.corpora import prepared
from engines.toolbox.filecorpus import FileCorpus
from engines.toolbox.labelled import line_ends, split_lines
from engines.toolbox.plainfiles import check_text
from engines.toolbox.scored import PairForm, Scored, read_scored


class SentencePairs(FileCorpus):
    """Sentence pairs

    One UTF-8 file for training, and one each for validation and test; where one of those is not given, its share of the training lines is
    drawn, the same for every run. A line is two texts and a score, how alike people find them:

        A plane is taking off.,An air plane is taking off.,5.0        form = "csv", with quotes where a text has commas
        A plane ... <tab> An air plane ... <tab> 5.0                  form = "tab"

    as in the files of the STS benchmark. `auto` takes tabs where the first lines all have them. first, second, score: the columns, from 1;
    header: the first line is none of them. Scores from `lowest` (nothing in common) to `highest` (the same) become y from 0 to 1.

    Levels, vocabulary and unknown words are as in `corpora/text_files`, and `encoder` are the tokens of `models/sentence_encoder`; line ends are no
    tokens. Pairs that are word for word in the training split too are counted in the facts.

    Does nothing when: never; it is the text.

    Reference: Cer, Diab, Agirre, Lopez-Gazpio, Specia (2017), SemEval-2017 Task 1: Semantic Textual Similarity, https://aclanthology.org/S17-2001/
    """

    paper = "Cer et al., SemEval-2017 Task 1: Semantic Textual Similarity, SemEval 2017, https://aclanthology.org/S17-2001/"
    of_pairs = True

    train: Path = param(help="File with the pairs to train on.", path=True)
    valid: Path | None = param(None, "File with the pairs for validation; without it a share of the training pairs.", path=True)
    test: Path | None = param(None, "File with the test pairs; without it a share of the training pairs.", path=True)
    form: PairForm = param("auto", "What stands between the columns: commas (csv), tabs; auto: as the first lines are written.")
    first: int = param(1, "Column of the first text, from 1.", ge=1)
    second: int = param(2, "Column of the second text, from 1.", ge=1)
    score: int = param(3, "Column of the score, from 1.", ge=1)
    header: bool = param(False, "Whether the first line of each file names the columns.")
    lowest: float = param(0.0, "Score of two texts that have nothing in common.")
    highest: float = param(5.0, "Score of two texts that say the same.")
    valid_share: float = param(0.1, "Share of the training pairs that is validation where no file is given.", gt=0, lt=0.5)
    test_share: float = param(0.1, "Share of the training pairs that is test where no file is given.", gt=0, lt=0.5)
    fraction: float = param(1.0, "Share of the training pairs that is used, drawn at random.", gt=0, le=1)
    level: Literal["word", "char", "bpe", "encoder"] = param(
        "word", "What a token is: a word between blanks, a character, a byte pair, or a token of models/sentence_encoder."
    )
    max_vocabulary: int | None = param(None, "Token types kept at most; none: all (bpe: 10,000).", unit="types", symbol="V", ge=2)
    min_count: int = param(1, "Types seen less often in the training split become the unknown token (bpe: pairs are not merged).", ge=1)
    lowercase: bool = param(False, "Turn everything into lower case first.")
    unknown: str = param("<unk>", "How the unknown token is written.")
    licence: str = param("not stated", "Licence of the texts, for the report.")

    @model_validator(mode="after")
    def _fits(self) -> SentencePairs:
        if self.highest <= self.lowest:
            raise ValueError(f"highest is {self.highest:g} and lowest {self.lowest:g}: the score of texts that say the same must be the higher one.")
        columns = (self.first, self.second, self.score)
        if len(set(columns)) < 3:
            raise ValueError(f"first, second and score are the columns {columns}: they must be three different ones.")
        return self

    def prepare(self, cache: Path, announce: Callable[[str], None]) -> Text:
        self.check()
        splits, files = self._splits(), self.files()
        facts = {
            "files": {name: path.name for name, path in files.items()},
            "pairs": {split: len(lines) for split, lines in splits.items()},
            "pairs_also_in_training": _repeated(splits),
        }
        text = prepared(
            cache, list(files.values()), self.settings(), lambda: {split: "\n".join(_texts(lines)) for split, lines in splits.items()}, announce,
            licence=self.licence, facts=lambda: facts,
        )  # fmt: skip
        documents = {}
        seal = hashlib.sha256(text.fingerprint.encode())
        for split, lines in sorted(splits.items()):
            ends = line_ends(text.character_ends[split], _texts(lines))
            scores = (np.array([score for *_, score in lines]) - self.lowest) / (self.highest - self.lowest)
            documents[split] = Documents(ends, np.zeros(len(ends), np.int64), scores)
            seal.update(scores.astype("<f8").tobytes())
        return replace(text, fingerprint=seal.hexdigest(), facts={**text.facts, **facts}, documents=documents, pairs=True)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"pairs": (self.form, self.first, self.second, self.score, self.header)}

    def check(self) -> None:
        super().check()
        self._splits()

    def _splits(self) -> dict[str, Scored]:
        """The pairs of each split. Raises CorpusError."""
        files = self.files()
        for name, path in files.items():
            check_text(name, path)
        columns = (self.first, self.second, self.score)
        given = {name: read_scored(name, path, self.form, columns, self.header) for name, path in files.items()}
        for name, lines in given.items():
            outside = next((score for *_, score in lines if not self.lowest <= score <= self.highest), None)
            if outside is not None:
                raise CorpusError(
                    f"A pair of the {name} file {files[name]} has the score {outside:g}, outside {self.lowest:g} to {self.highest:g}: set "
                    "corpus.lowest and corpus.highest to the ends of its scale."
                )
        return split_lines(given, {"valid": self.valid_share, "test": self.test_share}, self.fraction)


def _texts(lines: Scored) -> list[str]:
    """First and second text of each pair, one after another."""
    return [text for first, second, _ in lines for text in (first, second)]


def _repeated(splits: dict[str, Scored]) -> dict[str, int]:
    """Pairs of validation and test that are also in the training split: these tell nothing of new ones."""
    seen = {frozenset((first, second)) for first, second, _ in splits["train"]}
    return {split: sum(frozenset((first, second)) in seen for first, second, _ in splits[split]) for split in ("valid", "test")}
