"""Mixture of softmaxes: rank beyond the width, tying, chunks that count the components, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines.api import Trial
from engines.toolbox import heads, trials
from plugins.softmax import full, mixture
from tests.plugins.checks import EXACT
from tests.plugins.softmax.rows import rows_and_targets

NARROW = Trial(batch=10, length=10, width=4, vocabulary=60, seed=2)


def rank_of_log_probabilities(head: torch.nn.Module) -> int:
    """Of the matrix contexts x tokens; adding one number to a row (a normaliser) changes the rank by one at most."""
    with trials.seeded(NARROW):
        log_p = head.log_prob(4 * torch.randn(100, NARROW.width))
    return int(torch.linalg.matrix_rank(log_p, rtol=1e-9))


def test_the_rank_of_log_probabilities_exceeds_the_width_only_where_softmaxes_are_mixed() -> None:
    with trials.seeded(NARROW):
        single, one, three = (
            full.Full(bias=False).build(trials.site(NARROW)),
            mixture.Mixture(components=1, bias=False).build(trials.site(NARROW)),
            mixture.Mixture(components=3, bias=False).build(trials.site(NARROW)),
        )
    for head in (one, three):
        nn.init.normal_(head.output.weight)
    assert rank_of_log_probabilities(single) == NARROW.width + 1
    assert rank_of_log_probabilities(one) == NARROW.width + 1
    assert rank_of_log_probabilities(three) == NARROW.vocabulary


def test_a_tied_mixture_shares_the_embedding_and_takes_its_width() -> None:
    with trials.seeded(EXACT):
        table = nn.Embedding(EXACT.vocabulary, 5)
        head = mixture.Mixture(tied=True).build(trials.site(EXACT, embedding=table))
    assert head.output.weight is table.weight
    assert head.latent.out_features == 5 * 5
    h_ND, y_N = rows_and_targets(EXACT)
    head.loss(h_ND, y_N).backward()
    assert table.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="width = 7 does not fit the embedding's matrix, whose rows have 5 numbers"):
        mixture.Mixture(tied=True, width=7).build(trials.site(EXACT, embedding=table))


def test_whatever_is_asked_the_scores_of_all_components_stay_within_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    with trials.seeded(EXACT):
        head = mixture.Mixture(components=3).build(trials.site(EXACT))
    h_ND, y_N = rows_and_targets(EXACT)
    most = 4 * 3 * EXACT.vocabulary
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", most)
    made = []
    head.output.register_forward_hook(lambda module, given, scores_NKV: made.append(scores_NKV.numel()))
    for ask in (lambda: head.nll(h_ND, y_N), lambda: head.log_prob(h_ND), lambda: head.topk(h_ND, 2), lambda: head.rank(h_ND, y_N)):
        ask()
        assert max(made) == most
        made.clear()


def test_components_learn_different_things() -> None:
    """Two contexts' worth of mass that one softmax of width 1 cannot split: a mixture fits them better than it."""
    truth = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 0.0, 0.5], [0.5, 0.0, 0.5, 0.0]]) + 1e-3
    truth = truth / truth.sum(dim=1, keepdim=True)
    found = {}
    for components in (1, 3):
        trial = Trial(width=1, vocabulary=4, dtype="float32", seed=0)
        with trials.seeded(trial):
            head = mixture.Mixture(components=components, width=1).build(trials.site(trial))
            context = nn.Embedding(5, 1)
            optimizer = torch.optim.Adam([*head.parameters(), *context.parameters()], lr=0.05)
            for _ in range(400):
                optimizer.zero_grad()
                loss = -(truth * head.log_prob(context.weight)).sum(dim=1).mean()
                loss.backward()
                optimizer.step()
        found[components] = float(loss.detach())
    assert found[3] < found[1] - 0.05
