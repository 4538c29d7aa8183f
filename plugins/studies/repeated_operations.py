"""Don't repeat operations: what can be done once at the beginning of a sentence need not be done for every word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import LECTURE, drawn, gain_of_steps, pays, ratio
from engines.toolbox.trials import relative_error

LOOP, ONCE = "in the loop", "once, before the loop"
STEPS = ("As in the lecture", "W x once for each x", "One product for all pairs", "Tensors made once, early")


class RepeatedOperations(Study):
    """Don't repeat operations

    Speed trick 1 of the lecture. A sentence has T words x_t (D), a context c (D) and a matrix W (D, D):

        bad    for every word:  v_t = W c + x_t          T products of 2 D^2 operations         (1)
        good   k = W c, once;  for every word:  v_t = k + x_t       one product                 (2)

    The steps are the lecture's slow example in a port to torch, forward and backward: sum over all pairs of m vectors x and m vectors y
    of y^T W x (3), and its gradient. As in the lecture every pair turns its two arrays into tensors and multiplies W x anew; then W x is
    taken out of the inner loop (trick 1), all pairs become one product X W^T Y^T (trick 2), and the tensors are made before the
    iterations (trick 3). The update of the parameters is left out, so that every step has the same gradient to compute.

    Cost: (1) has 2 T D^2 operations, (2) has 2 D^2. Both make T results.
    Does nothing when: the sentence has one word.
    """

    paper = LECTURE
    x = Axis("words", "words")
    y = Axis("time of a sentence", "µs", better="lower", scale=1e6)
    expects = "The good code is faster for every sentence of more than one word."

    words: list[int] = param([1, 2, 4, 8, 16, 32, 64, 128], "Lengths of the sentence.", symbol="T")
    width: int = param(256, "Numbers in a word vector.", symbol="D", ge=1)
    vectors: int = param(10, "Vectors x, and vectors y, of the slow example.", symbol="m", ge=1)
    example_width: int = param(100, "Numbers in each vector of the slow example.", ge=1)
    threads: int = param(1, "Torch threads.", ge=1)
    device: Literal["cpu", "cuda"] = param("cpu", "Where it runs.")

    def groups(self, text: Text | None) -> Iterable[Group]:
        return [*(self._sentence(words) for words in sorted(set(self.words))), self._example()]

    def _sentence(self, words: int) -> Group:
        def build() -> tuple[Tensor, Tensor, Tensor]:
            made = drawn(self.width, self.width, seed=1), drawn(self.width, seed=2), drawn(words, self.width, seed=3)
            return tuple(tensor.to(self.device) for tensor in made)  # type: ignore[return-value]

        fields: dict[str, Any] = {"threads": self.threads, "device": self.device, "device_bytes": 8 * self.width * (self.width + words)}
        cells = (
            Cell(LOOP, lambda shared: lambda: in_the_loop(*shared), work=words, **fields),
            Cell(ONCE, lambda shared: lambda: before_the_loop(*shared), work=words, **fields),
        )
        return Group(float(words), cells, build, host_bytes=8 * self.width * (self.width + 2 * words))

    def _example(self) -> Group:
        def build() -> tuple[Tensor, list[np.ndarray], list[np.ndarray]]:
            rows = drawn(2, self.vectors, self.example_width, seed=4).double().numpy()
            return drawn(self.example_width, self.example_width, seed=5).to(self.device).requires_grad_(), list(rows[0]), list(rows[1])

        ways = (as_in_the_lecture, product_once_for_each, one_product, tensors_made_once)
        fields: dict[str, Any] = {"threads": self.threads, "device": self.device}
        cells = tuple(Cell(name, _step(way), **fields) for name, way in zip(STEPS, ways, strict=True))
        return Group(None, cells, build, tolerance=1e-4, title="The lecture's slow example, forward and backward")

    def conclude(self, measured: Measured) -> Conclusion:
        xs = [x for x in measured.xs(ONCE) if x > 1]
        outcome, reason = pays(measured, ONCE, LOOP, xs)
        findings = []
        for x in (xs[0], xs[-1]) if len(xs) > 1 else xs:
            found = measured.speedup(ONCE, LOOP, x)
            if found:
                findings.append(f"A sentence of {x:g} words: {ratio(found)} as fast with W c taken out of the loop.")
        return Conclusion((*findings, *(f"Slow example. {sentence}" for sentence in gain_of_steps(measured, STEPS))), outcome, reason)


def _step(way: Callable[..., Any]) -> Callable[[Any], Callable[[], Any]]:
    return lambda shared: way(*shared)


def in_the_loop(w_DD: Tensor, c_D: Tensor, x_TD: Tensor) -> list[Tensor]:
    return [w_DD @ c_D + x_D for x_D in x_TD]  # (1)


def before_the_loop(w_DD: Tensor, c_D: Tensor, x_TD: Tensor) -> list[Tensor]:
    k_D = w_DD @ c_D
    return [k_D + x_D for x_D in x_TD]  # (2)


# --- The slow example, step by step: each gives a callable that returns the total and its gradient --------------------------------------------

Step = Callable[[], tuple[Tensor, Tensor]]


def as_in_the_lecture(w_DD: Tensor, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Step:
    def total() -> Tensor:
        total = w_DD.new_zeros(())
        for x in xs:
            for y in ys:
                x_D, y_D = _tensor(x, w_DD), _tensor(y, w_DD)
                total = total + torch.dot(w_DD @ x_D, y_D)  # (3)
        return total

    return _with_gradient(total, w_DD)


def product_once_for_each(w_DD: Tensor, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Step:
    def total() -> Tensor:
        total = w_DD.new_zeros(())
        for x in xs:
            wx_D = w_DD @ _tensor(x, w_DD)
            for y in ys:
                total = total + torch.dot(wx_D, _tensor(y, w_DD))
        return total

    return _with_gradient(total, w_DD)


def one_product(w_DD: Tensor, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Step:
    def total() -> Tensor:
        x_MD, y_MD = _tensor(np.stack(xs), w_DD), _tensor(np.stack(ys), w_DD)
        return (x_MD @ w_DD.T @ y_MD.T).sum()

    return _with_gradient(total, w_DD)


def tensors_made_once(w_DD: Tensor, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Step:
    x_MD, y_MD = _tensor(np.stack(xs), w_DD), _tensor(np.stack(ys), w_DD)
    return _with_gradient(lambda: (x_MD @ w_DD.T @ y_MD.T).sum(), w_DD)


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _with_gradient(total: Callable[[], Tensor], w_DD: Tensor) -> Step:
    def step() -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            value = total()
        return value.detach(), torch.autograd.grad(value, w_DD)[0]

    return step


@certificate("The good code computes the values of the bad code", tolerance=1e-5)
def same_values(trial: Trial) -> float:
    """Largest error of (2) against (1)."""
    dtype = getattr(torch, trial.dtype)
    shapes = ((trial.width, trial.width), (trial.width,), (trial.length, trial.width))
    given = [drawn(*shape, seed=trial.seed + i).to(trial.device, dtype) for i, shape in enumerate(shapes)]
    return relative_error(torch.stack(before_the_loop(*given)), torch.stack(in_the_loop(*given)))


@certificate("Every step of the slow example has the same total and the same gradient", tolerance=1e-4)
def same_steps(trial: Trial) -> float:
    """Largest error of a total or a gradient against the first step."""
    w_DD = drawn(trial.width, trial.width, seed=trial.seed).to(trial.device, getattr(torch, trial.dtype)).requires_grad_()
    rows = drawn(2, trial.batch, trial.width, seed=trial.seed + 1).double().numpy()
    first, *others = [way(w_DD, rows[0], rows[1])() for way in (as_in_the_lecture, product_once_for_each, one_product, tensors_made_once)]
    return max(relative_error(mine, theirs) for other in others for mine, theirs in zip(other, first, strict=True))
