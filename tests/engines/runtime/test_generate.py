"""Writing and judging against a model whose probabilities are known."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.api import Text, Vocabulary
from engines.runtime.finished import Finished
from engines.runtime.generate import generate, probability
from engines.toolbox.tokens import Coder, Lexicon

TOKENS = ("\n", "a", "b", "<unk>")
SHARE = torch.tensor([[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.5, 0.1, 0.1, 0.3], [0.25, 0.25, 0.25, 0.25]])
"""p(next | this): a line begins with a, b follows a, a line end follows b."""


class Bigram(nn.Module):
    """A head that is a table; the hidden state is the token itself."""

    normalised = True
    vocabulary_size = 4

    def log_prob(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        return SHARE[hidden_ND[:, 0].long()].log()

    def nll(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        return -self.log_prob(hidden_ND).gather(1, target_N[:, None])[:, 0]

    def topk(self, hidden_ND: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(self.log_prob(hidden_ND).topk(k))  # type: ignore[return-value]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Bigram()

    def hidden(self, ids_BT: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        return ids_BT[..., None].float(), None, {}


@pytest.fixture
def found() -> Finished:
    lexicon = Lexicon(TOKENS, np.array([4, 3, 2, 1]), 3)
    coder = Coder(lexicon, "word", lowercase=False)
    text = Text({}, {}, Vocabulary(TOKENS, lexicon.counts, 3), "", "", "word", {}, coder.encode, coder.decode)
    return Finished(Model(), {}, None, text)  # type: ignore[arg-type]


def test_without_temperature_the_most_probable_token_is_taken(found: Finished) -> None:
    assert generate(found, "", tokens=5, temperature=0) == {"text": "a b\na b", "prompt_tokens": 0, "tokens": 5}


def test_the_same_seed_writes_the_same_and_another_something_else(found: Finished) -> None:
    texts = [generate(found, "a", tokens=40, seed=seed)["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("top_k", [0, 2, 3])
def test_the_unknown_token_is_never_written(found: Finished, top_k: int) -> None:
    assert "<unk>" not in generate(found, "b", tokens=300, temperature=2.0, top_k=top_k)["text"]


def test_drawn_shares_are_those_of_the_model(found: Finished) -> None:
    words = generate(found, "\n", tokens=6000, seed=5)["text"].replace("\n", " \n ").split(" ")
    after_line_end = [second for first, second in pairwise(words) if first == "\n"]
    share = sum(word == "a" for word in after_line_end) / len(after_line_end)
    assert share == pytest.approx(0.7 / 0.9, abs=0.05)


def test_probabilities_are_those_of_the_text_after_a_line_end(found: Finished) -> None:
    answer = probability(found, "a b zebra")
    assert answer["nats"] == pytest.approx(-math.log(0.7 * 0.7 * 0.3), rel=1e-6)
    assert answer["perplexity"] == pytest.approx((0.7 * 0.7 * 0.3) ** (-1 / 3), rel=1e-6)
    assert [word["token"] for word in answer["words"]] == ["a", "b", "<unk>"]
    assert [word["unknown"] for word in answer["words"]] == [False, False, True]


def test_wrong_requests_are_sentences(found: Finished) -> None:
    with pytest.raises(ValueError, match="no token in this text"):
        probability(found, "   ")
    with pytest.raises(ValueError, match="temperature is -1"):
        generate(found, "a", temperature=-1)
    with pytest.raises(ValueError, match="ask for 1 to"):
        generate(found, "a", tokens=0)
    found.model.head.normalised = False  # type: ignore[union-attr,assignment]
    with pytest.raises(ValueError, match="scores and no probabilities"):
        probability(found, "a")
    with pytest.raises(ValueError, match="nothing can be drawn from it: set the temperature to 0"):
        generate(found, "a", temperature=1.0)
    assert generate(found, "", tokens=5, temperature=0)["text"] == "a b\na b"
