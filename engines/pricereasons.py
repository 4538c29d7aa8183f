"""Rules about memory, training, quality and noise: what a variant costs, and what its gains are worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engines.case import Case
from engines.phrases import Phrase, letter_of, say, times
from engines.report import labels

LARGE_SHARE = 0.1
"""A smaller share of a price is not worth a sentence."""
OWNERS = {"optimizer": "optimizer state", "other": "other tensors", "workspace": "workspaces of kernels and libraries"}
"""Owners whose name alone would not tell."""


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
        parts.append(f"{OWNERS.get(owner, owner)} {{{owner}_own:figure}} against {{{owner}_base:figure}}")
    who = "Tensors and workspaces" if "workspace" in mine else "Tensors"
    yield say(f"{who} of training take " "{own:figure} MiB at their peak against {base:figure}, {ratio:times}: " + ", ".join(parts) + ".", **figures)


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
        yield say("Of its own {own:figure} s {finishing:figure} s, {share:share}, were spent after training, to finish the model.",
                   finishing=finishing, own=own, share=finishing / own)  # fmt: skip


def faster_steps_longer_way(case: Case) -> Iterator[Phrase]:
    """More tokens a second, yet no sooner at the stated quality: each token teaches less; or the other way round."""
    reached = case.results.get("speed/time_to_quality_s")
    speed = next((result for target, result, _ in case.timed("speed/train_tokens_per_s") if not target), None)
    if reached is None or speed is None or reached["ratio"] is None:
        return
    # The time to a quality holds the seconds of needed runs and of finishing too, which say nothing about tokens.
    price = case.price.get("cost/train_s", {})
    if price.get("of_needed_runs") or price.get("finishing_s"):
        return
    text, figures = times("speed", speed)
    figures["time"] = reached["ratio"]
    sentence = f"It trains at {text} the tokens a second, yet reaches the stated quality after {{time:times}} the time: a token teaches it "
    if speed["verdict"] == "better" and not case.fell(reached["ratio"]):
        yield say(sentence + "less.", **figures)
    elif speed["verdict"] == "worse" and case.fell(reached["ratio"]):
        yield say(sentence + "more.", **figures)


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
            letter = letter_of(len(parts))
            text, more = times(f"ratio_{letter}", result)
            figures |= more | {f"name_{letter}": labels.name(key), f"low_{letter}": same["ratio_low"], f"high_{letter}": same["ratio_high"]}
            parts.append(f"{{name_{letter}}} {text} (itself {{low_{letter}:bound}} to {{high_{letter}:bound}})")
    if parts:
        yield say("May be noise, since the baseline timed against itself in the same rounds differs as much: " + ", ".join(parts) + ".", **figures)


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
        gain, more = times(f"gain_{letter_of(index)}", case.results[key])
        name = f"gain_{letter_of(index)}_name"
        figures |= more | {name: labels.name(key)}
        parts.append(f"{{{name}}} {gain}")
    opening = {
        "worse": "It pays with {quality_name} ", "better": "Nothing is paid in quality, {quality_name} is better too, ",
        "no practical difference": "Nothing is paid in quality, {quality_name} ",
    }[case.results[quality]["verdict"]]  # fmt: skip
    yield say(f"{opening}{text} for {', '.join(parts)}.", **figures)
