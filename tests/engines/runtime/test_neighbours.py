"""Neighbours, the picture in the plane and the export, on vectors whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engines.api import Text, Vocabulary
from engines.runtime.finished import Finished, FinishedError
from engines.runtime.neighbours import neighbours, projection, write

TOKENS = ("<unk>", "king", "queen", "man", "woman", "apple", "\n", "Pear")


@pytest.fixture
def text() -> Text:
    return Text({}, {}, Vocabulary(TOKENS, np.arange(8, 0, -1), 0), "", "", "word")


@pytest.fixture
def unit_VD() -> torch.Tensor:
    royal, male, female, fruit = torch.eye(4)
    rows = [male, royal + male, royal + female, male, female, fruit, royal, fruit + 0.2 * male]
    return nn.functional.normalize(torch.stack(rows), dim=1)


def test_neighbours_come_nearest_first_without_the_word_and_what_is_no_word(text: Text, unit_VD: torch.Tensor) -> None:
    found = neighbours(text, unit_VD, ["king"], k=3)
    assert found["words"] == ["king"]
    assert [near["word"] for near in found["neighbours"]] == ["man", "queen", "Pear"]
    assert found["neighbours"][0]["cosine"] == pytest.approx(math.sqrt(0.5))
    assert [near["count"] for near in found["neighbours"]] == [5, 6, 1]
    assert len(neighbours(text, unit_VD, ["king"], k=100)["neighbours"]) == 5


def test_words_are_added_and_taken_away(text: Text, unit_VD: torch.Tensor) -> None:
    assert neighbours(text, unit_VD, ["king", "woman"], ["man"], 1)["neighbours"][0]["word"] == "queen"
    assert neighbours(text, unit_VD, ["PEAR"], k=1)["neighbours"][0]["word"] == "apple"


def test_what_cannot_be_answered_is_a_sentence(text: Text, unit_VD: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r'"quen" is not in the vocabulary of 8 words; did you mean "queen"\?'):
        neighbours(text, unit_VD, ["quen"])
    with pytest.raises(ValueError, match="Name a word"):
        neighbours(text, unit_VD, [])
    with pytest.raises(ValueError, match="0 neighbours cannot be shown: ask for 1 to 1,000"):
        neighbours(text, unit_VD, ["king"], k=0)
    with pytest.raises(ValueError, match="make no picture"):
        projection(text, unit_VD, ["king", "queen"])


def test_the_plane_holds_as_much_of_the_variance_as_any(text: Text, unit_VD: torch.Tensor) -> None:
    found = projection(text, unit_VD)
    ids = [TOKENS.index(point["word"]) for point in found["points"]]
    assert ids == [1, 2, 3, 4, 5, 7]
    x_ND = unit_VD[ids].double() - unit_VD[ids].double().mean(0)
    values = torch.linalg.eigvalsh(x_ND.T @ x_ND).flip(0)
    torch.testing.assert_close(torch.tensor(found["explained"], dtype=torch.float64), values[:2] / values.sum())
    plane = torch.tensor([[point["x"], point["y"]] for point in found["points"]], dtype=torch.float64)
    torch.testing.assert_close((plane.T @ plane), torch.diag(values[:2]), atol=1e-9, rtol=1e-9)
    assert found == projection(text, unit_VD)


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 3)


def test_the_file_is_read_back_by_gensim_as_it_was_written(text: Text, tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    model = Embedded()
    answer = write(Finished(model, {}, None, text), tmp_path / "vectors.txt")  # type: ignore[arg-type]
    assert answer == {"words": 7, "left_out": ["\n"]}
    read = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.txt"))
    assert read.index_to_key == [token for token in TOKENS if token != "\n"]
    for i, token in enumerate(TOKENS):
        if token != "\n":
            np.testing.assert_allclose(read[token], model.embedding.weight[i].detach().numpy(), rtol=1e-6)


def test_a_model_without_word_vectors_says_so(text: Text, tmp_path: Path) -> None:
    with pytest.raises(FinishedError, match="has no embedding"):
        write(Finished(nn.Linear(2, 2), {}, None, text), tmp_path / "vectors.txt")  # type: ignore[arg-type]
