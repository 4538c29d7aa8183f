"""Where a training step of a run spends its time and its memory, measured in a process of its own.

    python -m engines.runtime.profile --store URL --run ID [--steps N]

It rebuilds the training of the run's plan, warms up, times plain steps with nothing but a clock, counts the work of one step, lets torch's
profiler look at a few, and tells the memory of one apart. Three kinds of step, since each way of looking slows what the others measure; how
much the profiler did is in the profile. It answers with JSON lines on standard output: {"doing": ...}, at the end {"profile": path}, or
{"error": sentence}. It holds the machine's timing lock while it measures, and ends when its standard input ends.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from engines import peaks, probes, roofline
from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.profiling import PROFILE, TRACE, ProfileError, refusal
from engines.runtime import allocated, layertimes, stepwork
from engines.runtime.attribution import Reading
from engines.runtime.failures import first_line
from engines.runtime.finished import FinishedError
from engines.runtime.flops import NOTHING
from engines.runtime.memorylog import context_mib
from engines.runtime.phases import time_steps
from engines.runtime.pipeline import RecipeError
from engines.runtime.plan import PlanError, device_of
from engines.runtime.rehearsal import Rehearsal
from engines.store import commands, queries
from engines.store.database import Store, StoreError
from engines.telling import end_with_input, tell
from engines.timinglock import machine_to_ourselves, who_times

VERSION = 1
WARM_UP_STEPS = 5
PLAIN_SECONDS = 20.0
"""How long the plain steps may take together; there are fewer of them where steps are long."""
PROFILED_STEPS = 3
PROFILED_CALLS = 15_000
"""Operator calls that the profiled steps may have together: about what 5 MB of a packed trace hold. One step is profiled always."""
LOCK_SECONDS = 0.5
LOOK_SECONDS = 0.5
"""How long we hold still, before and after, to see what else the machine does; the busier of both is kept."""

_REQUEST_IS_WRONG = (
    CorpusError, PlanError, RecipeError, UnknownPlugin, BrokenPlugin, FinishedError, ProfileError, StoreError, NotImplementedError,
)  # fmt: skip


def measure(rehearsal: Rehearsal, steps: int, trace: Path, started: float) -> dict[str, Any]:
    """Profile a rehearsal. trace: where the Chrome trace is written, gzip. started: when the work for it began (`time.perf_counter`)."""
    loads = [probes.load_within(LOOK_SECONDS)]
    for _ in range(WARM_UP_STEPS):
        rehearsal.step()
    rehearsal.wait()
    tell(doing="counting work")
    work = stepwork.of_step(rehearsal)
    # Plain steps before and after, so that what drifts meanwhile is not taken for the profiler's doing.
    tell(doing="timing plain steps")
    plain = time_steps(rehearsal, (steps + 1) // 2, PLAIN_SECONDS / 2)
    tell(doing="profiling layers")
    model, training = rehearsal.session.model, rehearsal.plan["training"]
    profiled = max(1, min(PROFILED_STEPS, PROFILED_CALLS // max(1, work.calls)))
    spent, profiled_ms = _profile(rehearsal, profiled, trace)
    tell(doing="timing plain steps again")
    plain += time_steps(rehearsal, steps // 2, PLAIN_SECONDS / 2)
    rows = layertimes.layers(spent, model, profiled)
    for row in rows:
        done = work.modules.get(row["name"], NOTHING)
        row |= {"flops": done.flops, "bytes": done.bytes, "operators": work.started.get(row["name"], 0)}
    tell(doing="telling memory apart")
    reading, facts, unseen_mib = _memory(rehearsal)
    rehearsal.check()
    loads.append(probes.load_within(LOOK_SECONDS))
    known = peaks.stored(probes.fingerprint(probes.machine_facts()), str(rehearsal.device), rehearsal.threads)
    step_ms = plain.facts()
    in_layers = sum(row["forward_ms"] + row["backward_ms"] for row in rows)
    return {
        "version": VERSION, "steps": len(plain.steps), "device": str(rehearsal.device), "threads": rehearsal.threads,
        "batch": training["batch"], "length": training["sequence"], "torch": torch.__version__,
        "dtype": work.dtype, "step_ms": step_ms,
        "profiled": {
            "steps": profiled, "step_ms": profiled_ms, "overhead": profiled_ms / plain.median, "layers_ms": in_layers,
            "rest_ms": layertimes.rest(spent, profiled),
        },
        "layers": rows,
        "operators": layertimes.operators(spent, {name: done.flops for name, done in work.operators.items() if done.flops}, profiled),
        "flame": layertimes.flame(spent, [name for name, module in model.named_modules() if not isinstance(module, nn.ModuleList)], profiled),
        "memory": _memory_facts(reading, facts, unseen_mib),
        "roofline": {"peaks": known, "layers": roofline.rows(rows, known, step_ms=step_ms, dtype=work.dtype)}, "uncounted": work.whole.uncounted,
        "load": max(loads, key=lambda load: load["machine_percent"]),
        "cost": {"seconds": time.perf_counter() - started, "bytes": trace.stat().st_size},
    }  # fmt: skip


def _profile(rehearsal: Rehearsal, steps: int, trace: Path) -> tuple[layertimes.Spent, float]:
    """(what was spent where, milliseconds of a step)."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if rehearsal.device.type == "cuda" else [])
    with layertimes.ranges(rehearsal) as calls:
        rehearsal.wait()
        with profile(activities=activities, record_shapes=True) as seen:
            start = time.perf_counter()
            for _ in range(steps):
                with record_function(layertimes.STEP):
                    rehearsal.step()
            rehearsal.wait()
            milliseconds = 1000 * (time.perf_counter() - start) / steps
    seen.export_chrome_trace(str(trace))
    return layertimes.fold(seen.events(), calls, rehearsal.device), milliseconds


def _memory(rehearsal: Rehearsal) -> tuple[Reading, dict[str, Any], float | None]:
    """Memory of one step, what a run would store of it, and on the CPU the MiB at the peak that operators allocated inside themselves (on a GPU
    that is an owner in the reading)."""
    if rehearsal.device.type != "cpu":
        return *rehearsal.watched_step(), None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        reading, facts = rehearsal.watched_step()
    start = sum(series[0] for series in reading.owners.values())
    return reading, facts, max(0.0, allocated.highest(seen) / probes.MIB - (reading.peak_mib - start))


def _memory_facts(reading: Reading, facts: Mapping[str, Any], unseen_mib: float | None) -> dict[str, Any]:
    peak = {
        "total_mib": reading.peak_mib, "ms": reading.peak_ms, "owners": reading.owners_mib, "other": reading.other_mib, "modules": reading.modules,
        **{key: facts[key] for key in ("resident_peak_mib", "allocated_peak_mib", "reserved_mib") if key in facts},
    }  # fmt: skip
    if unseen_mib is not None:
        peak["unseen_mib"] = unseen_mib
    return {"timeline": reading.timeline(), "phases": reading.phases, "peak": peak}


# --- The run --------------------------------------------------------------------------------------------------------------------------------


def profile_run(store: Store, run_id: int, steps: int, started: float) -> Path:
    """Profile the training of a run that has ended; writes profile.json and the trace into its folder. Raises errors whose text is a sentence."""
    row = queries.run(store, run_id)
    if reason := refusal(row):
        raise ProfileError(reason)
    folder = store.run_folder(run_id)
    with machine_to_ourselves(LOCK_SECONDS, _waiting(), f"the profile of run r{run_id} of {store.place}"):
        tell(doing="preparing corpus and model")
        teachers, plan = queries.needed_models(store, row), queries.plan(store, run_id)
        context = context_mib(device_of(plan["device"]))  # before anything else touches the device
        rehearsal = Rehearsal(plan, row.seed, teachers=teachers, runs=store.runs)
        _check_text(store, run_id, rehearsal)
        fresh = folder / "profile.new"
        fresh.mkdir(parents=True, exist_ok=True)
        found = measure(rehearsal, steps, fresh / TRACE, started)
    if context is not None:
        found["memory"]["peak"]["context_mib"] = context
    (fresh / PROFILE).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    kept = folder / "profile"
    if kept.exists():
        shutil.rmtree(kept)
    os.replace(fresh, kept)
    for kind, name in (("profile", PROFILE), ("trace", TRACE)):
        path = kept / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        commands.add_artifact(store, run_id, kind, kind, path, path.stat().st_size, digest)
    return kept / PROFILE


def _check_text(store: Store, run_id: int, rehearsal: Rehearsal) -> None:
    """A profile on another text than the run's would be one of another model."""
    facts = next((effect.facts for effect in queries.effects(store, run_id) if effect.hook == "conditions"), {})
    if facts.get("corpus", rehearsal.text.fingerprint) != rehearsal.text.fingerprint:
        raise ProfileError(
            f"The corpus has changed since run r{run_id} was trained, so its training cannot be repeated: bring the old text back, or run the "
            "experiment anew and profile that."
        )


def _waiting() -> Any:
    told: list[Path] = []

    def wait(path: Path) -> None:
        if not told:
            told.append(path)
            tell(doing=f"waiting for {who_times() or path}, which is being timed on this machine")

    return wait


def main(argv: list[str] | None = None) -> int:
    started = time.perf_counter()
    parser = argparse.ArgumentParser(prog="engines.runtime.profile")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", type=int, required=True)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args(argv)
    end_with_input()
    try:
        with Store.open(arguments.store) as store:
            tell(profile=str(profile_run(store, arguments.run, arguments.steps, started)))
    except _REQUEST_IS_WRONG as error:
        tell(error=str(error))
        return 2
    except RuntimeError as error:
        # What torch raises where memory runs out or a kernel does not exist on a device.
        tell(error=f"The step of run r{arguments.run} failed: {first_line(error)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
