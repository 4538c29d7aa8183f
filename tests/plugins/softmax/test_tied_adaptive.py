"""Tied adaptive softmax: one parameter for both uses, its gradient the sum of both, saved once; narrow clusters; refusals."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engines.api import Trial
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import block
from engines.toolbox import trials
from engines.toolbox.adaptive import ClusteredTable
from plugins.softmax import tied_adaptive
from plugins.tasks.language_model import LanguageModelling
from tests.engines.runtime import session as small
from tests.plugins.checks import EXACT
from tests.plugins.softmax.rows import rows_and_targets


def build(embedding: nn.Module, trial: Trial = EXACT, **parameters: object) -> tied_adaptive.TiedAdaptiveSoftmax:
    with trials.seeded(trial):
        return tied_adaptive.TiedAdaptive(**parameters).build(trials.site(trial, embedding=embedding))


def plain_table(width: int = EXACT.width) -> nn.Embedding:
    with trials.seeded(EXACT):
        return nn.Embedding(EXACT.vocabulary, width)


def narrow_table(div_value: float = 2.0) -> ClusteredTable:
    with trials.seeded(EXACT):
        return ClusteredTable(EXACT.vocabulary, EXACT.width, (4, 16), div_value)


def both_uses(embedding: Any, head: Any, wanted: list[torch.Tensor]) -> None:
    """The gradient of the whole is that of the use as input plus that of the use as output, each taken with the other held still."""
    h_ND, y_N = rows_and_targets(EXACT)
    x_ND = embedding(y_N.flip(0))
    whole = torch.autograd.grad(head.loss(x_ND + h_ND, y_N), wanted, retain_graph=True)
    output_only = torch.autograd.grad(head.loss(x_ND.detach() + h_ND, y_N), wanted)
    leaf = x_ND.detach().requires_grad_()
    (pull,) = torch.autograd.grad(head.loss(leaf + h_ND.detach(), y_N), leaf)
    input_only = torch.autograd.grad(x_ND, wanted, pull)
    for a, b, c in zip(whole, output_only, input_only, strict=True):
        assert b.abs().max() > 0
        assert c.abs().max() > 0
        torch.testing.assert_close(a, b + c)


def test_the_gradient_is_the_sum_of_both_uses() -> None:
    table = plain_table()
    both_uses(table, build(table), [table.weight])
    table = narrow_table()
    both_uses(table, build(table, tie_projections=True), list(table.parameters()))
    table = narrow_table()
    both_uses(table, build(table), [each.weight for each in table.tables])


def test_short_list_and_tails_are_the_softmax_over_the_embeddings_rows() -> None:
    """Without torch's module: the shares of a head whose cluster rows are far down are those of a softmax over the short list alone."""
    table = plain_table()
    head = build(table, bias=False)
    h_ND, _ = rows_and_targets(EXACT)
    log_p = head.log_prob(h_ND)
    scores = h_ND @ table.weight.T
    for low, high in ((0, 4), (4, 16), (16, 40)):
        own = log_p[:, low:high] - log_p[:, low:high].logsumexp(1, keepdim=True)
        torch.testing.assert_close(own, scores[:, low:high].log_softmax(1))


def test_a_table_of_another_width_is_reached_by_projections() -> None:
    table = plain_table(5)
    head = build(table)
    assert [tuple(p.weight.shape) for p in head.projections] == [(5, EXACT.width)] * 3
    h_ND, y_N = rows_and_targets(EXACT)
    torch.testing.assert_close(head.nll(h_ND, y_N), -head.log_prob(h_ND).gather(1, y_N[:, None]).squeeze(1))
    assert [type(p) for p in build(plain_table()).projections] == [nn.Identity] * 3


def test_narrow_clusters_follow_the_table() -> None:
    table = narrow_table()
    own, shared = build(table), build(table, tie_projections=True)
    assert own.bounds == shared.bounds == (4, 16, 40)
    assert [tuple(p.weight.shape) for p in own.projections] == [(8, 8), (4, 8), (2, 8)]
    assert shared.projections is None
    assert {id(p) for p in shared.parameters()} >= {id(p) for p in table.parameters()}


def model_table(embedding: str, **head: object) -> dict[str, Any]:
    layer = {"mixer": {"id": "recurrent/lstm", "width": 24}, "feedforward": None, "repeat": 1, "residual": None, "norm": None}
    return {"embedding": {"id": embedding, "width": 24}, "layers": [layer], "head": {"id": "softmax/tied_adaptive", **head}}


@pytest.mark.parametrize(("embedding", "head"), [("embeddings/lookup", {}), ("embeddings/adaptive", {"tie_projections": True})])
def test_one_memory_for_both_uses_after_copying_saving_and_loading(embedding: str, head: dict[str, Any], tmp_path: Path) -> None:
    text, plan = small.text(), small.plan([], model=model_table(embedding, **head))
    torch.manual_seed(0)
    model = LanguageModelling().assemble(plan["model"], block, text, 12)

    def shares(model: Any) -> bool:
        tied = dict(model.embedding.named_parameters())
        return all(model.head.embedding.get_parameter(name).data_ptr() == p.data_ptr() for name, p in tied.items())

    assert shares(model)
    assert shares(deepcopy(model))
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names))
    assert not any(name.startswith("head.embedding") for name in names), "an optimiser must receive each tensor once"
    size = save_finished(model, plan, [], tmp_path / "model", text.fingerprint)
    numbers = sum(p.numel() for p in model.parameters())
    assert 4 * numbers < size < 4 * numbers + 8192
    loaded: Any = load_finished(tmp_path / "model", "cpu", text).model
    assert shares(loaded)
    h_ND, y_N = torch.randn(5, 24), torch.tensor([0, 49, 50, 300, 499])
    assert torch.equal(loaded.head.nll(h_ND, y_N), model.head.nll(h_ND, y_N))


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"tied head needs an embedding with a weight of shape \(40, width\)"):
        build(nn.Embedding(7, 3))
    with pytest.raises(ValueError, match=r"cutoffs \[4, 17\] are not those of the embedding, \[4, 16\]"):
        build(narrow_table(), cutoffs=(4, 17))
    with pytest.raises(ValueError, match="the embedding is a plain table"):
        build(plain_table(), tie_projections=True)
    with pytest.raises(ValueError, match="the embedding is 8 wide and the hidden states 16"):
        build(narrow_table(), Trial(width=16, vocabulary=40), tie_projections=True)
    with pytest.raises(ValueError, match=r"cutoffs \[50\] must stay below the vocabulary size 40"):
        build(plain_table(), cutoffs=(50,))


def test_equals_the_full_softmax_over_the_short_list_when_no_target_is_rare() -> None:
    """One cluster of one token: p = softmax([E_0 h; K h]), the cluster's only token having its whole share."""
    table = plain_table()
    head = build(table, cutoffs=(39,), bias=False)
    h_ND, y_N = rows_and_targets(EXACT)
    scores = torch.cat((h_ND @ table.weight[:39].T, h_ND @ head.clusters.weight.T), dim=1)
    torch.testing.assert_close(head.nll(h_ND, y_N), F.cross_entropy(scores, y_N, reduction="none"))
