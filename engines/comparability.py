"""What stands in the way of holding a variant's figure against the baseline's, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What survives a change of tokeniser: figures per character or per file, not per token or per vocabulary.
_TOKEN_FREE = ("quality/valid_bits_per_char", "quality/test_bits_per_char", "size/", "memory/", "cost/train_s")
# Settings of a corpus that change its tokens or its training split, not the text it is judged on.
_TOKENISING = ("level", "max_vocabulary", "min_count", "lowercase", "unknown", "end_of_line", "fraction")
JUDGED_BY, JUDGED_BY_SOURCE = "judged_by", "judged_by_source"
"""In the detail of a figure that a function of the user's own gave: its name, and the SHA-256 of the file that it lies in."""
UNKNOWN_SHARE = 0.001
"""A larger share of unknown words in the test text spoils figures per character: guessing "unknown" is easier than guessing the word."""
_OF_TRAINING = ("speed/train", "speed/time_to_quality", "memory/train", "cost/train_s", "energy/joules_per_token")


@dataclass(frozen=True)
class Circumstances:
    """Under what conditions the finished runs of one variant were made."""

    plan: Mapping[str, Any]
    machines: frozenset[str]
    """Fingerprints; empty where none was recorded."""
    conditions: frozenset[str]
    """Device and threads as the workers recorded them, one text a distinct setting; empty where none was recorded."""
    corpora: frozenset[str]
    """Fingerprints of the prepared text, as the workers recorded them."""
    unknown_share: float | None = None
    """Share of unknown words among the tokens of the test split, the largest of its runs; None where a run did not record it."""
    own_judges: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Key of a figure that a function of the user's own gave -> digests of the files that the function lay in."""
    smoke: bool = False
    resumed: bool = False


UNKNOWN = Circumstances({}, frozenset(), frozenset(), frozenset())
"""Of a variant that has not run."""


@dataclass(frozen=True)
class Obstacle:
    """Why some quantities cannot be compared. `keys`: prefixes it holds for; `but`: prefixes it does not hold for."""

    sentence: str
    keys: tuple[str, ...] = ("",)
    but: tuple[str, ...] = ()
    rounds_too: bool = True
    """Whether it also stands in the way of interleaved rounds, which are all made on one machine after training."""

    def holds_for(self, key: str, interleaved: bool) -> bool:
        return key.startswith(self.keys) and not (self.but and key.startswith(self.but)) and (self.rounds_too or not interleaved)


def obstacles(own: Circumstances, baseline: Circumstances) -> list[Obstacle]:
    """Everything that differs between a variant and the baseline beyond what the experiment asks."""
    found = []
    if own.smoke or baseline.smoke:
        found.append(Obstacle("Smoke runs only show that everything works; they measure nothing."))
    if _task(own.plan) != _task(baseline.plan):
        found.append(Obstacle("Another task than the baseline's.", but=("size/",)))
    if not _same_text(own, baseline):
        found.append(Obstacle("Another corpus or tokeniser than the baseline's: only figures per character survive that.", but=_TOKEN_FREE))
        if not _same_source(own.plan, baseline.plan):
            found.append(Obstacle("Other text than the baseline's.", keys=("quality/",)))
        elif sentence := _unknown_words(own.unknown_share, baseline.unknown_share):
            found.append(Obstacle(sentence, keys=("quality/",)))
    if _held_out(own.plan) != _held_out(baseline.plan):
        found.append(Obstacle("Judged on another amount of held-out text than the baseline.", keys=("quality/",)))
    edited = tuple(key for key, files in own.own_judges.items() if len(files | baseline.own_judges.get(key, files)) > 1)
    if edited:
        found.append(Obstacle("The function of your own that judges was edited between the runs.", keys=edited))
    machine_bound = ("speed/", "latency/", "energy/", "memory/", "cost/train_s")
    if len(own.machines | baseline.machines) > 1:
        found.append(Obstacle("Measured on different machines.", keys=machine_bound, rounds_too=False))
    settings = own.conditions | baseline.conditions or {_settings(own.plan), _settings(baseline.plan)}
    if len(settings) > 1:
        found.append(Obstacle(f"Other device or threads: {', '.join(sorted(settings))}.", keys=machine_bound, rounds_too=False))
    if own.resumed or baseline.resumed:
        whose = "A run of this variant" if own.resumed else "A run of the baseline"
        sentence = f"{whose} was resumed, so its training speed, memory and energy are those of a part."
        found.append(Obstacle(sentence, keys=_OF_TRAINING, rounds_too=False))
    return found


def unlearned(values: Mapping[str, float]) -> bool:
    """Whether a model of words is no better than knowing how often each word occurs, by its perplexity and by its ranks, or by the one of the
    two that it has; or a classifier no better than always saying the most frequent class.

    values: key -> figure of one variant.
    """
    majority = values.get("quality/test_majority_accuracy")
    if majority is not None:
        return values.get("quality/test_accuracy", majority) <= majority
    ordered = any(rank > floor for rank, floor in _beside_floors(values, "reciprocal_rank"))
    if perplexities := _beside_floors(values, "perplexity"):
        return not ordered and any(perplexity >= floor for perplexity, floor in perplexities)
    # ranks of words near each other are no reason: association alone, which vectors may be trained for, is no frequency
    return not ordered and {"quality/test_reciprocal_rank", "quality/test_unigram_reciprocal_rank"} <= values.keys()


def only_ordered(values: Mapping[str, float]) -> bool:
    """Whether a model of words orders them better than their frequencies do and gives them no better probabilities all the same."""
    improbable = any(perplexity >= floor for perplexity, floor in _beside_floors(values, "perplexity"))
    return improbable and any(rank > floor for rank, floor in _beside_floors(values, "reciprocal_rank"))


def _beside_floors(values: Mapping[str, float], name: str) -> list[tuple[float, float]]:
    """(figure, that of word frequencies alone) of a figure, of the next words or of those near each other, where both are there."""
    keys = [(f"quality/test_{whose}{name}", f"quality/test_{whose}unigram_{name}") for whose in ("", "context_")]
    return [(values[own], values[floor]) for own, floor in keys if own in values and floor in values]


def baseline_missing(name: str, status: Mapping[str, int], failures: Sequence[Mapping[str, Any]]) -> str:
    """Why no variant can be compared: the baseline has no finished run. Empty where it has one.

    status: its runs by status; failures: those that ended otherwise, each with run, seed, status, reason and advice.
    """
    if status.get("done"):
        return ""
    if not failures:
        return f'The baseline "{name}" has no finished run yet, so no variant can be compared with it.'
    first, others = failures[0], len(failures) - 1
    ended = {"cancelled": "was cancelled", "lost": "was lost"}.get(first["status"], first["status"])
    told = f"run {first['run']} (seed {first['seed']}) {ended}. {first['reason']} {first['advice']}".strip()
    more = f" So ended {others} more of its runs." if others else ""
    return f'The baseline "{name}" has no finished run, so no variant can be compared with it: {told}{more}'


def warnings(circumstances: Mapping[str, Circumstances], baseline: str) -> list[str]:
    """Sentences for the head of a report: each difference once, with the variants it concerns."""
    concerned: dict[str, list[str]] = {}
    for name, own in circumstances.items():
        if name == baseline:
            continue
        for obstacle in obstacles(own, circumstances[baseline]):
            concerned.setdefault(obstacle.sentence, []).append(name)
        if own.plan.get("budget") != circumstances[baseline].plan.get("budget"):
            concerned.setdefault("Trained with another budget than the baseline.", []).append(name)
    others = len(circumstances) - 1
    return [sentence if len(names) == others else f"{', '.join(names)}: {sentence[0].lower()}{sentence[1:]}" for sentence, names in concerned.items()]


def _same_text(own: Circumstances, baseline: Circumstances) -> bool:
    recorded = own.corpora | baseline.corpora
    if own.corpora and baseline.corpora:
        return len(recorded) == 1
    return own.plan.get("corpus") == baseline.plan.get("corpus")


def _same_source(own: Mapping[str, Any], baseline: Mapping[str, Any]) -> bool:
    """Whether two corpora read the same held-out text, however they cut it into tokens."""
    texts = [{key: value for key, value in plan.get("corpus", {}).items() if key not in _TOKENISING} for plan in (own, baseline)]
    return texts[0] == texts[1]


def _unknown_words(own: float | None, baseline: float | None) -> str:
    """Why figures per character of two vocabularies cannot be compared; empty where both know (nearly) every word of the test text."""
    if own is None or baseline is None:
        return "Another vocabulary than the baseline's, and the share of unknown words is not recorded: even figures per character may mislead."
    if max(own, baseline) <= UNKNOWN_SHARE:
        return ""
    return (
        f"Another vocabulary than the baseline's, with {own:.1%} unknown words in the test text against {baseline:.1%}: "
        "an unknown word is easier to predict than the word itself, so even figures per character mislead."
    )


def _task(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The task without the user's own function, which adds figures and changes none."""
    return {key: value for key, value in (plan.get("task") or {}).items() if key != "evaluate"}


def _held_out(plan: Mapping[str, Any]) -> Any:
    return plan.get("measure", {}).get("held_out_tokens", 0)


def _settings(plan: Mapping[str, Any]) -> str:
    return f"{plan.get('device', 'auto')} with {plan.get('threads') or 'default'} threads"
