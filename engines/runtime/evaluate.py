"""Figures of a finished model beside its quality: size, operations, and speed, latency and memory on each target.

    python -m engines.runtime.evaluate --model FOLDER --device DEVICE [--wait]

A process of its own that has loaded the model and nothing else, so that memory is the model's and not its training's. It prints one line of
JSON. --wait: it is ready, with torch loaded, and begins with a line of its input, so that it can start beside what comes before.

Warm-up is discarded and declared in the figure's detail; inside a timed window nothing is written, logged or sampled. Figures of
different variants come from different moments: only interleaved rounds compare speeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engines import energy, meters, probes
from engines.runtime import work
from engines.runtime.clock import wait_for
from engines.runtime.finished import Finished, load_finished
from engines.runtime.graphs import NotExportable
from engines.runtime.plan import PlanError, device_holding, threads_of
from engines.runtime.runners import GraphRunner, Runner, Work, device_for, runner_of, score
from engines.store.rows import ResultRow
from engines.toolbox.packed import matrices_in

if TYPE_CHECKING:
    from collections.abc import Iterator


WARM_UP = 3
SECONDS = 1.0
"""Length of one timed stretch; at least MINIMUM repeats."""
MINIMUM = 5
LATENCY_STEPS = 100
ENERGY_SECONDS = 2.5
"""Length of the window in which energy is counted, where there is a counter."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.evaluate")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--wait", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.device.startswith("cuda"):
        torch.zeros(1, device=arguments.device)  # makes its context, which takes a second and is no figure
    if arguments.wait and not sys.stdin.readline():
        return 0
    folder = arguments.model
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    torch.set_num_threads(threads_of(plan.get("threads")))
    told: list[str] = []
    finished = load_finished(folder, arguments.device)
    rows, done = operations(finished, told.append)
    rows += figures(finished, (folder / "weights.safetensors").stat().st_size, told.append)
    sys.stdout.write(json.dumps({"rows": [asdict(row) for row in rows], "work": done, "told": told}) + "\n")
    return 0


def operations(finished: Finished, announce: Callable[[str], None]) -> tuple[list[ResultRow], dict[str, Any]]:
    """Operations and bytes of scoring one token in the training batch, and the facts behind them: {"per_token", "layers", "uncounted",
    "batch", "length"} as the effect of a run keeps them."""
    training = finished.plan["training"]
    batch, length = int(training["batch"]), int(training["sequence"])
    inputs, targets = held_out_batch(finished, batch, length)
    score(finished.model, inputs, targets)  # what modules make at their first call (packed weights) is not the work of scoring
    modules, whole = work.of_scoring(finished.model, inputs, targets)
    tokens = targets.numel()
    if whole.uncounted:
        announce(f"Operators without a formula, not in compute/flops_per_token: {whole.uncounted}")
    detail = {"batch": batch, "length": length, "uncounted": whole.uncounted}
    moved = {**detail, "model": "every operator reads its inputs and writes its outputs once; views are free; caches are ignored"}
    rows = [
        _row("compute/flops_per_token", whole.flops / tokens, "FLOP/token", "lower", detail=detail),
        _row("compute/executed_flops_per_token", whole.executed_flops / tokens, "FLOP/token", "lower", detail=detail),
        _row("compute/bytes_per_token", whole.bytes / tokens, "B/token", "lower", detail=moved),
    ]
    return rows, {**detail, "per_token": work.per_token(whole, tokens, "forward_"), "layers": work.facts(modules, tokens)}


def figures(finished: Finished, weights_bytes: int, announce: Callable[[str], None]) -> list[ResultRow]:
    """What else a finished model alone tells: size, speed, latency, memory and energy. What cannot be measured here is announced and absent."""
    rows = _size(finished.model, weights_bytes)
    own_device = device_holding(finished.model)
    if finished.task.no_steps:
        announce(f"No latency is measured: {finished.task.no_steps}")
    plan_threads = finished.plan.get("threads")
    for target in finished.plan.get("targets") or [{}]:
        name = target.get("name", "")
        try:
            device = device_for(target, str(own_device))
            with threads(threads_of(target.get("threads") or plan_threads)):
                finished.model.to(device)
                rows.extend(_on_target(finished, target, device, announce))
        except (PlanError, NotImplementedError, RuntimeError) as error:
            # RuntimeError is what torch raises where a kernel does not exist on a device (int8 on CUDA): the other targets still count.
            announce(f'Target "{name}" could not be measured: {error}')
    finished.model.to(own_device)
    return rows


def held_out_batch(finished: Finished, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The task's inputs and targets of `batch` rows of held-out text, where the model is."""
    device = device_holding(finished.model)
    inputs, targets = finished.task.held_out(finished.text, batch, length)
    return inputs.to(device), targets.to(device)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many torch threads inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _size(model: Any, weights_bytes: int) -> list[ResultRow]:
    """Numbers in the finished model's state (scales of quantised weights included), tied ones once; packed weights one by one, not by bytes."""
    packed = {matrix.packed.data_ptr(): matrix for matrix in matrices_in(model)}
    states = {(t.data_ptr(), t.shape): t for t in model.state_dict().values() if isinstance(t, torch.Tensor)}.values()
    tensors = [packed[t.data_ptr()].dense() if t.data_ptr() in packed else t for t in states]
    return [
        _row("size/parameters", sum(t.numel() for t in tensors), "", "lower"),
        _row("size/nonzero_parameters", sum(int(t.count_nonzero()) for t in tensors), "", "lower"),
        _row("size/model_mib", weights_bytes / 2**20, "MiB", "lower", detail={"what": "weights file as written (safetensors)"}),
    ]


def energy_row(key: str, tally: energy.Tally, target: str = "", detail: Mapping[str, Any] | None = None) -> ResultRow:
    """Joules per token above idle with the bounds that the counter's resolution gives. Raises meters.NotMeasurable."""
    found = tally.figure()
    off = found.uncertainty / found.tokens
    facts = {"what": f"{tally.meter.scope}, above idle", **found.facts(), **(detail or {})}
    value = found.joules_per_token
    return ResultRow(key=key, value=value, unit="J/token", better="lower", target=target, low=value - off, high=value + off, detail=facts)


def _on_target(finished: Finished, target: Mapping[str, Any], device: torch.device, announce: Callable[[str], None]) -> list[ResultRow]:
    """The figures on one target; what its runtime cannot do is announced and absent."""
    name, training = str(target.get("name", "")), finished.plan["training"]
    batch, length = int(target.get("batch") or training["batch"]), int(training["sequence"])
    runner = runner_of(target, finished.model, torch.get_num_threads())
    inputs, targets = held_out_batch(finished, batch, length)
    rows: list[ResultRow] = []
    declared: dict[str, Any] = {
        "device": str(device), "threads": torch.get_num_threads(), "batch": batch, "length": length, "interleaved": False,
        "load": probes.load_facts(), "warm_up": WARM_UP,
    }  # fmt: skip
    works: list[tuple[str, Callable[[], list[ResultRow]]]] = [
        ("scoring is", lambda: _scoring(runner, inputs, targets, device, name, declared, announce))
    ]
    if not finished.task.no_steps:
        works.append(("next-token steps are", lambda: _latency(runner.stepping(inputs[:1]), device, name, declared | runner.facts)))
    for what, measured in works:
        try:
            rows += measured()
        except NotExportable as reason:
            announce(f'Target "{name}": {what} not measured. {reason}')
    return rows


def _scoring(
    runner: Runner, inputs: torch.Tensor, targets: torch.Tensor, device: torch.device, name: str, declared: Mapping[str, Any],
    announce: Callable[[str], None],
) -> list[ResultRow]:  # fmt: skip
    """Speed, peak memory and energy of judging text."""
    once = runner.scoring(inputs, targets)
    declared = {**declared, **runner.facts}
    clean = probes.reset_peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = _repeat(once, device)
    rate = targets.numel() / statistics.median(seconds)
    rows = [_row("speed/infer_tokens_per_s", rate, "tokens/s", "higher", name, {**declared, "repeats": len(seconds)})]
    # This process holds torch and its model too, which who runs a graph does not need.
    peak_mib = runner.peak_mib() if isinstance(runner, GraphRunner) else probes.peak_resident_mib() if clean else None
    if peak_mib is not None:
        rows.append(_row("memory/infer_peak_host_mib", peak_mib, "MiB", "lower", name, declared))
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        rows.append(_row("memory/infer_peak_device_mib", peak, "MiB", "lower", name, {**declared, "what": "allocator"}))
    try:
        rows.append(energy_row("energy/infer_joules_per_token", _energy(once, targets.numel(), device), name, declared))
    except meters.NotMeasurable as reason:
        where = f' on target "{name}"' if name else ""
        announce(f"Energy of inference{where} is not measurable on this machine: {reason}.")
    return rows


def _latency(begin: Callable[[], Work], device: torch.device, name: str, declared: Mapping[str, Any]) -> list[ResultRow]:
    """Median and 95th percentile of one next-token step."""
    steps = sorted(_generation_steps(begin, device))
    generation = {**declared, "batch": 1, "length": 1, "steps": len(steps), "what": "one token: carried state, next-token top 1"}
    return [
        _row(key, 1000 * steps[min(len(steps) - 1, int(share * len(steps)))], "ms", "lower", name, generation)
        for key, share in (("latency/p50_ms", 0.5), ("latency/p95_ms", 0.95))
    ]


def _energy(function: Callable[[], Any], tokens: int, device: torch.device) -> energy.Tally:
    """One window of repeats, long enough for the counter, after idle power was measured. Raises meters.NotMeasurable."""
    meter = meters.meter_of(str(device))
    wait_for(device)
    tally = energy.Tally(meter, energy.rest(meter))
    function()
    wait_for(device)
    tally.start(0)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < ENERGY_SECONDS:
        for _ in range(MINIMUM):
            function()
        wait_for(device)
        done += MINIMUM * tokens
    tally.stop(done)
    return tally


def _repeat(function: Callable[[], Any], device: torch.device) -> list[float]:
    """Seconds of each repeat after the warm-up."""
    for _ in range(WARM_UP):
        function()
    seconds: list[float] = []
    while len(seconds) < MINIMUM or sum(seconds) < SECONDS:
        wait_for(device)
        start = time.perf_counter()
        function()
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return seconds


def _generation_steps(begin: Callable[[], Work], device: torch.device) -> list[float]:
    """Seconds of each of LATENCY_STEPS next-token steps that follow a prompt."""
    seconds: list[float] = []
    step = begin()
    for number in range(WARM_UP + LATENCY_STEPS):
        wait_for(device)
        start = time.perf_counter()
        step()
        wait_for(device)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return seconds


def _row(key: str, value: float, unit: str, better: str, target: str = "", detail: Mapping[str, Any] | None = None) -> ResultRow:
    return ResultRow(key=key, value=float(value), unit=unit, better=better, target=target, detail=dict(detail or {}))


if __name__ == "__main__":
    sys.exit(main())
