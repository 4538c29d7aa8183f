"""From the events of torch's profiler to the time of every module, forward and backward, the table of operators and the flame graph.

Times are a module's own, without those of the modules inside it, so they add up: what a block takes is the sum over the names that begin with
its own. A backward operation belongs to the module during whose call autograd made its node (`Calls.of_node`); what a checkpointed layer
computes again in the backward pass is backward time of the module that computes it. On CUDA the time of an operation is that of its kernels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import record_function

from engines.runtime.attribution import OUTSIDE
from engines.runtime.calls import MODEL, Calls
from engines.runtime.phases import BACKWARD, FORWARD, PHASES, REST, Phases
from engines.runtime.rehearsal import Rehearsal

STEP, PHASE, MODULE, NODE = "step", "phase: ", "module: ", "autograd::engine::evaluate_function: "
ACCUMULATE = f"{NODE}torch::autograd::AccumulateGrad"
OPTIMIZER = "Optimizer."
"""Names, or their beginnings, of the ranges that stand in a trace beside the operators."""
OPERATORS = 60
"""Operators of the table; what the others take is one row."""


@dataclass
class Spent:
    """Milliseconds over all profiled steps. times: (phase, module, operator) -> ms; operator is empty for what a module does between them."""

    times: defaultdict[tuple[str, str, str], float] = field(default_factory=lambda: defaultdict(float))
    calls: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Calls of modules in forward passes."""
    operators: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0, 0.0]))
    """Operator -> calls, own ms, ms with what it calls."""
    node: str = OUTSIDE
    """Module of the node of a backward pass that was walked last."""


@contextmanager
def ranges(rehearsal: Rehearsal) -> Iterator[Calls]:
    """Inside, phases and module calls of a rehearsal's steps are ranges of the profiler that runs."""
    modules: list[record_function] = []
    phase: list[record_function] = []

    def begin(name: str) -> None:
        modules.append(record_function(MODULE + name))
        modules[-1].__enter__()

    def end(name: str) -> None:
        if modules:
            modules.pop().__exit__(None, None, None)

    def enter(name: str) -> None:
        if phase:
            phase.pop().__exit__(None, None, None)
        if name != REST:
            phase.append(record_function(PHASE + name))
            phase[-1].__enter__()

    calls = Calls(rehearsal.session.model, begin, end)
    with calls.followed(), Phases(rehearsal, enter).followed():
        yield calls


def fold(events: Iterable[Any], calls: Calls, device: torch.device) -> Spent:
    """Sum up a profile's events (`profile.events()`)."""
    spent = Spent()
    on_device = device.type == "cuda"
    for event in events:
        if event.device_type == DeviceType.CPU and event.cpu_parent is None:
            _walk(event, (REST, OUTSIDE, ""), spent, calls, on_device)
    return spent


def _walk(event: Any, place: tuple[str, str, str], spent: Spent, calls: Calls, on_device: bool) -> None:
    """One event and those inside it. place: phase, module and operator that it lies in."""
    phase, module, operator = place
    name: str = event.name
    if name.startswith(PHASE):
        phase, module, operator = name.removeprefix(PHASE), OUTSIDE, ""
    elif name.startswith(MODULE):
        module, operator = name.removeprefix(MODULE), ""
        if phase == FORWARD:
            spent.calls[module] += 1
    elif name.startswith(NODE):
        # Nodes that store gradients have no number; they run right after the node that made what they store.
        if not name.startswith(ACCUMULATE):
            spent.node = calls.of_node(event.sequence_nr)
        phase, module, operator = BACKWARD, spent.node, ""
    elif name != STEP and not name.startswith(OPTIMIZER):
        operator = operator or name
    marker = name == STEP or name.startswith((PHASE, MODULE))
    own = (0.0 if marker else event.self_device_time_total) if on_device else event.self_cpu_time_total
    spent.times[phase, module, operator] += own / 1000
    if not marker and not name.startswith(NODE):
        row = spent.operators[name]
        row[0] += 1
        row[1] += own / 1000
        row[2] += (event.device_time_total if on_device else event.cpu_time_total) / 1000
    for child in event.cpu_children:
        _walk(child, (phase, module, operator), spent, calls, on_device)


# --- Tables ---------------------------------------------------------------------------------------------------------------------------------


def layers(spent: Spent, model: nn.Module, steps: int) -> list[dict[str, Any]]:
    """{"name", "type", "parameters", "forward_ms", "backward_ms", "calls"} a step, in the order of the model; parameters are a module's own."""
    rows = []
    for name, module in model.named_modules():
        times = {phase: sum(ms for (p, m, _), ms in spent.times.items() if m == name and p == phase) / steps for phase in (FORWARD, BACKWARD)}
        if name and any(times.values()):
            own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
            rows.append(
                {
                    "name": name, "type": type(module).__name__, "parameters": own, "forward_ms": times[FORWARD], "backward_ms": times[BACKWARD],
                    "calls": spent.calls[name] / steps,
                }
            )  # fmt: skip
    return rows


def rest(spent: Spent, steps: int) -> dict[str, float]:
    """What a profiled step spends in no layer, ms: data, the model itself, forward and backward outside it, optimizer, other."""
    found: defaultdict[str, float] = defaultdict(float)
    for (phase, module, _), ms in spent.times.items():
        if module == MODEL:
            found["model"] += ms / steps
        elif module == OUTSIDE:
            found[phase] += ms / steps
    return dict(found)


def operators(spent: Spent, flops: Mapping[str, int], steps: int) -> list[dict[str, Any]]:
    """{"name", "calls", "self_ms", "total_ms", "flops"} a step, by falling own time. flops: of one step, by operator; absent where unknown."""
    rows: list[dict[str, Any]] = []
    for name, (calls, own, total) in sorted(spent.operators.items(), key=lambda item: -item[1][1]):
        row: dict[str, Any] = {"name": name, "calls": calls / steps, "self_ms": own / steps, "total_ms": total / steps}
        rows.append(row | ({"flops": flops[name]} if name in flops else {}))
    kept, left = rows[:OPERATORS], rows[OPERATORS:]
    if left:
        own = sum(row["self_ms"] for row in left)
        # Among what is left one calls another, so their own times alone add up.
        kept.append({"name": f"({len(left)} others)", "calls": sum(row["calls"] for row in left), "self_ms": own, "total_ms": own})
    return kept


def flame(spent: Spent, names: Iterable[str], steps: int) -> dict[str, Any]:
    """{"name", "ms", "children"}: step, phases, modules by their nesting, operators. What children leave over is the bar's own time."""
    known = set(names) | {MODEL}
    root = _Bar("step")
    for (phase, module, operator), ms in spent.times.items():
        bar = root.child(phase)
        if module in known:
            parts = module.split(".")
            for path in (".".join(parts[: i + 1]) for i in range(len(parts))):
                if path in known:
                    bar = bar.child(path)
        if operator:
            bar = bar.child(operator)
        bar.own += ms / steps
    root.children = {phase: root.children[phase] for phase in PHASES if phase in root.children}
    return root.tree()


class _Bar:
    def __init__(self, name: str) -> None:
        self.name, self.own = name, 0.0
        self.children: dict[str, _Bar] = {}

    def child(self, name: str) -> _Bar:
        return self.children.setdefault(name, _Bar(name))

    def tree(self) -> dict[str, Any]:
        children = [child.tree() for child in self.children.values()]
        return {"name": self.name, "ms": self.own + sum(child["ms"] for child in children), "children": children}
