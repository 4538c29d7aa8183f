"""What the store holds about the variants of experiments, gathered for a comparison: figures by seed and by round, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines import comparability, statistics
from engines.comparability import JUDGED_BY, JUDGED_BY_SOURCE, Circumstances
from engines.judging import Measured
from engines.overtexts import resamples_of
from engines.statistics import Between
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import DONE, FAILED, EffectRow, ExperimentRow, RunRow, TimingRow

NO_DISTRIBUTION = "no_distribution"
"""Hook of the engine's own record of a run whose head has no distribution: {"sentence": why it has no perplexity}."""

Rounds = Mapping[int, float]
"""Number of the round -> value."""


@dataclass
class Contestant:
    """One variant with everything measured on it. `measured`: key, or key@target -> figure."""

    name: str
    variant_id: int
    plan: Mapping[str, Any]
    baseline: bool
    runs: list[RunRow]
    measured: dict[str, Measured] = field(default_factory=dict)
    effects: list[EffectRow] = field(default_factory=list)
    circumstances: Circumstances = comparability.UNKNOWN
    loss_digests: dict[int, str] = field(default_factory=dict)
    """Seed -> digest of the whole training loss series."""
    recorded: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the engine itself recorded about the first finished run: hook -> facts (work, memory, prediction)."""
    price: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """Of the first finished run: key of a cost -> {"total", "own", "of_needed_runs", ...}."""
    place: tuple[str, int] | None = None
    """Device and threads of the figures that are of no particular target."""
    own_judges: dict[str, frozenset[str]] = field(default_factory=dict)
    """Of figures that functions of the user's own gave: key -> digests of the files that these lay in."""
    needed_seconds: dict[int, float] = field(default_factory=dict)
    """Seed -> training seconds of the runs that it needed."""
    finishing_seconds: dict[int, float] = field(default_factory=dict)
    """Seed -> seconds that finishing the model took after training."""
    profile: int | None = None
    """A run with a profile."""
    untimed: list[str] = field(default_factory=list)
    """What a timing session left out, and why, in sentences."""

    @property
    def done(self) -> list[RunRow]:
        return [run for run in self.runs if run.status == DONE]


def contestants(store: Store, experiments: Sequence[ExperimentRow]) -> list[Contestant]:
    """The variants of the experiments in the order of their files; where there are several, each name says whose it is."""
    found = []
    for experiment in experiments:
        runs = queries.runs(store, experiment.id)
        for variant in queries.variants(store, experiment.id):
            own = sorted((run for run in runs if run.variant_id == variant.id), key=lambda run: (run.seed, run.id))
            contestant = Contestant(variant.name + _suffix(experiment, experiments), variant.id, variant.plan, variant.baseline, own)
            _add_circumstances(store, contestant, _add_results(store, contestant))
            found.append(contestant)
    profiled = {row.run_id for row in queries.artifacts(store, [run.id for each in found for run in each.done]) if row.kind == "profile"}
    for contestant in found:
        contestant.profile = next((run.id for run in contestant.done if run.id in profiled), None)
    return found


@dataclass(frozen=True)
class Control:
    """The A/A control of one quantity: the baseline in two processes, round by round."""

    values: Rounds
    again: Rounds
    between: Between


def add_rounds(store: Store, experiments: Sequence[ExperimentRow], entrants: Sequence[Contestant]) -> tuple[dict[str, Control], list[str]]:
    """Put the rounds of finished timing sessions beside the figures that single runs gave. Returns the control of each key, and what has to be said
    of models that were timed more than once.

    With several experiments the control is that of the first one that has it, whose baseline the others are held against.
    """
    by_variant = {contestant.variant_id: contestant for contestant in entrants}
    controls: dict[str, Control] = {}
    remarks = []
    for experiment in experiments:
        sessions = queries.rounds(store, experiment.id, status=None)
        remarks += [sentence + _suffix(experiment, experiments) + "." for sentence in _timed_again(sessions)]
        for session in _current(sessions):
            _add_absences(session, sessions, entrants)
            if session.status != DONE:
                continue
            key = f"{session.quantity}@{session.target}" if session.target else session.quantity
            values = {variant: _finite(every) for variant, every in session.values.items()}
            baseline, again = values.get(session.baseline or 0, {}), _finite(session.control)
            others = [every for variant, every in values.items() if variant != session.baseline]
            between = statistics.between_launches(
                [statistics.paired(every, baseline) for every in (*others, again) if every], session.facts.get("launches", [])
            )
            for variant, every in values.items():
                contestant = by_variant[variant]
                earlier = contestant.measured.get(key)
                by_seed = earlier.by_seed if earlier else {}
                unit, better = session.facts["unit"], session.facts["better"]
                contestant.measured[key] = Measured(unit, better, by_seed, every, session.facts, session.id, between)
            if again and baseline:
                controls.setdefault(key, Control(baseline, again, between))
    return controls, remarks


def _current(sessions: Sequence[TimingRow]) -> list[TimingRow]:
    """Of each quantity on each target the last session that is done; one that failed only where none is."""
    found: dict[tuple[str, str], TimingRow] = {}
    for session in sessions:
        what = (session.target, session.quantity)
        if session.status == DONE or (session.status == FAILED and (what not in found or found[what].status == FAILED)):
            found[what] = session
    return list(found.values())


def _timed_again(sessions: Sequence[TimingRow]) -> list[str]:
    """Without their full stops: who times until the figures please has chosen among chances, so readers learn how often it was done."""
    by_quantity: dict[tuple[str, str], list[str]] = {}
    for session in sessions:
        if session.status in (DONE, FAILED):
            by_quantity.setdefault((session.target, session.quantity), []).append(session.status)
    times = max((statuses.count(DONE) for statuses in by_quantity.values()), default=0)
    found = [f"Speed was timed {times} times; the figures are those of the last session alone"] if times > 1 else []
    if any(DONE in statuses and statuses[-1] == FAILED for statuses in by_quantity.values()):
        found.append("Timing it once more failed, so figures of an earlier session are shown")
    return found


def _add_absences(session: TimingRow, sessions: Sequence[TimingRow], entrants: Sequence[Contestant]) -> None:
    """What of a variant a session left out. The sessions of a target, one for each quantity, tell the same; each is told once."""
    where = f' on target "{session.target}"' if session.target else ""
    training = session.facts.get("what") == "training"
    together = [other for other in sessions if _programme(other) == _programme(session)]
    for contestant in entrants:
        if not contestant.runs or contestant.runs[0].experiment_id != session.experiment_id:
            continue
        variant = str(contestant.plan.get("variant", contestant.name))
        had = max(len(other.values.get(contestant.variant_id, {})) for other in together)
        for whom, reason in session.facts.get("absent", {}).items():
            of_it, _, quantity = whom.partition(f"{variant}: ")
            if whom == variant and had:
                what, rounds = " of training" if training else "", "1 round" if had == 1 else f"{had} rounds"
                sentence = f"Timing{what}{where} ended after {rounds}. {reason}"
            elif whom == variant and training:
                sentence = f"Training is not timed in interleaved rounds. {reason}"
            elif whom == variant:
                sentence = f"Not timed{where}. {reason}"
            elif quantity and not of_it:
                sentence = f"Not timed{where}: {quantity}. {reason}"
            else:
                continue
            if sentence not in contestant.untimed:
                contestant.untimed.append(sentence)


def _programme(session: TimingRow) -> tuple[str, dict[str, Any]]:
    """The same for the quantities that were timed in the same rounds."""
    return session.target, {name: fact for name, fact in session.facts.items() if name not in ("unit", "better")}


def timing_facts(measured: Mapping[str, Measured]) -> list[Mapping[str, Any]]:
    """The facts of the timing sessions behind the figures of one variant, each programme once, in the order in which they were made."""
    by_programme: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
    for each in measured.values():
        if each.by_round:
            programme = (str(each.detail.get("what", "")), str(each.detail.get("target", {}).get("name", "")))
            by_programme.setdefault(programme, (each.session, each.detail))
    return [facts for _, facts in sorted(by_programme.values(), key=lambda found: found[0])]


def _finite(values: Rounds) -> dict[int, float]:
    return {n: value for n, value in values.items() if np.isfinite(value)}


def _suffix(experiment: ExperimentRow, experiments: Sequence[ExperimentRow]) -> str:
    """What tells the variants of several experiments apart."""
    if len(experiments) == 1:
        return ""
    same = sum(other.name == experiment.name for other in experiments) > 1
    return f" ({experiment.name} #{experiment.id})" if same else f" ({experiment.name})"


def _add_results(store: Store, contestant: Contestant) -> set[str]:
    """Fill in the figures; returns the distinct settings under which those of no particular target were made."""
    seeds = {run.id: run.seed for run in contestant.done}
    grouped: dict[str, list[Any]] = {}
    for row in queries.results(store, list(seeds)) if seeds else []:
        if row.value is not None and np.isfinite(row.value):
            grouped.setdefault(f"{row.key}@{row.target}" if row.target else row.key, []).append(row)
    trained = [row.value for row in grouped.get("cost/train_tokens", [])]
    untrained = len(trained) == len(seeds) and not any(trained)
    for key, rows in grouped.items():
        rows.sort(key=lambda row: seeds[row.run_id])
        first = rows[0]
        by_seed = {seeds[row.run_id]: float(row.value) for row in rows}
        resamples = {seeds[row.run_id]: found for row in rows if (found := resamples_of(row.detail))}
        contestant.measured[key] = Measured(first.unit, first.better, by_seed, detail=first.detail, resamples=resamples, untrained=untrained)
        if JUDGED_BY in first.detail:
            contestant.own_judges[key] = frozenset(str(row.detail.get(JUDGED_BY_SOURCE)) for row in rows)
        if key == "cost/train_s":
            contestant.finishing_seconds = {seeds[row.run_id]: float(row.detail.get("finishing_s", 0.0)) for row in rows}
            contestant.needed_seconds = {seeds[row.run_id]: float(row.detail.get("of_needed_runs", 0.0)) for row in rows}
        if key.startswith("cost/") and "own" in first.detail:
            contestant.price[key] = {"total": first.value, **{name: x for name, x in first.detail.items() if isinstance(x, int | float)}}
    for row in (row for rows in grouped.values() for row in rows):
        if not row.target and "device" in row.detail and "threads" in row.detail:
            contestant.place = (str(row.detail["device"]), int(row.detail["threads"]))
            break
    return {
        f"{row.detail['device']} with {row.detail['threads']} threads"
        for rows in grouped.values()
        for row in rows
        if not row.target and "device" in row.detail and "threads" in row.detail
    }


def _add_circumstances(store: Store, contestant: Contestant, settings: set[str]) -> None:
    done = contestant.done
    seeds = {run.id: run.seed for run in done}
    corpora = set()
    unknown: dict[int, float] = {}
    for row in queries.effects(store, list(seeds)) if seeds else []:
        if row.technique:
            if row.run_id == done[0].id:
                contestant.effects.append(row)
            continue
        # Rows without a technique are what the engine itself recorded about the run.
        if row.run_id == done[0].id:
            contestant.recorded[row.hook] = row.facts
        if "loss_digest" in row.facts:
            contestant.loss_digests[seeds[row.run_id]] = row.facts["loss_digest"]
        if "corpus" in row.facts:
            corpora.add(row.facts["corpus"])
        if "test" in row.facts.get("unknown_share", {}):
            unknown[row.run_id] = float(row.facts["unknown_share"]["test"])
    machines = {queries.machine(store, each).fingerprint for each in {run.machine_id for run in done} if each is not None}
    contestant.circumstances = Circumstances(
        contestant.plan, frozenset(machines), frozenset(settings), frozenset(corpora),
        unknown_share=max(unknown.values()) if unknown and unknown.keys() == seeds.keys() else None,
        own_judges=contestant.own_judges, smoke=any(run.smoke for run in contestant.runs), resumed=any(run.attempt > 1 for run in done),
    )  # fmt: skip
