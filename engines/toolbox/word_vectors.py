"""Vectors for the tokens of a vocabulary from a file: word2vec's text format, safetensors, or the embedding of a finished model.

Shapes: V tokens, M numbers a vector.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engines.api import Vocabulary


class VectorsError(ValueError):
    """A file of vectors that cannot be used; the message is a sentence for the user."""


def read_vectors(path: Path, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """(vectors in float32, (V, M), zero where there is none; whether each token has one, (V,)).

    A folder is a finished model of the same vocabulary: the rows of its embedding. A .safetensors file holds one matrix; its rows belong to the
    words of the metadata entry "words" (a JSON list) or, without one, to the vocabulary's tokens in order. Any other file is text: one word a
    line and its numbers, separated by spaces, with or without a first line that counts words and numbers. Of a word that comes twice the
    first vector is taken. A vector of length zero has no direction and counts as none. Raises VectorsError for what cannot be read; that no
    token has a vector is no error here, since a vocabulary may be a stand-in.
    """
    # a model may be assembled on a device without values
    with torch.device("cpu"):
        return _read(path, vocabulary)


def _read(path: Path, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    try:
        if path.is_dir():
            table_VM, known_V = _of_tensors(path / "weights.safetensors", vocabulary, "embedding.weight")
        elif path.suffix == ".safetensors":
            table_VM, known_V = _of_tensors(path, vocabulary, "")
        else:
            table_VM, known_V = _of_text(path, vocabulary)
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise VectorsError(f"The vectors in {path} cannot be read: {error}.") from error
    if not bool(table_VM.isfinite().all()):
        raise VectorsError(f"{path} has vectors with numbers that are not finite.")
    return table_VM, known_V & (table_VM.norm(dim=1) > 0)


def _of_tensors(path: Path, vocabulary: Vocabulary, name: str) -> tuple[Tensor, Tensor]:
    with safe_open(path, framework="pt") as file:
        names = [name] if name else [key for key in file.keys() if len(file.get_slice(key).get_shape()) == 2]  # noqa: SIM118
        if len(names) != 1 or names[0] not in file.keys():  # noqa: SIM118
            found = ", ".join(sorted(file.keys())) or "nothing"
            raise VectorsError(f"{path} must hold {name or 'one matrix'}, but it holds {found}.")
        rows_WM = file.get_tensor(names[0]).float()
        words = json.loads((file.metadata() or {}).get("words", "null"))
    if rows_WM.dim() != 2:
        raise VectorsError(f"{names[0]} in {path} has the shape {tuple(rows_WM.shape)}: vectors are rows of a matrix.")
    if words is None:
        if len(rows_WM) != vocabulary.size:
            raise VectorsError(
                f"{path} has {len(rows_WM)} vectors without words, and the vocabulary has {vocabulary.size} tokens: "
                'give it the metadata entry "words", or use vectors made with the same vocabulary.'
            )
        return rows_WM, torch.ones(vocabulary.size, dtype=torch.bool)
    if not isinstance(words, list) or len(words) != len(rows_WM):
        raise VectorsError(f'The entry "words" of {path} must be a list of {len(rows_WM)} words, one a row.')
    row = {word: i for i, word in reversed(list(enumerate(words)))}
    place_V = torch.tensor([row.get(token, -1) for token in vocabulary.tokens])
    known_V = place_V >= 0
    return rows_WM[place_V.clamp(min=0)] * known_V.unsqueeze(1), known_V


def _of_text(path: Path, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    wanted = {token: i for i, token in enumerate(vocabulary.tokens)}
    # most lines of a large file are about other words: one cut tells, and their numbers are not read
    beginnings = {token.partition(" ")[0] for token in wanted}
    found: dict[int, list[float]] = {}
    width = 0
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if width and line.partition(" ")[0] not in beginnings:
                continue
            parts = line.rstrip().split(" ")
            if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                width = int(parts[1])
                continue
            width = width or len(parts) - 1
            if not 0 < width < len(parts):
                raise VectorsError(f"Line {number} of {path} has {len(parts)} parts, not a word and {width or 'some'} numbers.")
            # a word may itself have spaces: the numbers are the last ones
            token = wanted.get(" ".join(parts[:-width]))
            if token is None or token in found:
                continue
            try:
                found[token] = [float(part) for part in parts[-width:]]
            except ValueError as error:
                raise VectorsError(f"Line {number} of {path} has something that is no number: {error}.") from error
    table_VM = torch.zeros(vocabulary.size, max(width, 1), dtype=torch.float32)
    known_V = torch.zeros(vocabulary.size, dtype=torch.bool)
    if found:
        ids = torch.tensor(list(found))
        table_VM[ids], known_V[ids] = torch.tensor(list(found.values()), dtype=torch.float32), True
    return table_VM, known_V
