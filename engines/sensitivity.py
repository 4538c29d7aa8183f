"""How much quality each layer loses when it alone is pruned or rounded, from outside: the process that measures, its file, and the mix that follows
from it. No torch.

    loss_l(v)            what layer l at level v (a sparsity, a number of bits) adds to the loss of a held-out target, the others left alone     (1)
    sum_l loss_l(v_l)    what a mix of levels is foretold to add, as if losses added up; the mix that is suggested is measured, too              (2)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.hearing import heard
from engines.report import labels
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import DONE, RunRow

MODULE = "engines.runtime.sensitivity"
KIND = "sensitivity"
"""Of the artifact; its name is the mode."""
VERSION = 1
Mode = Literal["bits", "sparsity"]
LEVELS: dict[Mode, tuple[float, ...]] = {"bits": (8, 4, 3, 2), "sparsity": (0.5, 0.7, 0.9)}
"""That are tried unless others are asked for."""
ALLOWED = 0.01
"""Loss that a mix may add unless told otherwise, in nats a target: about 1% of a perplexity."""
FLOAT_BITS = 32


class SensitivityError(ValueError):
    """What cannot be measured, or was asked for wrongly; the message is a sentence for the user."""


def refusal(run: RunRow) -> str:
    """Why a run has no sensitivity, as a sentence; empty where it can be measured."""
    if run.status != DONE:
        return f"Run r{run.id} is {run.status}: sensitivity is measured on the finished model of a run that is done."
    return ""


def levels_of(mode: Mode, words: str) -> tuple[float, ...]:
    """Levels from what a person typed ("4,3"), each once, as they come. Raises SensitivityError with a sentence."""
    found: list[float] = []
    for word in (each.strip() for each in words.split(",") if each.strip()):
        try:
            value = float(word)
        except ValueError:
            raise SensitivityError(f'"{word}" is no number: write levels as in {_example(mode)}.') from None
        if mode == "bits" and not (value.is_integer() and 2 <= value <= 8):
            raise SensitivityError(f"{word} bits: weights are rounded to 2 to 8 whole bits, as in {_example(mode)}.")
        if mode == "sparsity" and not 0 < value < 1:
            raise SensitivityError(f"sparsity {word}: it must lie between 0 and 1, as in {_example(mode)}.")
        found.append(int(value) if mode == "bits" else value)
    if not found:
        raise SensitivityError(f"No level is given: write some, as in {_example(mode)}.")
    return tuple(dict.fromkeys(found))


def allowance(words: str) -> float:
    """What a mix may lose, from what a person typed. Raises SensitivityError with a sentence."""
    try:
        value = float(words)
    except ValueError:
        raise SensitivityError(f'"{words}" is no number: write what a mix may lose a target, as in {ALLOWED:g}.') from None
    if not 0 <= value < float("inf"):
        raise SensitivityError(f"A mix may not lose {words}: it is 0 or more, as in {ALLOWED:g}.")
    return value


def _example(mode: Mode) -> str:
    return ", ".join(f"{level:g}" for level in LEVELS[mode])


def command(url: str, run_id: int, mode: Mode, levels: Sequence[float], allowed: float = ALLOWED, tokens: int | None = None) -> list[str]:
    """The command line of the process, without the interpreter. tokens: how much validation text; None: as much as the run was judged on."""
    words = ["-m", MODULE, "--store", url, "--run", str(run_id), "--mode", mode, "--levels", ",".join(f"{level:g}" for level in levels)]
    return [*words, "--allow", str(allowed), *(["--tokens", str(tokens)] if tokens is not None else [])]


def measure(
    store: Store, run_id: int, mode: Mode, levels: Sequence[float], *, allowed: float = ALLOWED, tokens: int | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda said: None,
) -> Path:  # fmt: skip
    """Measure in a process of its own; returns the file. tell: gets each line of it. Ctrl+C ends it. Raises SensitivityError."""
    if reason := refusal(queries.run(store, run_id)):
        raise SensitivityError(reason)
    with tempfile.TemporaryFile() as errors:
        last, code = heard(command(store.url, run_id, mode, levels, allowed, tokens), errors, tell)
        errors.seek(0)
        final = errors.read().decode("utf-8", errors="replace").strip().splitlines()[-1:]
    if "error" in last:
        raise SensitivityError(last["error"])
    if "sensitivity" not in last:
        words = f" Its last words: {final[0]}" if final else ""
        raise SensitivityError(f"The sensitivity of run r{run_id} was not measured: its process ended with code {code}.{words}")
    return Path(last["sensitivity"])


def read(path: Path) -> dict[str, Any]:
    """A sensitivity file. Raises SensitivityError where it is none, or of another version."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SensitivityError(f"There is no sensitivity in {path}: {error}. Measure it again.") from error
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise SensitivityError(f"{path} is of another version of the workbench. Measure the sensitivity again.")
    return found


def stored(store: Store, run_id: int) -> dict[str, dict[str, Any]]:
    """What was measured of a run, by mode. Raises SensitivityError where a file is damaged."""
    return {row.name: read(Path(store.folder) / row.path) for row in queries.artifacts(store, run_id) if row.kind == KIND}


# --- A mix --------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One level of one layer. saved: what it saves (bits of storage, or weights); loss: what it adds to the loss of a target."""

    layer: str
    level: float
    saved: float
    loss: float


def mix(choices: Sequence[Choice], allowed: float) -> dict[str, float]:
    """The level of each layer that was given one: layers not named stay as they are.

    Greedy on (2): from all layers left alone, again and again the move to a level that saves more which adds least loss for what it saves,
    while the sum stays within `allowed`. What a level was measured to gain is not counted as room for others.
    """
    now: dict[str, Choice] = {}
    while True:
        total = sum(max(0.0, each.loss) for each in now.values())
        moves = []
        for choice in choices:
            before = now.get(choice.layer)
            saves = choice.saved - (before.saved if before else 0.0)
            adds = max(0.0, choice.loss) - (max(0.0, before.loss) if before else 0.0)
            if saves > 0 and total + adds <= allowed:
                moves.append((adds / saves, -saves, choice))
        if not moves:
            return {layer: choice.level for layer, choice in now.items()}
        best = min(moves, key=lambda move: move[:2])[2]
        now[best.layer] = best


def recipe_of_bits(layers: Sequence[Mapping[str, Any]], bits: Mapping[str, float]) -> dict[str, Any] | None:
    """The entry of a recipe that gives each layer its bits; None where no layer has any. `quantization/weight_only` packs modules whole: of one
    with a matrix that has none, nothing is packed."""
    left = {_module(name) for row in layers if row["name"] not in bits for name in row["names"]}
    packed = [row for row in layers if row["name"] in bits and not any(_module(name) in left for name in row["names"])]
    if not packed:
        return None
    chosen = {name: int(bits[row["name"]]) for row in packed for name in row["names"]}
    included = list(dict.fromkeys(_module(name) for name in chosen))
    kinds = list(dict.fromkeys(kind for row in packed for kind in row["kinds"]))
    return {"id": "quantization/weight_only", "types": kinds, "include": included, "layer_bits": chosen}


def recipe_of_sparsity(layers: Sequence[Mapping[str, Any]], sparsity: Mapping[str, float]) -> dict[str, Any] | None:
    """The entry of a recipe that prunes these layers, and no others, each to its share; None where there are none."""
    if not sparsity:
        return None
    kinds = list(dict.fromkeys(row["kinds"][0] for row in layers if row["name"] in sparsity))
    most = max(sparsity.values())
    own = {name: share for name, share in sparsity.items() if share != most}
    return {
        "id": "pruning/magnitude", "sparsity": most, **({"layer_sparsity": own} if own else {}), "types": kinds, "include": list(sparsity),
        "exclude": [], "fine_tune_tokens": 0,
    }  # fmt: skip


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def toml(recipe: Mapping[str, Any]) -> str:
    """The entry as it stands in an experiment file's `techniques`."""
    return "{ " + ", ".join(f"{_key(key)} = {_value(value)}" for key, value in recipe.items()) + " }"


def _key(key: str) -> str:
    return key if key.replace("_", "").isalnum() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return toml(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def mix_words(found: Mapping[str, Any]) -> str:
    """The suggested mix in sentences, with its entry for a recipe."""
    mixed, unit, bits = found["suggestion"], found["loss"]["unit"], found["mode"] == "bits"
    if mixed["recipe"] is None:
        return f"No layer can be {'rounded' if bits else 'pruned'} so within {mixed['allowed']:g} {unit} a target: allow more, or try milder levels."
    mean = f"{mixed['mean']:.3g} bits a weight on average, scales not counted" if bits else f"{mixed['mean']:.1%} of the weights zero"
    interval = f" [{mixed['low']:+.4f}, {mixed['high']:+.4f}]" if mixed["low"] is not None else ""
    key, before, after = labels.name(found["figure"]["key"]), found["figure"]["value"], mixed["figure"]
    return (
        f"The mix that saves most within {mixed['allowed']:g} {unit} a target: {mean} (layers that it leaves alone included); foretold, as if losses "
        f"added up, {mixed['foretold']:+.4f} {unit}, measured together {mixed['loss']:+.4f}{interval}; "
        f"{key} {before:.4g} becomes {after:.4g}. For the recipe:\n{toml(mixed['recipe'])}"
    )
