"""What all heads that cut the vocabulary into parts must do alike: padding, chunks, half precision, order, saving, GPUs."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from engines.api import Trial
from engines.toolbox import adaptive as clustered
from engines.toolbox import heads, trials
from engines.toolbox.heads import IGNORED
from plugins.embeddings import adaptive as adaptive_table
from plugins.softmax import class_based, hierarchical, mixture, tied_adaptive
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets

HEADS: dict[str, Callable[[Trial], Any]] = {
    "classes": lambda trial: class_based.ClassBased().build(trials.site(trial)),
    "random classes": lambda trial: class_based.ClassBased(by="random", bias=False).build(trials.site(trial)),
    "tied classes": lambda trial: class_based.ClassBased(tied=True).build(trials.site(trial, embedding=nn.Embedding(trial.vocabulary, 5))),
    "huffman": lambda trial: hierarchical.Hierarchical().build(trials.site(trial)),
    "balanced": lambda trial: hierarchical.Hierarchical(tree="balanced", bias=False).build(trials.site(trial)),
    "tied adaptive": lambda trial: tied_adaptive.TiedAdaptive().build(
        trials.site(trial, embedding=nn.Embedding(trial.vocabulary, trial.width))
    ),
    "tied adaptive, projected": lambda trial: tied_adaptive.TiedAdaptive(tie_projections=True, bias=False).build(
        trials.site(trial, embedding=clustered.ClusteredTable(trial.vocabulary, trial.width, (3, 11), 2.0))
    ),
    "mixture": lambda trial: mixture.Mixture(components=3).build(trials.site(trial)),
}


@pytest.fixture(params=HEADS)
def build(request: pytest.FixtureRequest) -> Callable[[Trial], Any]:
    def built(trial: Trial = EXACT) -> Any:
        with trials.seeded(trial):
            return HEADS[request.param](trial)

    return built


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("module", [class_based, hierarchical, tied_adaptive, mixture, adaptive_table])
def test_certificates(module: ModuleType, trial: Trial) -> None:
    for certificate in certificates(module):
        assert_holds(certificate, trial)


def test_probabilities_sum_to_one_in_float64_to_the_last_digits(build: Callable[..., Any]) -> None:
    head = build(Trial(vocabulary=500))
    h_ND, _ = rows_and_targets(Trial(vocabulary=500))
    assert (head.log_prob(3 * h_ND).exp().sum(dim=1) - 1).abs().max() < 1e-12


def test_nll_is_the_log_prob_of_the_target_in_input_order_and_padding_costs_nothing(build: Callable[..., Any]) -> None:
    head = build()
    h_ND, y_N = rows_and_targets(EXACT)
    y_N[::4] = IGNORED
    kept = y_N != IGNORED
    nll_N = head.nll(h_ND, y_N)
    assert (nll_N[~kept] == 0).all()
    expected_N = -head.log_prob(h_ND)[kept].gather(1, y_N[kept, None]).squeeze(1)
    torch.testing.assert_close(nll_N[kept], expected_N)
    torch.testing.assert_close(head.loss(h_ND, y_N), nll_N.sum())
    wanted = [h_ND, *head.parameters()]
    options = {"allow_unused": True, "materialize_grads": True}
    for a, b in zip(
        torch.autograd.grad(head.loss(h_ND, y_N), wanted, **options), torch.autograd.grad(expected_N.sum(), wanted, **options), strict=True
    ):
        torch.testing.assert_close(a, b)
    assert torch.autograd.grad(head.loss(h_ND, y_N), h_ND)[0][~kept].abs().max() == 0
    nothing = head.loss(h_ND, torch.full_like(y_N, IGNORED))
    assert nothing == 0
    assert torch.autograd.grad(nothing, h_ND, **options)[0].abs().max() == 0


def test_chunks_change_nothing(build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    head = build()
    h_ND, y_N = rows_and_targets(EXACT, ignored=2)
    whole = head.nll(h_ND, y_N), head.log_prob(h_ND), *head.topk(h_ND, 4)
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 3 * EXACT.vocabulary)
    for a, b in zip((head.nll(h_ND, y_N), head.log_prob(h_ND), *head.topk(h_ND, 4)), whole, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(whole[1].topk(4).indices, whole[3])


def test_half_precision_and_autocast(build: Callable[..., Any]) -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    head = build(trial)
    h_ND, y_N = rows_and_targets(trial)
    exact = head.loss(h_ND, y_N)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, mixed_nll = head.loss(h_ND, y_N), head.nll(h_ND, y_N)
    mixed.backward()
    assert mixed.dtype == mixed_nll.dtype == torch.float32
    assert trials.relative_error(mixed, exact) < 0.01
    assert trials.relative_error(mixed_nll.sum(), exact) < 0.01
    halved = deepcopy(head).bfloat16()
    assert halved.loss(h_ND.bfloat16(), y_N).dtype == torch.float32
    assert trials.relative_error(halved.loss(h_ND.bfloat16(), y_N), exact) < 0.02


def test_an_untrained_head_without_input_starts_at_the_training_frequencies() -> None:
    """Where there is a bias for every token, it is the unigram model; a tree's turns multiply to the same."""
    counts = torch.tensor(trials.zipf_vocabulary(EXACT.vocabulary).counts).double() + 1.0
    with trials.seeded(EXACT):
        for name in ("classes", "huffman", "mixture"):
            head = HEADS[name](EXACT)
            if name == "mixture":
                head.latent.bias.data.zero_()
            torch.testing.assert_close(head.log_prob(torch.zeros(1, EXACT.width))[0].exp(), counts / counts.sum())


def test_a_saved_head_answers_the_same_after_loading(build: Callable[..., Any]) -> None:
    head = build()
    fresh = build(Trial(batch=EXACT.batch, length=EXACT.length, width=EXACT.width, vocabulary=EXACT.vocabulary, seed=99))
    h_ND, y_N = rows_and_targets(EXACT)
    assert not torch.equal(head.nll(h_ND, y_N), fresh.nll(h_ND, y_N))
    fresh.load_state_dict(head.state_dict())
    assert torch.equal(head.nll(h_ND, y_N), fresh.nll(h_ND, y_N))
    assert torch.equal(head.nll(h_ND, y_N), deepcopy(head).nll(h_ND, y_N))


def test_it_is_built_and_reads_shapes_without_values(build: Callable[..., Any]) -> None:
    with torch.device("meta"):
        head = build(Trial(device="meta"))
        assert head.log_prob(torch.zeros(5, 16)).shape == (5, 50)
    assert all(each.is_meta for each in (*head.parameters(), *head.buffers()))


@pytest.mark.gpu
def test_a_gpu_gives_the_numbers_of_the_cpu(build: Callable[..., Any]) -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    head = build(trial)
    h_ND, y_N = rows_and_targets(trial, ignored=3)
    expected = head.nll(h_ND, y_N), head.log_prob(h_ND)
    (pull,) = torch.autograd.grad(head.loss(h_ND, y_N), h_ND)
    moved, on_gpu = deepcopy(head).cuda(), h_ND.detach().cuda().requires_grad_()
    for ours, theirs in zip((moved.nll(on_gpu, y_N.cuda()), moved.log_prob(on_gpu)), expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.autograd.grad(moved.loss(on_gpu, y_N.cuda()), on_gpu)[0].cpu(), pull, rtol=1e-4, atol=1e-4)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        mixed = moved.loss(on_gpu, y_N.cuda())
    mixed.backward()
    assert trials.relative_error(mixed.cpu(), expected[0].sum()) < 0.02
