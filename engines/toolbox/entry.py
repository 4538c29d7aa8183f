"""The one training entry of a model, whatever it is made of."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from engines.toolbox.batches import Batch


class TrainingEntry(nn.Module):
    """A model with `hidden`, which gives what its head reads, and `head`, which judges it."""

    head: Any

    def hidden(self, ids_BT: Tensor, state: Any = None) -> tuple[Tensor, Any, dict[str, Any]]:
        """(what the head reads of each target, the state that the next batch begins with, extras)."""
        raise NotImplementedError

    def forward(self, batch: Batch, state: Any = None) -> tuple[Tensor, int, Any, dict[str, Any]]:
        """(sum of the head's training loss over all targets, their number, state, extras). extras always holds "hidden_ND" and "target_N".

        A fresh batch starts without state. A head with `loss_after(hidden_ND, target_N, before_N)` is given the token before each target too.
        """
        hidden_BTD, state, extras = self.hidden(batch.inputs_BT, None if batch.fresh else state)
        extras["hidden_ND"] = hidden_ND = hidden_BTD.flatten(0, 1)
        extras["target_N"] = target_N = batch.targets_BT.flatten()
        if hasattr(self.head, "loss_after"):
            return self.head.loss_after(hidden_ND, target_N, batch.inputs_BT.flatten()), batch.tokens, state, extras
        return self.head.loss(hidden_ND, target_N), batch.tokens, state, extras
