"""Rules about savings that exist on paper: zeros that are multiplied and stored like other numbers, weights that were only rounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engines.case import Case
from engines.phrases import Phrase, say, times, where
from engines.savings import BITS, zero_share, zeroing

SPEED = "speed/infer_tokens_per_s"
MANY_ZEROS = 0.2
"""A smaller share of zeros is not what a variant is about (rounding to a coarse grid makes some)."""


def zeros_without_speed(case: Case) -> Iterator[Phrase]:
    """Zeros that dense kernels multiply like any other number, and what it was worth to make the same model smaller instead."""
    found = _multiplied_zeros(case)
    if found is None:
        return
    zeros, operations = found
    for target, speed, _ in case.timed(SPEED):
        if speed["verdict"] != "better":
            text, figures = times("speed", speed)
            other, more = _faster_sibling(case, "size/parameters", target, "The same model made smaller instead", "parameters")
            yield say(
                "{zeros:share} of the weights are zero, but dense kernels multiply zeros: {operations:times} the operations, inference speed "
                + text + where(target) + "." + other, zeros=zeros, operations=operations, target=target, **figures, **more,
            )  # fmt: skip


def rounded_without_speed(case: Case) -> Iterator[Phrase]:
    """Weights that were rounded to few bits and are stored as wide as before, and what fewer bytes of the same model were worth."""
    size = case.ratio("size/model_mib")
    for row in (row for row in case.simulated if row["key"] == BITS and size is not None):
        for target, speed, _ in case.timed(SPEED):
            if speed["verdict"] != "better":
                text, figures = times("speed", speed)
                other, more = _faster_sibling(case, "size/model_mib", target, "The same model stored in fewer bytes instead", "bytes")
                yield say(
                    "Its weights are rounded to {bits:times} the bits, but stored in {size:times} the bytes: inference speed "
                    + text + where(target) + "." + other, bits=row["ratio"], size=size, target=target, **figures, **more,
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


def where_sparse_pays(case: Case) -> Iterator[Phrase]:
    """From how few weights on a sparse format would be faster, as it was measured on this machine, where zeros are multiplied like other numbers."""
    if _multiplied_zeros(case) is None:
        return
    left = _left(case.effects)
    for format in dict.fromkeys(row["format"] for row in case.break_even):
        rows = sorted((row for row in case.break_even if row["format"] == format), key=_even)
        figures: dict[str, Any] = {"format": format}
        told = []
        for name, row in {"least": rows[0], "most": rows[-1]}.items() if len(rows) > 1 else [("least", rows[0])]:
            figures |= {f"{name}_batch": row["batch"], f"{name}_width": row["width"]}
            if row["density"] is not None:
                figures[name] = row["density"]
            beyond = "any that was measured" if row["always"] else "none that was measured"
            below = beyond if row["density"] is None else f"below {{{name}:share}}"
            told.append(f"{below} (batch {{{name}_batch:figure}}, {{{name}_width:figure}} wide)")
        start = end = ""
        if left is not None:
            figures["left"] = left
            paying = sum(_even(row) > left for row in rows)
            start = "Of the weights that may be zero {left:share} are left. "
            end = ": stored so, they would be " + ("faster" if paying == len(rows) else "faster at some of these sizes" if paying else "slower")
        yield say(
            f"{start}Measured on this machine, {{format}} is faster than dense where the share of weights left is {', '.join(told)}{end}.", **figures
        )


def _multiplied_zeros(case: Case) -> tuple[float, float] | None:
    """Share of weights that are zero and the ratio of operations, where so many are zero and the operations stayed what they were."""
    zeros, operations = zero_share(case.results), case.ratio(case.work)
    many = zeros is not None and zeros >= MANY_ZEROS and case.stayed(operations)
    return (zeros, operations) if many and zeros is not None and operations is not None else None


def _even(row: Mapping[str, Any]) -> float:
    """The break-even density, beyond all that were measured where there is none among them."""
    return float(row["density"]) if row["density"] is not None else float(row["always"])


def _left(effects: Iterable[Mapping[str, Any]]) -> float | None:
    """Share of the weights that could be made zero which are not; None where nobody counted them."""
    counted = [effect["facts"] for effect in effects if effect["facts"].get("prunable_weights")]
    return 1 - counted[-1]["zero_weights"] / counted[-1]["prunable_weights"] if counted else None


def _faster_sibling(case: Case, size: str, target: str, opening: str, unit: str) -> tuple[str, dict[str, Any]]:
    """Template of a sentence about a sibling that is smaller by a count and faster, with its figures; both empty where there is none.

    size: key of the count ("size/parameters"), of which it has less than this variant; target: where both were timed; unit: of the count, in
    words. Of several the one is cited whose size is nearest to what this variant claims to have left (its non-zero parameters, else its own
    size): a saving as large, made otherwise.
    """
    speed = f"{SPEED}@{target}" if target else SPEED
    own = case.results.get(size)
    if own is None or not own["value"]:
        return "", {}
    claimed = case.results.get("size/nonzero_parameters", own)["value"] if size == "size/parameters" else own["value"]
    found = [
        (abs(results[size]["value"] - claimed), name, results)
        for name, results in case.siblings.items()
        if size in results and case.fell(results[size]["value"] / own["value"]) and results.get(speed, {}).get("verdict") == "better"
    ]
    if not found:
        return "", {}
    _, name, results = min(found, key=lambda each: each[0])
    text, figures = times("sibling_speed", results[speed])
    figures |= {"sibling": name, "sibling_size": results[size]["value"] / own["value"]}
    return f' {opening} ("{{sibling}}", {{sibling_size:times}} the {unit}): {text}.', figures
