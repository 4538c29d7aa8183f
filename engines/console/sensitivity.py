"""`workbench sensitivity`: how much quality each layer of a finished model loses when it alone is pruned or rounded."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from engines import sensitivity
from engines.console.opening import existing_run, opened
from engines.console.output import RequestError, columns, note, run_id, say, write_json
from engines.report import labels
from engines.sensitivity import LEVELS, Mode


def measure(arguments: argparse.Namespace) -> int:
    if arguments.bits and arguments.sparsity:
        raise RequestError("--bits and --sparsity are two questions: ask one at a time.")
    mode: Mode = "sparsity" if arguments.sparsity else "bits"
    levels = sensitivity.levels_of(mode, arguments.sparsity or arguments.bits or ",".join(map(str, LEVELS[mode])))
    if arguments.tokens is not None and arguments.tokens < 1:
        raise RequestError(f"--tokens {arguments.tokens}: at least one target has to be judged.")
    allowed = sensitivity.allowance(arguments.allow)
    with opened(arguments) as store:
        row = existing_run(store, run_id(arguments.id))

        def tell(said: Mapping[str, Any]) -> None:
            if "doing" in said:
                note(f"r{row.id} {row.variant}: {said['done']} of {said['of']}, {said['doing']}" if said["of"] else f"r{row.id}: {said['doing']}")

        path = sensitivity.measure(store, row.id, mode, levels, allowed=allowed, tokens=arguments.tokens, tell=tell)
    found = sensitivity.read(path)
    if arguments.json:
        write_json(found, "-")
    else:
        show(found)
        say(f"kept: {path}")
    return 0


def show(found: Mapping[str, Any]) -> None:
    """The layers as a table, the one that loses most at the last level first, and the mix."""
    figure, unit, bits = found["figure"], found["loss"]["unit"], found["mode"] == "bits"
    say(
        f"{labels.name(figure['key'])} {figure['value']:.4g} on the first {found['targets']:,} targets of the validation text; judged "
        f"again it moved by {found['again']:.2g} {unit}. Each layer alone {'rounded' if bits else 'pruned'}, {unit} a target lost "
        f"[95% interval over {found['pieces']} pieces of the text]:"
    )
    ordered = sorted(found["layers"], key=lambda row: -row["levels"][-1]["loss"])
    rows = [[row["name"], f"{row['weights']:,}", *(_loss(each) for each in row["levels"])] for row in ordered]
    headings = [f"{level:g} bits" if bits else f"sparsity {level:g}" for level in found["levels"]]
    say(columns(["layer", "weights", *headings], rows))
    say(sensitivity.mix_words(found))


def _loss(each: Mapping[str, Any]) -> str:
    interval = f" [{each['low']:+.4f}, {each['high']:+.4f}]" if each["low"] is not None else ""
    return f"{each['loss']:+.4f}{interval}"

