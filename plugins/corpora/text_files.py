"""Any text of the user's, from one to three files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from engines.api import Text, param
from engines.toolbox.corpora import prepared
from engines.toolbox.filecorpus import FileCorpus
from engines.toolbox.plainfiles import check_text, read_text


class TextFiles(FileCorpus):
    """Text files

    One UTF-8 file for training, and one each for validation and test; where one of those is not given, its share is cut from the end of the
    training text, at a line end (order: train, valid, test). Line ends may be `\\n` or `\\r\\n`.

    Levels: `word` splits on white space and leaves the words as they are, as language-model corpora that come ready-tokenised want it
    (Penn Treebank, WikiText); `char` takes every character; `bpe` learns byte pairs on the training split alone and can write any text.
    With `end_of_line` the line end is a token of its own (WikiText's published counts include it).

    Vocabulary: the types of the training split by falling frequency. Types beyond `max_vocabulary` or rarer than `min_count` become the
    unknown token, and a text that writes the unknown token itself (WikiText's `<unk>`) means the same token. Perplexity is over that
    vocabulary: predicting `<unk>` counts as right, and all characters of the unknown word count in bits per character, so both figures
    flatter a small vocabulary. Compare levels only where the share of unknown tokens (in the facts) is next to nothing.

    Ids are kept on disk as memory maps, keyed by the content of the files and these parameters.

    Does nothing when: never; it is the text.

    Reference: byte pairs, Sennrich, Haddow, Birch (2016), Neural Machine Translation of Rare Words with Subword Units,
    https://arxiv.org/abs/1508.07909; WikiText, Merity et al. (2017), Pointer Sentinel Mixture Models, https://arxiv.org/abs/1609.07843
    """

    paper = "Merity, Xiong, Bradbury, Socher (2017), Pointer Sentinel Mixture Models, https://arxiv.org/abs/1609.07843"

    train: Path = param(help="File with the training text.", path=True)
    valid: Path | None = param(None, "File with the validation text; without it a share of the training text.", path=True)
    test: Path | None = param(None, "File with the test text; without it a share of the training text.", path=True)
    valid_share: float = param(0.05, "Share of the training text that is validation where no file is given.", gt=0, lt=0.5)
    test_share: float = param(0.05, "Share of the training text that is test where no file is given.", gt=0, lt=0.5)
    fraction: float = param(1.0, "Share of the training text that is used, from its beginning.", gt=0, le=1)
    level: Literal["word", "char", "bpe", "pretrained"] = param(
        "word", "What a token is: a word between blanks, a character, a byte pair, or a token of models/pretrained."
    )
    max_vocabulary: int | None = param(None, "Token types kept at most; none: all (bpe: 10,000).", unit="types", symbol="V", ge=2)
    min_count: int = param(1, "Types seen less often in the training split become the unknown token (bpe: pairs are not merged).", ge=1)
    lowercase: bool = param(False, "Turn everything into lower case first.")
    unknown: str = param("<unk>", "How the unknown token is written.")
    end_of_line: bool = param(True, "Whether the line end is a token.")
    licence: str = param("not stated", "Licence of the text, for the report.")

    def prepare(self, cache: Path, announce: Callable[[str], None]) -> Text:
        self.check()
        files = self.files()

        def read() -> dict[str, str]:
            texts = {name: read_text(name, path) for name, path in files.items()}
            whole, end = texts["train"], len(texts["train"])
            for name, share in (("test", self.test_share), ("valid", self.valid_share)):
                if name not in texts:
                    start = _line_start(whole, end - round(share * len(whole)), end)
                    texts[name], end = whole[start:end], start
            texts["train"] = whole[: _line_start(whole, round(self.fraction * end), end)]
            return texts

        facts = {"files": {name: path.name for name, path in files.items()}}
        return prepared(cache, list(files.values()), self.settings(), read, announce, licence=self.licence, facts=lambda: facts)

    def check(self) -> None:
        super().check()
        for name, path in self.files().items():
            check_text(name, path)


def _line_start(text: str, place: int, end: int) -> int:
    """The first line start at or after `place`, or `place` itself where no further line starts before `end`."""
    if place <= 0 or place >= end:
        return max(0, min(place, end))
    found = text.find("\n", place - 1, end) + 1
    return found if 0 < found < end else place
