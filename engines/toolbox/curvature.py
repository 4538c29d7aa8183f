"""Second derivatives of the training loss in chosen weights, by products with vectors: the largest eigenvalue of each weight's own block of the
Hessian, and its trace. The matrix itself is never formed.

Everything is computed in evaluation mode, without autocast, beside training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.toolbox.batches import detach

STEP = 1e-2
"""Length of the step of a difference of gradients, as a share of the length of the weights."""
DISAGREE = 0.25
"""Relative distance of an exact product from a difference of gradients above which the difference is trusted."""


@contextmanager
def twice_differentiable(module: nn.Module) -> Iterator[None]:
    """Kernels that have second derivatives: attention written out, recurrent layers without cuDNN and oneDNN; evaluation mode."""
    training, onednn = module.training, torch.backends.mkldnn.enabled
    module.eval()
    try:
        # Not `mkldnn.flags`, which sets more than it is asked to, and warns of it.
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mkldnn.enabled = onednn
        module.train(training)


class Curvature:
    """H of the mean loss a token over these batches, state carried, in these weights (each once).

    The graph of the first derivatives is kept: about three times the memory of a training step on all batches. A function that hides its
    second derivative would make products wrong without a word, so one product is compared with a difference of gradients, and where they
    disagree (or there is none) `exact` is False and all products are central differences.
    """

    def __init__(self, module: nn.Module, weights: Mapping[str, nn.Parameter], batches: Sequence[Any], seed: int = 0) -> None:
        self._module, self._weights, self._batches = module, dict(weights), batches
        self._generator = torch.Generator().manual_seed(seed)
        self._gradients = self._first(create_graph=True)
        self.reached = [name for name, gradient in self._gradients.items() if gradient is not None]
        """Weights that the loss depends on."""
        self.exact = True
        self.exact = not self.reached or self._agrees()
        if not self.exact:
            self._gradients = {}

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Weights that are frozen are not, inside."""
        frozen = [weight for weight in self._weights.values() if not weight.requires_grad]
        try:
            for weight in frozen:
                weight.requires_grad_(True)
            with twice_differentiable(self._module):
                yield
        finally:
            for weight in frozen:
                weight.requires_grad_(False)

    def _first(self, *, create_graph: bool) -> dict[str, Tensor | None]:
        """Gradients of the mean loss a token; None for weights that it does not reach."""
        sums: list[Tensor | None] = [None] * len(self._weights)
        tokens, state = 0, None
        with self._aside():
            for batch in self._batches:
                loss_sum, count, state, _ = self._module(batch, state)
                found = torch.autograd.grad(loss_sum, list(self._weights.values()), create_graph=create_graph, allow_unused=True)
                sums = [old if new is None else new if old is None else old + new for old, new in zip(sums, found, strict=True)]
                tokens, state = tokens + count, detach(state)
        return {name: None if total is None else total / max(1, tokens) for name, total in zip(self._weights, sums, strict=True)}

    def _agrees(self) -> bool:
        vectors = {name: self.signs(name) for name in self.reached}
        try:
            exact = self._product(vectors)
        except RuntimeError as error:
            if "derivative for" in str(error) or "differentiate twice" in str(error):
                return False
            raise
        near = self._difference(vectors)
        apart = sum(float((exact[name] - near[name]).double().square().sum()) for name in vectors)
        return apart <= DISAGREE**2 * sum(float(near[name].double().square().sum()) for name in vectors)

    def signs(self, name: str) -> Tensor:
        """+1 or -1 with equal chance, of the weight's shape."""
        weight = self._weights[name]
        return (2.0 * torch.randint(2, weight.shape, generator=self._generator) - 1).to(weight)

    def product(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """H v, where v is zero in all weights but these; of these alone."""
        return self._product(vectors) if self.exact else self._difference(vectors)

    def _product(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = list(vectors)
        given = [(gradient, vectors[name]) for name in names if (gradient := self._gradients[name]) is not None and gradient.requires_grad]
        if not given:
            return {name: torch.zeros_like(vectors[name]) for name in names}
        with self._aside():
            found = torch.autograd.grad(
                [gradient for gradient, _ in given], [self._weights[name] for name in names], [vector for _, vector in given],
                retain_graph=True, allow_unused=True,
            )  # fmt: skip
        return {name: torch.zeros_like(vectors[name]) if own is None else own for name, own in zip(names, found, strict=True)}

    def _difference(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(g(w + h v) - g(w - h v)) / 2h."""
        length = sum(float(self._weights[name].detach().double().square().sum()) for name in vectors) ** 0.5
        h = STEP * (length or 1.0) / (sum(float(v.double().square().sum()) for v in vectors.values()) ** 0.5 or 1.0)
        kept = {name: self._weights[name].data for name in vectors}
        sides = []
        try:
            for sign in (1, -1):
                with torch.no_grad():
                    for name, vector in vectors.items():
                        self._weights[name].data = kept[name] + sign * h * vector
                sides.append(self._first(create_graph=False))
        finally:
            for name in vectors:
                self._weights[name].data = kept[name]
        zero = {name: torch.zeros_like(vector) for name, vector in vectors.items()}
        up, down = ({name: zero[name] if side[name] is None else side[name] for name in vectors} for side in sides)
        return {name: (up[name] - down[name]) / (2 * h) for name in vectors}  # type: ignore[operator]

    def eigenvalue(self, name: str, iterations: int, tolerance: float = 1e-3) -> float:
        """The eigenvalue of largest size of one weight's block: v <- H v / |H v|, until v^T H v changes by less than `tolerance` of itself."""
        v = self.signs(name)
        v /= v.norm()
        value = 0.0
        for _ in range(iterations):
            Hv = self.product({name: v})[name]
            before, value = value, float((v * Hv).double().sum())
            length = Hv.norm()
            if not length or abs(value - before) <= tolerance * abs(value):
                break
            v = Hv / length
        return value

    def traces(self, names: Sequence[str], samples: int) -> dict[str, tuple[float, float]]:
        """(trace of each weight's block, its standard error): means of v^T H v over vectors of signs (Hutchinson).

        All blocks share a product: what other blocks add to v_l^T (H v)_l has mean zero.
        """
        seen: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(samples):
            vectors = {name: self.signs(name) for name in names}
            products = self.product(vectors) if names else {}
            for name in names:
                seen[name].append(float((vectors[name] * products[name]).double().sum()))
        found = {}
        for name, values in seen.items():
            x = torch.tensor(values, dtype=torch.float64)
            found[name] = float(x.mean()), float(x.std() / len(x) ** 0.5) if len(x) > 1 else float("inf")
        return found
