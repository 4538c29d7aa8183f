"""What runs a finished model where it is timed: torch, or onnxruntime on its exported graphs. Both do the same two works.

Scoring: judging a batch of held-out text exactly. Step: one next token with carried state, top 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from engines import probes
from engines.runtime import graphs, onnxgraph
from engines.runtime.onnxgraph import Graph
from engines.runtime.plan import PlanError, device_of
from engines.toolbox.heads import judge

Work = Callable[[], object]
"""One repeat of what is timed."""


class Runner(Protocol):
    """Prepares works to be timed. Raises graphs.NotExportable where the runtime cannot do one."""

    facts: dict[str, Any]
    """What a figure made with it has to declare."""

    def scoring(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> Work:
        """Judging this text."""

    def stepping(self, prompt_1T: torch.Tensor) -> Callable[[], Work]:
        """What starts anew after the prompt, and returns the step that follows."""


def runner_of(target: Mapping[str, Any], model: Any, threads: int) -> Runner:
    """The runner that a target names, for a model that is where `device_for` says."""
    return GraphRunner(model, threads) if target.get("runtime") == "onnxruntime" else TorchRunner(model)


def device_for(target: Mapping[str, Any], otherwise: str) -> torch.device:
    """Where a target runs; otherwise: where it names no device. onnxruntime runs on the CPU. Raises PlanError."""
    wanted = str(target.get("device") or otherwise)
    if target.get("runtime") != "onnxruntime":
        return device_of(wanted)
    if target.get("device") not in (None, "auto", "cpu"):
        raise PlanError(f'runtime = "onnxruntime" runs on the CPU in this version, not on "{wanted}": set device = "cpu".')
    return torch.device("cpu")


def score(model: Any, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
    """Exact nll of each target, (N,), or its rank under a head without a distribution: the work of judging text, the same for every variant."""
    with torch.no_grad():
        hidden_BTD, _, _ = model.hidden(inputs_BT, None)
        return judge(model.head, hidden_BTD.flatten(0, 1), targets_BT.flatten())


class TorchRunner:
    """The model as it is."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.facts: dict[str, Any] = {}

    def scoring(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> Work:
        return lambda: score(self.model, inputs_BT, targets_BT)

    def stepping(self, prompt_1T: torch.Tensor) -> Callable[[], Work]:
        def begin() -> Work:
            with torch.no_grad():
                hidden_1TD, state, _ = self.model.hidden(prompt_1T, None)
                token_11 = self.model.head.topk(hidden_1TD[:, -1], 1)[1]

            def step() -> None:
                nonlocal token_11, state
                with torch.no_grad():
                    hidden_11D, state, _ = self.model.hidden(token_11, state)
                    token_11 = self.model.head.topk(hidden_11D[:, -1], 1)[1]

            return step

        return begin


class GraphRunner:
    """onnxruntime on graphs of fixed shapes, made as they are asked for and checked equal to torch before anything is timed."""

    def __init__(self, model: Any, threads: int) -> None:
        self._model, self._threads = model, threads
        self._folder = tempfile.TemporaryDirectory(prefix="workbench-onnx-")
        self._made = 0
        self._scores: Path | None = None
        self.facts: dict[str, Any] = {"runtime": f"onnxruntime {probes.version_of('onnxruntime')}", "differs_from_torch": 0.0}

    def scoring(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> Work:
        path = self._path()
        graphs.export_scoring(self._model, inputs_BT, targets_BT, path)
        with graphs.runnable():
            graph = Graph(path, self._threads)
            self._declare(graphs.checked_scoring(graph, self._model, inputs_BT, targets_BT))
        values = graphs.values_of(graph, inputs_BT, targets_BT)
        np.savez(path.with_suffix(".npz"), inputs=inputs_BT.numpy(), targets=targets_BT.numpy())
        self._scores = path
        return lambda: graph(values)

    def peak_mib(self) -> float | None:
        """Peak resident memory of the scoring prepared last, in a process that has onnxruntime and the graph alone."""
        assert self._scores is not None
        return onnxgraph.peak_mib(self._scores, self._scores.with_suffix(".npz"), self._threads)

    def stepping(self, prompt_1T: torch.Tensor) -> Callable[[], Work]:
        path = self._path()
        graphs.export_step(self._model, prompt_1T, path)
        with graphs.runnable():
            graph = Graph(path, self._threads)
            self._declare(graphs.checked_steps(graph, self._model, prompt_1T))
        token_11, state, _ = graphs.after_prompt(self._model, prompt_1T)
        start = graphs.values_of(graph, token_11, *state)

        def begin() -> Work:
            values = start

            def step() -> None:
                nonlocal values
                values = graph(values)[1:]

            return step

        return begin

    def _path(self) -> Path:
        self._made += 1
        return Path(self._folder.name) / f"{self._made}.onnx"

    def _declare(self, error: float) -> None:
        self.facts["differs_from_torch"] = max(self.facts["differs_from_torch"], error)
