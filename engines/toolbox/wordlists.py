"""Word vectors held against people: similarity of word pairs, and analogies, on lists in the formats that word-vector tools share.

Shapes: V vocabulary size, D width, P pairs, Q questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from engines.api import Figure, Vocabulary
from engines.toolbox.correlation import RESAMPLES, interval, spearman

ROWS = 256
"""Questions that are answered at once."""


class WordListError(ValueError):
    """A word list that is missing or in another format; the message is a sentence for the user."""


def vectors_of(model: Any, size: int) -> torch.Tensor:
    """The vector of every id, (V, D), as the model's embedding gives it, in float32 on its device."""
    device = next(model.parameters()).device
    with torch.no_grad():
        parts = [model.embedding(ids[None])[0].float() for ids in torch.arange(size, device=device).split(8192)]
    return torch.cat(parts)


def finder(vocabulary: Vocabulary) -> Callable[[str], int | None]:
    """Word -> id: as it is written, else whatever its case (the most frequent spelling); None where the vocabulary has none."""
    exact = {token: i for i, token in enumerate(vocabulary.tokens)}
    loose: dict[str, int] = {}
    for i, token in enumerate(vocabulary.tokens):
        loose.setdefault(token.lower(), i)

    def find(word: str) -> int | None:
        found = exact.get(word)
        return loose.get(word.lower()) if found is None else found

    return find


# --- Similarity of pairs --------------------------------------------------------------------------------------------------------------------


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Lines of two words and a number, with tabs (or blanks, or commas) between; # begins a comment. Raises WordListError."""
    pairs = []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        parts = line.split("\t") if "\t" in line else line.split(",") if "," in line else line.split()
        try:
            pairs.append((parts[0].strip(), parts[1].strip(), float(parts[2])))
        except (IndexError, ValueError):
            if pairs or number > 1:  # the first line may name the columns
                raise WordListError(f"Line {number} of {path} is {line!r}: it should hold two words and a number.") from None
    if not pairs:
        raise WordListError(f"{path} holds no pairs of words.")
    return pairs


def similarity(vectors_VD: torch.Tensor, vocabulary: Vocabulary, path: Path) -> list[Figure]:
    """Spearman's rank correlation of cosines with people's judgements, with a bootstrap interval over the pairs, and how many are known."""
    find = finder(vocabulary)
    pairs = read_pairs(path)
    known = [(a, b, score) for one, other, score in pairs if (a := find(one)) is not None and (b := find(other)) is not None]
    covered = Figure("quality/similarity_pairs", float(len(known)), "pairs", "none", detail={"list": path.name, "of": len(pairs)})
    if len(known) < 3:
        return [covered]
    first, second = (torch.tensor([pair[side] for pair in known], device=vectors_VD.device) for side in (0, 1))
    cosine_P = F.cosine_similarity(vectors_VD[first], vectors_VD[second]).double().cpu().numpy()
    score_P = np.array([pair[2] for pair in known])
    rho = spearman(cosine_P, score_P)
    if rho is None:
        return [covered]
    low, high = interval(cosine_P, score_P)
    detail = {"list": path.name, "pairs": len(known), "of": len(pairs), "interval": f"bootstrap over pairs, {RESAMPLES} resamples"}
    return [Figure("quality/similarity_rho", rho, "", "higher", low, high, detail), covered]


# --- Analogies ------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """first is to second as third is to fourth."""

    section: str
    words: tuple[str, str, str, str]


def read_questions(path: Path) -> list[Question]:
    """Lines of four words; ": NAME" begins a section. Raises WordListError."""
    section, questions = "", []
    for number, line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        words = line.split()
        if len(words) != 4:
            raise WordListError(f"Line {number} of {path} is {line!r}: it should hold four words, or begin a section with a colon.")
        questions.append(Question(section, (words[0], words[1], words[2], words[3])))
    if not questions:
        raise WordListError(f"{path} holds no questions of four words.")
    return questions


def analogies(vectors_VD: torch.Tensor, vocabulary: Vocabulary, path: Path) -> list[Figure]:
    """Share of the known questions whose answer is the nearest word by 3CosAdd,

        argmax over d, not a, b or c, of cos(d, b - a + c), every vector of length 1,

    and how many are known. A question with an unknown word is left out.
    """
    find = finder(vocabulary)
    questions = read_questions(path)
    known = [ids for question in questions if None not in (ids := [find(word) for word in question.words])]
    covered = Figure("quality/analogy_questions", float(len(known)), "questions", "none", detail={"list": path.name, "of": len(questions)})
    if not known:
        return [covered]
    unit_VD = F.normalize(vectors_VD, dim=1)
    right = 0
    for ids_Q4 in torch.tensor(known, device=unit_VD.device).split(ROWS):
        a, b, c, answer_Q = ids_Q4.unbind(1)
        score_QV = (unit_VD[b] - unit_VD[a] + unit_VD[c]) @ unit_VD.T
        score_QV.scatter_(1, ids_Q4[:, :3], -torch.inf)
        right += int((score_QV.argmax(1) == answer_Q).sum())
    detail = {"list": path.name, "questions": len(known), "of": len(questions), "by": "3CosAdd over the whole vocabulary"}
    return [Figure("quality/analogy_accuracy", right / len(known), "", "higher", detail=detail), covered]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise WordListError(f"The word list {path} cannot be read: {reason}. Relative paths start at the experiment file.") from error
    yield from ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())
