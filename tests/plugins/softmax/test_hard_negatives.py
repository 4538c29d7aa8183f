"""Hard negatives: torch's multiclass hinge, the target never among them, no gradient through the choice, pools, padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from engines.api import Trial
from engines.toolbox import heads, trials
from plugins.embeddings.lookup import Lookup
from plugins.softmax import hard_negatives
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets


def build(trial: Trial = EXACT, **parameters: object) -> hard_negatives.MarginHead:
    with trials.seeded(trial):
        return hard_negatives.HardNegatives(**{"negatives": 4, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(hard_negatives))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("negatives", [EXACT.vocabulary - 1, EXACT.vocabulary, 1000])
def test_all_negatives_are_torchs_multiclass_hinge(negatives: int, margin: float) -> None:
    head = build(negatives=negatives, margin=margin)
    h_ND, y_N = rows_and_targets(EXACT)
    theirs = EXACT.vocabulary * F.multi_margin_loss(head.output(h_ND), y_N, margin=margin, reduction="sum")
    ours = head.loss(h_ND, y_N)
    torch.testing.assert_close(ours, theirs)
    wanted = [h_ND, *head.parameters()]
    for one, other in zip(torch.autograd.grad(ours, wanted), torch.autograd.grad(theirs, wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_the_hardest_are_the_best_tokens_but_the_target_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    head = build()
    h_ND, _ = rows_and_targets(EXACT)
    order_NV = head.scores(h_ND).argsort(dim=1, descending=True)
    y_N = order_NV[:, 2]  # the target is itself one of the best
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 3 * EXACT.vocabulary)
    assert torch.equal(head.hardest(h_ND, y_N), order_NV[:, [0, 1, 3, 4]])
    assert torch.equal(head.hardest(h_ND, order_NV[:, 20]), order_NV[:, :4])


def test_no_gradient_flows_through_the_choice() -> None:
    """The gradient is that of the same negatives, given."""
    head = build()
    h_ND, y_N = rows_and_targets(EXACT)
    chosen = head.hardest(h_ND, y_N)
    assert not chosen.is_floating_point()
    wanted = [h_ND, *head.parameters()]
    mined, given = (torch.autograd.grad(loss, wanted) for loss in (head.loss(h_ND, y_N), head.loss_on(h_ND, y_N, chosen)))
    for one, other in zip(mined, given, strict=True):
        assert torch.equal(one, other)


def test_a_pool_is_a_sample_of_tokens_without_the_target() -> None:
    head = build(pool=10, negatives=3)
    h_ND, y_N = rows_and_targets(EXACT)
    sizes = []
    with trials.seeded(EXACT):
        for _ in range(200):
            chosen = head.hardest(h_ND, y_N)
            assert not (chosen == y_N[:, None]).any()
            sizes.append(len(chosen.unique()))
    assert max(sizes) > min(sizes)
    whole = build(pool=EXACT.vocabulary, negatives=3)
    assert torch.equal(whole.hardest(h_ND, y_N), build(negatives=3).hardest(h_ND, y_N))
    with trials.seeded(EXACT):
        drawn = torch.cat([head.pooled() for _ in range(1000)])
    assert len(drawn) / 1000 == pytest.approx(10, abs=0.4)


def test_a_pool_with_fewer_tokens_than_asked_for_holds_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    head = build(pool=5, negatives=4)
    h_ND, _ = rows_and_targets(EXACT)
    y_N = torch.full((len(h_ND),), 7)
    for drawn, expected in (([7, 9], [9, -1]), ([7], [-1]), ([], [])):
        monkeypatch.setattr(head, "pooled", lambda drawn=drawn: torch.tensor(drawn, dtype=torch.int64))
        assert head.hardest(h_ND, y_N)[0].tolist() == expected
        loss = head.loss(h_ND, y_N)
        s = head.scores(h_ND)
        torch.testing.assert_close(loss, (1 + s[:, 9] - s[:, 7]).clamp(min=0).sum() if 9 in drawn else torch.zeros_like(loss))
        assert torch.isfinite(torch.autograd.grad(loss, h_ND)[0]).all()


def test_padding_costs_nothing() -> None:
    head = build()
    h_ND, y_N = rows_and_targets(EXACT, ignored=5)
    loss = head.loss(h_ND, y_N)
    torch.testing.assert_close(loss, head.loss(h_ND[5:], y_N[5:]))
    assert (torch.autograd.grad(loss, h_ND)[0][:5] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0


def test_sparse_gradients_and_tying() -> None:
    with trials.seeded(EXACT):
        embedding = Lookup(width=5).build(trials.site(EXACT))
        head = hard_negatives.HardNegatives(negatives=2, tied=True, sparse=True).build(trials.site(EXACT, embedding=embedding))
    assert head.output.weight is embedding.weight
    h_ND, y_N = rows_and_targets(EXACT)
    head.loss(h_ND, y_N).backward()
    gradient = embedding.weight.grad
    assert gradient.is_sparse
    sparse = gradient.to_dense()
    embedding.weight.grad = None
    head.sparse = False
    head.loss(h_ND, y_N).backward()
    torch.testing.assert_close(sparse, embedding.weight.grad)


def test_half_precision_and_autocast() -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    h_ND, y_N = rows_and_targets(trial)
    for pool in (0, 100):
        head = build(trial, pool=pool)
        with trials.seeded(trial):
            exact = head.loss(h_ND, y_N)
        with trials.seeded(trial), torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = head.loss(h_ND, y_N)
        mixed.backward()
        assert mixed.dtype == torch.float32
        assert trials.relative_error(mixed, exact) < 0.02
