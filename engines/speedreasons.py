"""Rules about operations, bytes and time: why a variant is faster, smaller or neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engines.case import Case, Result
from engines.phrases import Phrase, letter_of, say, times, where
from engines.profiles import doubts

SPEED = "speed/infer_tokens_per_s"
LARGE_SHARE = 0.1
"""A smaller share of a step is not worth a sentence."""
MAIN_SHARE = 0.25
"""Parts of a model that make up less of a difference are not named."""


def without_effect(case: Case) -> Iterator[Phrase]:
    """A technique that the baseline has not and that changed nothing: neither a loss of training nor the finished model."""
    if not case.trained_alike:
        return
    for technique in case.new_techniques:
        rows = [effect for effect in case.effects if effect["technique"] == technique]
        measured = [effect["facts"] for effect in rows if "bytes_before" in effect["facts"] and "nonzero_before" in effect["facts"]]
        if measured and not any(map(_changed, measured)):
            stated = " ".join(effect["sentence"] for effect in rows if effect["hook"] == "stated")
            yield say("{technique} had no effect: training equals the baseline's loss by loss, and no module, parameter or byte changed. {stated}",
                       technique=technique, stated=stated)  # fmt: skip


def few_against_many(case: Case) -> Iterator[Phrase]:
    """Faster with much work at once and slower with little, or the other way round: a cost of each call against a cost of each token."""
    for target, small, large in _sizes(case):
        verdicts = small[1]["verdict"], large[1]["verdict"]
        if set(verdicts) != {"better", "worse"}:
            continue
        first, one = times("small", small[1])
        second, many = times("large", large[1])
        why = (
            "it adds a cost to each call, which more work in a call outweighs"
            if verdicts[1] == "better"
            else "it saves in each call, but adds to the cost of each token"
        )
        yield say(
            f"{{small_at}} it is {'slower' if verdicts[0] == 'worse' else 'faster'}, {first} ({{own:figure}} against {{base:figure}} {{unit}}), "
            f"{{large_at}} {'faster' if verdicts[1] == 'better' else 'slower'}, {second}{where(target)}: {why}.",
            small_at=small[0], large_at=large[0], own=small[1]["value"], base=small[2]["value"], unit=small[1]["unit"], target=target, **one, **many,
        )  # fmt: skip


def smaller_but_slower(case: Case) -> Iterator[Phrase]:
    """Fewer bytes in the file, yet no time saved in a step of one token."""
    size = case.ratio("size/model_mib")
    if size is None or not case.fell(size):
        return
    for target, latency, baseline in case.timed("latency/p50_ms"):
        throughput = next((result for place, result, _ in case.timed(SPEED) if place == target), None)
        if latency["verdict"] == "worse" and (throughput is None or throughput["verdict"] != "better"):
            text, figures = times("latency", latency)
            yield say(
                "It is stored in {size:times} the bytes, yet a step of one token takes {own:figure} against {base:figure} ms, " + text + where(target)
                + ": what it adds to a step costs more than the smaller weights save.",
                size=size, own=latency["value"], base=baseline["value"], target=target, **figures,
            )  # fmt: skip


def smaller_and_faster(case: Case) -> Iterator[Phrase]:
    """As many operations on fewer bytes, and a step of one token that takes less time."""
    size, operations = case.ratio("size/model_mib"), case.ratio(case.work)
    if size is None or not case.fell(size) or operations is None or not case.stayed(operations):
        return
    for target, latency, baseline in case.timed("latency/p50_ms"):
        if latency["verdict"] == "better":
            text, figures = times("latency", latency)
            yield say(
                "It does {operations:times} the operations per token on weights of {size:times} the bytes, and a step of one token takes "
                "{own:figure} against {base:figure} ms, " + text + where(target) + ".",
                operations=operations, size=size, own=latency["value"], base=baseline["value"], target=target, **figures,
            )  # fmt: skip


def fewer_operations(case: Case) -> Iterator[Phrase]:
    """Operations that fell and speed that followed."""
    operations = case.ratio(case.work)
    if operations is None or not case.fell(operations) or operations <= 0:
        return
    for target, speed, _ in case.timed(SPEED):
        if speed["verdict"] == "better":
            text, figures = times("speed", speed)
            yield say(
                "It does {operations:times} the operations per token, which alone would make inference {allowed:times} as fast; measured: "
                + text + where(target) + ".", operations=operations, allowed=1 / operations, target=target, **figures,
            )  # fmt: skip


def operations_not_the_limit(case: Case) -> Iterator[Phrase]:
    """Operations that fell while speed did not: the bytes moved, or how little of the machine's arithmetic was in use."""
    operations, moved = case.ratio(case.work), case.ratio("compute/bytes_per_token")
    if operations is None or not case.fell(operations):
        return
    peak = (case.peaks or {}).get("flops_per_s", {}).get("float32")
    work = case.baseline.get(case.work)
    for target, speed, baseline in case.timed(SPEED):
        if speed["verdict"] == "better":
            continue
        text, figures = times("speed", speed)
        start = "It does {operations:times} the operations per token, yet inference speed is " + text + where(target)
        figures |= {"operations": operations, "target": target}
        attained = work["value"] * baseline["value"] / peak if work and peak and not target else None
        if moved is not None and not case.fell(moved):
            yield say(start + ": it moves {moved:times} the bytes.", moved=moved, **figures)
        elif attained is not None and attained < 0.5:
            yield say(start + ": the baseline uses {attained:share} of the machine's measured arithmetic, so something else is the limit.",
                       attained=attained, **figures)  # fmt: skip


def where_operations_changed(case: Case) -> Iterator[Phrase]:
    """The parts of the model that most of the difference in operations comes from."""
    if case.uncounted:
        return
    mine, theirs = (_parts(each.get("work", {})) for each in (case.recorded, case.baseline_recorded))
    base, total = sum(theirs.values()), sum(mine.values()) - sum(theirs.values())
    if not mine or not base or case.stayed((base + total) / base):
        return
    changes = {name: mine.get(name, 0.0) - theirs.get(name, 0.0) for name in dict.fromkeys((*theirs, *mine))}
    main = [name for name in sorted(changes, key=lambda name: -abs(changes[name])) if changes[name] / total >= MAIN_SHARE]
    figures: dict[str, Any] = {}
    told = []
    for index, name in enumerate(main):
        letter = letter_of(index)
        figures |= {f"part_{letter}": name, f"own_{letter}": mine.get(name, 0.0), f"base_{letter}": theirs.get(name, 0.0)}
        told.append(f"{{part_{letter}}} {{own_{letter}:figure}} against {{base_{letter}:figure}}")
    if told:
        yield say("Operations of scoring a token differ most in " + ", ".join(told) + ".", **figures)


def training_alone(case: Case) -> Iterator[Phrase]:
    """Work saved in training that scoring does all the same, or the other way round."""
    training, scoring = _training_operations(case), case.ratio(case.work)
    if training is None or scoring is None:
        return
    speeds, figures = "", {"training": training, "scoring": scoring}
    for name, bare in (("train", "speed/train_tokens_per_s"), ("infer", SPEED)):
        found = next((result for target, result, _ in case.timed(bare) if not target), None)
        if found is not None:
            text, more = times(name, found)
            speeds += f" {'Training' if name == 'train' else 'Inference'} speed: {text}."
            figures |= more
    if case.fell(training) and case.stayed(scoring):
        yield say("Training does {training:times} the operations per token, scoring {scoring:times}: what it saves, it saves in training alone."
                   + speeds, **figures)  # fmt: skip
    elif case.rose(training) and case.fell(scoring):
        yield say("Scoring does {scoring:times} the operations per token, and training {training:times}: the saving is paid for in training."
                   + speeds, **figures)  # fmt: skip


def operations_not_counted(case: Case) -> Iterator[Phrase]:
    """Heavy operators that nobody has a formula for: a count without them is not held against one that has them."""
    if case.uncounted:
        yield say("Its operations and the baseline's are not compared, since some have no formula and are in no count: {names}.",
                   names=", ".join(case.uncounted))  # fmt: skip


def waits_and_bounds(case: Case) -> Iterator[Phrase]:
    """What a profiled training step waits for. Where other work ran or steps scatter, a wait may be theirs, and nothing is said."""
    profile = case.profile or {}
    if doubts(profile):
        return
    step = profile.get("step_ms") or {}
    # Profiles without quartiles took the wait of a single step.
    least, _ = (step.get("quartiles") or {}).get("data", (0.0, 0.0))
    if step.get("median") and least / step["median"] >= LARGE_SHARE:
        yield say("A profiled training step of {median:figure} ms waits {data:figure} ms for data, {share:share} (medians of {steps:figure} steps).",
                   median=step["median"], data=step["data"], share=step["data"] / step["median"], steps=len(step["each"]))  # fmt: skip
    spent = {row["name"]: row["forward_ms"] + row["backward_ms"] for row in profile.get("layers", ())}
    bounds: dict[str, float] = {}
    for row in (profile.get("roofline") or {}).get("layers", ()):
        if row["name"] in spent and row.get("bound"):
            bounds[row["bound"]] = bounds.get(row["bound"], 0.0) + spent[row["name"]]
    total = sum(bounds.values())
    if total and sum(spent.values()):
        bound = max(bounds, key=lambda name: bounds[name])
        words = {"compute": "arithmetic", "memory": "memory bandwidth", "launch": "the cost of calling kernels", "data": "the wait for data"}
        yield say("Of the time of its layers in a profiled step, {share:share} is spent in layers that {bound} limits.",
                   share=bounds[bound] / sum(spent.values()), bound=words.get(bound, bound))  # fmt: skip


def _changed(facts: Mapping[str, Any]) -> bool:
    before_after = [(facts.get(f"{name}_before"), facts.get(f"{name}_after")) for name in ("parameters", "nonzero", "bytes")]
    return any(before != after for before, after in before_after) or bool(facts.get("modules_added")) or bool(facts.get("modules_removed"))


def _training_operations(case: Case) -> float | None:
    """Ratio of the operations of training on one token, of the variant's own training alone."""
    mine, theirs = (each.get("work", {}).get("per_token", {}).get("training_flops") for each in (case.recorded, case.baseline_recorded))
    if mine and theirs and not case.uncounted:
        return float(mine / theirs)
    operations, tokens = case.ratio("cost/train_flops"), case.ratio("cost/train_tokens")
    if operations and tokens and not case.price.get("cost/train_flops", {}).get("of_needed_runs", 1.0):
        return operations / tokens
    return None


def _sizes(case: Case) -> Iterator[tuple[str, tuple[str, Result, Result], tuple[str, Result, Result]]]:
    """(target, little work, much work), each as (how it is said, result, the baseline's): batch sizes, else one token against whole batches."""
    for target in {key.partition("@")[2]: None for key in case.results}:
        batches = []
        for key, result in case.results.items():
            bare, _, place = key.partition("@")
            size = bare.removeprefix("speed/infer_tokens_per_s/batch_")
            if place == target and size.isdigit() and result["ratio_low"] is not None and key in case.baseline:
                batches.append((int(size), result, case.baseline[key]))
        batches.sort(key=lambda each: each[0])
        if len(batches) > 1:
            small, large = batches[0], batches[-1]
            yield target, (f"At batch {small[0]}", *small[1:]), (f"at batch {large[0]}", *large[1:])
            continue
        one = next((each for each in case.timed("latency/p50_ms") if each[0] == target), None)
        many = next((each for each in case.timed(SPEED) if each[0] == target), None)
        if one and many:
            yield target, ("One token at a time", *one[1:]), ("with whole batches", *many[1:])


def _parts(work: Mapping[str, Any]) -> dict[str, float]:
    """Operations of scoring a token in the outermost modules; what they hold is within theirs."""
    rows = {row["name"]: float(row["forward_flops"]) for row in work.get("layers", ())}
    return {name: flops for name, flops in rows.items() if not any(name.startswith(f"{other}.") for other in rows)}
