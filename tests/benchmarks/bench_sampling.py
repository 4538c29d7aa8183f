"""What sampling saves and costs: drawing in three ways, a training step of each head against the full softmax, the gradient's bias over k.

    python -m tests.benchmarks sampling [draws] [steps] [bias] [SIZES of the vocabulary, default 10000]

steps: a 2-layer LSTM of width 200, batch 20, length 35, plain SGD, untied, dense embedding, one thread, in rounds of random order: the median
ratio to the full softmax's step of the same round and its interval; then the head alone (loss, backward, update of its own weights). Run it
on a machine that is idle; the benchmark `heads` has the other output layers, on real text. bias: the expected gradient, by many draws, against
that of the full softmax; no clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from engines.api import Site, Trial
from engines.statistics import median_interval, median_ratio
from engines.toolbox import trials
from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.batches import Batch
from engines.toolbox.proposals import Independent, proposal
from plugins.embeddings.lookup import Lookup
from plugins.recurrent.lstm import LSTM
from plugins.softmax.full import Full
from plugins.softmax.hard_negatives import HardNegatives
from plugins.softmax.importance_sampled import ImportanceSampled
from plugins.softmax.nce import NoiseContrastive
from plugins.softmax.negative_sampling import NegativeSampling
from tests.benchmarks.rounds import interleaved, words

WIDTH, ROWS, LENGTH = 200, 20, 35
ROUNDS = 8
HEADS: dict[str, Any] = {
    "full": Full(),
    "importance sampled 1024": ImportanceSampled(samples=1024),
    "importance sampled 1024, sparse": ImportanceSampled(samples=1024, sparse=True),
    "importance sampled 64 each": ImportanceSampled(samples=64, unique=False, shared=False),
    "BlackOut 1024": ImportanceSampled(samples=1024, estimator="blackout", sparse=True),
    "nce 1024, sparse": NoiseContrastive(samples=1024, sparse=True),
    "negative sampling 64, sparse": NegativeSampling(samples=64, sparse=True),
    "negative sampling 8 each, sparse": NegativeSampling(samples=8, shared=False, sparse=True),
    "hard negatives 20": HardNegatives(sparse=True),
    "hard negatives 20 of 2048": HardNegatives(pool=2048, sparse=True),
}


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    parts = [word for word in wanted if not word.isdigit()] or ["draws", "steps", "bias"]
    sizes = [int(word) for word in wanted if word.isdigit()] or [10_000]
    for part in parts:
        for size in [2000] if part == "bias" else sizes:
            {"draws": draws, "steps": steps, "bias": bias}[part](size)


# --- draws --------------------------------------------------------------------------------------------------------------------------------------


def draws(size: int) -> None:
    """Milliseconds of independent draws from unigram^0.75, median of interleaved calls."""
    q = proposal("unigram", trials.zipf_vocabulary(size).counts, 0.75)
    q_V = torch.tensor(q, dtype=torch.float32)
    upper_V = torch.tensor(np.cumsum(q))
    for count in (512, 65_536):
        alias = Independent(q, count)

        def search(count: int = count) -> torch.Tensor:
            return torch.searchsorted(upper_V, torch.rand(count, dtype=torch.float64)).clamp_(max=size - 1)

        ways: dict[str, Callable[[], object]] = {
            "alias table": alias.draw,
            "torch.multinomial": lambda count=count: torch.multinomial(q_V, count, replacement=True),  # type: ignore[misc]
            "binary search": search,
        }
        seconds = interleaved(ways, 60)
        told = ", ".join(f"{name} {1e3 * median_interval(each).value:.3f} ms" for name, each in seconds.items())
        print(f"V = {size:,}, {count:,} draws: {told}", flush=True)


# --- steps --------------------------------------------------------------------------------------------------------------------------------------


def steps(size: int) -> None:
    """A whole training step, and the head's part of one, of every head."""
    vocabulary = trials.zipf_vocabulary(size)
    share = torch.tensor(vocabulary.counts / vocabulary.counts.sum())
    torch.manual_seed(0)
    ids = torch.multinomial(share, ROWS * (LENGTH + 1), replacement=True).view(ROWS, LENGTH + 1)
    batch = Batch(ids[:, :-1], ids[:, 1:])
    hidden_ND = torch.randn(ROWS * LENGTH, WIDTH)
    whole: dict[str, Callable[[], object]] = {}
    alone: dict[str, Callable[[], object]] = {}
    for name, block in HEADS.items():
        site = Site(width=WIDTH, vocabulary=vocabulary, length=LENGTH)
        embedding = Lookup(width=WIDTH).build(site)
        layers = [Layer(LSTM(width=WIDTH).build(site), width=WIDTH) for _ in range(2)]
        model = LanguageModel(embedding, layers, block.build(site), length=LENGTH)
        whole[name] = stepping(model, lambda model=model: model(batch, None)[0])  # type: ignore[misc]
        alone[name] = stepping(model.head, lambda head=model.head: head.loss(hidden_ND.detach().requires_grad_(), batch.targets_BT.flatten()))  # type: ignore[misc]
    for what, calls in (("whole step", whole), ("head alone", alone)):
        seconds = interleaved(calls, ROUNDS)
        for name, each in seconds.items():
            faster = words(median_ratio(seconds["full"], each))
            print(f"V = {size:,}, {what}, {name:<33} {1e3 * median_interval(each).value:7.1f} ms, {faster} as fast as full", flush=True)


def stepping(module: torch.nn.Module, loss_of: Callable[[], torch.Tensor]) -> Callable[[], object]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        (loss_of() / (ROWS * LENGTH)).backward()
        optimizer.step()

    return step


# --- bias ---------------------------------------------------------------------------------------------------------------------------------------


def bias(size: int) -> None:
    """Length of (mean gradient of the scores - gradient of the full softmax) over that of the latter, without what chance adds on average;
    where that is less than what chance adds, "< " that."""
    kinds: dict[str, Callable[[int, str], Any]] = {
        "sampled": lambda k, q: ImportanceSampled(samples=k, unique=False, proposal=q, power=1.0),  # type: ignore[arg-type]
        "ratio": lambda k, q: ImportanceSampled(samples=k, unique=False, proposal=q, power=1.0, estimator="ratio"),  # type: ignore[arg-type]
        "blackout": lambda k, q: ImportanceSampled(samples=k, unique=False, proposal=q, power=1.0, estimator="blackout"),  # type: ignore[arg-type]
        "nce": lambda k, q: NoiseContrastive(samples=k, unique=False, proposal=q, power=1.0),  # type: ignore[arg-type]
        "negative sampling": lambda k, q: NegativeSampling(samples=k, proposal=q, power=1.0),  # type: ignore[arg-type]
        "negative sampling, log(k q) allowed for": lambda k, q: NegativeSampling(samples=k, proposal=q, power=1.0),  # type: ignore[arg-type]
    }
    trial = Trial(width=16, vocabulary=size, dtype="float32")
    for kind, block in kinds.items():
        for q in ("unigram", "uniform"):
            found = [error(block(k, q), trial, allowed_for="allowed" in kind) for k in (20, 200, size)]
            print(f"V = {size:,}, {kind}, {q} proposal, k = 20, 200, V: {', '.join(found)}", flush=True)


def error(block: Any, trial: Trial, *, allowed_for: bool, repeats: int = 400) -> str:
    """For a model whose log Z is 0 and 64 targets of another distribution: both are those of every row.

    The scores are its log probabilities; allowed_for: less log(k q), as what negative sampling learns.
    """
    with trials.seeded(trial):
        site = trials.site(trial)
        head = block.build(site)
        truth_V = torch.randn(trial.vocabulary)
        with torch.no_grad():
            offset = head.sampler.log_expected_V if allowed_for else torch.zeros(())
            log_p_V = (torch.tensor(site.vocabulary.counts).log() + torch.randn(trial.vocabulary)).log_softmax(0)
            head.output.weight.zero_()
            head.output.bias.copy_(log_p_V - offset)
        p_V = (log_p_V + truth_V).softmax(0)
        h_ND = torch.zeros(64, trial.width)
        mean_V, square = torch.zeros(trial.vocabulary), 0.0
        for _ in range(repeats):
            y_N = torch.multinomial(p_V, 64, replacement=True)
            full_V = log_p_V.exp() * 64 - torch.bincount(y_N, minlength=trial.vocabulary)
            drawn_V = torch.autograd.grad(head.loss(h_ND, y_N), head.output.bias)[0]
            difference_V = drawn_V - full_V
            mean_V += difference_V / repeats
            square += float(difference_V.square().sum()) / repeats
        chance = (square - float(mean_V.square().sum())) / (repeats - 1)
        full = float((64 * (log_p_V.exp() - p_V)).norm())
        found = max(0.0, float(mean_V.square().sum()) - chance)
        return f"{found**0.5 / full:.3f}" if found > chance else f"< {chance**0.5 / full:.3f}"


if __name__ == "__main__":
    main(sys.argv[1:])
