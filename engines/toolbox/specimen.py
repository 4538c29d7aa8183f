"""A small language model and its surroundings, on which certificates of techniques are checked.

Assembled as every language model is, from stock torch children: table, LSTM layers with dropout and an auxiliary loss, full softmax.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.attention import SelfAttention
from engines.toolbox.batches import Batch
from engines.toolbox.batches import backward_of as backward_of
from engines.toolbox.feedforward import Activation, FeedForward
from engines.toolbox.heads import LinearSoftmax
from engines.toolbox.taps import Tap, tap


class SpecimenMixer(nn.Module):
    """(x_BTD, state) -> (y_BTD, state) by an LSTM; state = (h_BLD, c_BLD)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, x_BTD: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        carried = None if state is None else tuple(part.transpose(0, 1).contiguous() for part in state)
        y_BTD, after = self.lstm(x_BTD, carried)
        return y_BTD, tuple(part.transpose(0, 1) for part in after)


class SpecimenFeedforward(nn.Module):
    """x_BTD -> (y_BTD, extras): a linear layer, dropout, and an auxiliary loss that is a mean over rows and tokens."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        y_BTD = self.dropout(self.linear(x_BTD).tanh())
        return y_BTD, {"auxiliary": 1e-2 * y_BTD.square().mean()}


def specimen(trial: Trial, *, layers: int = 2, dropout: float = 0.0, tied: bool = False) -> LanguageModel:
    """The model of a trial: its seed, sizes, device and number format."""
    with trials.seeded(trial):
        embedding = nn.Embedding(trial.vocabulary, trial.width)
        parts = [Layer(SpecimenMixer(trial.width), SpecimenFeedforward(trial.width, dropout), width=trial.width) for _ in range(layers)]
        head = LinearSoftmax(trials.site(trial, embedding=embedding), tied=tied, bias=True)
        return LanguageModel(embedding, parts, head, nn.LayerNorm(trial.width), length=trial.length)


class SpecimenDense(nn.Module):
    """x_BTD -> (y_BTD, {}) by the feed-forward network of a transformer."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.network = FeedForward(width, hidden, activation)

    def forward(self, x_BTD: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.network(x_BTD), {}


def transformer(trial: Trial, *, layers: int = 2, heads: int = 4, kv_heads: int | None = None, activation: Activation = "gelu") -> LanguageModel:
    """Attention and feed-forward layers with residuals and norms, of the trial's seed, sizes, device and number format."""
    with trials.seeded(trial):
        embedding = nn.Embedding(trial.vocabulary, trial.width)
        parts = []
        for _ in range(layers):
            mixer = SelfAttention(trial.width, heads=heads, kv_heads=kv_heads, window=trial.length, positions="none")
            dense = SpecimenDense(trial.width, 4 * trial.width, activation)
            parts.append(Layer(mixer, dense, width=trial.width, residual=True, feedforward_residual=True, norm="layer"))
        head = LinearSoftmax(trials.site(trial, embedding=embedding), tied=False, bias=True)
        return LanguageModel(embedding, parts, head, nn.LayerNorm(trial.width), length=trial.length)


def stacked_lstm(trial: Trial, *, layers: int = 2) -> LanguageModel:
    """LSTM layers that read each other with nothing between, and a head that reads the last."""
    with trials.seeded(trial):
        embedding = nn.Embedding(trial.vocabulary, trial.width)
        head = LinearSoftmax(trials.site(trial), tied=False, bias=True)
        return LanguageModel(embedding, [Layer(SpecimenMixer(trial.width), width=trial.width) for _ in range(layers)], head, length=trial.length)


def batches(trial: Trial, count: int, *, rows: int | None = None) -> list[Batch]:
    """Random ids, the same for the same trial."""
    generator = torch.Generator().manual_seed(trial.seed + 1)
    made = []
    for _ in range(count):
        ids = torch.randint(trial.vocabulary, (rows or trial.batch, trial.length + 1), generator=generator).to(trial.device)
        made.append(Batch(ids[:, :-1], ids[:, 1:]))
    return made


def gradients(module: nn.Module) -> torch.Tensor:
    """All gradients of a module as one vector, in order of parameters; a missing one is zero."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in module.parameters()])


class Surroundings:
    """engines.api.Context around one model, for certificates: what a technique says is kept in lists."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        self.model = model
        self.optimizer: torch.optim.Optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        self.seed = self.step = self.tokens = 0
        self.progress = 0.0
        self.length = 0
        self.vocabulary: Any = None
        self.state: dict[str, Any] = {}
        self.effects: list[tuple[str, dict[str, float]]] = []
        self.logged: list[tuple[str, float, str]] = []
        self.teachers: dict[str, nn.Module] = {}
        self.snapshots: dict[int, dict[str, torch.Tensor]] = {}
        self.batches: list[Batch] = []
        """What `calibration` gives."""

    def train(self, *, tokens: int | None = None, lr_scale: float = 1.0) -> None:
        """Certificates do not train."""

    def snapshot(self, step: int) -> None:
        """Taken at once, of the weights alone."""
        self.snapshots[step] = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def rewind(self, step: int) -> None:
        self.model.load_state_dict(self.snapshots[step])

    def calibration(self, batches: int) -> list[Any]:
        return self.batches[:batches]

    def validate(self) -> float:
        return float("nan")

    def teacher(self, reference: str) -> nn.Module:
        return self.teachers[reference]

    def tap(self, pattern: str, *, scores: bool = False, model: nn.Module | None = None) -> AbstractContextManager[Tap]:
        return tap(self.model if model is None else model, pattern, scores=scores)

    def log(self, key: str, value: float, unit: str = "") -> None:
        self.logged.append((key, value, unit))

    def effect(self, sentence: str, **figures: float) -> None:
        self.effects.append((sentence, figures))

    def stop(self, reason: str) -> None:
        raise RuntimeError(f"A certificate was stopped: {reason}")
