"""Output layers for a large vocabulary against the full softmax: steps, heads alone, memory, exact rivals, and quality at equal tokens.

Every part is one interleaved run: each round gives every arm one step, in random order; a figure is the median of the paired ratios of the
rounds with its interval (engines.statistics), and a reach holds where the whole interval clears it. Optimiser, tying and sparsity stand in each
arm's line.

    python -m tests.benchmarks heads [PART ...] [threads=N] [rounds=N]
    python -m tests.benchmarks heads quality [seeds=5] [tokens=300000] [jobs=N] [store=URL]      goes on where it was stopped; nothing is timed
    python -m tests.benchmarks heads table               every part with a reach, word vectors against gensim among them, as one table

Without a part all but quality, words and table are run. The table reads what `quality` has kept, and takes about ten minutes without it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines import catalogue
from engines.api import Site
from engines.probes import load_facts, usable_cores
from engines.runtime import allocated
from engines.runtime.plan import block, corpus_folder
from engines.runtime.study import measure, study_of
from engines.statistics import FEWEST_ROUNDS, median_interval, median_ratio
from engines.toolbox import trials
from plugins.studies.head_vocabulary import training
from tests.benchmarks import bench_words
from tests.benchmarks.output_layers import (
    ADAM_ARMS,
    ADAPTIVE,
    BATCH,
    CHUNKED,
    CHUNKED_TABLES,
    CPU,
    FULL,
    HYBRID,
    LENGTH,
    MEMORY_ARMS,
    SGD_ARMS,
    WIDTH,
    Alone,
    Arm,
    Training,
    corpus,
    size_of,
    there,
)  # fmt: skip
from tests.benchmarks.perplexities import quality
from tests.benchmarks.rounds import SECONDS, Line, exactly, held, interleaved, line, table, words

MIB = 2**20
SEARCH = "studies/prediction_search"
ROUNDS = 12
TABLE = ("sgd", "adam", "head_adam", "memory", "chunked", "wrapper", "preview", "words")
"""Parts of the table, beside what `quality` kept."""


def tell_speeds(title: str, arms: Sequence[Arm], taken: Mapping[str, Sequence[float]]) -> list[Line]:
    first, lines = arms[0].name, []
    for arm in arms:
        median = median_interval(taken[arm.name])
        ratio = median_ratio(taken[first], taken[arm.name])
        how = f"{arm.state}; {len(taken[arm.name])} rounds"
        beside = "" if arm.name == first else f"{words(ratio)} as fast  {held(ratio, arm.reach)}"
        print(f"  {arm.name:<34} {1000 * median.value:8.1f} ms  {beside:<54} ({how})", flush=True)
        if arm.name != first:
            lines.append(line(f"{title}: {arm.name} ({how})", ratio, arm.reach))
    return lines


def steps(title: str, arms: Sequence[Arm], rounds: int) -> list[Line]:
    text = corpus()
    print(f"{title}: 2-layer LSTM {WIDTH}, batch {BATCH}, length {LENGTH}, {size_of(text.vocabulary)}")
    arms = there(arms)
    trainings = {arm.name: Training(arm, text) for arm in arms}
    taken = interleaved({name: training.step for name, training in trainings.items()}, rounds)
    lines = tell_speeds(title, arms, taken)
    wrong = [name for name, training in trainings.items() if not np.isfinite(training.losses).all()]
    if wrong:
        raise SystemExit(f"The loss of {', '.join(wrong)} was no number.")
    return lines


def head_alone(title: str, arms: Sequence[Arm], rounds: int) -> list[Line]:
    """Loss, gradients and update of the head by itself."""
    vocabulary = corpus().vocabulary
    print(f"{title}: {BATCH * LENGTH} tokens, D = {WIDTH}, {size_of(vocabulary)}")
    arms = there(arms)
    return tell_speeds(title, arms, interleaved({arm.name: Alone(arm, vocabulary).step for arm in arms}, rounds))


def memory() -> list[Line]:
    text = corpus()
    print(f"peak memory of a step (weights, state, gradients, scores; by torch's allocator): {size_of(text.vocabulary)}")
    arms, peaks, lines = there(MEMORY_ARMS), {}, []
    for arm in arms:
        training = Training(arm, text)
        for _ in range(2):
            training.step()
        peaks[arm.name] = training.resting_bytes() + allocated.highest_of(training.step, CPU)
        ratio = peaks[arm.name] / peaks[arms[0].name]
        verdict = held(exactly(ratio), arm.reach, below=True)
        print(f"  {arm.name:<34} {peaks[arm.name] / MIB:8.1f} MiB  {ratio:.3g}x  {verdict}  ({arm.state}; one step)", flush=True)
        if arm.name != arms[0].name:
            lines.append(line(f"peak memory of the step: {arm.name} ({arm.state})", exactly(ratio), arm.reach, below=True))
    return lines


def wrapper(rounds: int) -> list[Line]:
    """Our adaptive head against the module of torch that holds its weights."""
    vocabulary = corpus().vocabulary
    print(f"adaptive head against bare AdaptiveLogSoftmaxWithLoss, loss and gradients: {BATCH * LENGTH} tokens, D = {WIDTH}, {size_of(vocabulary)}")
    ours = Alone(Arm("adaptive", ADAPTIVE), vocabulary)
    bare = ours.head.softmax

    def step(loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def call() -> None:
            loss().backward()  # type: ignore[no-untyped-call]
            ours.head.zero_grad(set_to_none=True)
            ours.hidden_ND.grad = None

        return call

    taken = interleaved(
        {
            "ours": step(lambda: ours.head.loss(ours.hidden_ND, ours.target_N) / len(ours.target_N)),
            "bare": step(lambda: bare(ours.hidden_ND, ours.target_N).loss),
        },
        max(rounds, 200), 30.0,
    )  # fmt: skip
    found = median_ratio(taken["bare"], taken["ours"])
    milliseconds = {name: 1000 * float(np.median(seconds)) for name, seconds in taken.items()}
    both = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in milliseconds.items())
    print(f"  {both}: ours {words(found)} as fast  {held(found, 0.98)}  ({found.n} rounds)")
    return [line(f"adaptive against bare AdaptiveLogSoftmaxWithLoss, loss and gradients ({found.n} rounds)", found, 0.98)]


def chunked() -> list[Line]:
    """Exact rivals that never hold all scores: memory and time of loss and gradients, V = 49,152, N = 2,048, D = 576."""
    size, tokens, width = 49_152, 2048, 576
    arms = there([Arm("full", FULL), *(Arm(f"chunked, {name}", CHUNKED | table) for name, table in CHUNKED_TABLES.items())])
    print(f"exact loss and gradients in chunks: N = {tokens:,}, D = {width}, V = {size:,}")
    site = Site(width, trials.zipf_vocabulary(size), LENGTH)
    torch.manual_seed(0)
    hidden_ND, target_N = torch.randn(tokens, width).requires_grad_(), torch.randint(size, (tokens,))
    heads: dict[str, Any] = {arm.name: block(arm.head).build(site) for arm in arms}
    calls = {}
    for name, head in heads.items():
        head.load_state_dict(heads["full"].state_dict())
        calls[name] = training(head, hidden_ND, target_N)
    values: dict[str, float] = {}
    weights = sum(p.nbytes for p in heads["full"].parameters()) + hidden_ND.nbytes
    # What is left when the gradients of weights and hidden states, which every arm has to hand out, are taken off.
    extra = {
        name: allocated.highest_of(lambda name=name, call=call: values.update({name: float(call())}), CPU) - weights  # type: ignore[misc]
        for name, call in calls.items()
    }
    taken = interleaved(calls, 8, 110.0, warm=False)
    lines = []
    for arm in arms:
        ratio = median_ratio(taken[arm.name], taken["full"])
        memory = extra[arm.name] / extra["full"]
        verdict = f"{held(exactly(memory), 0.25, below=True)}; time {words(ratio)}  {held(ratio, 1.0, below=True)}"
        verdict = "" if arm.name == "full" else verdict
        print(
            f"  {arm.name:<34} {np.median(taken[arm.name]):6.2f} s, extra memory {extra[arm.name] / MIB:7.1f} MiB  {memory:.3g}x  {verdict}  "
            f"(loss {values[arm.name]:.4f}, untied, dense, no optimizer; {ratio.n} rounds)", flush=True,
        )  # fmt: skip
        if arm.name != "full":
            lines.append(line(f"{arm.name}, N = {tokens:,}, D = {width}: extra memory of the loss", exactly(memory), 0.25, below=True))
            lines.append(line(f"{arm.name}, the same: its time ({ratio.n} rounds)", ratio, 1.0, below=True))
    return lines


def preview() -> list[Line]:
    """Prediction by the activation-aware preview, on the real hidden states of the pretrained model: the study of prediction search."""
    if SEARCH not in catalogue.sources():
        print(f"preview: left out, {SEARCH} is not installed.")
        return []
    found = measure(study_of(SEARCH, {"methods": ["preview"], "dimensions": [64, 96], "candidates": [300, 1000], "seconds": 5.0}), SEARCH)
    print("prediction by preview, V = 49,152, batch 1: top-1 recall >= 0.95 at <= 0.2x of the cost of the exact scan")
    for sentence in (*found["findings"], f"{found['expectation']['outcome']}: {found['expectation']['reason']}", *found["not_shown"]):
        print(f"  {sentence}")
    verdict = {"met": "holds", "refuted": "does not hold"}.get(found["expectation"]["outcome"], "undecided")
    return [Line("svd_preview, top-1 recall / cost of the exact scan", ">= 0.95 / <= 0.2x", found["expectation"]["reason"], verdict)]


def decoding(rounds: int) -> None:
    """The best token of each row: by the scan of all scores, and from the bits of a code; correctness is asserted on the way."""
    size, tokens = 49_152, 1024
    tables = {
        "full": FULL, "binary code": HYBRID | {"hybrid": 0}, "binary code, hybrid 512": HYBRID,
        "binary code, error-correcting": HYBRID | {"hybrid": 0, "error_correcting": True},
        "binary code, hybrid 512, error-correcting": HYBRID | {"error_correcting": True},
    }  # fmt: skip
    print(f"best token of {tokens:,} hidden states: D = {WIDTH}, V = {size:,}")
    site = Site(WIDTH, trials.zipf_vocabulary(size), LENGTH)
    torch.manual_seed(0)
    hidden_ND = torch.randn(tokens, WIDTH)
    heads: dict[str, Any] = {name: block(table).build(site) for name, table in tables.items()}
    code = heads["binary code, error-correcting"].code
    scores_NM = 2 * torch.randn(tokens, code.places)
    with torch.no_grad():
        for head in heads.values():
            assert torch.equal(head.topk(hidden_ND[:64], 1)[1][:, 0], head.log_prob(hidden_ND[:64]).argmax(dim=1))
        steps: dict[str, Callable[[], Any]] = {name: (lambda head=head: head.topk(hidden_ND, 1)) for name, head in heads.items()}
        steps["  its Viterbi search alone"] = lambda: code.best(scores_NM)
        steps["  listing its V code words instead"] = lambda: code.scores(scores_NM).argmax(dim=1)
        taken = interleaved(steps, rounds, SECONDS)
    for name, seconds in taken.items():
        rates = median_interval([tokens / each for each in seconds])
        print(f"  {name:<44} {rates.value:12,.0f} tokens/s; {words(median_ratio(taken['full'], seconds))} as fast as full  ({len(seconds)} rounds)")


def word_vectors() -> list[Line]:
    """Skip-gram with negative sampling against gensim: the benchmark `words`, in as many rounds as an interval needs."""
    with tempfile.TemporaryDirectory() as folder:
        found = bench_words.measured(bench_words.articles(Path(folder)), FEWEST_ROUNDS, Path(folder))
    bench_words.tell(found)
    mine, theirs = ([each["words_per_cpu_s"] for each in found[who]] for who in ("engine", "gensim"))
    of_cpu = median_ratio(mine, theirs)
    alike = "; ".join(f"{who}: {found[who][0]['lists']['wordsim353.tsv']}" for who in ("engine", "gensim"))
    lines = [line(f"skip-gram, words a second of processor time against gensim ({of_cpu.n} rounds)", of_cpu, 0.4)]
    return [*lines, Line("their quality: WordSim-353", "equal", alike, "reported")]


def main(asked: list[str]) -> None:
    options = dict(word.split("=", 1) for word in asked if "=" in word)
    rounds = int(options.get("rounds", ROUNDS))
    torch.set_num_threads(int(options.get("threads", 1)))
    parts: dict[str, Callable[[], list[Line] | None]] = {
        "sgd": lambda: steps("whole step, plain SGD", SGD_ARMS, rounds),
        "adam": lambda: steps("whole step, Adam", ADAM_ARMS, rounds),
        "head_sgd": lambda: head_alone("head alone and its update, plain SGD", SGD_ARMS, rounds),
        "head_adam": lambda: head_alone("head alone and its update, Adam", ADAM_ARMS, rounds),
        "memory": memory,
        "chunked": chunked,
        "decoding": lambda: decoding(rounds),
        "wrapper": lambda: wrapper(rounds),
        "preview": preview,
    }
    asked_for = [word for word in asked if "=" not in word]
    more = {"words": word_vectors}
    unknown = [word for word in asked_for if word not in (*parts, *more, "quality", "table")]
    if unknown:
        raise SystemExit(f"No part named {', '.join(unknown)}; there are {', '.join((*parts, *more, 'quality', 'table'))}.")
    store = options.get("store", f"sqlite:///{corpus_folder().parent / 'bench_heads.sqlite'}")
    judged = int(options.get("seeds", 5)), int(options.get("tokens", 300_000)), store
    jobs = int(options.get("jobs", usable_cores()))
    lines: list[Line] = []
    judgement = quality(*judged, jobs) if "quality" in asked_for else []
    loads = [load_facts()["load_1"]]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), load {loads[0]:.1f}")
    whole = "table" in asked_for
    for name in TABLE if whole else [word for word in asked_for if word != "quality"] or ([] if asked_for else parts):
        start = time.perf_counter()
        lines += (parts | more)[name]() or []
        loads.append(load_facts()["load_1"])
        print(f"  ({time.perf_counter() - start:.0f} s, load {loads[-1]:.1f})", flush=True)
    if whole:
        lines += judgement or quality(*judged, 0)
        print(f"\nV = 49,152 unless said otherwise; {torch.get_num_threads()} thread(s), load of a minute {min(loads):.1f} to {max(loads):.1f}\n")
        print(table(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
