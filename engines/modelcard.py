"""The card that goes with an exported model: what was done, how good it is, how it is loaded, what is only simulated. Markdown, no torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

from engines import statistics
from engines.report import labels
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import DONE, EffectRow, ResultRow, RunRow

_FEWEST = 2
"""Seeds that an interval over them needs; a verdict needs `statistics.FEWEST_SEEDS`."""
SIMULATED = "simulated"
"""The word by which a technique marks, in what it states, a saving that nothing executes."""


def card(store: Store, run_id: int, form: str, facts: Mapping[str, Any]) -> str:
    """The card of a run's exported model. facts: what `engines.runtime.export` says of the files."""
    run, plan = queries.run(store, run_id), queries.plan(store, run_id)
    results = [row for row in queries.results(store, run_id) if row.value is not None]
    effects = [row for row in queries.effects(store, run_id) if row.technique]
    parts = [
        f"# {run.variant} · {queries.experiment(store, run.experiment_id).name}",
        _origin(run, form),
        f"## Files\n\n{_files(facts['parts'], facts['left_out'])}",
        f"## How to load it\n\n{_loading(form, plan, facts)}",
        f"## What was done\n\n{_done(plan, effects)}",
        f"## Quality\n\n{_quality(store, run, results)}",
        f"## Size and cost\n\n{_costs(results, facts)}",
        f"## What is simulated\n\n{_simulated(effects)}",
        f"## Text\n\n{_text(plan, facts['text'])}",
        f"## Machine and versions\n\n{_machine(store, run, facts)}",
    ]
    return "\n\n".join(parts) + "\n"


def _origin(run: RunRow, form: str) -> str:
    smoke = " **A smoke run of a few steps: its figures mean nothing.**" if run.smoke else ""
    ended = time.strftime("%Y-%m-%d", time.gmtime(run.ended)) if run.ended else "unknown"
    return f"Run r{run.id}, seed {run.seed}, ended {ended}; exported as {form} on {time.strftime('%Y-%m-%d', time.gmtime())}.{smoke}"


def _files(parts: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> str:
    rows = []
    for part in parts:
        error = "none, bit for bit" if part["error"] == 0 else f"{part['error']:.1e}"
        inputs = "<br>".join(f"`{each}`" for each in part["inputs"]) or "–"
        outputs = ", ".join(f"`{name}`" for name in part["outputs"]) or "–"
        rows.append([f"`{part['file']}`", part["what"], inputs, outputs, f"{part['bytes']:,}", error])
    table = _table(["file", "what", "inputs", "outputs", "bytes", "largest difference on held-out data after reading back"], rows)
    return "\n\n".join([table, *left_out])


def _loading(form: str, plan: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    first = facts["parts"][0]["file"]
    if form == "safetensors":
        own = ', folder="where the module of your own lies"' if "folder" in plan["model"] else ""
        return (
            "With the workbench installed; neither the store nor the text is needed, and nothing in the file is executed:\n\n"
            f'```python\nimport torch\nfrom engines.runtime.portable import load_exported\n\nfound = load_exported("{first}"{own})\n'
            'ids_BT = torch.tensor([found.text.encode("some text")])       # where the text can be cut; else ids of found.text.vocabulary.tokens\n'
            "hidden_BTD, state, _ = found.model.hidden(ids_BT, None)\n"
            "scores, ids = found.model.head.topk(hidden_BTD[:, -1], 5)     # the best next tokens\n```"
        )
    names = ", ".join(entry.split(" ")[0] for entry in facts["parts"][0]["inputs"])
    vocabulary = f"`{PurePath(first).stem.split('.')[0]}.vocabulary.json` holds the tokens by their ids, and how text was cut."
    if form == "onnx":
        return (
            "Without the workbench and without torch. Shapes are fixed.\n\n"
            f'```python\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession("{first}", providers=["CPUExecutionProvider"])\n'
            f"outputs = session.run(None, dict(...))                        # {names}: int64 arrays\n```\n\n{vocabulary}"
        )
    return (
        f"Without the workbench, with torch {facts['torch']} or one that reads its programs:\n\n"
        f'```python\nimport torch\n\nprogram = torch.export.load("{first}").module()\noutput = program({names})\n```\n\n{vocabulary}'
    )


def _done(plan: Mapping[str, Any], effects: Sequence[EffectRow]) -> str:
    training, budget = plan["training"], ", ".join(f"{value:,} {key}" for key, value in plan["budget"].items())
    lines = [
        f"- task `{plan['task']['id']}`; trained for {budget} in batches of {training.get('batch')} x {training.get('sequence')}",
        f"- model `{_short(plan['model'])}`",
        *(f"- technique `{each['id']}`{_parameters(each)}" for each in plan["techniques"]),
    ]
    if effects:
        lines += ["", "What the techniques really changed, as measured:", "", *(f"- `{row.technique}`: {row.sentence}" for row in effects)]
    return "\n".join(lines)


def _quality(store: Store, run: RunRow, results: Sequence[ResultRow]) -> str:
    """Each figure with the interval that its judgement gives, what it stands on, and the seeds beside it."""
    siblings = [other.id for other in queries.runs(store, run.experiment_id, status=DONE) if other.variant_id == run.variant_id]
    others = queries.results(store, siblings)
    rows = []
    for row in results:
        if not row.key.startswith("quality/") or row.target:
            continue
        values = [other.value for other in others if (other.key, other.target) == (row.key, row.target) and other.value is not None]
        rows.append([labels.name(row.key), _figure(row), _interval(row.low, row.high), _judged_on(row), *_over_seeds(values)])
    if not rows:
        return "No figure of quality was measured."
    note = "An interval over seeds is Student's t of their mean; it needs two seeds, and a verdict of the workbench five."
    headings = ["figure", "this model", "95% interval", "n", "mean over seeds", "95% interval", "seeds"]
    return f"{_table(headings, rows)}\n\n{note}"


def _judged_on(row: ResultRow) -> str:
    texts, tokens = row.detail.get("texts"), row.detail.get("held_out_tokens")
    if texts is not None:
        return f"{texts:,} texts"
    if isinstance(tokens, int):
        return f"the first {tokens:,} of the split"
    return "all of the split" if tokens else f"{row.n:,}"


def _over_seeds(values: Sequence[float]) -> list[str]:
    if len(values) < _FEWEST:
        return ["–", "–", str(len(values))]
    found = statistics.student_interval(values)
    return [f"{found.value:.4g}", _interval(found.low, found.high), str(len(values))]


def _costs(results: Sequence[ResultRow], facts: Mapping[str, Any]) -> str:
    wanted = ("size/", "compute/", "cost/", "memory/", "latency/", "speed/", "energy/")
    rows = [[labels.name(f"{row.key}@{row.target}" if row.target else row.key), _figure(row)] for row in results if row.key.startswith(wanted)]
    size = facts["size"]
    packed = f", {size['packed']} matrices of them packed in few bits" if size["packed"] else ""
    sentence = f"The model holds {size['bytes']:,} bytes in {size['tensors']} tensors{packed}."
    if not rows:
        return sentence
    note = "Speed, latency and memory are this run's own, taken once: only interleaved rounds compare models."
    return f"{sentence}\n\n{_table(['figure', 'value'], rows)}\n\n{note}"


def _simulated(effects: Sequence[EffectRow]) -> str:
    found = [f"- `{row.technique}`: {row.sentence}" for row in effects if SIMULATED in row.sentence]
    if found:
        return "These say themselves that a saving of theirs is not executed:\n\n" + "\n".join(found)
    return "Nothing: no technique of the recipe states a saving that is not executed."


def _text(plan: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    corpus = plan["corpus"]
    lines = [
        f"- corpus `{corpus['id']}`{_parameters(corpus)}",
        f"- licence: {text['licence']}",
        f"- {text['level']} level, {text['types']:,} token types" + (f"; classes: {', '.join(text['classes'])}" if text["classes"] else ""),
        f"- fingerprint of text and cutting: `{text['fingerprint']}`",
    ]
    return "\n".join(lines)


def _machine(store: Store, run: RunRow, facts: Mapping[str, Any]) -> str:
    lines = []
    if run.machine_id is not None:
        # Not its name: that is nobody's business where the card goes.
        known = queries.machine(store, run.machine_id).facts
        words = (("cpu", "processor"), ("cores", "cores"), ("memory_mib", "memory, MiB"), ("system", "system"), ("python", "Python"))
        lines = [f"- {word}: {known[key]}" for key, word in words if known.get(key)]
        lines += [f"- GPU: {gpu['name']}" for gpu in known.get("gpus", ())]
        lines += [f"- {name} {number}" for name, number in known.get("versions", {}).items()]
    try:
        own = version("efficiency-workbench")
    except PackageNotFoundError:
        own = "(from a checkout)"
    return "\n".join([*lines, f"- exported by Efficiency Workbench {own} with torch {facts['torch']}"])


# --- Words ----------------------------------------------------------------------------------------------------------------------------------


def _parameters(choice: Mapping[str, Any]) -> str:
    found = ", ".join(f"{key} = {_short(value)}" for key, value in choice.items() if key != "id" and value is not None)
    return f" ({found})" if found else ""


def _short(value: Any) -> str:
    """A value on one line; of paths, which are of the machine it was made on, the last part."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_short(each)}" for key, each in value.items() if each is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, str):
        return value if not PurePath(value).is_absolute() else PurePath(value).name
    return json.dumps(value)


def _figure(row: ResultRow) -> str:
    return f"{row.value:,.4g} {row.unit}".strip() if row.value is not None else "–"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"[{low:,.4g}, {high:,.4g}]"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
