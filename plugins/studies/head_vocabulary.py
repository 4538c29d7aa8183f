"""What a head costs as the vocabulary grows: time and peak memory of training and of prediction, for every head side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor, nn

from engines.api import Axis, Block, Cell, Conclusion, Estimate, Group, Measured, Site, Study, Text, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import LinearSoftmax
from engines.toolbox.studies import LECTURE, Verdict, cuda_of, drawn, ratio

Call = Literal["training", "update", "prediction", "nll"]
Blocks = Callable[[Mapping[str, Any]], Block]

ENOUGH = 10.0
"""How many times faster than the first head one of them must be at the largest vocabulary for the expectation to hold."""
RATE = 1e-3
LIVE_COPIES = 3
"""Copies of (N, V) scores that the full softmax holds at once: the scores, their logarithms or exponentials, their gradient."""

HEADS: dict[str, dict[str, Any]] = {
    "full": {"id": "softmax/full"},
    "chunked": {"id": "softmax/chunked"},
    "adaptive": {"id": "softmax/adaptive"},
    "sampled": {"id": "softmax/importance_sampled", "samples": 512},
    "sampled, sparse rows": {"id": "softmax/importance_sampled", "samples": 512, "sparse": True},
    "nce, sparse rows": {"id": "softmax/nce", "samples": 512, "sparse": True},
    "negative sampling, sparse rows": {"id": "softmax/negative_sampling", "samples": 512, "sparse": True},
    "hard negatives": {"id": "softmax/hard_negatives"},
    "class-based": {"id": "softmax/class_based"},
    "hierarchical, sparse rows": {"id": "softmax/hierarchical", "sparse": True},
    "binary code": {"id": "softmax/binary_code"},
    "binary code, hybrid 512": {"id": "softmax/binary_code", "hybrid": 512},
    "embedding, vMF": {"id": "softmax/embedding_vmf"},
    "tied adaptive": {"id": "softmax/tied_adaptive"},
    "mixture of 2": {"id": "softmax/mixture", "components": 2},
}


class HeadVocabulary(Study):
    """Heads over the size of the vocabulary

    The lecture's question of large vocabularies, asked of the head alone. N hidden states h (D) with targets drawn by Zipf's law,

        P(y = i) = (1 / i) / sum_j (1 / j),   i = 1 .. V                    (1)

    meet each head, and one call of it is timed, by choice:

        training     l = sum_n loss(h_n, y_n), and its gradients with respect to h and every weight     (2)
        update       (2), and w <- w - eta dl / dw (SGD without momentum; row gradients where the head gives them)    (3)
        prediction   the most probable token of one h, as in greedy generation                          (4)
        nll          the exact sum_n -log p(y_n | h_n), as in judging                                    (5)

    With V N D scores to compute the full softmax grows as V^1; heads that look at k tokens, at clusters or at a path grow less, but a dense
    gradient and a dense update of V D weights grow as V^1 again, whatever was looked at. Each head's peak memory of the same call is
    measured once by itself: scores, gradients and workspaces, without the weights, which are there before.

    Heads compute different things, so no values are compared; the quality that they reach is no question of this study.
    Cost: by default N = 64 tokens, D = 64 numbers, V up to 300,000 and a second a cell: two to three minutes on one core.
    Does nothing when: a call is so short that starting it is all it costs (small V).
    Parameters: call, heads (name: table of an experiment), vocabularies V, tokens N, width D, threads, device.
    """

    paper = f"{LECTURE}; Grave et al. (2017), Efficient softmax approximation for GPUs, https://arxiv.org/abs/1609.04309"
    x = Axis("vocabulary", "tokens")
    y = Axis("time of a call", "ms", better="lower", scale=1e3)
    memory = True
    expects = f"At the largest vocabulary one of the heads is at least {ENOUGH:g} times as fast as the first one."

    call: Call = param(
        "training", "training: loss and gradients; update: also one step of SGD; prediction: best token of one hidden state; nll: exact judgement."
    )
    heads: dict[str, dict[str, Any]] = param(HEADS, "Name: the head as in an experiment, {id = ..., ...}. Ratios are to the first one.")
    vocabularies: list[int] = param([1000, 3000, 10_000, 30_000, 100_000, 300_000], "Sizes of the vocabulary.", unit="tokens", symbol="V")
    tokens: int = param(64, "Hidden states in a batch.", unit="tokens", symbol="N", ge=1, le=1 << 20)
    width: int = param(64, "Numbers in a hidden state.", symbol="D", ge=1, le=16384)
    threads: int = param(1, "Torch threads.", ge=1)
    device: Literal["cpu", "cuda"] = param("cpu", "Where it runs.")

    @field_validator("vocabularies")
    @classmethod
    def _are_sizes(cls, sizes: list[int]) -> list[int]:
        if not sizes or min(sizes) < 2:
            raise ValueError(f"vocabularies must name at least one size of at least 2, not {sizes}.")
        return sizes

    @field_validator("heads")
    @classmethod
    def _have_ids(cls, heads: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not heads or any("id" not in table for table in heads.values()):
            raise ValueError('heads must name at least one, each with an id, such as {"full": {"id": "softmax/full"}}.')
        return heads

    def groups(self, text: Text | None) -> Iterable[Group]:
        raise ValueError("Heads are blocks of the catalogue, which the engine builds: ask groups_with.")

    def groups_with(self, text: Text | None, blocks: Blocks) -> Iterable[Group]:
        made = {name: blocks(table) for name, table in self.heads.items()}
        for name, block in made.items():
            if getattr(block, "slot", "") != "head":
                raise ValueError(f'heads: "{name}" is {self.heads[name]["id"]}, which is no head.')
        return [self._group(size, made) for size in sorted(set(self.vocabularies))]

    def _group(self, size: int, made: Mapping[str, Block]) -> Group:
        weights = 4 * size * (self.width + 1)
        # A mixture holds the scores of all its softmaxes.
        copies = LIVE_COPIES * max(getattr(block, "components", 1) for block in made.values())
        scores = copies * 4 * size * (1 if self.call == "prediction" else self.tokens)
        # Calls come one after the other: gradients and scores are there once, the weights of all heads at the same time.
        together, each = 2 * weights + scores, weights
        on_cuda = self.device == "cuda"
        cells = tuple(
            Cell(
                name, self._made(block), threads=self.threads, device=self.device, host_bytes=0 if on_cuda else each,
                device_bytes=each + (together if name == next(iter(made)) else 0) if on_cuda else 0,
            )
            for name, block in made.items()
        )  # fmt: skip
        return Group(float(size), cells, lambda: Given.of(size, self), host_bytes=0 if on_cuda else together, tolerance=None)

    def _made(self, block: Block) -> Callable[[Given], Callable[[], Tensor]]:
        def build(given: Given) -> Callable[[], Tensor]:
            try:
                with torch.random.fork_rng(devices=[]), torch.device(self.device):
                    torch.manual_seed(0)
                    head = block.build(given.site)
            except ValueError as refused:
                # As where a shortlist is longer than a small vocabulary: the cell is left out with this sentence.
                raise RuntimeError(str(refused)) from refused
            return CALLS[self.call](head, given.hidden_ND, given.target_N)

        return build

    def conclude(self, measured: Measured) -> Conclusion:
        first = next(iter(self.heads))
        findings = [sentence for name in measured.curves for sentence in self._finding(measured, name, first)]
        return Conclusion(tuple(findings), *self._judged(measured, first))

    def _finding(self, measured: Measured, name: str, first: str) -> Iterable[str]:
        largest = measured.xs(name)[-1]
        parts = []
        if name != first and (found := measured.speedup(name, first, largest)):
            parts.append(f"{ratio(found)} as fast as {first}")
        held = measured.memory(name, largest)
        if held is not None:
            theirs = None if name == first else measured.memory(first, largest)
            beside = f", {held / theirs:.3g}x of {first}" if theirs else ""
            parts.append(f"peak memory of the call {held / 2**20:,.3g} MiB{beside}")
        for what, quantity in (("time", "seconds"), ("memory", "memory")):
            grows = measured.exponent(name, quantity)  # type: ignore[arg-type]
            if grows:
                parts.append(f"{what} grows as V^{grows.value:.2f} [{grows.low:.2f}, {grows.high:.2f}] from V = {grows.first:,.0f}")
        yield f"{name}, {self.call} at V = {largest:,.0f}: {'; '.join(parts) or 'measured alone'}."

    def _judged(self, measured: Measured, first: str) -> tuple[Verdict, str]:
        xs = measured.xs(first)
        rivals: dict[str, Estimate] = {
            name: found for name in measured.curves if name != first and xs and (found := measured.speedup(name, first, xs[-1]))
        }
        if not rivals:
            return "not decided", "No other head was measured at the largest vocabulary of the first one."
        best = max(rivals, key=lambda name: rivals[name].value)
        words = f"The fastest at V = {xs[-1]:,.0f} is {best}: {ratio(rivals[best])} as fast as {first}."
        if any(found.low is not None and found.low >= ENOUGH for found in rivals.values()):
            return "met", words
        return ("refuted" if all(found.high is not None and found.high < ENOUGH for found in rivals.values()) else "not decided"), words

    def not_shown(self) -> tuple[str, ...]:
        quality = "What a head learns: a fast one may need more steps, which runs of an experiment show."
        return (quality,) if cuda_of(self.device) else (quality, "The cost on a GPU, where scores are cheap and gathering rows is not.")


# --- What the heads are given, and what is called -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """Of one vocabulary: where heads are built, hidden states, targets by (1)."""

    site: Site
    hidden_ND: Tensor
    target_N: Tensor

    @classmethod
    def of(cls, size: int, study: HeadVocabulary) -> Given:
        vocabulary = trials.zipf_vocabulary(size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            target_N = torch.multinomial(1 / torch.arange(1, size + 1, dtype=torch.float64), study.tokens, replacement=True)
            embedding = nn.Embedding(size, study.width, device=study.device)
        hidden_ND = drawn(study.tokens, study.width, seed=1).to(study.device).requires_grad_()
        return cls(Site(study.width, vocabulary, study.tokens, embedding=embedding), hidden_ND, target_N.to(study.device))


def training(head: nn.Module, hidden_ND: Tensor, target_N: Tensor) -> Callable[[], Tensor]:
    """(2). Gradients are made anew in every call and freed at its end."""
    return _stepping(head, hidden_ND, target_N, lambda: None)


def update(head: nn.Module, hidden_ND: Tensor, target_N: Tensor) -> Callable[[], Tensor]:
    """(3)."""
    return _stepping(head, hidden_ND, target_N, torch.optim.SGD([p for p in head.parameters() if p.requires_grad], lr=RATE).step)


def _stepping(head: Any, hidden_ND: Tensor, target_N: Tensor, then: Callable[[], Any]) -> Callable[[], Tensor]:
    learned = [hidden_ND, *(p for p in head.parameters() if p.requires_grad)]
    head.train()

    def step() -> Tensor:
        with torch.enable_grad():
            loss: Tensor = head.loss(hidden_ND, target_N)
            (loss / len(target_N)).backward()
        then()
        for tensor in learned:
            tensor.grad = None
        return loss.detach()

    return step


def prediction(head: Any, hidden_ND: Tensor, target_N: Tensor) -> Callable[[], Tensor]:
    """(4)."""
    head.eval()
    hidden_1D = hidden_ND[:1].detach()
    return lambda: head.topk(hidden_1D, 1)[1]


def nll(head: Any, hidden_ND: Tensor, target_N: Tensor) -> Callable[[], Tensor]:
    """(5). Raises RuntimeError for a head without a distribution."""
    if not head.normalised:
        raise RuntimeError(f"it has no nll, because {head.no_distribution}")
    head.eval()
    hidden_ND = hidden_ND.detach()
    return lambda: head.nll(hidden_ND, target_N).sum()


CALLS: dict[Call, Callable[[nn.Module, Tensor, Tensor], Callable[[], Tensor]]] = {
    "training": training, "update": update, "prediction": prediction, "nll": nll,
}  # fmt: skip


@certificate("The calls give the full softmax's cross entropy, best token and updated weights, and leave no gradient behind", tolerance=1e-5)
def calls_are_what_they_say(trial: Trial) -> float:
    """Largest relative error over the four calls against torch's own."""
    with trials.seeded(trial), torch.no_grad():
        head = LinearSoftmax(trials.site(trial), tied=False, bias=True)
        h_ND = torch.randn(trial.batch * trial.length, trial.width).requires_grad_()
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        s_NV = h_ND @ head.output.weight.T + head.output.bias
        expected = F.cross_entropy(s_NV, y_N, reduction="sum")
        errors = [trials.relative_error(make(head, h_ND, y_N)(), expected) for make in (training, nll)]
        errors.append(float(prediction(head, h_ND, y_N)().squeeze() != s_NV[0].argmax()))
        gradient_VD = (s_NV.softmax(1) - F.one_hot(y_N, trial.vocabulary)).T @ h_ND / len(y_N)
        after_VD = head.output.weight - RATE * gradient_VD
        update(head, h_ND, y_N)()
        errors.append(trials.relative_error(head.output.weight, after_VD))
        left = [tensor.grad for tensor in (h_ND, *head.parameters()) if tensor.grad is not None]
    return max(errors) if not left else float("inf")
