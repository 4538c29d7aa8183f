"""Adam for two kinds of gradients: torch's SparseAdam where rows are handed out, its Adam for all else, behind one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from engines.toolbox.optimization import decay_groups


class RowAdam(torch.optim.Optimizer):
    """One state and one list of groups, of which each gradient's layout says who moves it.

    weight_decay: decoupled; of matrices at every step, of rows in the steps that use them. told: gets the tensors with row gradients, once, at
    the first update. Raises ValueError where the gradient of a tensor is sparse in one step and dense in another: its moments would mean two
    things.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, told: Callable[[list[torch.Tensor]], None] | None = None,
    ) -> None:  # fmt: skip
        parameters = list(parameters)
        super().__init__(decay_groups(parameters, weight_decay), {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        # Both read our groups and write our state, so that learning rates, checkpoints and whoever counts memory know one optimiser.
        self._rows = torch.optim.SparseAdam(parameters)
        self._dense = torch.optim.AdamW(parameters)
        self._told = told

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; a closure is not called."""
        rows, dense = [], []
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            sparse = [p for p in moved if p.grad.is_sparse]
            for p in sparse:
                p.grad = p.grad.coalesce()
                if group["weight_decay"]:
                    index = p.grad.indices()[0]
                    p.index_copy_(0, index, p[index] * (1 - group["lr"] * group["weight_decay"]))
            rows.append(self._rows.defaults | group | {"params": sparse})
            dense.append(self._dense.defaults | group | {"params": [p for p in moved if not p.grad.is_sparse]})
        self._check(rows, dense)
        for optimizer, groups in ((self._rows, rows), (self._dense, dense)):
            optimizer.param_groups = groups
            optimizer.state = self.state
            optimizer.step()
        if self._told is not None:
            self._told([p for group in rows for p in group["params"]])
            self._told = None

    def _check(self, rows: list[dict[str, Any]], dense: list[dict[str, Any]]) -> None:
        for groups, kind in ((rows, int), (dense, torch.Tensor)):
            for p in (p for group in groups for p in group["params"]):
                step = self.state.get(p, {}).get("step")
                # SparseAdam counts in a whole number, Adam in a tensor.
                if step is not None and not isinstance(step, kind):
                    now, before = ("sparse", "dense") if kind is int else ("dense", "sparse")
                    raise ValueError(
                        f"The gradient of a tensor of shape {tuple(p.shape)} is {now} in this update and was {before} before: "
                        "set sparse alike for all that use the tensor."
                    )
