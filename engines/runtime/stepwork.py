"""Work of one training step, forward and backward, by module and by operator: operations and bytes moved."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engines.runtime.attribution import OUTSIDE
from engines.runtime.calls import Calls
from engines.runtime.flops import NOTHING, Work, counting
from engines.runtime.rehearsal import Rehearsal


@dataclass(frozen=True)
class StepWork:
    """modules: what each did itself, without the modules inside it. operators: by their names in a profile ("aten::mm"). calls: operators
    called. What no module did (the optimiser's update) is under OUTSIDE. started: operators that each module called. dtype: the number format
    in which most operations are done, by the first number that they read."""

    whole: Work
    modules: dict[str, Work]
    operators: dict[str, Work]
    started: dict[str, int]
    calls: int
    dtype: str


def of_step(rehearsal: Rehearsal) -> StepWork:
    """Count one step."""
    calls = Calls(rehearsal.session.model)
    with counting() as so_far, calls.followed(), _Shares(so_far, calls) as shares:
        rehearsal.step()
    started = dict(shares.started)
    formats = shares.formats.most_common(1)
    return StepWork(
        so_far(), dict(shares.modules), dict(shares.operators), started, sum(started.values()), formats[0][0] if formats else "float32"
    )


class _Shares(TorchDispatchMode):
    """Gives what each operator adds to the count to the module that is at work, or whose node of the backward pass is."""

    supports_higher_order_operators = True

    def __init__(self, so_far: Callable[[], Work], calls: Calls) -> None:
        super().__init__()
        self._so_far, self._calls = so_far, calls
        self.modules: defaultdict[str, Work] = defaultdict(lambda: NOTHING)
        self.operators: defaultdict[str, Work] = defaultdict(lambda: NOTHING)
        self.started: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self._so_far()
        made = func(*args, **(kwargs or {}))
        added = self._so_far() - before
        module = self._module()
        self.modules[module] += added
        self.started[module] += 1
        if added.flops:
            self.formats[next((str(a.dtype).removeprefix("torch.") for a in args if isinstance(a, torch.Tensor)), "")] += added.flops
        self.operators[str(getattr(func, "overloadpacket", func)).replace(".", "::")] += added
        return made

    def _module(self) -> str:
        if torch._C._current_graph_task_id() < 0 or self._calls.inside:
            return self._calls.current
        node = torch._C._current_autograd_node()
        return OUTSIDE if node is None else self._calls.of_node(node._sequence_nr())
