"""Proof that the comparison is honest: how often its verdicts are wrong where the truth is known.

    python -m tests.benchmarks honesty [speed] [drift] [seeds] [steps] [NUMBER of comparisons, default 100] [launches=NUMBER, default 8]

speed     (a) two identical variants: at most 5 of 100 comparisons call a difference; (b) a slow-down of 5% is found in at least 90 of 100, one
          of 2% is never called faster; (c) the intervals cover the known ratios in at least 90%. The slow-down is exact: the slower variant's
          window holds 105 (102) passes for every 100 that it is credited with.
drift     (d) the same while a load on every core is switched on halfway through each comparison: it moves no verdict.
seeds     (e) quality of two identical variants over 5 seeds each: at most 5 of 100 call a difference. Training so many runs would take days,
          so 40 real short runs are trained once, and each comparison draws 5 against 5 of them.
steps     (a) to (c) with training steps instead of inference; only where it is asked for, since it takes longer.

Two live processes serve all comparisons, timed, paired and judged as by a timing session: rounds in random order, launched anew within a
comparison. Five comparisons share each launch, which spares hundreds of launches: their errors are alike where processes are lucky, but how
often the verdicts err is not changed by that. There is no third process as control, so nothing widens the margin.
"""

from __future__ import annotations

import inspect
import random
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch

from engines import probes, statistics
from engines.judging import Measured, entry
from engines.programmes import INFER, TRAIN
from engines.runtime.finished import save_finished
from engines.runtime.plan import block, plugin, text_of
from engines.stopwatches import Stopwatch, of_model, of_training
from tests.engines.runtime import session as small

if TYPE_CHECKING:
    from collections.abc import Iterator

MARGIN = 0.02
ROUNDS = 48
LAUNCHES = 8
"""A session launches its processes fewer times, but has at least one pair more, the control, to learn from how much launches scatter."""
TOGETHER = 5
"""Comparisons that share the launches of the processes."""
CREDITED = 100
"""Passes that a window is credited with; one of a variant that is slower by 5% holds 105."""
RUNS = 40
SEEDS = 5
STEPS = 150


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


def main(wanted: Sequence[str]) -> int:
    number = next((int(word) for word in wanted if word.isdigit()), 100)
    launches = next((int(word.removeprefix("launches=")) for word in wanted if word.startswith("launches=")), LAUNCHES)
    parts = [word for word in wanted if not word.isdigit() and "=" not in word] or ["speed", "drift", "seeds"]
    known: dict[str, Callable[[int], list[bool]]] = {
        "speed": lambda number: speed(number, INFER, launches), "drift": lambda number: drift(number, launches), "seeds": seeds,
        "steps": lambda number: speed(number, TRAIN, launches),
    }  # fmt: skip
    if unknown := set(parts) - set(known):
        print(f"No part named {', '.join(sorted(unknown))}; there are: {', '.join(known)}.", file=sys.stderr)
        return 2
    held = []
    for part in parts:
        start = time.monotonic()
        held += known[part](number)
        print(f"{part}: {time.monotonic() - start:.0f} s\n", flush=True)
    return 0 if all(held) else 1


# --- speed ------------------------------------------------------------------------------------------------------------------------------------


def speed(number: int, key: str, launches: int) -> list[bool]:
    """(a), (b) and (c), all from the same rounds."""
    truth = {"same": 1.0, "2% slower": 1 / 1.02, "5% slower": 1 / 1.05}
    found = _measure(number, key, truth, launches)
    judged = {arm: [comparison.judged(arm, key) for comparison in found] for arm in truth}
    _describe(judged, truth)
    verdicts = {arm: Counter(each["verdict"] for each in results) for arm, results in judged.items()}
    called = verdicts["same"]["better"] + verdicts["same"]["worse"]
    covered = {arm: sum(each["ratio_low"] <= true <= each["ratio_high"] for each in judged[arm]) for arm, true in truth.items()}
    return [
        _say(f"(a) identical variants: {called} of {number} comparisons call a difference (at most 5%)", called <= 0.05 * number),
        _say(f"(b) 5% slower: found in {verdicts['5% slower']['worse']} of {number} (at least 90%)", verdicts["5% slower"]["worse"] >= 0.9 * number),
        _say(f"(b) 2% slower: called better in {verdicts['2% slower']['better']} of {number} (never)", not verdicts["2% slower"]["better"]),
        _say(f"(c) intervals cover the known ratio: {_listed(covered)} of {number} (at least 90%)", min(covered.values()) >= 0.9 * number),
    ]


def drift(number: int, launches: int) -> list[bool]:
    """(d): from the middle round of each comparison on, every core has other work."""
    truth = {"same": 1.0, "5% slower": 1 / 1.05}
    with _load() as switch:
        found = _measure(number, INFER, truth, launches, lambda n: switch(n >= ROUNDS // 2))
    judged = {arm: [comparison.judged(arm, INFER) for comparison in found] for arm in truth}
    _describe(judged, truth)
    half = ROUNDS // 2
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


def _measure(number: int, key: str, truth: Mapping[str, float], launches: int, before: Callable[[int], None] = lambda n: None) -> list[Comparison]:
    """The rounds of so many comparisons. before: is told the number of each round."""
    passes = {arm: (CREDITED, round(CREDITED / true)) for arm, true in truth.items()}
    order = random.Random(0)
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder))
        arguments = of_model(model, {}) if key == INFER else of_training(model, 0, {})
        while len(found) < number:
            batch = [Comparison() for _ in range(min(TOGETHER, number - len(found)))]
            for launch in range(launches):
                with ExitStack() as stack:
                    workers = [stack.enter_context(Stopwatch(arguments, Path(folder) / "log")) for _ in range(2)]
                    for worker in workers:
                        worker.loaded()
                        worker.ask(warm=True)
                    for comparison in batch:
                        first, last = (ROUNDS * each // launches for each in (launch, launch + 1))
                        comparison.starts.append(first)
                        for n in range(first, last):
                            before(n)
                            # Each arm has turns of both processes, so that neither finds the caches warmer than the other.
                            for arm in order.sample(list(passes), len(passes)):
                                sides = comparison.figures.setdefault(arm, ({}, {}))
                                for side in order.sample((0, 1), 2):
                                    rate = workers[side].ask(turn={key: passes[arm][side]})[key]
                                    sides[side][n] = rate * CREDITED / passes[arm][side]
            found += batch
            print(f"  {len(found)} of {number} comparisons", flush=True)
    return found


def _model(folder: Path) -> Path:
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


def _describe(judged: Mapping[str, Sequence[Mapping[str, Any]]], truth: Mapping[str, float]) -> None:
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
