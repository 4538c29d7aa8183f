"""Why a variant is faster, smaller or neither: sentences made of the figures of this comparison.

A rule is one function: it looks at figures, effects and what the engine recorded, never at names of techniques, and gives nothing where a
figure that it needs was not measured. Templates hold no digit: every number of a sentence stands among its figures.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engines.case import Case, Result
from engines.phrases import Phrase, say, times, where
from engines.report import labels
from engines.savings import zero_share, zeroing

MANY_ZEROS = 0.2
"""A smaller share of zeros is not what a variant is about (rounding to a coarse grid makes some)."""
LARGE_SHARE = 0.1
"""A smaller share of a price or of a step is not worth a sentence."""


def explanations(case: Case) -> list[Phrase]:
    """Every rule that this case bears out, in the order of RULES."""
    return [found for rule in RULES for found in rule(case)]


# --- Rules ----------------------------------------------------------------------------------------------------------------------------------


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


def zeros_without_speed(case: Case) -> Iterator[Phrase]:
    """Zeros that dense kernels multiply like any other number."""
    zeros, operations = zero_share(case.results), case.ratio(case.work)
    if zeros is None or zeros < MANY_ZEROS or operations is None or not case.stayed(operations):
        return
    for target, speed, _ in case.timed("speed/infer_tokens_per_s"):
        if speed["verdict"] != "better":
            text, figures = times("speed", speed)
            yield say(
                "{zeros:share} of the weights are zero, but dense kernels multiply zeros: {operations:times} the operations, inference speed "
                + text + where(target) + ".", zeros=zeros, operations=operations, target=target, **figures,
            )  # fmt: skip


def zeros_stored_densely(case: Case) -> Iterator[Phrase]:
    """Zeros that take as many bytes as any other number."""
    for effect in zeroing(case.effects, case.margin):
        facts = effect["facts"]
        packed = case.results.get("size/packed_mib")
        stored = case.results.get("size/model_mib")
        smaller = " Packed they would take {packed:figure} MiB." if packed and stored and packed["value"] < stored["value"] else ""
        yield say(
            "{technique} left {after:figure} of {before:figure} weights non-zero, and the model holds {bytes:figure} bytes as before: zeros are "
            "stored like any other number." + smaller, technique=effect["technique"], after=facts["nonzero_after"], before=facts["nonzero_before"],
            bytes=facts["bytes_after"], **({"packed": packed["value"]} if smaller and packed else {}),
        )  # fmt: skip


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
        throughput = next((result for place, result, _ in case.timed("speed/infer_tokens_per_s") if place == target), None)
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
    for target, speed, _ in case.timed("speed/infer_tokens_per_s"):
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
    for target, speed, baseline in case.timed("speed/infer_tokens_per_s"):
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


def training_alone(case: Case) -> Iterator[Phrase]:
    """Work saved in training that scoring does all the same, or the other way round."""
    training, scoring = _training_operations(case), case.ratio(case.work)
    if training is None or scoring is None:
        return
    speeds, figures = "", {"training": training, "scoring": scoring}
    for name, bare in (("train", "speed/train_tokens_per_s"), ("infer", "speed/infer_tokens_per_s")):
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


def memory_by_owner(case: Case) -> Iterator[Phrase]:
    """Who held the memory at the peak of training, here and in the baseline."""
    own, base = (each.get("memory", {}) for each in (case.recorded, case.baseline_recorded))
    mine, theirs = own.get("owners_mib"), base.get("owners_mib")
    if not mine or not theirs or not base.get("peak_mib") or own.get("peak_mib") is None:
        return
    total, ratio = own["peak_mib"] - base["peak_mib"], own["peak_mib"] / base["peak_mib"]
    if case.stayed(ratio):
        return
    changes = {owner: mine.get(owner, 0.0) - theirs.get(owner, 0.0) for owner in dict.fromkeys((*theirs, *mine))}
    main = [owner for owner in sorted(changes, key=lambda owner: -abs(changes[owner])) if changes[owner] * total > LARGE_SHARE * total * total]
    if not main:
        return
    figures: dict[str, Any] = {"own": own["peak_mib"], "base": base["peak_mib"], "ratio": ratio}
    parts = []
    for owner in main:
        figures |= {f"{owner}_own": mine.get(owner, 0.0), f"{owner}_base": theirs.get(owner, 0.0)}
        parts.append(f"{owner} {{{owner}_own:figure}} against {{{owner}_base:figure}}")
    yield say("Tensors of training take {own:figure} MiB at their peak against {base:figure}, {ratio:times}: " + ", ".join(parts) + ".", **figures)


def price_of_others(case: Case) -> Iterator[Phrase]:
    """The part of the training that went into other runs (a teacher, initial weights)."""
    price = case.price.get("cost/train_s", {})
    total, needed = price.get("total"), price.get("of_needed_runs")
    if total and needed and needed / total >= LARGE_SHARE:
        yield say("{needed:figure} of the {total:figure} s of training, {share:share}, went into the other runs that it needs.",
                   needed=needed, total=total, share=needed / total)  # fmt: skip


def price_of_finishing(case: Case) -> Iterator[Phrase]:
    """The part of its own training time that was spent after training: fine-tuning, calibration, packing."""
    price = case.price.get("cost/train_s", {})
    own, finishing = price.get("own"), price.get("finishing_s")
    if own and finishing and finishing / own >= LARGE_SHARE:
        yield say("{finishing:figure} of its own {own:figure} s, {share:share}, were spent after training, to finish the model.",
                   finishing=finishing, own=own, share=finishing / own)  # fmt: skip


def within_noise(case: Case) -> Iterator[Phrase]:
    """Gains in what judges that are no larger than what the baseline differs from itself."""
    figures: dict[str, Any] = {}
    parts: list[str] = []
    for key, same in case.control.items():
        result = case.results.get(key)
        if result is None or key.split("@")[0] not in case.metrics or not result["interleaved"] or not result["ratio"] or same["ratio_low"] is None:
            continue
        gain = result["ratio"] > 1 if result["better"] == "higher" else result["ratio"] < 1
        if gain and result["verdict"] != "better" and same["ratio_low"] <= result["ratio"] <= same["ratio_high"]:
            letter = _letter(len(parts))
            text, more = times(f"ratio_{letter}", result)
            figures |= more | {f"name_{letter}": labels.name(key), f"low_{letter}": same["ratio_low"], f"high_{letter}": same["ratio_high"]}
            parts.append(f"{{name_{letter}}} {text} (itself {{low_{letter}:bound}} to {{high_{letter}:bound}})")
    if parts:
        yield say("Within what the baseline differs from itself in the same rounds: " + ", ".join(parts) + ".", **figures)


def quality_paid(case: Case) -> Iterator[Phrase]:
    """What its gains cost in quality, or that they cost none."""
    quality = next((key for key in case.results if key.split("@")[0] in case.metrics and key.startswith("quality/")), None)
    judged = [key for key in case.results if key.split("@")[0] in case.metrics and key != quality and not key.startswith("quality/")]
    gains = [key for key in judged if case.results[key]["verdict"] == "better"]
    if quality is None or not gains or case.results[quality]["verdict"] == "not enough data":
        return
    text, figures = times("quality", case.results[quality])
    figures["quality_name"] = labels.name(quality)
    parts = []
    for index, key in enumerate(gains):
        gain, more = times(f"gain_{_letter(index)}", case.results[key])
        name = f"gain_{_letter(index)}_name"
        figures |= more | {name: labels.name(key)}
        parts.append(f"{{{name}}} {gain}")
    opening = {
        "worse": "It pays with {quality_name} ", "better": "Nothing is paid in quality, {quality_name} is better too, ",
        "no practical difference": "Nothing is paid in quality, {quality_name} ",
    }[case.results[quality]["verdict"]]  # fmt: skip
    yield say(f"{opening}{text} for {', '.join(parts)}.", **figures)


def faster_steps_longer_way(case: Case) -> Iterator[Phrase]:
    """More tokens a second, yet no sooner at the stated quality: each token teaches less; or the other way round."""
    reached = case.results.get("speed/time_to_quality_s")
    speed = next((result for target, result, _ in case.timed("speed/train_tokens_per_s") if not target), None)
    if reached is None or speed is None or reached["ratio"] is None:
        return
    text, figures = times("speed", speed)
    figures["time"] = reached["ratio"]
    sentence = f"It trains at {text} the tokens a second, yet reaches the stated quality after {{time:times}} the time: a token teaches it "
    if speed["verdict"] == "better" and not case.fell(reached["ratio"]):
        yield say(sentence + "less.", **figures)
    elif speed["verdict"] == "worse" and case.fell(reached["ratio"]):
        yield say(sentence + "more.", **figures)


def waits_and_bounds(case: Case) -> Iterator[Phrase]:
    """What a profiled training step waits for."""
    profile = case.profile or {}
    step = profile.get("step_ms") or {}
    if step.get("median") and step.get("data") and step["data"] / step["median"] >= LARGE_SHARE:
        yield say("A profiled training step of {median:figure} ms waits {data:figure} ms for data, {share:share}.",
                   median=step["median"], data=step["data"], share=step["data"] / step["median"])  # fmt: skip
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


RULES: tuple[Callable[[Case], Iterator[Phrase]], ...] = (
    without_effect, zeros_without_speed, zeros_stored_densely, few_against_many, smaller_but_slower, smaller_and_faster, fewer_operations,
    operations_not_the_limit, training_alone, memory_by_owner, price_of_others, price_of_finishing, faster_steps_longer_way, within_noise,
    quality_paid, waits_and_bounds,
)  # fmt: skip


# --- What they look at ---------------------------------------------------------------------------------------------------------------------


def _letter(index: int) -> str:
    """a, b, ... z, aa, ab: names of figures hold no digit."""
    return (_letter(index // 26 - 1) if index >= 26 else "") + string.ascii_lowercase[index % 26]


def _changed(facts: Mapping[str, Any]) -> bool:
    before_after = [(facts.get(f"{name}_before"), facts.get(f"{name}_after")) for name in ("parameters", "nonzero", "bytes")]
    return any(before != after for before, after in before_after) or bool(facts.get("modules_added")) or bool(facts.get("modules_removed"))


def _training_operations(case: Case) -> float | None:
    """Ratio of the operations of training on one token, of the variant's own training alone."""
    mine, theirs = (each.get("work", {}).get("per_token", {}).get("training_flops") for each in (case.recorded, case.baseline_recorded))
    if mine and theirs:
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
        many = next((each for each in case.timed("speed/infer_tokens_per_s") if each[0] == target), None)
        if one and many:
            yield target, ("One token at a time", *one[1:]), ("with whole batches", *many[1:])
