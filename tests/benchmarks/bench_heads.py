"""Output layers for a large vocabulary against the full softmax: steps, heads alone, memory, exact rivals, and quality at equal tokens.

Every part is one interleaved run: each round gives every arm one step, in random order; a figure is the median of the paired ratios of the
rounds with its interval (engines.statistics), and a reach holds where the lower limit clears it. Optimiser, tying and sparsity stand in each
arm's line. Arms whose plugin is not installed are left out with a sentence.

    python -m tests.benchmarks heads [PART ...] [threads=N] [rounds=N]
    python -m tests.benchmarks heads quality [seeds=5] [tokens=300000] [store=URL]      goes on where it was stopped

Without a part all but quality are run.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from engines import catalogue
from engines.api import Site, Text, Vocabulary
from engines.runtime import allocated
from engines.runtime.context import Budget, Session
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, block, corpus_folder, plugin, text_of
from engines.runtime.study import measure, study_of
from engines.statistics import FEWEST_SEEDS, Interval, median_interval, median_ratio, paired_ratio
from engines.toolbox import trials
from engines.toolbox.batches import detach
from plugins.studies.head_vocabulary import training

MIB = 2**20
CPU = torch.device("cpu")
CORPUS = {"id": "corpora/python_stdlib", "level": "word", "max_vocabulary": 1_000_000}
"""All words of it."""
SIZE = 49_152
"""Types of the vocabulary: those of the corpus, and as many more as it takes that never occur, which every head has to carry all the same."""
WIDTH, BATCH, LENGTH = 200, 20, 35
SGD, ADAM, SPARSE_ADAM = ({"id": f"optimization/{name}", "lr": lr} for name, lr in (("sgd", 0.5), ("adam", 1e-3), ("sparse_adam", 1e-3)))
SEARCH = "studies/prediction_search"
SECONDS = 60.0
"""A part ends after so long, with the rounds that it has by then."""
ROUNDS = 12

FULL, ADAPTIVE = ({"id": f"softmax/{name}"} for name in ("full", "adaptive"))
FITTED = ADAPTIVE | {"cutoffs": []}
SAMPLED, NCE, NEGATIVE = ({"id": f"softmax/{name}", "samples": 1024} for name in ("importance_sampled", "nce", "negative_sampling"))
CLASSES, TREE, CHUNKED = ({"id": f"softmax/{name}"} for name in ("class_based", "hierarchical", "chunked"))
HYBRID = {"id": "softmax/binary_code", "hybrid": 512}


@dataclass(frozen=True)
class Arm:
    """One way to have an output layer. reach: how many times as fast as the first arm it is to be, or as large; None: reported."""

    name: str
    head: Mapping[str, Any]
    reach: float | None = None
    optimizer: Mapping[str, Any] = field(default_factory=lambda: SGD)
    sparse: bool = False
    """Sparse rows of embedding and, where the head has the parameter, of the output matrix."""

    @property
    def tables(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(embedding, head) as in an experiment."""
        embedding = {"id": "embeddings/lookup", "width": WIDTH} | ({"sparse": True} if self.sparse else {})
        takes = "sparse" in catalogue.load(self.head["id"]).model_fields
        return embedding, dict(self.head) | ({"sparse": True} if self.sparse and takes else {})

    @property
    def state(self) -> str:
        embedding, head = self.tables
        rows = ", ".join(f"{name} {'sparse' if table.get('sparse') else 'dense'}" for name, table in (("embedding", embedding), ("head", head)))
        return f"{self.optimizer['id'].partition('/')[2]}, {'tied' if head.get('tied') else 'untied'}, {rows}"


SGD_ARMS = (
    Arm("full", FULL),
    Arm("adaptive", ADAPTIVE, 6.0),
    Arm("adaptive, fitted cutoffs", FITTED, 6.0),
    Arm("sampled k=1024", SAMPLED, 8.0),
    Arm("sampled k=1024, sparse", SAMPLED, 8.0, sparse=True),
    Arm("binary code, hybrid 512", HYBRID, 8.0),
    Arm("class-based", CLASSES, 3.0),
    Arm("class-based, sparse", CLASSES, 3.0, sparse=True),
    Arm("hierarchical", TREE),
    Arm("hierarchical, sparse", TREE, sparse=True),
    Arm("nce k=1024, sparse", NCE, sparse=True),
    Arm("negative sampling k=1024, sparse", NEGATIVE, sparse=True),
    Arm("chunked", CHUNKED),
)
ADAM_ARMS = (
    Arm("full", FULL, optimizer=ADAM),
    Arm("adaptive", ADAPTIVE, 5.0, ADAM),
    Arm("adaptive, fitted cutoffs", FITTED, 5.0, ADAM),
    Arm("adaptive, sparse embedding", ADAPTIVE, None, SPARSE_ADAM, sparse=True),
    Arm("sampled k=1024", SAMPLED, 4.0, ADAM),
    Arm("sampled k=1024, sparse", SAMPLED, 12.0, SPARSE_ADAM, sparse=True),
)
MEMORY_ARMS = (
    Arm("full", FULL),
    Arm("adaptive", ADAPTIVE, 0.6),
    Arm("sampled k=1024", SAMPLED, 0.5),
    Arm("sampled k=1024, sparse", SAMPLED, 0.5, sparse=True),
    Arm("binary code, hybrid 512", HYBRID),
    Arm("class-based", CLASSES),
    Arm("hierarchical", TREE),
    Arm("chunked", CHUNKED),
)
CHUNKED_TABLES: dict[str, dict[str, Any]] = {
    "own, C = 256": {"chunk": 256}, "torch's, C = 256": {"kernel": "torch", "chunk": 256},
}  # fmt: skip
QUALITY = {"adaptive": (ADAPTIVE, 1.03), "sampled": (SAMPLED, 1.10), "nce": (NCE, 1.15)}


def there(arms: Sequence[Arm]) -> list[Arm]:
    """Those that can be built here; the others are told."""
    known = catalogue.sources()
    missing = {arm.name: f"{arm.head['id']} is not installed" for arm in arms if arm.head["id"] not in known}
    if not hasattr(F, "linear_cross_entropy"):
        missing |= {arm.name: f"torch {torch.__version__} has no linear_cross_entropy" for arm in arms if arm.head.get("kernel") == "torch"}
    for name, reason in missing.items():
        print(f"  {name}: left out, {reason}.")
    return [arm for arm in arms if arm.name not in missing]


# --- Timing -----------------------------------------------------------------------------------------------------------------------------------


def interleaved(steps: Mapping[str, Callable[[], Any]], rounds: int, seconds: float = SECONDS, *, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of one call of each in every round, after a round that is not counted (warm = False: they were called before)."""
    for step in steps.values() if warm else ():
        step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    order, start = random.Random(0), time.perf_counter()
    for _ in range(rounds):
        for name in order.sample(list(steps), len(steps)):
            before = time.perf_counter()
            steps[name]()
            taken[name].append(time.perf_counter() - before)
        if time.perf_counter() - start > seconds:
            break
    return taken


def words(found: Interval) -> str:
    return f"{found.value:.3g}x [{found.low:.3g}, {found.high:.3g}]" if found.known else f"{found.value:.3g}x (n = {found.n}: no interval)"


def held(found: Interval, reach: float | None, *, below: bool = False) -> str:
    """Whether the interval clears the reach."""
    if reach is None:
        return "reported"
    sign = "<=" if below else ">="
    if not found.known:
        return f"{sign} {reach:g}: undecided"
    surely, never = (found.high <= reach, found.low > reach) if below else (found.low >= reach, found.high < reach)
    return f"{sign} {reach:g}: {'holds' if surely else 'does not hold' if never else 'undecided'}"


def tell_speeds(arms: Sequence[Arm], taken: Mapping[str, Sequence[float]]) -> None:
    first = arms[0].name
    for arm in arms:
        median = median_interval(taken[arm.name])
        ratio = median_ratio(taken[first], taken[arm.name])
        beside = "" if arm.name == first else f"{words(ratio)} as fast  {held(ratio, arm.reach)}"
        print(f"  {arm.name:<34} {1000 * median.value:8.1f} ms  {beside:<54} ({arm.state}; {len(taken[arm.name])} rounds)", flush=True)


# --- Whole steps ------------------------------------------------------------------------------------------------------------------------------


def corpus() -> Text:
    """The text, its vocabulary filled up to SIZE."""
    prepared: Any = plugin(CORPUS)
    text = text_of(prepared, lambda sentence: None)
    vocabulary = text.vocabulary
    more = max(0, SIZE - vocabulary.size)
    counts = np.concatenate((vocabulary.counts, np.zeros(more, dtype=vocabulary.counts.dtype)))
    tokens = vocabulary.tokens + tuple(f"<never {n}>" for n in range(more))
    return dataclasses.replace(text, vocabulary=dataclasses.replace(vocabulary, tokens=tokens, counts=counts))


def size_of(vocabulary: Vocabulary) -> str:
    return f"V = {vocabulary.size:,} ({int((vocabulary.counts > 0).sum()):,} of them occur)"


def plan_of(arm: Arm) -> dict[str, Any]:
    embedding, head = arm.tables
    layer = {"mixer": {"id": "recurrent/lstm", "width": WIDTH}, "feedforward": None, "repeat": 2, "residual": None, "norm": None}
    return {
        "experiment": "heads", "variant": arm.name, "task": {"id": "tasks/language_model"}, "corpus": CORPUS, "budget": {"steps": 10**6},
        "device": "cpu", "threads": 1, "model": {"embedding": embedding, "layers": [layer], "head": head},
        "training": {"batch": BATCH, "sequence": LENGTH}, "techniques": [dict(arm.optimizer)],
        "measure": {"evaluations": 0, "held_out_tokens": 400, "margin": 0.02}, "targets": [], "folder": ".",
    }  # fmt: skip


class Training:
    """The training of an arm through the engine's pipeline, step by step: batch, forward, backward, update."""

    def __init__(self, arm: Arm, text: Text) -> None:
        plan = plan_of(arm)
        parts = Parts.of(plan)
        torch.manual_seed(0)
        self.session = Session(
            plan=plan, task=parts.task, text=text, device=CPU, dtype=torch.float32, seed=0, budget=Budget.of(plan["budget"]),
            model=parts.task.assemble(plan["model"], block, text, LENGTH), stream=parts.task.batches(text, BATCH, LENGTH, 0),
            log=lambda key, value, unit: None, held_out=list, teacher=lambda reference: self.session.model, fine_tune=lambda tokens, scale: None,
        )  # fmt: skip
        self.pipeline = Pipeline(parts.techniques, self.session)
        self.pipeline.shape_model()
        self.pipeline.assemble()
        self._batches, self._state = iter(self.session.stream), None
        self.losses: list[float] = []

    def step(self) -> None:
        batch = next(self._batches)
        self.pipeline.set_learning_rate(batch.lr_scale)
        loss_sum, tokens, state, _ = self.pipeline.backward(batch, None if batch.fresh else self._state)
        self._state = detach(state)
        self.pipeline.update()
        self.losses.append(float(loss_sum) / tokens)

    def resting_bytes(self) -> int:
        """Weights, buffers and the optimiser's state: what is there between steps."""
        model, optimizer = self.session.model, self.session.optimizer
        assert optimizer is not None
        kept = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        state = [value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, torch.Tensor)]
        return sum(tensor.nbytes for tensor in (*kept.values(), *state))


def steps(title: str, arms: Sequence[Arm], rounds: int) -> None:
    text = corpus()
    print(f"{title}: 2-layer LSTM {WIDTH}, batch {BATCH}, length {LENGTH}, {size_of(text.vocabulary)}")
    arms = there(arms)
    trainings = {arm.name: Training(arm, text) for arm in arms}
    taken = interleaved({name: training.step for name, training in trainings.items()}, rounds)
    tell_speeds(arms, taken)
    wrong = [name for name, training in trainings.items() if not np.isfinite(training.losses).all()]
    if wrong:
        raise SystemExit(f"The loss of {', '.join(wrong)} was no number.")


def head_alone(arms: Sequence[Arm], rounds: int) -> None:
    """Loss, gradients and update of the head by itself."""
    vocabulary = corpus().vocabulary
    print(f"head alone, with its update: {BATCH * LENGTH} tokens, D = {WIDTH}, {size_of(vocabulary)}")
    arms = there(arms)
    tell_speeds(arms, interleaved({arm.name: Alone(arm, vocabulary).step for arm in arms}, rounds, 60.0))


class Alone:
    """A head on random hidden states, targets drawn by the frequencies of the corpus."""

    def __init__(self, arm: Arm, vocabulary: Vocabulary) -> None:
        torch.manual_seed(0)
        _, head = arm.tables
        # Not in the optimiser unless the head is tied to it.
        table = torch.nn.Embedding(vocabulary.size, WIDTH) if head.get("tied") else None
        self.head: Any = block(head).build(Site(WIDTH, vocabulary, LENGTH, embedding=table))
        technique: Any = plugin(arm.optimizer)
        self.optimizer = technique.optimizer(None, Silent())(self.head)
        self.hidden_ND = torch.randn(BATCH * LENGTH, WIDTH).requires_grad_()
        self.target_N = torch.multinomial(torch.as_tensor(vocabulary.counts, dtype=torch.float64), BATCH * LENGTH, replacement=True)

    def step(self) -> None:
        (self.head.loss(self.hidden_ND, self.target_N) / len(self.target_N)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.hidden_ND.grad = None


class Silent:
    """A technique's surroundings that hear nothing."""

    def effect(self, sentence: str, **figures: float) -> None:
        return None


def memory() -> None:
    text = corpus()
    print(f"peak memory of a step (weights, state, gradients, scores; by torch's allocator): {size_of(text.vocabulary)}")
    arms, peaks = there(MEMORY_ARMS), {}
    for arm in arms:
        training = Training(arm, text)
        for _ in range(2):
            training.step()
        peaks[arm.name] = training.resting_bytes() + allocated.highest_of(training.step, CPU)
        ratio = peaks[arm.name] / peaks[arms[0].name]
        verdict = held(Interval(ratio, ratio, ratio, 1), arm.reach, below=True)
        print(f"  {arm.name:<34} {peaks[arm.name] / MIB:8.1f} MiB  {ratio:.3g}x  {verdict}  ({arm.state}; one step)", flush=True)


# --- Exact rivals -----------------------------------------------------------------------------------------------------------------------------


def wrapper(rounds: int) -> None:
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


def chunked() -> None:
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
    for arm in arms:
        ratio = median_ratio(taken[arm.name], taken["full"])
        memory = extra[arm.name] / extra["full"]
        verdict = f"{held(Interval(memory, memory, memory, 1), 0.25, below=True)}; time {words(ratio)}  {held(ratio, 1.0, below=True)}"
        verdict = "" if arm.name == "full" else verdict
        print(
            f"  {arm.name:<34} {np.median(taken[arm.name]):6.2f} s, extra memory {extra[arm.name] / MIB:7.1f} MiB  {memory:.3g}x  {verdict}  "
            f"(loss {values[arm.name]:.4f}, untied, dense, no optimizer; {ratio.n} rounds)", flush=True,
        )  # fmt: skip


def preview() -> None:
    """Prediction by the activation-aware preview, on the real hidden states of the pretrained model: the study of prediction search."""
    if SEARCH not in catalogue.sources():
        print(f"preview: left out, {SEARCH} is not installed.")
        return
    found = measure(study_of(SEARCH, {"methods": ["preview"], "dimensions": [64, 96], "candidates": [300, 1000], "seconds": 5.0}), SEARCH)
    print("prediction by preview, V = 49,152, batch 1: top-1 recall >= 0.95 at <= 0.2x of the cost of the exact scan")
    for sentence in (*found["findings"], f"{found['expectation']['outcome']}: {found['expectation']['reason']}", *found["not_shown"]):
        print(f"  {sentence}")


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


# --- Quality ----------------------------------------------------------------------------------------------------------------------------------


def quality(seeds: int, tokens: int, store: str) -> None:
    """Perplexity after equal tokens, through the engine as a user runs it: one experiment a seed, kept in a store of its own."""
    from engines import notebook

    known = catalogue.sources()
    arms = {"full": (FULL, None)} | {name: arm for name, arm in QUALITY.items() if arm[0]["id"] in known}
    found: dict[str, dict[int, float]] = {name: {} for name in arms}
    print(f"quality: {tokens:,} tokens, V = 10,000, {seeds} seeds, store {store}")
    for seed in range(seeds):
        for name, (head, _) in arms.items():
            kept = Path(store.removeprefix("sqlite:///")).with_suffix(f".{tokens}.{name}.{seed}.json")
            if not kept.exists():
                start = time.perf_counter()
                handle = notebook.run(quality_experiment(name, head, seed, tokens), store=store, quiet=True)
                result = handle.comparison()["variants"][name]["results"]["quality/test_perplexity"]["value"]
                kept.write_text(json.dumps({"perplexity": result, "seconds": time.perf_counter() - start}), encoding="utf-8")
            made = json.loads(kept.read_text(encoding="utf-8"))
            found[name][seed] = made["perplexity"]
            print(f"  seed {seed}, {name}: perplexity {made['perplexity']:.2f} ({made['seconds']:.0f} s)", flush=True)
    for name, (_, reach) in arms.items():
        values = list(found[name].values())
        ratio = paired_ratio(values, list(found["full"].values()))
        verdict = held(ratio, reach, below=True) if len(values) >= FEWEST_SEEDS else f"<= {reach}: undecided, fewer than {FEWEST_SEEDS} seeds"
        beside = "" if name == "full" else f", {words(ratio)} of full  {verdict}"
        print(f"  {name:<30} {np.mean(values):8.2f}{beside}  (adam, untied, dense; {len(values)} seeds)")


def quality_experiment(name: str, head: Mapping[str, Any], seed: int, tokens: int) -> dict[str, Any]:
    return {
        "experiment": {
            "name": f"heads: quality of {name}, seed {seed}", "task": "language_model", "corpus": CORPUS | {"max_vocabulary": 10_000},
            "budget": {"tokens": tokens}, "seeds": [seed], "device": "cpu", "threads": 1, "baseline": name,
        },
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": WIDTH},
            "layers": [{"mixer": {"id": "recurrent/lstm", "width": WIDTH}, "repeat": 2}], "head": dict(head),
        },
        "training": {
            "batch": BATCH, "sequence": LENGTH,
            "techniques": [{"id": "optimization/adam", "lr": 2e-3}, {"id": "optimization/clip_norm", "max_norm": 1.0}, {"id": "optimization/cosine"}],
        },
        "measure": {"rounds": 0, "evaluations": 1, "held_out_tokens": 40_000}, "variant": [{"name": name}],
    }  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------------------------------------


def main(asked: list[str]) -> None:
    options = dict(word.split("=", 1) for word in asked if "=" in word)
    rounds = int(options.get("rounds", ROUNDS))
    torch.set_num_threads(int(options.get("threads", 1)))
    parts: dict[str, Callable[[], None]] = {
        "sgd": lambda: steps("whole step, plain SGD", SGD_ARMS, rounds),
        "adam": lambda: steps("whole step, Adam", ADAM_ARMS, rounds),
        "head_sgd": lambda: head_alone(SGD_ARMS, rounds),
        "head_adam": lambda: head_alone(ADAM_ARMS, rounds),
        "memory": memory,
        "chunked": chunked,
        "decoding": lambda: decoding(rounds),
        "wrapper": lambda: wrapper(rounds),
        "preview": preview,
    }
    wanted = [word for word in asked if "=" not in word]
    unknown = [word for word in wanted if word not in (*parts, "quality")]
    if unknown:
        raise SystemExit(f"No part named {', '.join(unknown)}; there are {', '.join(parts)}, quality.")
    if "quality" in wanted:
        default = f"sqlite:///{corpus_folder().parent / 'bench_heads.sqlite'}"
        quality(int(options.get("seeds", 5)), int(options.get("tokens", 300_000)), options.get("store", default))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    for name in wanted or parts:
        if name in parts:
            start = time.perf_counter()
            parts[name]()
            print(f"  ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
