"""Models as ONNX graphs: one that judges text, one that reads a prompt, one that makes a next-token step with carried state.

Both are exported by torch's own exporter (torch.export, "dynamo") for fixed shapes. A graph is to be used or kept only after a check that
onnxruntime gives with it what torch gives. Shapes: B rows, T tokens, N = B T.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from engines import extras
from engines.runtime.onnxgraph import Graph, GraphError
from engines.runtime.plan import PlanError
from engines.toolbox.int8 import Int8Module
from engines.toolbox.packed import matrices_in

TOLERANCE = 1e-4
"""By how much nats may differ from torch's, relative to their size where that is above 1: float32 sums in another order."""
CHECKED_STEPS = 5


class NotExportable(ValueError):
    """A model, or a part of what it does, cannot be written in the form that was asked for; the message says why."""


NO_PROBABILITIES = "Its head gives scores and no probabilities: it is judged by ranks, which flip where two scores differ by rounding."
GROWING_STATE = "Its state grows from token to token, and a graph with fixed shapes cannot carry that."


class _OfModel(nn.Module):
    """One thing that is computed with a finished model, as a module of its own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class Scoring(_OfModel):
    """(inputs_BT, targets_BT) -> exact nll of each target in nats, (N,)."""

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        hidden_BTD, _, _ = self.model.hidden(inputs_BT, None)
        nll_N: Tensor = self.model.head.nll(hidden_BTD.flatten(0, 1), targets_BT.flatten())
        return nll_N


class ScoringByAll(_OfModel):
    """The same figures from the log probabilities of all tokens, for heads whose own way of judging depends on values."""

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        hidden_BTD, _, _ = self.model.hidden(inputs_BT, None)
        log_prob_NV: Tensor = self.model.head.log_prob_rows(hidden_BTD.flatten(0, 1))
        return -log_prob_NV.gather(1, targets_BT.reshape(-1, 1)).squeeze(1)


class Classes(_OfModel):
    """texts_BT -> log p of each class, (B, C); places behind the end of a text hold -100."""

    def forward(self, texts_BT: Tensor) -> Tensor:
        log_prob_BC: Tensor = self.model.head.log_prob_rows(self.model.hidden(texts_BT, None)[0].flatten(0, 1))
        return log_prob_BC


class Prompt(_OfModel):
    """prompt_1T -> (log p_11 of the most probable next token, that token_11, *state after the prompt)."""

    def forward(self, prompt_1T: Tensor) -> tuple[Tensor, ...]:
        hidden_1TD, after, _ = self.model.hidden(prompt_1T, None)
        log_p_11, best_11 = self.model.head.topk(hidden_1TD[:, -1], 1)
        return (log_p_11, best_11, *pytree.tree_leaves(after))


class Step(_OfModel):
    """(token_11, *state) -> (log p_11 of the most probable next token, that token_11, *state)."""

    def __init__(self, model: Any, shape: pytree.TreeSpec) -> None:
        super().__init__(model)
        self._shape = shape

    def forward(self, token_11: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        hidden_11D, after, _ = self.model.hidden(token_11, pytree.tree_unflatten(list(state), self._shape))
        log_p_11, best_11 = self.model.head.topk(hidden_11D[:, -1], 1)
        return (log_p_11, best_11, *pytree.tree_leaves(after))


def export_scoring(model: Any, inputs_BT: Tensor, targets_BT: Tensor, path: Path) -> None:
    """Write the graph that judges text of this shape. Inputs: inputs, targets, int64 (B, T); output: nll, (B T,). Raises NotExportable."""
    if not getattr(model.head, "normalised", True):
        raise NotExportable(NO_PROBABILITIES)
    write_graph(model, Scoring(model), (inputs_BT, targets_BT), ["inputs", "targets"], ["nll"], path)


def export_step(model: Any, prompt_1T: Tensor, path: Path) -> None:
    """Write the graph of one next-token step after a prompt of this length. Raises NotExportable.

    Inputs: token, int64 (1, 1), and state_0, state_1 ...; outputs: log_p and next (1, 1), and the state after it, after_0, after_1 ...
    """
    token_11, state, shape = after_prompt(model, prompt_1T)
    step = Step(model, shape)
    with torch.no_grad():
        grown = [tuple(leaf.shape) for leaf in step(token_11, *state)[2:]]
    if grown != [tuple(leaf.shape) for leaf in state]:
        raise NotExportable(GROWING_STATE)
    states, afters = ([f"{word}_{n}" for n in range(len(state))] for word in ("state", "after"))
    write_graph(model, step, (token_11, *state), ["token", *states], ["log_p", "next", *afters], path)


def after_prompt(model: Any, prompt_1T: Tensor) -> tuple[Tensor, list[Tensor], pytree.TreeSpec]:
    """(the most probable next token, leaves of the state, its nesting) after a prompt. Raises NotExportable where it holds no tensors."""
    with torch.no_grad():
        hidden_1TD, state, _ = model.hidden(prompt_1T, None)
        token_11 = model.head.topk(hidden_1TD[:, -1], 1)[1]
    leaves, shape = pytree.tree_flatten(state)
    if strange := [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)]:
        raise NotExportable(f"Its state holds {', '.join(sorted(set(strange)))}, and a graph carries tensors alone.")
    return token_11, [leaf.contiguous() for leaf in leaves], shape


def write_graph(model: nn.Module, module: nn.Module, example: tuple[Tensor, ...], names: list[str], outputs: list[str], path: Path) -> None:
    """Write what `module` computes with a model as a graph for inputs of these shapes. Raises NotExportable."""
    if missing := extras.missing(extras.ONNX):
        raise PlanError(f"ONNX needs {', '.join(missing)}, not installed here: {extras.advice(missing)}")
    own = next(((name, type(part).__name__) for name, part in model.named_modules() if isinstance(part, Int8Module)), None)
    if own is not None:
        raise NotExportable(
            f"{own[0]} is an {own[1]}, which calls torch's own integer kernels: they have no ONNX form. The safetensors file keeps them, and "
            "quantization/weight_only has a graph."
        )
    try:
        with silence(), torch.no_grad():
            # Folded constants would be packed weights unpacked; onnxruntime folds for itself as it loads.
            packed = bool(matrices_in(model))
            program = torch.onnx.export(
                module.eval(), example, input_names=names, output_names=outputs, dynamo=True, verbose=False, optimize=not packed
            )
            assert program is not None
            program.save(path)
    except Exception as error:
        # The exporter lets through whatever it meets, of many types.
        raise NotExportable(reason_of(error)) from error


_GUARD = re.compile(r"data-dependent|GuardOnDataDependent")
_CALL = re.compile(r'The following call raised this error:\s+File "(?:[^"]*/)?([\w.]+)", line (\d+)')
_CAUSE = re.compile(r"Caused by: \((?:[^\s()]*/)?([\w.]+):(\d+) in")
"""Where it happened: in code that called into torch, or else where torch says."""
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w:.]+)'")


def reason_of(error: BaseException) -> str:
    """Why the exporter gave up, in a sentence: the first of its causes that is one of the known ones, else its own last words."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = "\n".join(f"{type(each).__name__}: {each}" for each in chain)
    if operator := _OPERATOR.search(text):
        return f"The operator {operator.group(1)} has no ONNX form."
    if _GUARD.search(text):
        place = _CALL.search(text) or _CAUSE.search(text)
        where = f" ({place.group(1)}:{place.group(2)})" if place else ""
        return f"What it computes depends on values, not on shapes alone{where}: such code is not exportable."
    last = str(chain[-1]).strip().splitlines()
    return f"torch's exporter gave up: {type(chain[-1]).__name__}: {last[0][:300] if last else 'without a word'}"


@contextmanager
def silence() -> Iterator[None]:
    """The exporter's progress, its warnings and its dumps of graphs that failed are nobody's business: the error is told."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


# --- Checking a graph -----------------------------------------------------------------------------------------------------------------------


@contextmanager
def runnable() -> Iterator[None]:
    """What onnxruntime refuses inside (an operator without a kernel on the CPU) raises NotExportable. Not for timed windows."""
    try:
        yield
    except GraphError as error:
        # The file is one that nobody will see.
        raise NotExportable(f"onnxruntime does not run the graph: {re.sub(r'Load model from .+? failed: ?', '', str(error))}") from error


def values_of(graph: Graph, *tensors: Tensor) -> list[Any]:
    """Tensors as onnxruntime keeps them."""
    return [graph.value(tensor.detach().cpu().contiguous().numpy()) for tensor in tensors]


def checked_scoring(graph: Graph, model: Any, inputs_BT: Tensor, targets_BT: Tensor) -> float:
    """The largest difference from torch in nats, relative where they are above 1. Raises NotExportable where that is too large."""
    with torch.no_grad():
        expected_N = Scoring(model)(inputs_BT, targets_BT)
    found_N = torch.from_numpy(graph(values_of(graph, inputs_BT, targets_BT))[0].numpy())
    return agreed(found_N, expected_N)


def checked_steps(graph: Graph, model: Any, prompt_1T: Tensor) -> float:
    """The same for a few steps that follow a prompt; where two tokens are equally probable, either may come next and the check ends."""
    token_11, state, shape = after_prompt(model, prompt_1T)
    step, worst = Step(model, shape), 0.0
    values = values_of(graph, token_11, *state)
    for _ in range(CHECKED_STEPS):
        with torch.no_grad():
            log_p_11, token_11, *state = step(token_11, *state)
        found, *values = graph(values)
        worst = max(worst, agreed(torch.from_numpy(found.numpy()), log_p_11))
        if int(values[0].numpy().item()) != int(token_11):
            break
    return worst


def agreed(found: Tensor, expected: Tensor, who: str = "onnxruntime") -> float:
    """The largest difference in nats, relative where they are above 1. Raises NotExportable where that is too large."""
    error = float(((found.double() - expected.cpu().double()).abs() / expected.cpu().double().abs().clamp(min=1)).max())
    if not error <= TOLERANCE:
        raise NotExportable(f"{who} gives other figures than torch: they differ by {error:.2g}, allowed is {TOLERANCE:g}.")
    return error
