"""A comparison in plain words: what each variant gains, pays and leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.report import labels

_OPENING = {
    "better": "Better than the baseline",
    "worse": "Worse than the baseline",
    "no practical difference": "No practical difference",
    "not enough data": "Not enough data for a verdict",
}


NAMED = 3
"""Figures without a verdict that a headline names, and variants of a group of trials."""


def of_variant(variant: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, str]]:
    """One entry a verdict that occurs, best first: {verdict, opening, text}; figures without a verdict are grouped by what is missing."""
    found = []
    judged = {key: variant["results"][key] for key in keys if key in variant["results"] and variant["results"][key]["better"] != "none"}
    for verdict, opening in _OPENING.items():
        concerned = [(key, result) for key, result in judged.items() if result["verdict"] == verdict]
        if not concerned:
            continue
        if verdict == "not enough data":
            by_reason: dict[str, list[str]] = {}
            for key, result in concerned:
                by_reason.setdefault(result["reason"], []).append(_figure(key, result))
            text = " ".join(f"{'; '.join(figures)}: {reason[0].lower()}{reason[1:]}" for reason, figures in by_reason.items())
        else:
            text = "; ".join(_figure(key, result) for key, result in concerned) + "."
        found.append({"verdict": verdict, "opening": opening, "text": text})
    return found


def method(comparison: Mapping[str, Any]) -> list[str]:
    """How the verdicts were made and how many of them: what a reader has to know to trust or doubt them."""
    counted = comparison["verdicts"]
    made, margin, level = counted["made"], comparison["margin"], comparison["level"]
    exact = counted["exact"]
    wrong = (made - exact) * (1 - level)
    chance = (
        f"This comparison makes {made} {'verdict' if made == 1 else 'verdicts'} in all, {exact} of them on exact counts. An interval misses the "
        f"truth in about {1 - level:.0%} of cases, so up to {wrong:.1f} of the others may be wrong by chance alone."
    )
    return [
        f"A verdict needs the {level:.0%} interval of the ratio to the baseline to clear a margin of {margin:.1%} on one side, or to lie within it; "
        "an interval that does neither decides nothing.",
        "Quality and memory: the same seeds side by side, Student t interval of the paired log-ratios, at least 5 seeds. "
        "Speed and latency: interleaved rounds in random order over several launches of the processes, at least 6 rounds; median of the paired "
        "log-ratios of each launch, Student t interval over launches (of many the most extreme eighth at either end left out); "
        "figures timed in separate runs are shown and not judged. Parameters, bytes and operations: exact counts.",
        chance if made else "This comparison makes no verdict yet.",
        "Each variant ran at the values that stand in its experiment file; what was tried before they were written down is not recorded.",
        *map(_trials, comparison["trials"]),
    ]


def _trials(group: Mapping[str, Any]) -> str:
    """Who keeps the best of several has searched, and the others were not searched as long."""
    names, count = group["variants"], len(group["variants"])
    listed = ", ".join(names[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")
    return (
        f"{listed} differ from one another in numbers alone ({', '.join(group['keys'])}): the best of them is the best of {count} trials, and is to "
        "be held against the best of as many of another variant."
    )


def headline(comparison: Mapping[str, Any]) -> list[str]:
    """One sentence a variant about the judging metrics, for the head of a report."""
    keys = labels.columns(comparison)
    found = []
    for name, variant in comparison["variants"].items():
        if name == comparison["baseline"]:
            continue
        results = {key: variant["results"][key] for key in keys if key in variant["results"]}
        gains = [_short(key, result) for key, result in results.items() if result["verdict"] == "better"]
        losses = [_short(key, result) for key, result in results.items() if result["verdict"] == "worse"]
        equal = [labels.name(key) for key, result in results.items() if result["verdict"] == "no practical difference"]
        # What is open is named all the same: a reader asks first what it did to the quality.
        open_ = [_short(key, result) for key, result in results.items() if result["verdict"] == "not enough data"]
        if len(open_) > NAMED + 1:
            open_ = [*open_[:NAMED], f"{len(open_) - NAMED} more figures"]
        if not results:
            text = f"has no figures ({labels.state(variant)})."
        else:
            parts = [f"better in {_listed(gains)}"] if gains else []
            parts += [f"worse in {_listed(losses)}"] if losses else []
            parts += [f"no practical difference in {_listed(equal)}"] if equal else []
            parts += [f"not enough data to judge {_listed(open_)}"] if open_ else []
            text = "; ".join(parts) + "."
        found.append(f"{name}: {text}")
    return found


def controls(comparison: Mapping[str, Any]) -> list[str]:
    """One line a quantity of the A/A control: "median latency: 1.002 (0.994 to 1.010) over 12 rounds"."""
    found = []
    for key, same in comparison["control"].items():
        times = f"{same['ratio']:.3f}" if same["ratio"] is not None else "no ratio"
        bounds = f" ({same['ratio_low']:.3f} to {same['ratio_high']:.3f})" if same["ratio_low"] is not None else ""
        found.append(f"{labels.name(key)}: {times}{bounds} over {same['n']} rounds")
    return found


def conditions(recorded: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) of how the machine was while the timing was made; what was not recorded is left out."""
    found = []
    load = recorded.get("load", {})
    for name, limits, unit in (
        ("other work", load.get("machine_percent"), "% of the machine"),
        ("load average", load.get("load_1"), ""),
        ("clock", recorded.get("frequency"), " MHz"),
        ("GPU clock", recorded.get("gpu_frequency"), " MHz"),
    ):
        if limits:
            low, middle, high = limits
            found.append((name, f"{labels.figure(middle)}{unit} (from {labels.figure(low)} to {labels.figure(high)})"))
    if "throttled" in recorded:
        found.append(("throttled", f"{recorded['throttled']} times" if recorded["throttled"] else "never"))
    if "gpu_users" in recorded:
        found.append(("processes on the GPU", str(recorded["gpu_users"])))
    if recorded.get("threads"):
        found.append(("threads", ", ".join(map(str, recorded["threads"]))))
    if "observer" in recorded:
        found.append(("observing", f"took at most {recorded['observer']:.2%} of the training time"))
    return found


def _figure(key: str, result: Mapping[str, Any]) -> str:
    times = labels.ratio(result)
    bounds = labels.interval(result)
    beside = ", ".join(part for part in (f"{times} the baseline" if times else "", bounds) if part)
    unit = f" {result['unit']}" if result["unit"] else ""
    return f"{labels.name(key)} {labels.figure(result['value'])}{unit}" + (f" ({beside})" if beside else "")


def _short(key: str, result: Mapping[str, Any]) -> str:
    """The ratio, and where it is a verdict how sure it is."""
    times = labels.ratio(result)
    bounds = labels.interval(result) if times and result["verdict"] != "not enough data" else ""
    return f"{labels.name(key)} ({', '.join(part for part in (times, bounds) if part)})" if times else labels.name(key)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
