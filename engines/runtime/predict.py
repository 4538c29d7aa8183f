"""What training a plan will take on this machine, told before it is trained: operations, memory, and the time of a step.

    python -m engines.runtime.predict [REQUEST]
    {"plan": {...}, "teachers": {variant: folder}, "plans": {variant: plan}, "prepared": true, "considerate": true, "runs": folder}

A process of its own, as fresh as a run's, which is given or reads the request and prints one line of JSON: {"answer": ...} or {"error":
sentence}. teachers: finished models that the recipe reads; plans: of variants that are not trained yet, whose untrained models stand in;
prepared: the corpus is known to be prepared, so read it; considerate: not while something is timed. All but the plan may be missing.

It tries the recipe out: a few steps of the training loop itself, hooks and optimiser included, and a look at held-out text, on random words as
frequent as in the text. Of one step every operator's operations and bytes are noted, of another what its tensors hold at the peak and to whom
it belongs, of some the time and the memory of the process. Where a full batch would be too much work, two smaller ones are tried instead and
continued in a straight line: all of it is about linear in the rows.

A run on a GPU is tried there, with the workspaces that kernels and libraries take. Where that has no room for it now, or is none that torch
counts the memory of, it is tried on the CPU all the same, for what it counts; its memory is then that of the tensors alone, and the time of a
step follows from the device's roofline,

    sum over operators of max(operations / peak, bytes / bandwidth, time to start one)                            (1)

What could not be found out is absent, and `missing` says why.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from engines import peaks, probes, roofline
from engines.api import Corpus, Text
from engines.runtime.attribution import Reading
from engines.runtime.failures import first_line
from engines.runtime.finished import load_finished
from engines.runtime.flops import Operation, counting
from engines.runtime.heldout import EVALUATION_BATCH
from engines.runtime.plan import device_of, plugin, text_of, threads_of
from engines.runtime.rehearsal import Rehearsal
from engines.runtime.sketch import assemble, sketch, stand_in
from engines.runtime.work import of_scoring
from engines.timinglock import is_timing

AFFORDABLE_TOKENS = 2048
"""Tokens of a batch that is tried as it is; of a larger one two cuts of its rows are."""
AFFORDABLE_FLOPS = 30_000_000_000
"""Operations of a step that is tried, at 6 a parameter and token."""
GPU_TOKENS, GPU_FLOPS = 32_768, 3_000_000_000_000
"""The same on a GPU."""
LARGEST = 50_000_000
"""Parameters up to which steps are tried."""
TIMED_STEPS = 4
HELD_OUT_BATCHES = 4
"""Of one look at held-out text."""
STRETCHES = 3
"""Looks at held-out text with steps after each: what an allocator keeps grows with the first few."""
STEPS = 2 + TIMED_STEPS + 2 * STRETCHES + 1
"""Of one trial: the optimiser makes its state, one counted, some timed, two after each look at held-out text, one watched."""


class CannotPredict(ValueError):
    """Nothing can be said about this plan before it runs; the message says why."""


@dataclass(frozen=True)
class Trial:
    """What steps of `rows` rows took. step_s: the fastest. resident_mib: of the process at its highest, None where the system cannot tell;
    allocated_mib: of a GPU's allocator, likewise."""

    rows: int
    tokens: int
    operations: list[Operation]
    step_s: float
    memory: Reading
    resident_mib: float | None
    allocated_mib: float | None
    parameters: int
    scoring_flops: float
    """Operations of scoring one token."""


def predict(
    plan: Mapping[str, Any], teachers: Mapping[str, nn.Module] | None = None, text: Text | None = None, runs: Path | None = None
) -> dict[str, Any]:
    """{"parameters", "flops_per_token", "train_peak_mib", "memory_mib": {"process" on the CPU, the owners of a reading of memory}, "modules":
    [{"name", "owners_mib": {owner: MiB}}], "step_ms", "roofline_ms", "bounds": {"compute", "memory", "launch": share of roofline_ms},
    "training_flops_per_token", "training_bytes_per_token", "tried_rows", "tried_on", "missing": [sentence]}; what is not known is absent.

    parameters, flops_per_token: of the model while it trains, scoring one token. train_peak_mib: of the host for a run on the CPU, of the
    allocator for one on a GPU. modules: whose the memory is at that moment, as in a reading; they sum to the owners of memory_mib, which beside
    them has the process alone. teachers: models that techniques of the recipe read. text: the prepared corpus; without it random words of a
    vocabulary of its size stand in. runs: folder of the runs of the store, where a recipe names one.
    Raises CannotPredict, and what building the model raises.
    """
    batch, length = int(plan["training"]["batch"]), int(plan["training"]["sequence"])
    size = sum(p.numel() for p in sketch(plan).model.parameters())
    if size > LARGEST:
        raise CannotPredict(f"The model has {size:,} parameters; steps are tried out up to {LARGEST:,}.")
    assumed = False
    if text is None:
        text, assumed = stand_in(cast(Corpus, plugin(plan["corpus"])))
        text = _words(text, max(2 * STEPS * batch, HELD_OUT_BATCHES * EVALUATION_BATCH) * (length + 1) + 1)
    missing = ["The vocabulary's size is assumed: the text was never read."] if assumed else []
    device, threads = device_of(plan["device"]), threads_of(plan.get("threads"))
    trials, where = _trials(plan, text, size, teachers, device, runs, missing)

    def at_batch(figure: Callable[[Trial], float]) -> float:
        """A figure of the trials, continued to the rows of the batch."""
        last = figure(trials[-1])
        if len(trials) == 1:
            return last
        slope = (last - figure(trials[0])) / (trials[-1].rows - trials[0].rows)
        return last + slope * (batch - trials[-1].rows)

    tokens = at_batch(lambda trial: trial.tokens)
    owners = {owner: max(0.0, at_batch(lambda trial, owner=owner: trial.memory.owners_mib[owner])) for owner in trials[0].memory.owners_mib}  # type: ignore[misc]
    answer: dict[str, Any] = {
        "parameters": trials[-1].parameters, "flops_per_token": trials[-1].scoring_flops,
        "training_flops_per_token": at_batch(lambda trial: sum(done.executed_flops for done in trial.operations)) / tokens,
        "training_bytes_per_token": at_batch(lambda trial: sum(done.bytes for done in trial.operations)) / tokens,
        "memory_mib": owners, "modules": _modules(trials, owners, at_batch),
        "tried_rows": [trial.rows for trial in trials], "tried_on": str(where), "missing": missing,
    }  # fmt: skip
    tensors = at_batch(lambda trial: trial.memory.peak_mib)
    if trials[-1].allocated_mib is not None:
        answer["train_peak_mib"] = at_batch(lambda trial: trial.allocated_mib or 0.0)
    elif device.type != "cpu":
        answer["train_peak_mib"] = tensors
    elif trials[-1].resident_mib is not None:
        answer["train_peak_mib"] = at_batch(lambda trial: trial.resident_mib or 0.0)
        answer["memory_mib"] = {"process": max(0.0, answer["train_peak_mib"] - tensors), **owners}
    known = peaks.stored(probes.fingerprint(probes.machine_facts()), str(device), threads)
    if known is not None:
        bounds = {bound: at_batch(lambda trial, bound=bound: _seconds(trial.operations, known)[bound]) for bound in _BOUNDS}  # type: ignore[misc]
        least = sum(bounds.values())
        answer |= {"roofline_ms": 1e3 * least, "bounds": {bound: seconds / least for bound, seconds in bounds.items()}}
    if where.type == device.type:
        answer["step_ms"] = 1e3 * at_batch(lambda trial: trial.step_s)
    elif known is not None:
        answer["step_ms"] = answer["roofline_ms"]
    if known is None:
        place = f"the CPU at {threads} thread{'s' if threads > 1 else ''}" if device.type == "cpu" else str(device)
        missing.append(f"The peaks of {place} were never measured, so there is no roofline: {peaks.HOW} does it.")
    return answer


_BOUNDS: tuple[roofline.Bound, ...] = ("compute", "memory", "launch")


def _modules(trials: list[Trial], owners: Mapping[str, float], at_batch: Callable[[Callable[[Trial], float]], float]) -> list[dict[str, Any]]:
    """The owners of each module. Where two readings peaked at different moments the line of one module may fall below zero: it has nothing then,
    and the others of the owner are scaled to what that has in all."""
    held = {trial.rows: {row["name"]: row["owners_mib"] for row in trial.memory.modules} for trial in trials}
    found: dict[str, dict[str, float]] = {name: {} for each in held.values() for name in each}

    def mib(name: str, owner: str) -> float:
        return max(0.0, at_batch(lambda trial: held[trial.rows].get(name, {}).get(owner, 0.0)))

    for owner, whole in owners.items():
        own = {name: mib(name, owner) for name in found}
        total = sum(own.values())
        for name, part in own.items():
            if part and whole:
                found[name][owner] = part * whole / total
    return [{"name": name, "owners_mib": own} for name, own in found.items() if own]


def _cuts(batch: int, length: int, parameters: int, where: torch.device) -> list[int]:
    """Rows of the batches that are tried: the whole, or two cuts of it."""
    most, operations = (AFFORDABLE_TOKENS, AFFORDABLE_FLOPS) if where.type == "cpu" else (GPU_TOKENS, GPU_FLOPS)
    tokens = min(most, operations // (6 * max(1, parameters)))
    if batch * length <= tokens or batch < 3:
        return [batch]
    rows = max(1, min(batch // 3, tokens // (2 * length)))
    return [rows, 2 * rows]


def _trials(
    plan: Mapping[str, Any], text: Text, parameters: int, teachers: Mapping[str, nn.Module] | None, device: torch.device, runs: Path | None,
    missing: list[str],
) -> tuple[list[Trial], torch.device]:  # fmt: skip
    """What was tried, and where: on the device of the run where that is a GPU with room for it, else on the CPU; why not is put into `missing`."""
    batch, length = int(plan["training"]["batch"]), int(plan["training"]["sequence"])
    cpu = torch.device("cpu")
    if device.type == "cuda":
        try:
            return [_trial(plan, text, rows, teachers, device, runs) for rows in _cuts(batch, length, parameters, device)], device
        except torch.OutOfMemoryError as error:
            missing.append(f"{device} has no room to try it out now ({first_line(error)}), so memory is that of the tensors alone.")
            torch.cuda.empty_cache()
    return [_trial(plan, text, rows, teachers, cpu, runs) for rows in _cuts(batch, length, parameters, cpu)], cpu


def _trial(plan: Mapping[str, Any], text: Text, rows: int, teachers: Mapping[str, nn.Module] | None, where: torch.device, runs: Path | None) -> Trial:
    length = int(plan["training"]["sequence"])
    measure = {**plan["measure"], "held_out_tokens": HELD_OUT_BATCHES * EVALUATION_BATCH * length}
    smaller = {**plan, "training": {**plan["training"], "batch": rows}, "measure": measure}
    made = Rehearsal(smaller, teachers={name: model.to(where) for name, model in (teachers or {}).items()}, text=text, device=str(where), runs=runs)
    made.step()
    operations: list[Operation] = []
    with counting(operations.append):
        tokens = made.step()
    # One thread's own time leaves out what other work on the machine takes from it; of several it would be the sum.
    clock = time.process_time if made.threads == 1 and where.type == "cpu" else time.perf_counter
    seconds = []
    for _ in range(TIMED_STEPS):
        made.wait()
        start = clock()
        made.step()
        made.wait()
        seconds.append(clock() - start)
    residents = [_resident_mib(made) for _ in range(STRETCHES)]
    known = [mib for mib in residents if mib is not None]
    memory, facts = made.watched_step()
    model: Any = made.session.model.eval()
    # As many rows as evaluation takes at once: texts are padded to the longest among them.
    inputs, targets = made.session.task.held_out(text, rows, length)
    _, scoring = of_scoring(model, inputs.to(where), targets.to(where))
    size = sum(p.numel() for p in model.parameters())
    return Trial(
        rows, tokens, operations, min(seconds), memory, max(known, default=None), facts.get("allocated_peak_mib"), size,
        scoring.flops / targets.numel(),
    )  # fmt: skip


def _resident_mib(made: Rehearsal) -> float | None:
    """The highest of the process in two steps after held-out text, for what that leaves in the allocator is there when training goes on; None
    where the system cannot tell."""
    made.session.held_out()
    clean = probes.reset_peak()
    made.step()
    made.step()
    return probes.peak_resident_mib() if clean else None


def _words(text: Text, tokens: int) -> Text:
    """Random words with the frequencies of the vocabulary, in every split."""
    counts = np.asarray(text.vocabulary.counts, dtype=np.float64)
    ids = np.random.default_rng(0).choice(len(counts), tokens, p=counts / counts.sum())
    return replace(text, splits=dict.fromkeys(text.splits, ids), character_ends=dict.fromkeys(text.splits, np.arange(1, tokens + 1)))


def _seconds(operations: list[Operation], known: Mapping[str, Any]) -> dict[roofline.Bound, float]:
    """(1), by what bounds each operator."""
    total: dict[roofline.Bound, float] = dict.fromkeys(_BOUNDS, 0.0)
    for done in operations:
        bounds = roofline.least_seconds(done.executed_flops, done.bytes, 1, known, done.dtype)
        bound = max(bounds, key=lambda name: bounds[name])
        total[bound] += bounds[bound]
    return total


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.predict")
    parser.add_argument("request", nargs="?", help="JSON; else one line of standard input")
    request = parser.parse_args(argv).request
    # A run's process holds these too.
    import engines.runtime.worker  # noqa: F401
    from engines.runtime.inspector import sentence

    asked = json.loads(request or sys.stdin.readline())
    plan = asked["plan"]
    try:
        if asked.get("considerate") and is_timing():
            raise CannotPredict("Something is being timed on this machine; nothing is tried out beside it.")
        teachers = {name: cast(nn.Module, load_finished(Path(folder)).model) for name, folder in asked.get("teachers", {}).items()}
        read = {value for technique in plan["techniques"] for value in technique.values() if isinstance(value, str)}
        for name in read & set(asked.get("plans", {})) - set(teachers):
            teachers[name] = assemble(asked["plans"][name], "cpu").model.eval().requires_grad_(False)
        text = text_of(cast(Corpus, plugin(plan["corpus"])), lambda _: None) if asked.get("prepared") else None
        probes.release_memory()
        answer: dict[str, Any] = {"answer": predict(plan, teachers, text, Path(asked["runs"]) if asked.get("runs") else None)}
    except Exception as error:  # noqa: BLE001  plugin code may raise anything: who asked has to see it
        answer = {"error": sentence(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
