"""Models that are not assembled from blocks, in the place of an assembled language model.

A module that gives scores for every token is wrapped: `ScoresModel` has what evaluation, generation and techniques use of the assembled model
(`hidden`, `head`, `forward(batch, state)`). Names of its weights begin with `body.`. Shapes: B rows, T tokens, N = B T, V vocabulary size.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from engines.toolbox.entry import TrainingEntry
from engines.toolbox.heads import IGNORED, NormalisedHead
from engines.toolbox.precise import at_least_float32

TRIED = 16
"""Tokens that a model is tried on before it is used, at most."""


class Scores(NormalisedHead):
    """The softmax of scores that the module has made: the hidden states are the scores."""

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return nn.functional.cross_entropy(at_least_float32(hidden_ND), target_N, reduction="sum", ignore_index=IGNORED)

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        return at_least_float32(hidden_ND).log_softmax(dim=-1)


class ScoresModel(TrainingEntry):
    """p(token | all tokens before it) from body(ids_BT) -> scores_BTV, or from body(ids_BT, state) -> (scores_BTV, state).

    A body without state is given segments of at most `length` tokens, as in training: in evaluation the state is the ids of the segment so far,
    and after `length` tokens a new segment starts. In training every call is a segment.
    """

    def __init__(self, body: nn.Module, vocabulary_size: int, length: int) -> None:
        super().__init__()
        self.body = body
        self.head = Scores(vocabulary_size)
        self.length = length
        self.carries = carries_state(body)

    def hidden(self, ids_BT: Tensor, state: Any = None) -> tuple[Tensor, Any, dict[str, Any]]:
        """The scores of the token after each token, (B, T, V), the state, and no extras."""
        if self.carries:
            scores_BTV, state = self.body(ids_BT, state)
            return scores_BTV, state, {}
        if self.training:
            return self.body(ids_BT), None, {}
        parts = []
        while ids_BT.shape[1]:
            if state is None or state.shape[1] >= self.length:
                state = ids_BT[:, :0]
            piece, ids_BT = ids_BT.tensor_split([self.length - state.shape[1]], dim=1)
            before = state.shape[1]
            state = torch.cat((state, piece), dim=1)
            parts.append(self.body(state)[:, before:])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), state, {}


def carries_state(body: nn.Module) -> bool:
    """Whether the module's `forward` takes a second argument `state`."""
    return "state" in inspect.signature(body.forward).parameters


def as_language_model(module: nn.Module, name: str, vocabulary_size: int, length: int) -> nn.Module:
    """The module itself where it is a whole language model, else wrapped; tried on a few tokens.

    Raises ValueError with a sentence where it fails, gives other shapes, or lets a token see those after it.
    """
    ready = all(hasattr(module, wanted) for wanted in ("hidden", "head", "length"))
    model: Any = module if ready else ScoresModel(module, vocabulary_size, length)
    held = next((tensor for tensor in (*model.parameters(), *model.buffers())), None)
    device = held.device if held is not None else torch.device("cpu")
    tokens = min(TRIED, length)
    ids_BT = torch.arange(2 * tokens, device=device).view(2, tokens) % vocabulary_size
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            _check_shape(model, name, ids_BT, vocabulary_size)
            if device.type != "meta":
                _check_causality(model, name, ids_BT, vocabulary_size)
    finally:
        model.train(training)
    return model


def _scores(model: Any, name: str, ids_BT: Tensor) -> Tensor:
    try:
        found: Tensor = model.hidden(ids_BT, None)[0]
    except NotImplementedError:
        raise
    except Exception as error:
        raise ValueError(f"{name} failed on ids of shape {tuple(ids_BT.shape)}: {type(error).__name__}: {error}") from error
    return found


def _check_shape(model: Any, name: str, ids_BT: Tensor, vocabulary_size: int) -> None:
    found = _scores(model, name, ids_BT)
    wanted = (*ids_BT.shape, vocabulary_size)
    if not isinstance(model, ScoresModel):
        return
    if not isinstance(found, Tensor):
        raise ValueError(f"{name} gives a {type(found).__name__} for ids of shape {tuple(ids_BT.shape)}: it must give a tensor of scores, {wanted}.")
    if tuple(found.shape) != wanted:
        raise ValueError(
            f"{name} gives scores of shape {tuple(found.shape)} for ids of shape {tuple(ids_BT.shape)}: it must give {wanted}, one score for each of "
            f"the {vocabulary_size:,} tokens of the vocabulary at each place."
        )


def _check_causality(model: Any, name: str, ids_BT: Tensor, vocabulary_size: int) -> None:
    """A changed token moves no output before it."""
    before = _scores(model, name, ids_BT)
    tokens = ids_BT.shape[1]
    for place in sorted({1, tokens // 2, tokens - 1} - {0}):
        changed = ids_BT.clone()
        changed[:, place:] = (changed[:, place:] + 1 + vocabulary_size // 2) % vocabulary_size
        after = _scores(model, name, changed)
        moved = (after[:, :place] - before[:, :place]).abs().max()
        if not moved <= 1e-4 * before.abs().max().clamp(min=1):
            raise ValueError(
                f"{name} lets a token see the tokens after it: changing token {place + 1} moves an earlier output by {float(moved):.3g}. A language "
                "model must be causal (mask its attention, pad its convolutions on the left)."
            )
