"""The user's own judgement of a finished model, beside the task's: a function that parameter `evaluate` of the task names.

    def worst(model, held_out, task):        # engines.api.HeldOut; the model frozen, in evaluation mode, without gradients
        return Figure("worst_line", value, "nats", "lower")

It is imported in workers and the inspector alone, called once for each held-out split under the seed of the run, and tried on the model before
training, so that what fails does so before the work.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from engines.api import Figure, HeldOut, Task, Text
from engines.comparability import JUDGED_BY, JUDGED_BY_SOURCE
from engines.runtime.plan import device_holding
from engines.toolbox.factories import find_function

NAME = re.compile(r"[a-z][a-z0-9_]*")
BETTER = ("higher", "lower", "none")
CALLED_WITH = "(model, held_out, task)"


class MetricError(ValueError):
    """A function of the user's that cannot judge; the message says which, why, and what to do."""


class OwnMetric:
    """One function, found and ready. facts: what its figures carry: {"judged_by": its name, "judged_by_source": SHA-256 of the file it lies in}."""

    def __init__(self, reference: str, folder: str) -> None:
        """Raises MetricError where there is no such function, or it cannot be called as it will be."""
        self.reference = reference
        try:
            self._function: Callable[..., Any] = find_function(reference, folder, f"evaluate must name a function of {CALLED_WITH}.")
        except ValueError as error:
            raise MetricError(str(error)) from error
        try:
            inspect.signature(self._function).bind(None, None, None)
        except TypeError as error:
            taken = ", ".join(inspect.signature(self._function).parameters)
            raise MetricError(f"{reference} takes ({taken}), but is called with {CALLED_WITH}: {error}.") from error
        except ValueError:  # a builtin that does not tell what it takes
            pass
        self.facts = {JUDGED_BY: reference, JUDGED_BY_SOURCE: _digest(self._function)}

    @classmethod
    def of(cls, task: Task, folder: str) -> OwnMetric | None:
        """That of a task; None where it names none."""
        return cls(task.own_metric, folder) if task.own_metric else None

    def figures(
        self, model: nn.Module, task: Task, text: Text, split: str, tokens: int, batch: int, seed: int, taken: Iterable[str] = ()
    ) -> list[Figure]:
        """What it says of a model on a split, keys `quality/{split}_{name}`. taken: keys that the task's own figures have.

        Raises MetricError where it fails, gives anything but figures, or changes the model.
        """
        device = device_holding(model)
        length = int(cast(Any, getattr(model, "length", 0))) or 1
        batches = partial(_on_device, task, text, split, tokens, batch, length, device)
        held_out = HeldOut(split, text, tokens, device, batches)
        training, before = model.training, _state(model)
        try:
            with torch.no_grad(), seeded(seed):
                model.eval()
                given = self._function(model, held_out, task)
                given = [given] if isinstance(given, Figure) else list(given)
        except Exception as error:
            raise MetricError(f"{self.reference} failed on the {split} split: {type(error).__name__}: {error}{_place(error)}") from error
        finally:
            model.train(training)
        if _state(model) != before:
            raise MetricError(f"{self.reference} changed the weights of the model: it must leave the model as it is (judge on a copy).")
        return [self._checked(figure, split, given, set(taken)) for figure in given]

    def _checked(self, figure: Any, split: str, given: list[Any], taken: set[str]) -> Figure:
        """The figure under its full key. Raises MetricError where it is none, or has no name of its own."""
        who = self.reference
        if not isinstance(figure, Figure):
            raise MetricError(f"{who} gave a {type(figure).__name__}: it must return engines.api.Figure, or a list of them.")
        name = str(figure.key)
        if not NAME.fullmatch(name):
            raise MetricError(f'{who} calls a figure "{name}": names are of small letters, digits and _, as in "worst_line".')
        if sum(each.key == name for each in given) > 1 or f"quality/{split}_{name}" in taken:
            raise MetricError(f'{who} gives a figure "{name}", and there is another one of that name: choose another.')
        if figure.better not in BETTER:
            raise MetricError(f'{who}: which values of "{name}" are better is "{figure.better}"; it must be one of {", ".join(BETTER)}.')
        try:
            value, low, high = (None if each is None else float(each) for each in (figure.value, figure.low, figure.high))
            detail = json.loads(json.dumps({**figure.detail, **self.facts}))
        except (TypeError, ValueError) as error:
            raise MetricError(f'{who}: "{name}" must have a number as its value, and details of plain values: {error}.') from error
        if value is None:
            raise MetricError(f'{who}: "{name}" has no value.')
        return replace(figure, key=f"quality/{split}_{name}", value=value, low=low, high=high, unit=str(figure.unit), detail=detail)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch, numpy and random draw from this seed inside, and go on as if nothing had been outside."""
    plain, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(array)


def _on_device(
    task: Task, text: Text, split: str, tokens: int, batch: int, length: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for inputs, targets in task.held_out_batches(text, split, tokens, batch, length):
        yield inputs.to(device), targets.to(device)


def _state(model: nn.Module) -> Mapping[str, tuple[int, int]]:
    """Where each tensor lies, and how often it was written to."""
    return {name: (tensor.data_ptr(), tensor._version) for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def _place(error: Exception) -> str:
    """The line of the user's code that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"


def _digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the file that a function lies in; empty where it lies in none."""
    try:
        path = inspect.getsourcefile(function)
    except TypeError:
        path = None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).exists() else ""
