"""The comparison of an experiment's variants with its baseline, as the one JSON object that command line, window and reports share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines import breakeven, comparability, conditions, judging, limits, peaks, reaching, statistics
from engines.case import Case
from engines.comparability import Obstacle
from engines.differences import differences, trials
from engines.evidence import NO_DISTRIBUTION, Contestant, Control, add_rounds, contestants
from engines.explaining import explanations
from engines.profiles import read_profile
from engines.report import labels
from engines.savings import savings
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import CANCELLED, FAILED, LOST, ExperimentRow
from engines.teachers import HOOK, of_unknown_price

OWN = "quality/own"
"""Stands for what a function of the user's own says of the test split."""
JUDGING_METRICS = (
    "quality/test_perplexity", "quality/test_reciprocal_rank", "quality/test_accuracy", "quality/test_macro_f1", "quality/test_nll",
    "quality/test_context_perplexity", "quality/test_context_reciprocal_rank", "quality/test_spearman", "quality/similarity_rho",
    "quality/analogy_accuracy",
    OWN,
    "speed/train_tokens_per_s", "speed/infer_tokens_per_s", "latency/p50_ms", "memory/train_peak_host_mib", "size/model_mib",
)  # fmt: skip
"""What judges where the experiment does not say (measure.metrics)."""

DEFAULT_MARGIN = 0.02
ORDER_ALONE = "Orders words better than their frequencies do, but gives them no better probabilities: its perplexity is not below theirs."
VERDICTS = ("better", "worse", "no practical difference", "not enough data")


class ComparisonError(ValueError):
    """A comparison that cannot be made; the message is a sentence for the user."""


def compare(store: Store, experiment_ids: Sequence[int], *, margin: float | None = None) -> dict[str, Any]:
    """The object of the command line's --json:

        {experiment, baseline, variants: {name: {runs, results: {key: {value, unit, better, n, low, high, ratio, ratio_low, ratio_high,
         verdict}}}}}

    with more beside it. Each result also has `points` (seed -> value), `interleaved`, `reason` (why that verdict) and, where both were judged on
    the same pairs of texts, `over_texts` ({difference, low, high, pairs}: a paired bootstrap). Each variant has
    `status` (runs by status), `failures`, `techniques`, `effects`, `notes`, `violations` (limits of targets that it exceeds), `savings`
    ({group: [{key, label, ratio, low, high, verdict, simulated}]}), `explanations` ([{sentence, figures}]), `differences` (of its plan from
    the baseline's: [{key, old, new}]) and, where there is one, `profile` (the id of a run that was profiled). At the top stand `experiments`
    (ids), `metrics` (keys that judge), `margin`, `margins` (of quantities whose control may ask for more), `level`, `warnings`,
    `trials` (variants that differ in numbers alone, as those of a sweep: [{variants, keys}]),
    `goal` (the quality that the time to quality asks for: key, value, and whether the file states it),
    `control` (the baseline timed against itself), `conditions` (load, clocks, throttling and threads of the timing) and `verdicts` (how many
    were made, in all and on the judging metrics). A quantity that was not measured is absent. With several experiments the variants are named
    "variant (experiment)" and held against the baseline of the first. Raises ComparisonError for an unknown experiment.
    """
    if not experiment_ids:
        raise ComparisonError("Name at least one experiment to compare.")
    experiments = [_experiment(store, each) for each in dict.fromkeys(experiment_ids)]
    entrants = contestants(store, experiments)
    if not entrants:
        raise ComparisonError(f'The experiment "{experiments[0].name}" has no variants.')
    baseline = next((entrant for entrant in entrants if entrant.baseline), entrants[0])
    timed, remarks = add_rounds(store, experiments, entrants)
    controls = {key: _control(control) for key, control in timed.items()}
    measure = baseline.plan.get("measure", {})
    margin = float(measure.get("margin", DEFAULT_MARGIN)) if margin is None else margin
    metrics = list(measure.get("metrics") or _judging_metrics(entrants))
    goal = reaching.goal_of(baseline, metrics)
    reached = reaching.add_time_to_quality(store, entrants, goal)
    # What the timing cannot tell from the baseline itself is no difference, however small the margin asked for.
    margins = {key: max(margin, float(abs(np.expm1(abs(np.log(same["ratio"])))))) for key, same in controls.items() if same["ratio"]}
    variants = {entrant.name: _variant(entrant, baseline, margin, margins, metrics) for entrant in entrants}
    even = _break_even(store, baseline)
    for entrant in entrants:
        variants[entrant.name]["notes"] += reached.get(entrant.name, [])
        variants[entrant.name] |= _findings(store, entrant, entrants, baseline, variants, margin, metrics, controls, even)
    return {
        "experiment": " + ".join(row.name for row in experiments),
        "baseline": baseline.name,
        "experiments": [row.id for row in experiments],
        "metrics": metrics,
        "margin": margin,
        "margins": margins,
        "level": statistics.LEVEL,
        **({"goal": reaching.stated(goal)} if goal else {}),
        "trials": trials({entrant.name: entrant.plan for entrant in entrants}),
        "warnings": [*_warnings(entrants, baseline, variants[baseline.name], controls, margin), *remarks],
        "control": controls,
        "conditions": conditions.conditions(baseline, entrants),
        "verdicts": _tally(variants, baseline.name, metrics),
        "variants": variants,
    }


def _judging_metrics(entrants: Sequence[Contestant]) -> list[str]:
    """What judges by default: the usual, and what functions of the user's own found on the test split."""
    own = dict.fromkeys(
        key for each in entrants for key in each.own_judges if key.startswith("quality/test_") and each.measured[key].better != "none"
    )  # fmt: skip
    return [key for metric in JUDGING_METRICS for key in (own if metric == OWN else (metric,))]


def _experiment(store: Store, experiment_id: int) -> ExperimentRow:
    stored = queries.experiments(store)
    for row in stored:
        if row.id == experiment_id:
            return row
    known = ", ".join(f'{row.id} "{row.name}"' for row in stored[-10:]) or "none"
    raise ComparisonError(f"There is no experiment {experiment_id} in {store.url}. Stored: {known}.")


def _control(control: Control) -> dict[str, Any]:
    """The ratio of the baseline to itself: what the timing cannot tell apart."""
    found = statistics.interleaved_ratio(control.again, control.values, control.between)
    numbers = (value if np.isfinite(value) else None for value in (found.value, found.low, found.high))
    return dict(zip(("ratio", "ratio_low", "ratio_high"), numbers, strict=True)) | {"n": found.n}


def _over_texts(results: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """How the variant's very models differ from the baseline's on the same held-out pairs, in sentences."""
    return [
        f"{labels.name(key)}: {over['difference']:+.4f} against the baseline [{over['low']:+.4f}, {over['high']:+.4f}], a paired bootstrap over the "
        f"same {over['pairs']:,} held-out pairs."
        for key in metrics
        if (over := results.get(key, {}).get("over_texts"))
    ]


def _variant(own: Contestant, baseline: Contestant, margin: float, margins: Mapping[str, float], metrics: Sequence[str]) -> dict[str, Any]:
    obstacles, notes = _obstacles(own, baseline)
    results = {}
    for key in sorted(own.measured):
        measured = own.measured[key]
        if own is baseline:
            results[key] = judging.baseline_entry(key, measured)
        else:
            obstacle = next((each.sentence for each in obstacles if each.holds_for(key, bool(measured.by_round))), "")
            results[key] = judging.entry(key, measured, baseline.measured.get(key), margins.get(key, margin), obstacle)
    exceeded, unchecked = limits.held_against(own.plan.get("targets") or [], results)
    return {
        "runs": [run.id for run in own.runs],
        "status": dict(Counter(run.status for run in own.runs)),
        "failures": [
            {"run": run.id, "seed": run.seed, "status": run.status, "reason": run.reason, "advice": run.advice}
            for run in own.runs
            if run.status in (FAILED, CANCELLED, LOST)
        ],
        "techniques": [choice["id"] for choice in own.plan.get("techniques", [])],
        "effects": [{"technique": e.technique, "hook": e.hook, "sentence": e.sentence, "facts": dict(e.facts)} for e in own.effects],
        "notes": [*notes, *_over_texts(results, metrics), *own.untimed, *(unchecked if own.done else [])],
        "violations": exceeded,
        "results": results,
    }


def _findings(
    store: Store, own: Contestant, entrants: Sequence[Contestant], baseline: Contestant, variants: Mapping[str, Any], margin: float,
    metrics: Sequence[str], controls: Mapping[str, Mapping[str, Any]], even: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """What follows from the figures of a variant beside the baseline's: savings side by side, why, and what its plan says otherwise."""
    results, effects = variants[own.name]["results"], variants[own.name]["effects"]
    reference = variants[baseline.name]["results"]
    found: dict[str, Any] = {
        "savings": savings(
            results, reference, effects, margin=margin, metrics=metrics, work=own.recorded.get("work"), baseline_work=baseline.recorded.get("work")
        ),
        "explanations": [],
        "differences": differences(baseline.plan, own.plan),
    }
    if own.profile is not None:
        found["profile"] = own.profile
    if own is not baseline and own.done and baseline.done:
        known = {choice["id"] for choice in baseline.plan.get("techniques", [])}
        new = [each for each in variants[own.name]["techniques"] if each not in known]
        case = Case(
            results, reference, margin, metrics, effects, new, own.recorded, baseline.recorded, controls, own.price,
            profile=read_profile(store, own.profile), peaks=_peaks(baseline), break_even=even, trained_alike=_trained_alike(own, baseline),
            siblings={each.name: variants[each.name]["results"] for each in entrants if _is_sibling(each, own) and each is not baseline},
            simulated=[row for rows in found["savings"].values() for row in rows if row["simulated"]],
        )  # fmt: skip
        found["explanations"] = explanations(case)
    return found


def _is_sibling(other: Contestant, own: Contestant) -> bool:
    """Whether it is another finished variant that started from the same model."""
    return other is not own and bool(other.done) and other.plan.get("model") == own.plan.get("model")


def _break_even(store: Store, baseline: Contestant) -> list[dict[str, Any]]:
    """Where sparse formats begin to pay on the machine of the baseline, where that was measured."""
    machines = baseline.circumstances.machines
    return breakeven.stored(store, next(iter(machines)), *baseline.place) if len(machines) == 1 and baseline.place else []


def _peaks(baseline: Contestant) -> dict[str, Any] | None:
    """What the machine of the baseline attains at best, where that was measured."""
    machines = baseline.circumstances.machines
    return peaks.stored(next(iter(machines)), *baseline.place) if len(machines) == 1 and baseline.place else None


def _trained_alike(own: Contestant, baseline: Contestant) -> bool:
    """Whether every seed that both have trained through the same losses."""
    shared = own.loss_digests.keys() & baseline.loss_digests.keys()
    return own is not baseline and bool(shared) and all(own.loss_digests[seed] == baseline.loss_digests[seed] for seed in shared)


def _obstacles(own: Contestant, baseline: Contestant) -> tuple[list[Obstacle], list[str]]:
    """What keeps the variant's figures from being judged, and what has to be said about it."""
    found, notes = comparability.obstacles(own.circumstances, baseline.circumstances), []
    sides = ((baseline, "The baseline"),) if own is baseline else ((own, "This variant"), (baseline, "The baseline"))
    for side, whose in sides:
        values = {key: judging.own_value(key, measured) for key, measured in side.measured.items() if key.startswith("quality/")}
        if side.circumstances.smoke:  # not meant to learn anything, so that it did not is no news
            continue
        if side is own and comparability.only_ordered(values):
            notes.append(ORDER_ALONE)
        if comparability.unlearned(values):
            known = "which class is most frequent" if "quality/test_majority_accuracy" in side.measured else "word frequencies"
            sentence = f"{whose} has not learned more than {known}."
            found.append(Obstacle(sentence, keys=("quality/",)))
            if side is own:
                notes.append(sentence)
    if NO_DISTRIBUTION in own.recorded:
        notes.append(own.recorded[NO_DISTRIBUTION]["sentence"])
        if baseline.done and not any(key.startswith("quality/test_") and key.endswith("reciprocal_rank") for key in baseline.measured):
            notes.append("The baseline has no ranks to compare these with: set ranks = true in the experiment's task.")
    for reference in of_unknown_price(own.recorded.get(HOOK, {})):
        notes.append(f'What its teacher "{reference}" cost is not known, so the price of this variant is not known either.')
    if _trained_alike(own, baseline):
        notes.append("Trained exactly as the baseline, loss by loss: what it changes acts after training, or had no effect.")
    return found, notes


def _warnings(
    entrants: Sequence[Contestant], baseline: Contestant, found_of_it: Mapping[str, Any], controls: Mapping[str, Mapping[str, Any]], margin: float
) -> list[str]:  # fmt: skip
    missing = comparability.baseline_missing(baseline.name, found_of_it["status"], found_of_it["failures"])
    found = [missing] if missing else []
    unfinished = sum(not run.over for entrant in entrants for run in entrant.runs)
    if unfinished:
        found.append(f"{unfinished} of {sum(len(entrant.runs) for entrant in entrants)} runs have not ended yet.")
    if baseline.done:
        found += comparability.warnings({entrant.name: entrant.circumstances for entrant in entrants if entrant.done}, baseline.name)
    return found + conditions.warnings(baseline, controls, margin)


def _tally(variants: Mapping[str, Any], baseline: str, metrics: Sequence[str]) -> dict[str, Any]:
    """How many verdicts are made: the more there are, the more are wrong by chance."""
    everywhere: Counter[str] = Counter()
    exact = 0
    on_metrics: Counter[str] = Counter()
    for name, variant in variants.items():
        for key, result in variant["results"].items():
            if name == baseline or result["better"] == "none":
                continue
            everywhere[result["verdict"]] += 1
            exact += result["verdict"] != "not enough data" and judging.kind_of(key) == "counts"
            if key.split("@")[0] in metrics:
                on_metrics[result["verdict"]] += 1
    return {
        "made": everywhere.total() - everywhere["not enough data"],
        "exact": exact,
        "all": {verdict: everywhere[verdict] for verdict in VERDICTS},
        "judging": {verdict: on_metrics[verdict] for verdict in VERDICTS},
    }
