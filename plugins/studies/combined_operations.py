"""Reduce the number of operations: several matrix-vector products become one product of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import LECTURE, drawn, gain_of_steps, pays, ratio
from engines.toolbox.trials import relative_error

EACH, WHOLE = "a product for every word", "one product for the sentence"
STEPS = ("Gate by gate: 8 products", "Gates stacked: 2 products", "Input and state side by side: 1 product")


class CombinedOperations(Study):
    """Combine operations

    Speed trick 2 of the lecture. A sentence has T words x_t (D) and a matrix W (D, D):

        bad    for every word:  v_t = W x_t;  V = [v_1 ... v_T]       T matrix-vector products         (1)
        good   X = [x_1 ... x_T];  V = W X                            one matrix-matrix product        (2)

    Both have 2 T D^2 operations. (1) reads W anew for every word and pays T calls; (2) reads it once.

    The steps are one time step of an LSTM with input x (B, D) and state h (B, D), before its non-linearities: for each of four gates
    W_g x + U_g h (3); the four matrices stacked, W x + U h; and input and state side by side, [W U] [x; h].

    Cost: the operations are the same in every alternative; stacking the words is part of what is timed, stacking the matrices is not
    (they are parameters and lie stacked).
    Does nothing when: the sentence has one word.
    """

    paper = LECTURE
    x = Axis("words", "words")
    y = Axis("time of a sentence", "µs", better="lower", scale=1e6)
    expects = "One product is faster than a product for every word, for every sentence of more than one word."

    words: list[int] = param([1, 2, 4, 8, 16, 32, 64, 128], "Lengths of the sentence.", symbol="T")
    width: int = param(256, "Numbers in a word vector, and in the state of the LSTM.", symbol="D", ge=1)
    batch: int = param(1, "Rows of the LSTM's step.", symbol="B", ge=1)
    threads: int = param(1, "Torch threads.", ge=1)
    device: Literal["cpu", "cuda"] = param("cpu", "Where it runs.")

    def groups(self, text: Text | None) -> Iterable[Group]:
        return [*(self._sentence(words) for words in sorted(set(self.words))), self._time_step()]

    def _sentence(self, words: int) -> Group:
        def build() -> tuple[Tensor, list[Tensor]]:
            x_TD = drawn(words, self.width, seed=2).to(self.device)
            return drawn(self.width, self.width, seed=1).to(self.device), list(x_TD)

        fields: dict[str, Any] = {"threads": self.threads, "device": self.device, "work": 2.0 * words * self.width**2}
        cells = (
            Cell(EACH, lambda shared: lambda: product_for_each(*shared), **fields),
            Cell(WHOLE, lambda shared: lambda: one_product(*shared), **fields),
        )
        return Group(float(words), cells, build, host_bytes=8 * self.width * (self.width + 4 * words))

    def _time_step(self) -> Group:
        def build() -> tuple[Tensor, Tensor, Tensor, Tensor]:
            shapes = ((4, self.width, self.width), (4, self.width, self.width), (self.batch, self.width), (self.batch, self.width))
            return tuple(drawn(*shape, seed=3 + i).to(self.device) for i, shape in enumerate(shapes))  # type: ignore[return-value]

        fields: dict[str, Any] = {"threads": self.threads, "device": self.device}
        cells = tuple(Cell(name, _step(way), **fields) for name, way in zip(STEPS, (gate_by_gate, gates_stacked, side_by_side), strict=True))
        return Group(None, cells, build, host_bytes=128 * self.width**2, title="One time step of an LSTM, before its non-linearities")

    def conclude(self, measured: Measured) -> Conclusion:
        xs = [x for x in measured.xs(WHOLE) if x > 1]
        outcome, reason = pays(measured, WHOLE, EACH, xs)
        findings = []
        for x in (xs[0], xs[-1]) if len(xs) > 1 else xs:
            found = measured.speedup(WHOLE, EACH, x)
            if found:
                findings.append(f"A sentence of {x:g} words: {ratio(found)} as fast as one product.")
        return Conclusion((*findings, *(f"LSTM step. {sentence}" for sentence in gain_of_steps(measured, STEPS))), outcome, reason)


def _step(way: Callable[..., Callable[[], Tensor]]) -> Callable[[Any], Callable[[], Tensor]]:
    return lambda shared: way(*shared)


def product_for_each(w_DD: Tensor, words: list[Tensor]) -> Tensor:
    return torch.stack([w_DD @ x_D for x_D in words])  # (1), words as rows


def one_product(w_DD: Tensor, words: list[Tensor]) -> Tensor:
    return torch.stack(words) @ w_DD.T  # (2), words as rows


def gate_by_gate(w_GDD: Tensor, u_GDD: Tensor, x_BD: Tensor, h_BD: Tensor) -> Callable[[], Tensor]:
    gates = [(w_GDD[g].T.contiguous(), u_GDD[g].T.contiguous()) for g in range(len(w_GDD))]
    return lambda: torch.cat([x_BD @ w_DD + h_BD @ u_DD for w_DD, u_DD in gates], dim=1)  # (3)


def gates_stacked(w_GDD: Tensor, u_GDD: Tensor, x_BD: Tensor, h_BD: Tensor) -> Callable[[], Tensor]:
    w_DF, u_DF = w_GDD.flatten(0, 1).T.contiguous(), u_GDD.flatten(0, 1).T.contiguous()
    return lambda: x_BD @ w_DF + h_BD @ u_DF


def side_by_side(w_GDD: Tensor, u_GDD: Tensor, x_BD: Tensor, h_BD: Tensor) -> Callable[[], Tensor]:
    wu_EF = torch.cat([w_GDD.flatten(0, 1), u_GDD.flatten(0, 1)], dim=1).T.contiguous()
    return lambda: torch.cat([x_BD, h_BD], dim=1) @ wu_EF


@certificate("One product for the sentence computes the values of a product for every word", tolerance=1e-5)
def same_values(trial: Trial) -> float:
    """Largest error of (2) against (1)."""
    dtype = getattr(torch, trial.dtype)
    w_DD = drawn(trial.width, trial.width, seed=trial.seed).to(trial.device, dtype)
    words = list(drawn(trial.length, trial.width, seed=trial.seed + 1).to(trial.device, dtype))
    return relative_error(one_product(w_DD, words), product_for_each(w_DD, words))


@certificate("The stacked products of an LSTM step compute the gates one by one", tolerance=1e-5)
def same_gates(trial: Trial) -> float:
    """Largest error of a step against the first."""
    dtype = getattr(torch, trial.dtype)
    shapes = ((4, trial.width, trial.width), (4, trial.width, trial.width), (trial.batch, trial.width), (trial.batch, trial.width))
    given = [drawn(*shape, seed=trial.seed + i).to(trial.device, dtype) for i, shape in enumerate(shapes)]
    first = gate_by_gate(*given)()
    return max(relative_error(way(*given)(), first) for way in (gates_stacked, side_by_side))
