"""The language-model task: exact evaluation against a model whose answer is known, and what assembling refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.api import Block, Site, Text, Vocabulary
from engines.toolbox import unigram
from engines.toolbox.heads import rank_of
from plugins.tasks.language_model import LanguageModelling, Rows

CPU = torch.device("cpu")
V = 11


def make_text(n: int = 3000, seed: int = 0) -> Text:
    draw = np.random.default_rng(seed)
    splits = {split: draw.integers(V, size=n).astype(np.uint16) for split in ("train", "valid", "test")}
    ends = {split: np.cumsum(draw.integers(1, 6, size=n)) for split in splits}
    counts = np.bincount(splits["train"], minlength=V)
    return Text(splits, ends, Vocabulary(tuple(f"w{i}" for i in range(V)), counts), "test", "none", "word")


class Remembering(nn.Module):
    """Hidden state = (this id, ids seen since the state began): the head can check what context each target had."""

    length = 8

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.judged: list[tuple[int, int]] = []

    def hidden(self, ids_BT: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        seen = torch.zeros(len(ids_BT), 1) if state is None else state
        count_BT = seen + torch.arange(1, ids_BT.shape[1] + 1)
        return torch.stack([ids_BT.float(), count_BT], dim=-1), count_BT[:, -1:], {}


class BigramHead(nn.Module):
    """-log p(target | id) from a fixed table; notes which (id, target, context) it judged."""

    normalised = True

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(V, V, generator=torch.Generator().manual_seed(1)).log_softmax(1)
        self.seen: list[tuple[int, int, int]] = []

    def nll(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        id_N, context_N = hidden_ND[:, 0].long(), hidden_ND[:, 1].long()
        self.seen += zip(id_N.tolist(), target_N.tolist(), context_N.tolist(), strict=True)
        return -self.table[id_N, target_N]


class RankedBigram(BigramHead):
    def rank(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        return rank_of(self.table[hidden_ND[:, 0].long()], target_N)


class RankingHead(RankedBigram):
    normalised = False


@pytest.mark.parametrize("tokens", [0, 1, 5, 8, 9, 1000, 2007, 2999, 5000])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_every_target_is_judged_once_with_the_context_that_is_promised(tokens: int, batch: int) -> None:
    text, head = make_text(), BigramHead()
    model = Remembering(head)
    figures = {figure.key: figure.value for figure in LanguageModelling().evaluate(model, text, "valid", tokens, batch, CPU)}
    ids = text.splits["valid"].astype(int)
    n = min(tokens or len(ids), len(ids) - 1)
    nats = -sum(float(head.table[a, b]) for a, b in pairwise(ids[: n + 1]))
    assert len(head.seen) == n
    assert sorted(pair[:2] for pair in head.seen) == sorted(pairwise(ids[: n + 1].tolist()))
    assert figures["quality/valid_perplexity"] == pytest.approx(math.exp(nats / n), rel=1e-6)
    ends = text.character_ends["valid"]
    assert figures["quality/valid_bits_per_char"] == pytest.approx(nats / math.log(2) / (ends[n] - ends[0]), rel=1e-6)
    assert sum(context <= 8 for *_, context in head.seen) == min(n, 8), "all but the first segment have a segment of context"


def test_the_figure_is_the_same_however_many_rows_are_computed_at_once() -> None:
    found = {LanguageModelling().evaluate(Remembering(BigramHead()), make_text(9000), "test", 0, batch, CPU)[0].value for batch in (1, 2, 5, 40)}
    assert max(found) == pytest.approx(min(found), rel=1e-9)


def test_rows_cover_short_and_long_texts() -> None:
    assert Rows.of(5, 35) == Rows(count=1, length=0, context=5)
    assert Rows.of(10_035, 35) == Rows(count=10, length=1000, context=35)
    assert Rows.of(10**6, 35).count == 32


def test_the_unigram_floor_is_that_of_the_training_counts() -> None:
    text = make_text()
    share = (text.vocabulary.counts + 1) / (text.vocabulary.counts.sum() + V)
    expected = math.exp(-np.log(share[text.splits["test"][1:101]]).mean())
    assert unigram.perplexity(text.vocabulary.counts, text.splits["test"][1:101]) == pytest.approx(expected)
    keys = [figure.key for figure in LanguageModelling(unigram=False).evaluate(Remembering(BigramHead()), text, "test", 100, 4, CPU)]
    assert keys == ["quality/test_perplexity", "quality/test_bits_per_char"]


def test_a_head_without_a_distribution_is_judged_by_rank_and_accuracy() -> None:
    text, head = make_text(), RankingHead()
    figures = {figure.key: figure.value for figure in LanguageModelling().evaluate(Remembering(head), text, "valid", 500, 4, CPU)}
    ids = torch.from_numpy(text.splits["valid"][:501].astype(np.int64))
    rank_N = (head.table[ids[:-1]] >= head.table[ids[:-1], ids[1:]][:, None]).sum(1)
    assert figures["quality/valid_reciprocal_rank"] == pytest.approx(float((1 / rank_N).mean()), rel=1e-6)
    assert figures["quality/valid_accuracy"] == pytest.approx(float((rank_N == 1).double().mean()))
    assert not any("perplexity" in key or "bits" in key for key in figures)
    # What is asked for under a head with a distribution is the same, beside its perplexity.
    both = {figure.key: figure.value for figure in LanguageModelling(ranks=True).evaluate(Remembering(RankedBigram()), text, "valid", 500, 4, CPU)}
    assert next(iter(both)) == "quality/valid_perplexity"
    assert figures.items() <= both.items()


def test_the_order_of_frequencies_ranks_equal_counts_half_a_place_down() -> None:
    counts, targets = np.array([9, 5, 5, 5, 1, 1]), np.array([0, 1, 3, 5], dtype=np.uint16)
    assert unigram.reciprocal_rank(counts, targets) == pytest.approx((1 / 1 + 1 / 3 + 1 / 3 + 1 / 5.5) / 4)


def test_evaluation_leaves_mode_gradients_and_random_numbers_alone() -> None:
    model = Remembering(BigramHead()).train()
    before = torch.random.get_rng_state()
    LanguageModelling().evaluate(model, make_text(), "valid", 100, 4, CPU)
    assert model.training
    assert torch.is_grad_enabled()
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_diverged_model_has_infinite_perplexity_instead_of_an_error() -> None:
    head = BigramHead()
    head.table = torch.full((V, V), -1e6)
    assert math.isinf(LanguageModelling().evaluate(Remembering(head), make_text(), "valid", 100, 4, CPU)[0].value)


class Widening(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Embedding(V, width)

    def forward(self, ids_BT: torch.Tensor, state: Any = None) -> Any:
        return self.weight(ids_BT)


class Choice(Block):
    """A block for tests."""

    slot = "mixer"
    width: int = 4
    residual = False

    def build(self, site: Site) -> nn.Module:
        return Widening(self.width)


class ResidualChoice(Choice):
    """A block for tests that wants a residual."""

    residual = True


def blocks(table: Mapping[str, Any]) -> Block:
    kind = ResidualChoice if table["id"].startswith("residual") else Choice
    return kind(width=table.get("width", 4))


def test_layers_repeat_and_a_residual_brings_norms() -> None:
    tables = {"embedding": {"id": "e"}, "head": {"id": "h"}, "layers": [{"mixer": {"id": "residual"}, "repeat": 3, "norm": "rms"}]}
    made = LanguageModelling().assemble(tables, blocks, make_text(), 16)
    assert len(made.layers) == 3
    assert isinstance(made.final_norm, nn.RMSNorm)
    assert isinstance(made.layers[1].mixer_norm, nn.RMSNorm)
    assert made.length == 16
    plain = LanguageModelling().assemble(tables | {"layers": [{"mixer": {"id": "m", "width": 7}}]}, blocks, make_text(), 16)
    assert isinstance(plain.final_norm, nn.Identity)


def test_a_width_that_does_not_fit_names_the_layer() -> None:
    tables = {"embedding": {"id": "e"}, "head": {"id": "h"}, "layers": [{"mixer": {"id": "m"}}, {"mixer": {"id": "residual", "width": 6}}]}
    with pytest.raises(ValueError, match=r"Layer 2 \(residual\): The mixer changes the width from 4 to 6"):
        LanguageModelling().assemble(tables, blocks, make_text(), 16)
