"""From text to token ids: cutting at word or character level, byte-pair encoding, and the vocabulary, fast enough to wait for.

Every token answers for the original characters up to its end, blanks before it included, so that a split's characters add up exactly and
bits per original character can be compared across levels. Memory: the ids of a split and its distinct pieces, never all pieces at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BLOCK = 2_000
"""Characters that a pretrained tokenizer is given at once, at least."""
CHUNK = 4_000_000
"""Characters cut at once."""

PATTERNS = {
    "word": r"[^\S\n]*(?:\n|[^\s]+)",
    "word without lines": r"\s*\S+",
    "char": r"(?s:.)",
    "char without lines": r"\n*[^\n]",
    # A name, a number, three quotes, an operator of two or three signs, any other sign, a line end; blanks belong to what follows.
    "code": (
        r"[^\S\n]*(?:\n|[^\W\d]\w*|\d(?:[eE][+-]\d|[\w.])*|\"\"\"|'''|\*\*=?|//=?|>>=?|<<=?|->|:=|\.\.\.|[-+*/%@&|^=!<>]=|\S)"
    ),
}
"""Each match is one piece: the blanks before a token, then the token."""


@dataclass(frozen=True)
class Encoded:
    """One split. ids: (T,) integers; ends: (T,) int64, original characters up to and including each token."""

    ids: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Lexicon:
    """The chosen token types by falling training frequency (ties: by token). unknown: the id that stands for all others, or None."""

    tokens: tuple[str, ...]
    counts: np.ndarray
    unknown: int | None
    merges: str = ""
    """The tokenizers library's own JSON, for byte-pair encoding."""


def lower(text: str) -> str:
    """Lower case of the same length (a few letters, as 'İ', have a longer one: they stay)."""
    short = text.lower()
    return short if len(short) == len(text) else "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def chunks(text: str) -> Iterator[str]:
    """The text in parts of about CHUNK characters that end at line ends where there are some."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + CHUNK) + 1 or len(text)
        yield text[start:end]
        start = end


def bare(piece: str, level: str) -> str:
    """The token of a piece: a character-level piece may be a blank itself, others drop the blanks before the token."""
    if level.startswith("char"):
        return piece[-1]
    return "\n" if piece.endswith("\n") else piece.lstrip()


class Cutter:
    """Cuts texts into pieces and numbers the distinct ones by first appearance."""

    def __init__(self, level: str) -> None:
        self.level = level
        self._pattern = re.compile(PATTERNS[level])
        self._index: defaultdict[str, int] = defaultdict()
        self._index.default_factory = self._index.__len__

    def cut(self, text: str) -> Encoded:
        """ids are the numbers of pieces."""
        ids, ends, offset = [], [], 0
        for chunk in chunks(text):
            pieces = list(chunk) if self.level == "char" else self._pattern.findall(chunk)
            numbers = np.fromiter(map(self._index.__getitem__, pieces), np.int32, len(pieces))
            lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
            end = offset + np.cumsum(lengths)
            offset += len(chunk)
            ids.append(numbers)
            ends.append(end)
        return _whole(ids, ends, len(text))

    def tokens(self) -> list[str]:
        """The token of each number; several pieces may share one."""
        return [bare(piece, self.level) for piece in self._index]


def encode_pieces(
    texts: dict[str, str], level: str, *, max_vocabulary: int | None, min_count: int, unknown: str
) -> tuple[Lexicon, dict[str, Encoded]]:
    """Vocabulary of the training text `texts["train"]` and the ids of every split.

    Kept are the types seen at least `min_count` times, at most `max_vocabulary` of them with the unknown token; a type that the text
    itself writes as `unknown` is the unknown token.
    """
    cutter = Cutter(level)
    cut = {split: cutter.cut(text) for split, text in texts.items()}
    tokens = cutter.tokens()
    seen = np.bincount(cut["train"].ids, minlength=len(tokens))
    counts: Counter[str] = Counter()
    for token, count in zip(tokens, seen.tolist(), strict=True):
        if count:
            counts[token] += count
    written = counts.pop(unknown, 0)
    kept = sorted((token for token, count in counts.items() if count >= min_count), key=lambda token: (-counts[token], token))
    if max_vocabulary is not None:
        kept = kept[: max_vocabulary - 1]
    rest = written + counts.total() - sum(counts[token] for token in kept)
    types = sorted([*((-counts[token], token) for token in kept), (-rest, unknown)])
    number = {token: i for i, (_, token) in enumerate(types)}
    lost = number[unknown]
    table = np.array([number.get(token, lost) for token in tokens], dtype=np.int64)
    lexicon = Lexicon(tuple(number), np.array([-count for count, _ in types], dtype=np.int64), lost)
    return lexicon, {split: _compact(table[part.ids], part.ends, len(types)) for split, part in cut.items()}


def encode_bpe(texts: dict[str, str], *, max_vocabulary: int, min_count: int, end_of_line: bool) -> tuple[Lexicon, dict[str, Encoded]]:
    """Byte-level byte-pair encoding trained on the training text alone; every text can be written with it, so nothing is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max_vocabulary,
        min_frequency=max(1, min_count),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts["train"].splitlines(keepends=True), trainer)
    return _by_frequency(tokenizer, {split: _encode_lines(tokenizer, text, end_of_line) for split, text in texts.items()})


def encode_pretrained(texts: dict[str, str], tokenizer_json: str, unknown: str = "") -> tuple[Lexicon, dict[str, Encoded]]:
    """The tokens of a pretrained model, all of them, whether they occur or not; line ends as it was trained on them.

    unknown: the one of them that stands for what it cannot write; none where it can write everything.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    return _by_frequency(tokenizer, {split: _encode_blocks(tokenizer, text) for split, text in texts.items()}, unknown)


def _by_frequency(tokenizer: Tokenizer, raw: dict[str, Encoded], unknown: str = "") -> tuple[Lexicon, dict[str, Encoded]]:
    """The tokenizer's tokens by falling training frequency, and the splits in their ids."""
    size = tokenizer.get_vocab_size()
    counts = np.bincount(raw["train"].ids, minlength=size)
    names = [str(tokenizer.id_to_token(i)) for i in range(size)]
    order = sorted(range(size), key=lambda i: (-counts[i], names[i]))
    table = np.empty(size, dtype=np.int64)
    table[order] = np.arange(size)
    lost = int(table[tokenizer.token_to_id(unknown)]) if unknown else None
    lexicon = Lexicon(tuple(names[i] for i in order), counts[order].astype(np.int64), lost, tokenizer.to_str())
    return lexicon, {split: _compact(table[part.ids], part.ends, size) for split, part in raw.items()}


def _encode_blocks(tokenizer: Tokenizer, text: str) -> Encoded:
    """In blocks of about BLOCK characters that end with the only line end between two characters: elsewhere a block's last blanks would be
    joined to another token than in the whole text."""
    places = [0]
    for found in re.finditer(r"(?<=\S)\n(?=\S)", text):
        if found.end() - places[-1] >= BLOCK:
            places.append(found.end())
    blocks = [text[start:end] for start, end in zip(places, [*places[1:], len(text)], strict=True)]
    ids, ends = [], []
    for start, block, encoding in zip(places, blocks, tokenizer.encode_batch(blocks, add_special_tokens=False), strict=True):
        if len(encoding.ids):
            end = np.maximum.accumulate(np.array(encoding.offsets, dtype=np.int64)[:, 1])
            end[-1] = len(block)
            ids.append(np.array(encoding.ids, dtype=np.int32))
            ends.append(end + start)
    return _whole(ids, ends, len(text))


def _encode_lines(tokenizer: Tokenizer, text: str, end_of_line: bool) -> Encoded:
    ids, ends, offset = [], [], 0
    for chunk in chunks(text):
        lines = chunk.split("\n")
        lines = [line + "\n" for line in lines[:-1]] + lines[-1:]
        for line, encoding in zip(lines, tokenizer.encode_batch([line if end_of_line else line.rstrip("\n") for line in lines]), strict=True):
            own = np.array(encoding.ids, dtype=np.int32)
            if len(own):
                # A character may be written by several byte tokens whose offsets all cover it: it counts once, with the first.
                end = np.maximum.accumulate(np.array(encoding.offsets, dtype=np.int64)[:, 1])
                end[-1] = len(line)
                ids.append(own)
                ends.append(end + offset)
            offset += len(line)
    return _whole(ids, ends, len(text))


class Coder:
    """Text to ids and back for a finished vocabulary: what prompts and samples go through."""

    def __init__(self, lexicon: Lexicon, level: str, lowercase: bool) -> None:
        self._lexicon = lexicon
        self._level = level
        self._lowercase = lowercase
        self._number = {token: i for i, token in enumerate(lexicon.tokens)}
        self._tokenizer = Tokenizer.from_str(lexicon.merges) if lexicon.merges else None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides, beside the vocabulary, how text is cut: plain values."""
        return {"level": self._level, "lowercase": self._lowercase, "merges": self._lexicon.merges}

    def encode(self, text: str) -> list[int]:
        """Ids of a text; a token outside the vocabulary becomes the unknown one (at character and word level)."""
        text = lower(text) if self._lowercase else text
        if self._tokenizer is not None:
            return [self._number[token] for token in self._tokenizer.encode(text, add_special_tokens=False).tokens]
        tokens = (bare(piece, self._level) for piece in re.findall(PATTERNS[self._level], text))
        return [number for token in tokens if (number := self._number.get(token, self._lexicon.unknown)) is not None]

    def decode(self, ids: Iterable[int]) -> str:
        """A readable text. At word level the blanks of the original are lost: one stands between tokens, none beside line ends."""
        tokens = [self._lexicon.tokens[i] for i in ids]
        if self._tokenizer is not None:
            numbers = [number for token in tokens if (number := self._tokenizer.token_to_id(token)) is not None]
            return str(self._tokenizer.decode(numbers, skip_special_tokens=False))
        if self._level.startswith("char"):
            return "".join(tokens)
        return re.sub(" ?\n ?", "\n", " ".join(tokens))


def _whole(ids: Sequence[np.ndarray], ends: Sequence[np.ndarray], characters: int) -> Encoded:
    """One split from its parts; blanks after the last token belong to that token."""
    if not any(map(len, ids)):
        return Encoded(np.zeros(0, np.int32), np.zeros(0, np.int64))
    joined = np.concatenate(ends)
    joined[-1] = characters
    return Encoded(np.concatenate(ids), joined)


def _compact(ids: np.ndarray, ends: np.ndarray, types: int) -> Encoded:
    return Encoded(ids.astype(np.uint16 if types <= 1 << 16 else np.int32), ends)


def lexicon_to_json(lexicon: Lexicon) -> str:
    """Everything of a lexicon but its counts, as one line."""
    return json.dumps({"tokens": lexicon.tokens, "unknown": lexicon.unknown, "merges": lexicon.merges}, ensure_ascii=False)


def lexicon_from_json(text: str, counts: np.ndarray) -> Lexicon:
    kept = json.loads(text)
    return Lexicon(tuple(kept["tokens"]), counts, kept["unknown"], kept["merges"])
