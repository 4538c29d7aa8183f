"""Whether the compression that is meant to be better comes out better: experiments through the engine on real text, over seeds.

    python -m tests.benchmarks compression [PART ...] [data=FOLDER] [seeds=5] [store=FILE]

On a small language model of the Python standard library, cut or rounded at once, no training after it:
obs         how much of the loss that magnitude pruning adds OBS adds, 90% of the weights gone
mixed       how much of the loss that 3 bits everywhere add 3 bits a weight on average add, spread by the Hessian

On labelled sentences:
distilled   a small student that also follows a larger teacher, against the same student alone
ternary     weights of three values trained under their own float model, against the same without soft labels
movement    the first layers of a pretrained encoder, cut while they are fine-tuned, 90% of their weights gone: movement against magnitude on the same
            schedule. Without the package that brings the encoder this part is not measured.

data (or WORKBENCH_SST2): the folder with stsa.binary.train, .dev and .test, whose test sentences judge. store: where the experiments are kept
instead of being thrown away, for `workbench compare`. Parts on the same network share its runs. Every interval is Student's, over differences
(or logarithms of ratios) of runs of the same seed; it is about other seeds, not about other texts.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import notebook
from engines.statistics import Interval, paired_ratio, student_interval
from engines.store import queries
from engines.store.database import Store
from engines.toolbox import minilm
from tests.benchmarks.rounds import held, words

SEEDS = 5
OBS_REACH = 0.7
LOSS, ACCURACY = "quality/test_nll", "quality/test_accuracy"

Found = Mapping[str, Mapping[str, Sequence[float]]]
"""variant -> LOSS (nats a word or text) or ACCURACY (of classifiers) -> the figure of each seed, in the order of the seeds."""


# --- What is run ----------------------------------------------------------------------------------------------------------------------------


def language_model(data: str) -> dict[str, Any]:
    """Two layers of a transformer, as in the example "pruning"."""
    return {
        "task": "language_model",
        "corpus": {"id": "corpora/python_stdlib", "level": "word", "max_vocabulary": 2000},
        "budget": {"tokens": 100_000},
        "model": transformer("attention/full", tied=True),
        "training": {"batch": 8, "sequence": 64, "techniques": recipe(3e-3, "cosine")},
        "held_out": 20_000,
    }


def classifier(data: str) -> dict[str, Any]:
    """Two layers of a transformer that see the whole sentence, from random weights."""
    return {
        "task": "text_classification",
        "corpus": labelled(data, level="word", min_count=2),
        "budget": {"epochs": 2},
        "model": transformer("attention/bidirectional"),
        "training": {"batch": 32, "sequence": 48, "techniques": recipe(1e-3, "cosine")},
    }


def encoder(data: str) -> dict[str, Any]:
    """The first two layers of the pretrained encoder."""
    return {
        "task": "text_classification",
        "corpus": labelled(data, level="encoder"),
        "budget": {"tokens": 1600},
        "model": {"id": "models/sentence_encoder", "depth": 2},
        "training": {"batch": 16, "sequence": 32, "techniques": recipe(2e-4, "linear_decay")},
    }


def labelled(folder: str, **settings: Any) -> dict[str, Any]:
    endings = {"train": "train", "valid": "dev", "test": "test"}
    files = {split: str(Path(folder, f"stsa.binary.{ending}").resolve()) for split, ending in endings.items()}
    return {"id": "corpora/labelled_files", **files, **settings}


def transformer(mixer: str, **head: Any) -> dict[str, Any]:
    return {
        "embedding": {"id": "embeddings/lookup", "width": 64},
        "layers": [{"mixer": {"id": mixer, "heads": 4}, "feedforward": {"id": "feedforward/dense"}, "repeat": 2}],
        "head": {"id": "softmax/full", **head},
    }


def recipe(lr: float, schedule: str) -> list[dict[str, Any]]:
    return [{"id": "optimization/adam", "lr": lr}, {"id": "optimization/clip_norm", "max_norm": 1.0}, {"id": f"optimization/{schedule}"}]


def technique(name: str, **parameters: Any) -> dict[str, Any]:
    return {"techniques": [{"id": name, **parameters}]}


# --- What is told of it -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """base: its network, from the folder of labelled sentences; variants: what each changes; tell: prints what the part asks."""

    base: Callable[[str], dict[str, Any]]
    variants: Mapping[str, Mapping[str, Any]]
    tell: Callable[[Found], None]


def added(ours: str, plain: str, reach: float | None) -> Callable[[Found], None]:
    """The ratio of the losses that two ways of compressing add to the same trained models."""

    def tell(found: Found) -> None:
        print(f"  {'whole':<24} {student_interval(found['whole'][LOSS]).value:.4f} nats")
        for name in (plain, ours):
            print(f"  {name:<24} adds {signed(difference(found, name, 'whole', LOSS))} nats")
        more = {name: [a - b for a, b in zip(found[name][LOSS], found["whole"][LOSS], strict=True)] for name in (ours, plain)}
        if min(map(min, more.values())) > 0:
            ratio = paired_ratio(more[ours], more[plain])
            print(f"  {ours} adds {words(ratio)} the loss that {plain} adds  {held(ratio, reach, below=True)}", flush=True)
        else:
            print(f"  No ratio, since a loss fell; {ours} less {plain}: {signed(difference(found, ours, plain, LOSS))} nats", flush=True)

    return tell


def gained(ours: str, plain: str, *others: str) -> Callable[[Found], None]:
    """How much higher the accuracy of `ours` is."""

    def tell(found: Found) -> None:
        for name in (*others, plain, ours):
            each = ", ".join(f"{100 * value:.1f}" for value in found[name][ACCURACY])
            mean = student_interval(found[name][ACCURACY]).value
            print(f"  {name:<24} accuracy {100 * mean:.2f}% ({each}), {student_interval(found[name][LOSS]).value:.4f} nats")
        gain, nats = difference(found, ours, plain, ACCURACY), difference(found, ours, plain, LOSS)
        points = Interval(100 * gain.value, 100 * gain.low, 100 * gain.high, gain.n)
        print(f"  {ours} less {plain}: {signed(points, 2)} points of accuracy, {verdict(gain)}; {signed(nats)} nats", flush=True)

    return tell


CUT = {"sparsity": 0.9, "fine_tune_tokens": 0}
MEANWHILE = {"sparsity": 0.9, "begin": 0.1, "end": 0.7, "exclude": ["body.scores*"]}
ROUNDED = {"bits": 3, "granularity": "channel"}
STUDENT = {"model": {"embedding": {"width": 16}, "layers": [{"mixer": {"id": "attention/bidirectional", "heads": 2}}]}}

PARTS = {
    "obs": Part(
        language_model,
        {"whole": {}, "magnitude": technique("pruning/magnitude", **CUT), "OBS": technique("pruning/obs", **CUT)},
        added("OBS", "magnitude", OBS_REACH),
    ),
    "mixed": Part(
        language_model,
        {
            "whole": {},
            "3 bits": technique("quantization/weight_only", **ROUNDED),
            "3 bits by the Hessian": technique("quantization/mixed_hessian", **ROUNDED),
        },
        added("3 bits by the Hessian", "3 bits", None),
    ),
    "distilled": Part(
        classifier,
        {"whole": {}, "student": STUDENT, "student, distilled": STUDENT | technique("distillation/soft_labels", teacher="whole")},
        gained("student, distilled", "student", "whole"),
    ),
    "ternary": Part(
        classifier,
        {
            "whole": {},
            "ternary": technique("quantization/ternary_distilled", teacher="whole", weight=0.0),
            "ternary, distilled": technique("quantization/ternary_distilled", teacher="whole"),
        },
        gained("ternary, distilled", "ternary", "whole"),
    ),
    "movement": Part(
        encoder,
        {
            "magnitude, gradually": technique("pruning/magnitude", mode="gradual", **MEANWHILE),
            "movement": technique("pruning/movement", **MEANWHILE),
        },
        gained("movement", "magnitude, gradually"),
    ),
}


# --- How it is run ----------------------------------------------------------------------------------------------------------------------------


def main(asked: list[str]) -> None:
    options = dict(word.split("=", 1) for word in asked if "=" in word)
    parts = [word for word in asked if "=" not in word] or list(PARTS)
    if unknown := [*(set(parts) - PARTS.keys()), *(options.keys() - {"data", "seeds", "store"})]:
        raise SystemExit(f"No part or option named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}, data=, seeds= and store=.")
    folder = options.get("data") or os.environ.get("WORKBENCH_SST2", "")
    bases = dict.fromkeys(PARTS[part].base for part in parts)
    with tempfile.TemporaryDirectory() as own:
        for base in bases:
            together = [part for part in parts if PARTS[part].base is base]
            if reason := missing(base, folder):
                print(f"{', '.join(together)}: not measured. {reason}", flush=True)
                continue
            start = time.monotonic()
            found = run(base(folder), together, int(options.get("seeds", SEEDS)), options.get("store") or str(Path(own, "store.sqlite")))
            print(f"{base.__doc__} {time.monotonic() - start:.0f} s.", flush=True)
            for part in together:
                print(f"{part}:")
                PARTS[part].tell(found)


def missing(base: Callable[[str], dict[str, Any]], folder: str) -> str:
    """What this network would need; the empty string where it is here."""
    if base is not language_model and not folder:
        return "data=FOLDER or WORKBENCH_SST2 names the folder with stsa.binary.train, .dev and .test."
    return minilm.unavailable() if base is encoder else ""


def run(base: dict[str, Any], parts: Sequence[str], seeds: int, store: str) -> Found:
    """Every variant of these parts, each once a seed, as one experiment. Raises SystemExit where a run does not end well."""
    variants = {name: changes for part in parts for name, changes in PARTS[part].variants.items()}
    settings = {
        "name": f"Compression: {', '.join(parts)}", **{key: base[key] for key in ("task", "corpus", "budget")},
        "seeds": list(range(seeds)), "device": "cpu", "threads": 1,
    }  # fmt: skip
    # No timing: nothing here is about speed.
    measure = {"evaluations": 0, "held_out_tokens": base.get("held_out", 0), "rounds": 0}
    handle = notebook.run(
        {
            "experiment": settings, "model": base["model"], "training": base["training"], "measure": measure,
            "variant": [{"name": name, **changes} for name, changes in variants.items()],
        },
        store=store,
    )  # fmt: skip
    opened = Store.open(handle.store)
    try:
        rows = sorted(queries.runs(opened, handle.id), key=lambda row: row.seed)
        if failed := [row for row in rows if row.status != "done"]:
            raise SystemExit("; ".join(f"{row.variant}, seed {row.seed}: {row.status}. {row.reason}" for row in failed))
        figures: dict[tuple[int, str], float] = {
            (each.run_id, each.key): each.value for each in queries.results(opened, [row.id for row in rows]) if each.value is not None
        }
    finally:
        opened.close()
    for run_id, key in list(figures):
        if key == "quality/test_perplexity":
            figures[run_id, LOSS] = math.log(figures[run_id, key])
    return {
        name: {key: [figures[row.id, key] for row in rows if row.variant == name and (row.id, key) in figures] for key in (LOSS, ACCURACY)}
        for name in variants
    }


# --- How it is told ---------------------------------------------------------------------------------------------------------------------------


def difference(found: Found, ours: str, plain: str, key: str) -> Interval:
    """Mean of ours - plain, seed by seed."""
    return student_interval([a - b for a, b in zip(found[ours][key], found[plain][key], strict=True)])


def signed(found: Interval, places: int = 4) -> str:
    value = f"{found.value:+.{places}f}"
    return f"{value} [{found.low:+.{places}f}, {found.high:+.{places}f}]" if found.known else f"{value} (n = {found.n}: no interval)"


def verdict(gain: Interval) -> str:
    if not gain.known:
        return "undecided"
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "undecided"


if __name__ == "__main__":
    main(sys.argv[1:])
