"""Comparisons of two equal processes for the honesty benchmark: measured in interleaved rounds, kept in a file, judged as a session is."""

from __future__ import annotations

import inspect
import json
import random
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from engines import statistics
from engines.judging import Measured, entry
from engines.programmes import INFER
from engines.runtime.finished import save_finished
from engines.runtime.plan import block, plugin, text_of
from engines.stopwatches import Stopwatch, of_model, of_training
from tests.engines.runtime import session as small

MARGIN = 0.02
TOGETHER = 5
"""Comparisons that share the launches of the processes."""
CREDITED = 100
"""Passes that a window is credited with; one of a variant that is slower by 5% holds 105."""


@dataclass(frozen=True)
class Shape:
    """launches: of both processes, at least; most: at most, where more are made until every interval is as narrow as the margin; rounds: in each."""

    launches: int
    rounds: int
    most: int = 0


@dataclass
class Comparison:
    """Figures of one comparison: arm -> (round -> tokens/s of the baseline, round -> tokens/s of the variant)."""

    figures: dict[str, tuple[dict[int, float], dict[int, float]]] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)

    def judged(self, arm: str, key: str) -> dict[str, Any]:
        """The object of the comparison for an arm, by the way that a stored session takes."""
        base, own = self.figures[arm]
        between = statistics.between_launches([statistics.paired(own, base)], self.starts)
        sides = [Measured("tokens/s", "higher", {}, rounds, {}, 1, between) for rounds in (own, base)]
        return entry(key, *sides, MARGIN)

    def is_narrow(self) -> bool:
        """Whether the interval of every arm is narrower than the margin: what lets a session end."""
        found = [self.judged(arm, INFER) for arm in self.figures]
        return all(each["ratio_low"] is not None and each["ratio_high"] / each["ratio_low"] <= 1 + MARGIN for each in found)

    def scatter(self, arm: str) -> tuple[float, float]:
        """Mean square of rounds within launches and of the means of launches, of the log-ratios (one-way analysis of variance)."""
        base, own = self.figures[arm]
        pair = statistics.paired(own, base)
        edges = [*self.starts, len(pair)]
        launches = [np.array([pair[n] for n in range(*each)]) for each in pairwise(edges)]
        means = np.array([launch.mean() for launch in launches])
        within = np.mean([launch.var(ddof=1) for launch in launches]) if launches[0].size > 1 else float("nan")
        return float(within), float(means.var(ddof=1))


@dataclass
class Collected:
    """Comparisons, and the seconds that it took to load both processes and to make one round of one arm, by set."""

    comparisons: list[Comparison] = field(default_factory=list)
    load_s: list[float] = field(default_factory=list)
    round_s: list[float] = field(default_factory=list)


def collect(
    number: int, key: str, truth: Mapping[str, float], shape: Shape, keep: Path | None, part: str,
    before: Callable[[int], None] = lambda launch: None,
) -> Collected:  # fmt: skip
    """So many comparisons, those of earlier calls that the file holds among them. before: is told the number of each launch.

    keep: one line of JSON for each set of comparisons that share their launches; what was measured otherwise is refused (ValueError).
    """
    asked = {"part": part, "key": key, "arms": list(truth), "launches": shape.launches, "rounds": shape.rounds, "most": shape.most}
    found = _kept(keep, asked)
    if found.comparisons:
        print(f"  {len(found.comparisons)} comparisons of earlier calls in {keep}")
    with tempfile.TemporaryDirectory() as folder:
        model = small_model(Path(folder))
        arguments = of_model(model, {}) if key == INFER else of_training(model, 0, {})
        while (have := len(found.comparisons)) < number:
            begun = time.monotonic()
            batch, load_s, round_s = _batch(arguments, key, truth, shape, Path(folder) / "log", min(TOGETHER, number - have), before)
            _add(found, batch, load_s, round_s)
            load = psutil.getloadavg()[0]
            launches = max(len(each.starts) for each in batch)
            print(
                f"  {len(found.comparisons)} of {number} comparisons, {launches} launches in {time.monotonic() - begun:.0f} s "
                f"({load_s:.1f} s to load, {round_s:.2f} s a round), load {load:.1f}",
                flush=True,
            )
            if keep is not None:
                row = asked | {"load_1": load, "load_s": load_s, "round_s": round_s, "comparisons": [_record(each) for each in batch]}
                with keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    return found


def _batch(
    arguments: Sequence[str], key: str, truth: Mapping[str, float], shape: Shape, log: Path, size: int, before: Callable[[int], None]
) -> tuple[list[Comparison], float, float]:
    """Comparisons that share their launches, and the median seconds to load both processes and to make one round of one arm."""
    passes = {arm: (CREDITED, round(CREDITED / true)) for arm, true in truth.items()}
    order = random.Random()
    batch = [Comparison() for _ in range(size)]
    loads, rounds = [], []
    for launch in range(max(shape.launches, shape.most)):
        if launch >= shape.launches and all(comparison.is_narrow() for comparison in batch):
            break
        before(launch)
        with ExitStack() as stack:
            begun = time.monotonic()
            workers = [stack.enter_context(Stopwatch(arguments, log)) for _ in range(2)]
            for worker in workers:
                worker.loaded()
            for worker in workers:
                worker.ask(warm=True)
            loads.append(time.monotonic() - begun)
            begun = time.monotonic()
            open_ones = [each for each in batch if launch < shape.launches or not each.is_narrow()]
            for comparison in open_ones:
                comparison.starts.append(launch * shape.rounds)
                for n in range(launch * shape.rounds, (launch + 1) * shape.rounds):
                    # Each arm has turns of both processes, so that neither finds the caches warmer than the other.
                    for arm in order.sample(list(passes), len(passes)):
                        sides = comparison.figures.setdefault(arm, ({}, {}))
                        for side in order.sample((0, 1), 2):
                            rate = workers[side].ask(turn={key: passes[arm][side]})[key]
                            sides[side][n] = rate * CREDITED / passes[arm][side]
            rounds.append((time.monotonic() - begun) / (len(open_ones) * shape.rounds * len(passes)))
    return batch, float(np.median(loads)), float(np.median(rounds))


def splits(found: Collected, arm: str, shape: Shape) -> None:
    """Print how much launches and rounds scatter, and what other splits of the same time would have given for a comparison by itself."""
    within, between = (float(np.median(values)) for values in zip(*(each.scatter(arm) for each in found.comparisons), strict=True))
    load_s, round_s = float(np.median(found.load_s)), float(np.median(found.round_s))
    if not np.isfinite(within):
        return
    luck = max(0.0, between - within / shape.rounds)
    print(f"A round scatters by {np.sqrt(within):.2%}, a launch by {np.sqrt(luck):.2%} besides (medians over comparisons).")
    time_s = float(np.median([len(each.starts) for each in found.comparisons])) * (load_s + shape.rounds * round_s)
    told = []
    for rounds in (1, 2, 3, 6, 12):
        launches = int(time_s / (load_s + rounds * round_s))
        if launches > 1:
            half = statistics.student_quantile(0.975, launches - 1) * np.sqrt((luck + within / rounds) / launches)
            told.append(f"{launches} of {rounds}: {half:.2%}")
    print(f"Half an interval by launches and rounds in each, in the same {time_s:.0f} s of a session: {', '.join(told)}.")


def _add(found: Collected, batch: Sequence[Comparison], load_s: float, round_s: float) -> None:
    found.comparisons += batch
    found.load_s.append(load_s)
    found.round_s.append(round_s)


def _record(comparison: Comparison) -> dict[str, Any]:
    return {"starts": comparison.starts, "figures": {arm: [list(side.values()) for side in sides] for arm, sides in comparison.figures.items()}}


def _kept(keep: Path | None, asked: Mapping[str, Any]) -> Collected:
    found = Collected()
    for line in keep.read_text(encoding="utf-8").splitlines() if keep is not None and keep.exists() else ():
        row = json.loads(line)
        if (row["part"], row["key"]) != (asked["part"], asked["key"]):
            continue
        if other := {name: row[name] for name in asked if row[name] != asked[name]}:
            raise ValueError(f"{keep} holds comparisons that were made otherwise ({other}): name another file.")
        batch = []
        for each in row["comparisons"]:
            sides = {arm: (dict(enumerate(base)), dict(enumerate(own))) for arm, (base, own) in each["figures"].items()}
            batch.append(Comparison(sides, each["starts"]))
        _add(found, batch, row["load_s"], row["round_s"])
    return found


def small_model(folder: Path) -> Path:
    """The folder of a small finished LSTM, untrained: its speed is that of a trained one."""
    source = folder / "source.txt"
    source.write_text(inspect.getsource(textwrap) * 4, encoding="utf-8")
    plan = small.plan([{"id": "optimization/sgd", "lr": 0.01}]) | {
        "corpus": {"id": "corpora/text_files", "train": str(source)}, "training": {"batch": 4, "sequence": 8},
    }  # fmt: skip
    text = text_of(plugin(plan["corpus"]), lambda _: None)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = plugin(plan["task"]).assemble(plan["model"], block, text, 8)  # type: ignore[attr-defined]
    save_finished(model, plan, [], folder / "model", text.fingerprint)
    return folder / "model"
