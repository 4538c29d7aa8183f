"""What the techniques of one run share (Session) and what one of them may see and ask for (RunContext)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engines.api import Figure, Task, Text, Vocabulary
from engines.toolbox.taps import Tap, tap

if TYPE_CHECKING:
    import torch
    from torch import nn

    from engines.toolbox.batches import Stream


@dataclass(frozen=True)
class Budget:
    """How long a run trains: an amount of one unit (tokens, steps, seconds, epochs)."""

    unit: str
    amount: float

    @classmethod
    def of(cls, table: Mapping[str, float]) -> Budget:
        ((unit, amount),) = table.items()
        return cls(unit, float(amount))

    def tokens(self, *, tokens_per_step: int, tokens_per_epoch: int) -> int:
        """Tokens of the training text that it is worth, at most one pass over it; all of them where it is seconds, which say nothing of tokens."""
        each = {"tokens": 1.0, "steps": float(tokens_per_step), "epochs": float(tokens_per_epoch)}.get(self.unit)
        return tokens_per_epoch if each is None else min(tokens_per_epoch, round(self.amount * each))

    def spent(self, *, tokens: int, steps: int, seconds: float, tokens_per_epoch: int) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.amount <= 0:
            return 1.0
        done = {"tokens": tokens, "steps": steps, "seconds": seconds, "epochs": tokens / max(1, tokens_per_epoch)}[self.unit]
        return min(1.0, done / self.amount)


@dataclass
class Session:
    """The state of one run while it trains. One object; techniques see it through their RunContext."""

    plan: Mapping[str, Any]
    task: Task
    text: Text
    device: torch.device
    dtype: torch.dtype
    seed: int
    budget: Budget
    model: nn.Module
    stream: Stream
    log: Callable[[str, float, str], None]
    held_out: Callable[[], list[Figure]]
    teacher: Callable[[str], nn.Module]
    fine_tune: Callable[[int | None, float], None]
    optimizer: torch.optim.Optimizer | None = None
    step: int = 0
    tokens: int = 0
    """Training tokens, fine-tuning inside `finish` included."""
    seconds: float = 0.0
    """Wall seconds inside training steps: validation, checkpoints and corpus reading are not counted."""
    finishing: float = 0.0
    """Wall seconds inside `finish` that were no training steps: calibration, validation that a technique asks for, packing."""
    snapshots: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    """Steps whose state a technique asked to keep; None until training is there (engines.runtime.snapshots)."""
    rewind: Callable[[int, str], None] | None = None
    """(step, id of the technique that asks): set by the trainer."""
    repeated: tuple[int, int, float] = (0, 0, 0.0)
    """Steps, tokens and seconds that were spent beyond the snapshot that training was put back to: no part of its progress."""
    stop_reason: str = ""
    fitted: str = ""
    """What a model that is fitted at once says of it; empty for one that is trained by steps."""
    effects: list[tuple[str, str, dict[str, float]]] = field(default_factory=list)
    """(technique id, sentence, figures) in the order in which techniques stated them."""

    @property
    def progress(self) -> float:
        steps, tokens, seconds = self.repeated
        return self.budget.spent(
            tokens=self.tokens - tokens, steps=self.step - steps, seconds=self.seconds - seconds,
            tokens_per_epoch=getattr(self.stream, "tokens_per_epoch", 1),
        )  # fmt: skip


class RunContext:
    """engines.api.Context for one technique of one run."""

    def __init__(self, session: Session, technique: str) -> None:
        self._session = session
        self._technique = technique
        self.state: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        return self._session.device

    @property
    def dtype(self) -> torch.dtype:
        return self._session.dtype

    @property
    def seed(self) -> int:
        return self._session.seed

    @property
    def step(self) -> int:
        return self._session.step

    @property
    def tokens(self) -> int:
        return self._session.tokens

    @property
    def progress(self) -> float:
        return self._session.progress

    @property
    def model(self) -> nn.Module:
        return self._session.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        if self._session.optimizer is None:
            raise RuntimeError(f"{self._technique} asked for the optimizer before it was built: use it in step, gradient or later hooks.")
        return self._session.optimizer

    @property
    def vocabulary(self) -> Vocabulary:
        return self._session.text.vocabulary

    @property
    def length(self) -> int:
        return int(self._session.plan["training"]["sequence"])

    def train(self, *, tokens: int | None = None, lr_scale: float = 1.0) -> None:
        self._session.fine_tune(tokens, lr_scale)

    def snapshot(self, step: int) -> None:
        self._session.snapshots.setdefault(step, None)

    def rewind(self, step: int) -> None:
        if self._session.snapshots.get(step) is None:
            raise ValueError(
                f"{self._technique} was to rewind to step {step:,}, but training made {self._session.step:,} steps and kept no such moment: "
                "choose an earlier step or a larger budget."
            )
        assert self._session.rewind is not None
        self._session.rewind(step, self._technique)

    def calibration(self, batches: int) -> list[Any]:
        training = self._session.plan["training"]
        fresh = self._session.task.batches(self._session.text, training["batch"], training["sequence"], self._session.seed)
        iterator = iter(fresh)
        return [next(iterator).to(self._session.device) for _ in range(batches)]

    def validate(self) -> float:
        return self._session.held_out()[0].value

    def teacher(self, reference: str) -> nn.Module:
        return self._session.teacher(reference)

    def tap(self, pattern: str, *, scores: bool = False, model: nn.Module | None = None) -> AbstractContextManager[Tap]:
        return tap(self.model if model is None else model, pattern, scores=scores)

    def log(self, key: str, value: float, unit: str = "") -> None:
        self._session.log(key if "/" in key else f"{self._technique}/{key}", value, unit)

    def effect(self, sentence: str, **figures: float) -> None:
        self._session.effects.append((self._technique, sentence, dict(figures)))

    def stop(self, reason: str) -> None:
        self._session.stop_reason = f"{self._technique}: {reason}"
