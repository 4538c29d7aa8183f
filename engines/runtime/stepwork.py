"""Work of one training step, forward and backward, by module and by operator: operations and bytes moved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engines.runtime.calls import OUTSIDE, Calls
from engines.runtime.flops import NOTHING, Work, counting
from engines.runtime.rehearsal import Rehearsal


@dataclass(frozen=True)
class StepWork:
    """modules: what each did itself, without the modules inside it. operators: by their names in a profile ("aten::mm"). calls: operators
    called. What no module did (the optimiser's update) is under OUTSIDE."""

    whole: Work
    modules: dict[str, Work]
    operators: dict[str, Work]
    calls: int


def of_step(rehearsal: Rehearsal) -> StepWork:
    """Count one step."""
    calls = Calls(rehearsal.session.model)
    with counting() as so_far, calls.followed(), _Shares(so_far, calls) as shares:
        rehearsal.step()
    return StepWork(so_far(), dict(shares.modules), dict(shares.operators), shares.calls)


class _Shares(TorchDispatchMode):
    """Gives what each operator adds to the count to the module that is at work, or whose node of the backward pass is."""

    supports_higher_order_operators = True

    def __init__(self, so_far: Callable[[], Work], calls: Calls) -> None:
        super().__init__()
        self._so_far, self._calls = so_far, calls
        self.modules: defaultdict[str, Work] = defaultdict(lambda: NOTHING)
        self.operators: defaultdict[str, Work] = defaultdict(lambda: NOTHING)
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self._so_far()
        made = func(*args, **(kwargs or {}))
        added = self._so_far() - before
        self.modules[self._module()] += added
        self.operators[str(getattr(func, "overloadpacket", func)).replace(".", "::")] += added
        self.calls += 1
        return made

    def _module(self) -> str:
        if torch._C._current_graph_task_id() < 0 or self._calls.inside:
            return self._calls.current
        node = torch._C._current_autograd_node()
        return OUTSIDE if node is None else self._calls.of_node(node._sequence_nr())
