"""What heads share: ranks with ties, padding and no number, in chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.toolbox import heads
from engines.toolbox.heads import IGNORED, ScoringHead, judge, rank_of

SCORES = torch.tensor([[3.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, float("nan")], [5.0, 1.0, 2.0, 3.0]])


class Table(ScoringHead):
    """The hidden state is the number of a row of scores."""

    no_distribution = "this is a table"

    def score_rows(self, hidden_ND: Tensor) -> Tensor:
        return SCORES[hidden_ND[:, 0].long()]


def test_a_rank_counts_higher_scores_and_half_of_equal_ones() -> None:
    assert rank_of(SCORES, torch.tensor([0, 2, 0, 3])).tolist() == [1.0, 2.5, 3.0, 2.0]
    assert rank_of(SCORES, torch.tensor([1, 0, 2, 1])).tolist() == [3.5, 2.5, 1.0, 4.0]


def test_padding_and_what_is_no_number_have_no_rank() -> None:
    assert rank_of(SCORES, torch.tensor([IGNORED, 0, 3, 0])).tolist() == [float("inf"), 2.5, float("inf"), 1.0]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head, hidden_ND, target_N = Table(4), torch.arange(4.0).unsqueeze(1), torch.tensor([1, 2, 0, 3])
    whole = head.rank(hidden_ND, target_N), *head.topk(hidden_ND[[0, 3]], 2)
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 8)
    for part, all_at_once in zip((head.rank(hidden_ND, target_N), *head.topk(hidden_ND[[0, 3]], 2)), whole, strict=True):
        assert torch.equal(part, all_at_once)
    assert torch.equal(judge(head, hidden_ND, target_N), whole[0])
    assert head.topk(hidden_ND[[3]], 2)[1].tolist() == [[0, 3]]
