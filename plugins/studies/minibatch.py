"""Minibatches of real sentences: what batching gains, what padding costs, what sorting by length gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from engines.api import Axis, Cell, Conclusion, CorpusError, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import LECTURE, cuda_of, pays, ratio
from engines.toolbox.trials import relative_error

ORDER, SORTED, PACKED = "padded, in the order of the text", "padded, sorted by length", "packed, in the order of the text"
Lines = list[Tensor]


class Minibatch(Study):
    """Minibatches, padding and sorting

    Lines of real text run through an embedding and an LSTM, forward and backward. Of a batch of B lines with lengths l_b, padded to the
    longest L = max l_b, B L positions are computed and sum l_b of them are wanted:

        padding = 1 - sum_b l_b / (B L)         (1)

    Alternatives: batches in the order of the text; lines sorted by length first, so that a batch holds lines of like length (buckets);
    and packed sequences, which skip padding step by step. The loss is the sum over real positions, never their mean in a padded batch, so
    all have the same loss and gradient. The speed counts real tokens only.

    Cost: proportional to B L for each batch; with B = 1 there is no padding, and no batching.
    Does nothing when: B = 1, or all lines are equally long.
    """

    paper = LECTURE
    x = Axis("batch", "lines")
    y = Axis("speed", "tokens/s", better="higher")
    expects = "Batches sorted by length are faster than batches in the order of the text, for every batch of more than one line."

    source: dict[str, Any] = param({"id": "corpora/python_stdlib", "source": "docstrings", "fraction": 0.02}, "The corpus: id and parameters.")
    batches: list[int] = param([1, 2, 4, 8, 16, 32, 64], "Batch sizes.", unit="lines", symbol="B")
    lines: int = param(256, "Lines of the training text, drawn at random.", ge=1)
    longest: int = param(60, "Lines are cut there.", unit="tokens", ge=1)
    width: int = param(64, "Numbers in the embedding and in the LSTM's state.", ge=1)
    threads: int = param(1, "Torch threads.", ge=1)
    device: Literal["cpu", "cuda"] = param("cpu", "Where it runs.")

    @model_validator(mode="after")
    def _batches_are_sizes(self) -> Minibatch:
        if not self.batches or min(self.batches) < 1 or "id" not in self.source:
            raise ValueError("batches must name at least one size of at least 1, and source needs an id")
        return self

    def corpus(self) -> Mapping[str, Any]:
        return self.source

    def groups(self, text: Text | None) -> Iterable[Group]:
        if text is None:
            raise CorpusError("Minibatches are made of a text: name a corpus in `source`.")
        ids = sampled(lines_of(text), self.lines, self.longest)
        return [self._group(ids, text.vocabulary.size, batch) for batch in sorted(set(self.batches))]

    def _group(self, ids: Lines, types: int, batch: int) -> Group:
        tokens = sum(len(line) for line in ids)
        ways: dict[str, Callable[[Reader, Lines, int], Callable[[], Any]]] = {ORDER: padded, SORTED: padded_and_sorted, PACKED: packed}
        fields: dict[str, Any] = {"work": float(tokens), "threads": self.threads, "device": self.device}
        lengths = [len(line) for line in ids]
        padded_share = {ORDER: padding(lengths, batch), SORTED: padding(sorted(lengths), batch), PACKED: 0.0}
        cells = tuple(
            Cell(name, _made(way, batch), note=f"{padded_share[name]:.0%} of the positions are padding at B = {batch}", **fields)
            for name, way in ways.items()
        )
        size = 8 * (types * self.width + batch * self.longest * self.width * 24)

        def build() -> tuple[Reader, Lines]:
            return Reader(types, self.width).to(self.device), [line.to(self.device) for line in ids]

        return Group(float(batch), cells, build, host_bytes=size, tolerance=1e-3)

    def conclude(self, measured: Measured) -> Conclusion:
        findings = []
        for curve in measured.curves:
            rates = {x: found for x in measured.xs(curve) if (found := measured.rate(curve, x))}
            best, first = max(rates, key=lambda x: rates[x].value), min(rates)
            if best != first:
                gain = rates[best].value / rates[first].value
                findings.append(f"{curve}: {rates[best].value:,.0f} tokens/s at B = {best:g}, {gain:.3g} times those of B = {first:g}.")
        xs = [x for x in measured.xs(SORTED) if x > 1]
        for curve in (SORTED, PACKED):
            found = measured.speedup(curve, ORDER, xs[-1]) if xs else None
            if found:
                findings.append(f'"{curve}" is {ratio(found)} as fast as "{ORDER}" at B = {xs[-1]:g}.')
        return Conclusion(tuple(findings) or ("Only one batch size was measured.",), *pays(measured, SORTED, ORDER, xs))

    def not_shown(self) -> tuple[str, ...]:
        return () if cuda_of(self.device) else ("On the CPU: what batching gains on a GPU, which needs more work at a time to be busy.",)


class Reader(nn.Module):
    """Embedding and LSTM with the same weights each time it is made."""

    def __init__(self, types: int, width: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding = nn.Embedding(types, width)
            self.rnn = nn.LSTM(width, width, batch_first=True)


# --- Lines ------------------------------------------------------------------------------------------------------------------------------------


def lines_of(text: Text) -> list[np.ndarray]:
    """The lines of the training split that hold a token, without their line ends. Raises CorpusError where line ends are no tokens."""
    if "\n" not in text.vocabulary.tokens:
        raise CorpusError('The corpus has no line ends as tokens, so its lines are not known: use level = "word" or "char".')
    ids = np.asarray(text.splits["train"])
    ends = np.flatnonzero(ids == text.vocabulary.tokens.index("\n"))
    return [line[:-1] if len(line) and line[-1] == ids[ends[0]] else line for line in np.split(ids, ends + 1) if len(line) > 1]


def sampled(lines: Sequence[np.ndarray], count: int, longest: int) -> Lines:
    """Lines drawn without replacement, in the order of the text, cut at `longest` tokens."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(lines))[:count])
    return [torch.from_numpy(lines[i][:longest].astype(np.int64)) for i in chosen]


def padding(lengths: Sequence[int], batch: int) -> float:
    """(1), over all batches: the share of computed positions that nobody wants."""
    computed = sum(max(lengths[i : i + batch]) * len(lengths[i : i + batch]) for i in range(0, len(lengths), batch))
    return 1 - sum(lengths) / computed


# --- Three ways to run them: each gives a callable that returns the loss and the gradients ----------------------------------------------------

Step = Callable[[], tuple[Tensor, ...]]


def padded(reader: Reader, ids: Lines, batch: int) -> Step:
    prepared = []
    for start in range(0, len(ids), batch):
        part = ids[start : start + batch]
        ids_BT = nn.utils.rnn.pad_sequence(part, batch_first=True)
        lengths_B = torch.tensor([len(line) for line in part], device=ids_BT.device)
        prepared.append((ids_BT, (torch.arange(ids_BT.shape[1], device=ids_BT.device) < lengths_B[:, None])[..., None]))

    def loss() -> Tensor:
        total = prepared[0][0].new_zeros((), dtype=torch.get_default_dtype())
        for ids_BT, real_BT1 in prepared:
            y_BTD, _ = reader.rnn(reader.embedding(ids_BT))
            # Padding stands behind the line and a line reads from left to right: real positions do not see it.
            total = total + (y_BTD.square() * real_BT1).sum()
        return total

    return _with_gradients(loss, reader)


def padded_and_sorted(reader: Reader, ids: Lines, batch: int) -> Step:
    return padded(reader, sorted(ids, key=len), batch)


def packed(reader: Reader, ids: Lines, batch: int) -> Step:
    prepared = []
    for start in range(0, len(ids), batch):
        part = ids[start : start + batch]
        prepared.append((nn.utils.rnn.pad_sequence(part, batch_first=True), torch.tensor([len(line) for line in part])))

    def loss() -> Tensor:
        total = prepared[0][0].new_zeros((), dtype=torch.get_default_dtype())
        for ids_BT, lengths_B in prepared:
            x = pack_padded_sequence(reader.embedding(ids_BT), lengths_B, batch_first=True, enforce_sorted=False)
            y, _ = reader.rnn(x)
            total = total + y.data.square().sum()
        return total

    return _with_gradients(loss, reader)


def _with_gradients(loss: Callable[[], Tensor], reader: Reader) -> Step:
    weights = list(reader.rnn.parameters())

    def step() -> tuple[Tensor, ...]:
        with torch.enable_grad():
            total = loss()
        return total.detach(), *torch.autograd.grad(total, weights)

    return step


def _made(way: Callable[[Reader, Lines, int], Step], batch: int) -> Callable[[Any], Step]:
    return lambda shared: way(shared[0], shared[1], batch)


@certificate("Batched, sorted or packed, the loss and its gradients are those of one line at a time", tolerance=1e-5)
def same_values(trial: Trial) -> float:
    """Largest error of a loss or gradient against B = 1."""
    generator = torch.Generator().manual_seed(trial.seed)
    lengths = torch.randint(1, trial.length + 1, (3 * trial.batch,), generator=generator).tolist()
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, trial.dtype))
    try:
        ids = [torch.randint(trial.vocabulary, (length,), generator=generator).to(trial.device) for length in lengths]
        reader = Reader(trial.vocabulary, trial.width).to(trial.device)
        alone = padded(reader, ids, 1)()
        others = [way(reader, ids, trial.batch + 1)() for way in (padded, padded_and_sorted, packed)]
    finally:
        torch.set_default_dtype(before)
    return max(relative_error(mine, theirs) for other in others for mine, theirs in zip(other, alone, strict=True))
