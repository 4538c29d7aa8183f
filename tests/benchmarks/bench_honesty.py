"""Proof that the comparison is honest: how often its verdicts are wrong where the truth is known.

    python -m tests.benchmarks honesty [speed] [drift] [seeds] [steps] [NUMBER] [launches=N] [rounds=N] [most=N] [keep=FILE]

speed     (a) two identical variants: at most 5 of 100 comparisons call a difference; (b) a slow-down of 5% is found in at least 90 of 100, one
          of 2% is never called faster; (c) the intervals cover the known ratios in at least 90%. The slow-down is exact: the slower variant's
          window holds 105 (102) passes for every 100 that it is credited with.
drift     (d) the same while a load on every core is switched on halfway through each comparison: it moves no verdict.
seeds     (e) quality of two identical variants over 5 seeds each: at most 5 of 100 call a difference. Training so many runs would take days,
          so 40 real short runs are trained once, and each comparison draws 5 against 5 of them.
steps     (a) to (c) with training steps instead of inference; only where it is asked for, since it takes longer.

NUMBER    of comparisons (100; of drift a tenth of it, at least 10).
launches  of both processes in a comparison (8; of drift 16), rounds in each (6; of drift 12).
most      (24; of drift 0) where it is above `launches`: a comparison has more until every interval is as narrow as the margin, as
          `measure.until_narrow` has it.
keep      a file that comparisons are added to and taken from, so that several calls make up the 100: `honesty speed 25 keep=x`, then 50, 75, 100.

Two live processes serve all comparisons, timed, paired and judged as by a timing session: rounds in random order, launched anew within a
comparison. Five comparisons share each launch, which spares hundreds of launches: their errors are alike where processes are lucky, but how
often the verdicts err is not changed by that. There is no third process as control, so nothing widens the margin.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from engines import probes
from engines.judging import Measured, entry
from engines.programmes import INFER, TRAIN
from tests.benchmarks.honesty_rounds import MARGIN, Comparison, Shape, collect, splits
from tests.engines.runtime import session as small

SPEED, DRIFT = Shape(launches=8, rounds=6, most=24), Shape(launches=16, rounds=12)
"""A round of one arm takes some 30 ms and loading two processes 2 to 3 s, which five comparisons share: launches are dear, rounds are cheap."""
RUNS = 40
SEEDS = 5
STEPS = 150


def main(wanted: Sequence[str]) -> int:
    options = dict(word.split("=", 1) for word in wanted if "=" in word)
    parts = [word for word in wanted if not word.isdigit() and "=" not in word] or ["speed", "drift", "seeds"]
    number = next((int(word) for word in wanted if word.isdigit()), 100)
    keep = Path(options.pop("keep")).expanduser() if "keep" in options else None
    known: dict[str, Callable[[], list[bool]]] = {
        "speed": lambda: speed("speed", number, INFER, _shaped(SPEED, options), keep),
        "drift": lambda: drift(max(10, number // 10), _shaped(DRIFT, options), keep),
        "seeds": lambda: seeds(number),
        "steps": lambda: speed("steps", number, TRAIN, _shaped(SPEED, options), keep),
    }
    if unknown := {*(set(parts) - set(known)), *(set(options) - {"launches", "rounds", "most"})}:
        there = ", ".join([*known, "launches=", "rounds=", "most=", "keep="])
        print(f"No part or option named {', '.join(sorted(unknown))}; there are: {there}.", file=sys.stderr)
        return 2
    held = []
    for part in parts:
        start = time.monotonic()
        try:
            held += known[part]()
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        print(f"{part}: {time.monotonic() - start:.0f} s\n", flush=True)
    return 0 if all(held) else 1


def _shaped(usual: Shape, options: Mapping[str, str]) -> Shape:
    return Shape(*(int(options.get(name, getattr(usual, name))) for name in ("launches", "rounds", "most")))


# --- speed ------------------------------------------------------------------------------------------------------------------------------------


def speed(part: str, number: int, key: str, shape: Shape, keep: Path | None) -> list[bool]:
    """(a), (b) and (c), all from the same rounds."""
    truth = {"same": 1.0, "2% slower": 1 / 1.02, "5% slower": 1 / 1.05}
    found = collect(number, key, truth, shape, keep, part)
    number = len(found.comparisons)
    judged = {arm: [comparison.judged(arm, key) for comparison in found.comparisons] for arm in truth}
    _describe(judged, truth, found.comparisons)
    splits(found, "same", shape)
    verdicts = {arm: Counter(each["verdict"] for each in results) for arm, results in judged.items()}
    called = verdicts["same"]["better"] + verdicts["same"]["worse"]
    covered = {arm: sum(each["ratio_low"] <= true <= each["ratio_high"] for each in judged[arm]) for arm, true in truth.items()}
    return [
        _say(f"(a) identical variants: {called} of {number} comparisons call a difference (at most 5%)", called <= 0.05 * number),
        _say(f"(b) 5% slower: found in {verdicts['5% slower']['worse']} of {number} (at least 90%)", verdicts["5% slower"]["worse"] >= 0.9 * number),
        _say(f"(b) 2% slower: called better in {verdicts['2% slower']['better']} of {number} (never)", not verdicts["2% slower"]["better"]),
        _say(f"(c) intervals cover the known ratio: {_listed(covered)} of {number} (at least 90%)", min(covered.values()) >= 0.9 * number),
    ]


def drift(number: int, shape: Shape, keep: Path | None) -> list[bool]:
    """(d): from the middle launch of each comparison on, every core has other work."""
    truth = {"same": 1.0, "5% slower": 1 / 1.05}
    with _load() as switch:
        found = collect(number, INFER, truth, shape, keep, "drift", lambda launch: switch(launch >= shape.launches // 2)).comparisons
    number = len(found)
    judged = {arm: [comparison.judged(arm, INFER) for comparison in found] for arm in truth}
    _describe(judged, truth, found)
    half = shape.launches // 2 * shape.rounds
    pairs = [comparison.figures["same"] for comparison in found]
    slowed = [np.median(_from(base, half)) / np.median(_until(base, half)) for base, _ in pairs]
    apart = [np.median(_from(own, half)) / np.median(_until(base, half)) for base, own in pairs]
    wrong = sum(each["verdict"] in ("better", "worse") for each in judged["same"])
    wrong += sum(each["verdict"] in ("better", "no practical difference") for each in judged["5% slower"])
    undecided = {arm: sum(each["verdict"] == "not enough data" for each in results) for arm, results in judged.items()}
    print(
        f"The load made the baseline {np.median(slowed):.2f} times as fast; identical variants timed one after the other would have differed by "
        f"{100 * (1 - float(np.median(apart))):.0f}%. Undecided: {_listed(undecided)} of {number}."
    )
    return [_say(f"(d) load switched on halfway: {wrong} of {2 * number} verdicts are against the truth (at most 5%)", wrong <= 0.05 * 2 * number)]


@contextmanager
def _load() -> Iterator[Callable[[bool], None]]:
    """Busy processes, one a core, that are asleep until they are switched on."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(probes.usable_cores())]
    known = [psutil.Process(burner.pid) for burner in burners]
    state = [True]

    def switch(on: bool) -> None:
        if on != state[0]:
            for process in known:
                (process.resume if on else process.suspend)()
            state[0] = on

    try:
        switch(False)
        yield switch
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


# --- quality ----------------------------------------------------------------------------------------------------------------------------------


def seeds(number: int) -> list[bool]:
    """(e): real runs that differ in their seed alone, 5 against 5."""
    torch.set_num_threads(1)
    plan = small.plan([{"id": "optimization/adam", "lr": 1e-2}], budget={"steps": STEPS}, measure={"evaluations": 0, "held_out_tokens": 0})
    perplexities = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RUNS):
            trainer = small.trainer(Path(folder) / str(seed), plan, seed)
            trainer.train()
            perplexities.append(trainer.held_out()[0].value)
    spread = float(np.std(np.log(perplexities), ddof=1))
    print(f"{RUNS} runs of {STEPS} steps: perplexity {np.median(perplexities):.1f}, standard deviation over seeds {spread:.2%}")
    draw, called = random.Random(0), Counter[float]()
    for _ in range(number):
        drawn = draw.sample(perplexities, 2 * SEEDS)
        own, base = (Measured("", "lower", dict(enumerate(half))) for half in (drawn[:SEEDS], drawn[SEEDS:]))
        for margin in (MARGIN, 0.0):
            called[margin] += entry("quality/test_perplexity", own, base, margin)["verdict"] in ("better", "worse")
    print(f"Without a margin {called[0.0]} of {number} intervals leave out the truth (5% are meant to).")
    sentence = f"(e) identical variants over {SEEDS} seeds: {called[MARGIN]} of {number} call a difference (at most 5%)"
    return [_say(sentence, called[MARGIN] <= 0.05 * number)]


# --- what is printed --------------------------------------------------------------------------------------------------------------------------


def _describe(judged: Mapping[str, Sequence[Mapping[str, Any]]], truth: Mapping[str, float], found: Sequence[Comparison]) -> None:
    made = sorted(len(comparison.starts) for comparison in found)
    print(f"Launches of a comparison: {made[len(made) // 2]} (median), {made[0]} to {made[-1]}.")
    for arm, results in judged.items():
        off = np.log([each["ratio"] for each in results]) - np.log(truth[arm])
        widths = [each["ratio_high"] / each["ratio_low"] - 1 for each in results]
        verdicts = Counter(each["verdict"] for each in results)
        print(
            f"{arm}: ratio off by {np.sqrt(np.mean(off**2)):.2%} rms, at most {np.abs(off).max():.2%}; intervals {np.median(widths):.1%} wide; "
            f"{', '.join(f'{count} {verdict}' for verdict, count in verdicts.most_common())}"
        )


def _say(sentence: str, holds: bool) -> bool:
    print(f"{sentence}: {'holds' if holds else 'FAILS'}", flush=True)
    return holds


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{arm} {count}" for arm, count in counts.items())


def _until(rounds: Mapping[int, float], half: int) -> list[float]:
    return [value for n, value in rounds.items() if n < half]


def _from(rounds: Mapping[int, float], half: int) -> list[float]:
    return [value for n, value in rounds.items() if n >= half]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
