"""Batches of contiguous text for a language model, and the carried state of mixers: detach, split and merge it.

Shapes: B rows of text, T tokens a segment. A state is any nesting of tuples, lists and dicts whose tensors have the batch in dimension 0;
numbers, texts, None and tensors without dimensions in it are the same for every row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

SegmentLength = Callable[[random.Random], tuple[int, float]]


@dataclass
class Batch:
    """One segment of B rows of text.

    inputs_BT, targets_BT: int64 ids; targets are the inputs' successors in the text.
    fresh: no state may be carried into this batch (the rows begin anew).
    lr_scale: what the learning rate is multiplied with for this batch (segments of unusual length).
    """

    inputs_BT: torch.Tensor
    targets_BT: torch.Tensor
    fresh: bool = False
    lr_scale: float = 1.0

    @property
    def tokens(self) -> int:
        """Targets in this batch."""
        return self.targets_BT.numel()

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.inputs_BT.to(device, non_blocking=True), self.targets_BT.to(device, non_blocking=True), self.fresh, self.lr_scale)

    def split(self, n: int) -> list[Batch]:
        """n batches over the rows, in order; sizes differ by at most one. `split_state` cuts a state in the same places."""
        rows = self.inputs_BT.shape[0]
        if not 1 <= n <= rows:
            raise ValueError(f"A batch of {rows} rows cannot be split into {n} parts: use 1 to {rows} parts or a larger training.batch.")
        pairs = zip(self.inputs_BT.tensor_split(n), self.targets_BT.tensor_split(n), strict=True)
        return [Batch(inputs_BT, targets_BT, self.fresh, self.lr_scale) for inputs_BT, targets_BT in pairs]


class Stream:
    """Endless training batches of one text, row by row contiguous, so that state can be carried from segment to segment.

    An epoch cuts the text into `batch` rows of equal length that lie one after another; a batch is the next `length` tokens of every row.
    Each epoch begins at another place of the text, drawn from the seed, and wraps around its end: every seed sees another order, and the
    tokens dropped at the end of the rows (fewer than `length` a row) are others each time. The first batch of an epoch is `fresh`.

    segment_length: None, or a function that draws (length, lr_scale) of the next segment; it gets a generator that is a function of seed,
    epoch and segment alone, so that a resumed stream draws the same.
    """

    def __init__(self, ids: np.ndarray, batch: int, length: int, seed: int) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"training.batch is {batch} and training.sequence is {length}: both must be at least 1.")
        self.row = (len(ids) - 1) // batch
        if self.row < 1:
            raise ValueError(
                f"The training split has {len(ids)} tokens, too few for {batch} rows of text: use a smaller training.batch or a larger corpus."
            )
        self.ids = ids
        self.batch = batch
        self.length = min(length, self.row)
        self.seed = seed
        self.segment_length: SegmentLength | None = None
        self.epoch = 0
        self._position = 0
        self._segment = 0
        self._begin()

    @property
    def tokens_per_epoch(self) -> int:
        """Targets seen in one epoch with segments of the usual length."""
        return self.batch * (self.row - self.row % self.length)

    def _begin(self) -> None:
        start = random.Random(f"{self.seed}/{self.epoch}").randrange(len(self.ids))
        self._rows_B1 = start + self.row * np.arange(self.batch, dtype=np.int64)[:, None]

    def _next_segment(self) -> tuple[int, float]:
        if self.segment_length is None:
            return self.length, 1.0
        wanted, scale = self.segment_length(random.Random(f"{self.seed}/{self.epoch}/{self._segment}"))
        length = min(wanted, self.row - self._position)
        return length, scale * length / wanted

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        left = self.row - self._position
        if left < (self.length if self.segment_length is None else 1):
            self.epoch += 1
            self._position = self._segment = 0
            self._begin()
        length, scale = self._next_segment()
        places_BT = self._rows_B1 + np.arange(self._position, self._position + length + 1)
        ids_BT = torch.from_numpy(np.take(self.ids, places_BT, mode="wrap").astype(np.int64, copy=False))
        fresh = self._position == 0
        self._position += length
        self._segment += 1
        return Batch(ids_BT[:, :-1], ids_BT[:, 1:], fresh, scale)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch begins."""
        return {"epoch": self.epoch, "position": self._position, "segment": self._segment}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self._position, self._segment = int(state["epoch"]), int(state["position"]), int(state["segment"])
        self._begin()


def contiguous(ids: np.ndarray, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(inputs_BT, targets_BT) of the beginning of a text, row after row; a short text is repeated."""
    found = np.resize(ids, batch * length + 1) if len(ids) < batch * length + 1 else ids[: batch * length + 1]
    read = torch.from_numpy(found.astype(np.int64))
    return read[:-1].view(batch, length), read[1:].view(batch, length)


def backward_of(loss_of: Callable[[Any, Any], tuple[torch.Tensor, int, Any, dict[str, Any]]]) -> Callable[..., tuple[torch.Tensor, int, Any, Any]]:
    """The engine's forward and backward: (batch, state, count=None, scale=1.0) -> (loss_sum, count, state, extras).

    Gradients are those of scale loss_sum / count, plus the auxiliary loss by the batch's share of `count`: the tokens of the whole minibatch,
    where this batch is a part of one.
    """

    def backward(batch: Any, state: Any, count: int | None = None, scale: float | torch.Tensor = 1.0) -> tuple[torch.Tensor, int, Any, Any]:
        loss_sum, own, state, extras = loss_of(batch, state)
        total = own if count is None else count
        objective = loss_sum / total
        if extras.get("auxiliary") is not None:
            objective = objective + extras["auxiliary"] * (own / total)
        (objective * scale).backward()
        return loss_sum.detach(), own, state, extras

    return backward


def map_tensors(function: Callable[[torch.Tensor], Any], state: Any) -> Any:
    """The same nesting with `function` applied to every tensor."""
    if isinstance(state, torch.Tensor):
        return function(state)
    if isinstance(state, dict):
        return {key: map_tensors(function, value) for key, value in state.items()}
    if isinstance(state, (tuple, list)):
        return _rebuild(state, [map_tensors(function, value) for value in state])
    return state


def detach(state: Any) -> Any:
    """The state without its history: what the next segment starts from."""
    return map_tensors(torch.Tensor.detach, state)


def split_state(state: Any, n: int) -> list[Any]:
    """The state of each of the n parts that `Batch.split(n)` makes."""

    def part(tensor: torch.Tensor, i: int) -> torch.Tensor:
        return tensor.tensor_split(n)[i] if tensor.dim() else tensor

    return [map_tensors(lambda tensor, i=i: part(tensor, i), state) for i in range(n)]  # type: ignore[misc]


def merge_states(states: Sequence[Any]) -> Any:
    """The inverse of `split_state`: tensors are concatenated over rows, everything else is taken from the first state."""
    first = states[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(states)) if first.dim() else first
    if isinstance(first, dict):
        return {key: merge_states([state[key] for state in states]) for key in first}
    if isinstance(first, (tuple, list)):
        return _rebuild(first, [merge_states(parts) for parts in zip(*states, strict=True)])
    return first


def _rebuild(like: Any, values: list[Any]) -> Any:
    """A tuple, named tuple or list like `like` with other values."""
    return type(like)(*values) if hasattr(like, "_fields") else type(like)(values)
