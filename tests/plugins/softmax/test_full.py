"""The full softmax head: torch's loss, tying, padding, chunks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from engines.api import Trial
from engines.toolbox import heads, trials
from plugins.embeddings.lookup import Lookup
from plugins.softmax import full
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(full))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def tied(embedding_width: int) -> tuple[torch.nn.Embedding, heads.LinearSoftmax]:
    with trials.seeded(EXACT):
        embedding = Lookup(width=embedding_width).build(trials.site(EXACT))
        return embedding, full.Full(tied=True).build(trials.site(EXACT, embedding=embedding))


def test_equals_torch_cross_entropy_with_padding() -> None:
    with trials.seeded(EXACT):
        head = full.Full().build(trials.site(EXACT))
    h_ND, y_N = rows_and_targets(EXACT, ignored=3)
    reference = F.cross_entropy(head.output(h_ND), y_N, reduction="sum")
    torch.testing.assert_close(head.loss(h_ND, y_N), reference)
    nll_N = head.nll(h_ND, y_N)
    torch.testing.assert_close(nll_N.sum(), reference)
    assert (nll_N[:3] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0


def test_a_tied_head_shares_the_parameter_and_sums_both_gradients() -> None:
    embedding, head = tied(EXACT.width)
    assert head.output.weight is embedding.weight
    assert head.projection is None
    h_ND, y_N = rows_and_targets(EXACT)
    head.loss(embedding(y_N) + h_ND, y_N).backward()
    both = embedding.weight.grad.clone()
    embedding.weight.grad = None
    head.loss(embedding(y_N).detach() + h_ND, y_N).backward()
    output_only = embedding.weight.grad.clone()
    embedding.weight.grad = None
    F.cross_entropy(F.linear(embedding(y_N) + h_ND, embedding.weight.detach(), head.output.bias), y_N, reduction="sum").backward()
    torch.testing.assert_close(both, output_only + embedding.weight.grad)


def test_a_tied_head_projects_where_the_widths_differ() -> None:
    embedding, head = tied(5)
    assert head.projection is not None
    assert head.projection.weight.shape == (5, EXACT.width)
    h_ND, y_N = rows_and_targets(EXACT)
    reference = F.cross_entropy(h_ND @ head.projection.weight.T @ embedding.weight.T + head.output.bias, y_N, reduction="sum")
    torch.testing.assert_close(head.loss(h_ND, y_N), reference)


def test_tying_to_nothing_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"tied head needs an embedding with a weight of shape \(40, width\), but this one has no weight"):
        full.Full(tied=True).build(trials.site(EXACT))
    with pytest.raises(ValueError, match=r"has a weight of shape \(7, 3\)"):
        full.Full(tied=True).build(trials.site(EXACT, embedding=torch.nn.Embedding(7, 3)))


def test_an_untrained_head_without_input_is_the_unigram_model() -> None:
    with trials.seeded(EXACT):
        site = trials.site(EXACT)
        head = full.Full().build(site)
        log_p = head.log_prob(torch.zeros(1, EXACT.width))
    counts = torch.tensor(site.vocabulary.counts).double() + 1.0
    torch.testing.assert_close(log_p[0].exp(), counts / counts.sum())
    assert full.Full(bias=False).build(site).output.bias is None


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with trials.seeded(EXACT):
        head = full.Full().build(trials.site(EXACT))
    h_ND, y_N = rows_and_targets(EXACT, ignored=1)
    whole = head.nll(h_ND, y_N), head.log_prob(h_ND), *head.topk(h_ND, 3)
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 3 * EXACT.vocabulary)
    cut = head.nll(h_ND, y_N), head.log_prob(h_ND), *head.topk(h_ND, 3)
    for a, b in zip(cut, whole, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(whole[1].topk(3).indices, whole[3])


def test_half_precision_scores_are_summed_in_float32() -> None:
    trial = Trial(dtype="bfloat16", vocabulary=500)
    with trials.seeded(trial):
        head = full.Full().build(trials.site(trial))
    h_ND, y_N = rows_and_targets(trial)
    loss = head.loss(h_ND, y_N)
    assert loss.dtype == head.nll(h_ND, y_N).dtype == torch.float32
    precise = F.cross_entropy(head.output(h_ND).double(), y_N, reduction="sum")
    assert loss.item() == pytest.approx(precise.item(), rel=1e-5)
