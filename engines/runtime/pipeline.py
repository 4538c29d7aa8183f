"""The hooks of a recipe, composed: each hook in its fixed place, recipe order within it, every part measured before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from engines.api import Figure, Technique
from engines.runtime.clock import wait_for
from engines.runtime.context import RunContext, Session
from engines.runtime.effects import Effect, Structure, difference
from engines.toolbox.batches import backward_of

if TYPE_CHECKING:
    from torch import nn

LossOf = Callable[..., tuple[torch.Tensor, int, Any, dict[str, Any]]]


NO_OPTIMIZER = 'The recipe has no optimizer: add one, for example { id = "optimization/adam", lr = 1e-3 }.'


class RecipeError(ValueError):
    """A recipe that cannot train; the message says what to do."""


class Pipeline:
    """The techniques of one run, bound to its session."""

    def __init__(self, techniques: Sequence[tuple[str, Technique]], session: Session) -> None:
        self.session = session
        self.techniques = list(techniques)
        self.contexts = {id: RunContext(session, id) for id, _ in techniques}
        self.effects: list[Effect] = []
        self.loss_of: LossOf = session.model
        self.multiplier: Callable[[float], float] = _constant
        self.base_lr: list[float] = []

    @property
    def fitted(self) -> bool:
        """Whether the model takes in the training text at once (`engines.api.Block`, slot model). Such a model has no steps, no gradients and
        no weights for techniques to work on: none of the recipe is called, and each technique's effect says so."""
        return callable(getattr(self.session.model, "fit", None))

    def state_dict(self) -> dict[str, dict[str, Any]]:
        return {id: context.state for id, context in self.contexts.items()}

    def load_state_dict(self, states: Mapping[str, dict[str, Any]]) -> None:
        for id, context in self.contexts.items():
            context.state = states.get(id, {})

    def _with(self, hook: str) -> list[tuple[str, Technique, RunContext]]:
        if self.fitted:
            return []
        return [(id, technique, self.contexts[id]) for id, technique in self.techniques if hook in technique.hooks()]

    def _through(self, hook: str, part: Any) -> Any:
        for id, technique, context in self._with(hook):
            changed = getattr(technique, hook)(part, context)
            if changed is None:
                raise RecipeError(f"{id} returned nothing from its hook '{hook}': a hook returns the part it was given, changed or not.")
            part = changed
        return part

    def shape_model(self) -> None:
        """Hooks `data` and `model`, in this order; each model hook's effect is measured."""
        session = self.session
        session.stream = self._through("data", session.stream)
        for id, technique, context in self._with("model"):
            before = Structure.of(session.model)
            session.model = technique.model(session.model, context)  # type: ignore[attr-defined]
            self.effects.append(Effect(id, "model", *difference(before, Structure.of(session.model))))

    def assemble(self) -> None:
        """Hooks `wrap` to `step`; afterwards `backward` and `update` are what the loop calls."""
        session = self.session
        self._start = Structure.of(session.model)
        wrapped = self._through("wrap", session.model)
        factory = self._through("optimizer", None) if self._with("optimizer") else None
        if factory is not None:
            session.optimizer = factory(session.model)
            self.base_lr = [group["lr"] for group in session.optimizer.param_groups]
        elif not self.fitted and session.budget.amount > 0:
            raise RecipeError(NO_OPTIMIZER)
        self.multiplier = self._through("schedule", _constant)
        self.loss_of = self._through("loss", wrapped)
        self.backward = self._through("gradient", backward_of(lambda batch, state: self.loss_of(batch, state)))
        self.update = self._through("step", self._optimizer_step)

    def set_learning_rate(self, factor: float) -> None:
        """Base rate times `factor` in every parameter group, before an update."""
        if self.session.optimizer is None:
            raise RecipeError(NO_OPTIMIZER)
        for group, base in zip(self.session.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = base * factor

    def validated(self, figures: list[Figure]) -> None:
        for _, technique, context in self._with("validated"):
            technique.validated(figures[0], context)  # type: ignore[attr-defined]

    def evaluation_weights(self) -> dict[str, torch.Tensor] | None:
        """The weights that evaluation and the finished model see, or None where they are the trained ones."""
        if not self._with("weights"):
            return None
        return self._through("weights", dict(self.session.model.state_dict()))

    def finish(self) -> list[dict[str, Any]]:
        """Hook `finish`; returns the records that rebuild the structure: [{"id", "parameters", "record"}]."""
        records: list[dict[str, Any]] = []
        for id, technique, context in self._with("finish"):
            # What a technique did step by step during training is part of what it changed; what an earlier `finish` did is not.
            before = self._start if "step" in technique.hooks() and not records else Structure.of(self.session.model)
            self.session.model, record = self._finished(technique, context)
            self.effects.append(Effect(id, "finish", *difference(before, Structure.of(self.session.model))))
            records.append({"id": id, "parameters": technique.model_dump(mode="json"), "record": record})
        return records

    def _finished(self, technique: Technique, context: RunContext) -> tuple[nn.Module, Any]:
        """Hook `finish` of one technique on the clock: what it trains is counted as training, the rest as finishing."""
        session = self.session
        trained, start = session.seconds, time.perf_counter()
        finished: tuple[nn.Module, Any] = technique.finish(session.model, context)  # type: ignore[attr-defined]
        wait_for(session.device)
        session.finishing += max(0.0, time.perf_counter() - start - (session.seconds - trained))
        return finished

    def stated_effects(self) -> list[Effect]:
        """What the engine measured, then what the techniques stated of themselves, then the techniques that only changed callables."""
        stated = [Effect(id, "stated", sentence, figures) for id, sentence, figures in self.session.effects]
        known = {effect.technique for effect in (*self.effects, *stated)}
        through = "Works through {}; the model's structure is as before."
        if self.fitted:
            through = "Does nothing here ({}): this model is fitted to the text at once, without steps, gradients or weights."
        quiet = [
            Effect(id, "+".join(technique.hooks()), through.format(", ".join(technique.hooks())), {})
            for id, technique in self.techniques
            if id not in known
        ]
        return [*self.effects, *stated, *quiet]

    def _optimizer_step(self) -> None:
        assert self.session.optimizer is not None
        self.session.optimizer.step()
        self.session.optimizer.zero_grad(set_to_none=True)


def _constant(progress: float) -> float:
    return 1.0
