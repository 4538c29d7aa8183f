"""What the techniques of group "index" share: built when training is over, told beside the model, compared with the exact scan."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Context, Figure, Numerics, Technique
from engines.toolbox.precise import at_least_float32
from engines.toolbox.search.index import Index, in_rows, why_not
from engines.toolbox.search.preview import second_moment

CONTEXTS = 2000
"""Held-out contexts on which an index is compared with the exact scan."""
DEPTH = 10
SAME = 1e-5
"""Scores that differ by less, relative, are the same: a sum in another order."""


class Searching(Technique):
    """A technique that gives the finished model's head an index. A subclass says which by `index`."""

    group: ClassVar[str] = "index"
    numerics: ClassVar[Numerics] = "same"
    after: ClassVar[tuple[str, ...]] = ("pruning/magnitude", "quantization/dynamic_int8")

    def index(self) -> Index:
        """The index, not built yet."""
        raise NotImplementedError

    def told(self) -> str:
        """What is to be known of it beside its size: sentences that begin with a blank, or nothing."""
        return ""

    def queries(self, module: Any, ctx: Context) -> Tensor | None:
        """E[h h^T] of what the head will be asked, where the index can use it."""
        return None

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The module whose head answers topk by the index; loss, nll and log_prob stay exact."""
        head: Any = getattr(module, "head", None)
        if reason := why_not(head):
            ctx.effect(f"Nothing was indexed. {reason} topk is as it was.", index_bytes=0)
            return module, {"indexed": False}
        index, output = self.index(), head.output
        C_EE = self.queries(module, ctx)
        start = time.perf_counter()
        index.refresh(output.weight, output.bias, C_EE)
        seconds = time.perf_counter() - start
        head.index = index
        matrix, own = output.weight.numel() * output.weight.element_size(), index.own_bytes()
        ctx.effect(
            f"Predictions are searched among {output.out_features:,} rows of {output.in_features}: the index takes {own / 2**20:.2f} MiB beside the "
            f"matrix's {matrix / 2**20:.2f}, and was built in {seconds:.2g} s.{self.told()}",
            index_bytes=own, matrix_bytes=matrix, build_s=seconds,
        )  # fmt: skip
        return module, {"indexed": True}

    def restore(self, module: nn.Module, record: dict[str, Any]) -> nn.Module:
        """The same index, empty: what was built comes with the weights."""
        if record["indexed"]:
            head: Any = module.head
            head.index = self.index()
            head.index.allocate(head.output.weight)
        return module


def moment_of_training_text(module: Any, ctx: Context, batches: int) -> Tensor:
    """E[h h^T] over the first batches of the training text, state carried from one to the next."""
    training = module.training
    total: Tensor | None = None
    rows, state = 0, None
    module.eval()
    try:
        with torch.no_grad():
            for batch in ctx.calibration(batches):
                hidden_BTD, state, _ = module.hidden(batch.inputs_BT, None if batch.fresh else state)
                h_NE = module.head.project(hidden_BTD.flatten(0, 1))
                moment = second_moment(h_NE) * len(h_NE)
                total, rows = moment if total is None else total + moment, rows + len(h_NE)
    finally:
        module.train(training)
    if total is None:
        raise ValueError("No calibration batch was given.")
    return total / rows


class AgainstExactScan:
    """How well a head's index finds what the exact scan finds, over the first CONTEXTS contexts that it is shown.

    recall at k: share of the k best tokens that are found, equal scores counting as found. log Z error: mean absolute difference in nats.
    """

    def __init__(self, head: Any) -> None:
        self._head, self._left = head, CONTEXTS
        self._contexts, self._hits, self._log_z_error = 0, [0.0, 0.0], 0.0
        self._tells_log_z = True

    def add(self, hidden_ND: Tensor) -> None:
        hidden_ND = hidden_ND[: self._left]
        self._left -= len(hidden_ND)
        head, index = self._head, self._head.index
        depth = min(DEPTH, head.vocabulary_size)
        for hidden in in_rows(hidden_ND, head.vocabulary_size):
            if not len(hidden):
                continue
            h_NE = head.project(hidden)
            scores_NV = at_least_float32(head.output(h_NE))
            found = index.search(h_NE, depth, head.output.weight, head.output.bias)
            for place, k in enumerate((1, depth)):
                self._hits[place] += recalls(found.scores_NK[:, :k], scores_NV.topk(k, dim=1).values).sum().item()
            # Of a head without a distribution it is the logarithm of a sum that nobody asks for.
            self._tells_log_z = found.log_z_N is not None and head.normalised
            if found.log_z_N is not None:
                self._log_z_error += (found.log_z_N - scores_NV.logsumexp(dim=1)).abs().double().sum().item()
            self._contexts += len(hidden)

    def figures(self, split: str) -> list[Figure]:
        if not self._contexts:
            return []
        found = [
            Figure(f"quality/{split}_recall_at_1", self._hits[0] / self._contexts, "", "higher"),
            Figure(f"quality/{split}_recall_at_{DEPTH}", self._hits[1] / self._contexts, "", "higher"),
        ]
        if self._tells_log_z:
            found.append(Figure(f"quality/{split}_log_z_error", self._log_z_error / self._contexts, "nats", "lower"))
        return found


def recalls(found_NK: Tensor, best_NK: Tensor) -> Tensor:
    """Share of each row's k best scores that are among the found exact scores, (N,)."""
    least_N1 = best_NK[:, -1:]
    return (found_NK >= least_N1 - SAME * least_N1.abs()).float().mean(dim=1)
