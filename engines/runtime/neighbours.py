"""Word vectors of a finished model: which words are near which, where they lie in the plane, and all of them as a text file.

    python -m engines.runtime.neighbours --model FOLDER --out FILE

writes the vectors in the text format of word2vec and prints one line of JSON: {"words": n, "left_out": [tokens]} or {"error": sentence}.

Any model whose embedding gives each word a vector can be asked, a language model too. Shapes: V vocabulary size, D width, n words, k neighbours.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from engines.api import CorpusError, Text
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.problems import did_you_mean
from engines.runtime.finished import Finished, FinishedError, load_finished
from engines.runtime.plan import PlanError
from engines.store.database import Store
from engines.toolbox.wordlists import finder, vectors_of
from engines.toolbox.words import not_words

MOST = 1000
"""Neighbours, or words of a picture, that are given at most."""


@lru_cache(maxsize=1)
def vectors(store: str, run: int) -> tuple[Text, torch.Tensor]:
    """The text and the vectors (V, D), each of length 1, of a run's finished model, on the CPU. Raises FinishedError, StoreError.

    The latest one stays in memory.
    """
    with Store.open(store, read_only=True) as opened:
        found = load_finished(opened.model_folder(run))
    return found.text, F.normalize(_raw(found), dim=1)


def _raw(found: Finished) -> torch.Tensor:
    if not hasattr(found.model, "embedding"):
        raise FinishedError("This model has no embedding, so its words have no vectors.")
    return vectors_of(found.model, found.text.vocabulary.size)


def neighbours(text: Text, unit_VD: torch.Tensor, plus: Sequence[str], minus: Sequence[str] = (), k: int = 10) -> dict[str, Any]:
    """{"words": [as the vocabulary writes them], "neighbours": [{"word", "cosine", "count"}]}, nearest first, the asked words left out.

    Near to the sum of the `plus` words less the `minus` words, each of length 1: with one word its neighbours, with "king, woman less man" an
    analogy. count: occurrences in the training text. Raises ValueError for a word that is not in the vocabulary.
    """
    if not plus:
        raise ValueError("Name a word whose neighbours are asked for.")
    _check(k, "neighbours")
    asked = _ids(text, [*plus, *minus])
    sign = torch.tensor([1.0] * len(plus) + [-1.0] * len(minus))
    cosine_V = F.cosine_similarity(unit_VD, (sign[:, None] * unit_VD[asked]).sum(0)[None])
    cosine_V[sorted({*asked, *not_words(text.vocabulary)})] = -torch.inf
    best_K, ids_K = cosine_V.topk(min(k, len(cosine_V)))
    tokens, counts = text.vocabulary.tokens, text.vocabulary.counts
    near = [
        {"word": tokens[i], "cosine": cosine, "count": int(counts[i])}
        for cosine, i in zip(best_K.tolist(), ids_K.tolist(), strict=True)
        if cosine > -torch.inf
    ]
    return {"words": [tokens[i] for i in asked], "neighbours": near}


def projection(text: Text, unit_VD: torch.Tensor, words: Sequence[str] = (), most: int = 200) -> dict[str, Any]:
    """{"points": [{"word", "x", "y", "count"}], "explained": [share, share]}: words in the plane of their first two principal components.

    words: those that are shown; none: the `most` most frequent ones. explained: shares of the variance along x and y. Each component points
    where its largest entry is positive, so that the same vectors give the same picture.
    """
    _check(most, "words")
    skipped = set(not_words(text.vocabulary))
    ids = _ids(text, words) if words else [i for i in range(min(most + len(skipped), len(unit_VD))) if i not in skipped][:most]
    ids = list(dict.fromkeys(ids))
    if len(ids) < 3:
        raise ValueError(f"{len(ids)} word(s) make no picture: name three or more, or none for the most frequent ones.")
    _check(len(ids), "words")
    x_ND = unit_VD[ids].double()
    x_ND = x_ND - x_ND.mean(0)
    _, scale, axes_DD = torch.linalg.svd(x_ND, full_matrices=False)
    axes_2D = axes_DD[:2]
    axes_2D = axes_2D * axes_2D.gather(1, axes_2D.abs().argmax(1, keepdim=True)).sign()
    variance = scale.square()
    tokens, counts = text.vocabulary.tokens, text.vocabulary.counts
    points = [{"word": tokens[i], "x": x, "y": y, "count": int(counts[i])} for i, (x, y) in zip(ids, (x_ND @ axes_2D.T).tolist(), strict=True)]
    return {"points": points, "explained": (variance[:2] / variance.sum().clamp(min=1e-30)).tolist()}


def _check(number: int, what: str) -> None:
    if not 1 <= number <= MOST:
        raise ValueError(f"{number} {what} cannot be shown: ask for 1 to {MOST:,}.")


def _ids(text: Text, words: Sequence[str]) -> list[int]:
    find = finder(text.vocabulary)
    found = []
    for word in words:
        i = find(word)
        if i is None:
            hint = did_you_mean(word, text.vocabulary.tokens[:20_000], listed=False)
            raise ValueError(f'"{word}" is not in the vocabulary of {text.vocabulary.size:,} words{f"; {hint}" if hint else "."}')
        found.append(i)
    return found


# --- The text format of word2vec ------------------------------------------------------------------------------------------------------------


def write(found: Finished, out: Path) -> dict[str, Any]:
    """A line with the number of words and D, then a line for each word and its D numbers, frequent words first. {"words", "left_out"}.

    The format parts fields by blanks, so tokens with white space in them are left out.
    """
    raw_VD = _raw(found).cpu()
    tokens = found.text.vocabulary.tokens
    fits = [i for i, token in enumerate(tokens) if token and not any(c.isspace() for c in token)]
    with out.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{len(fits)} {raw_VD.shape[1]}\n")
        for i in fits:
            file.write(f"{tokens[i]} {' '.join(f'{value:.7g}' for value in raw_VD[i].tolist())}\n")
    return {"words": len(fits), "left_out": [token for token in tokens if not token or any(c.isspace() for c in token)]}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.neighbours")
    parser.add_argument("--model", type=Path, required=True, help="folder of a finished model")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args(argv)
    try:
        answer = write(load_finished(arguments.model, "cpu"), arguments.out)
    except (PlanError, FinishedError, CorpusError, UnknownPlugin, BrokenPlugin, OSError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
