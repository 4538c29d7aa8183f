"""Static checks of an experiment against the catalogue: ids, slots, parameters, recipes, references. Imports no plugin and no torch.

What only the plugins' code knows (validators across fields, widths that do not fit) is asked of the inspector afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from engines import extras
from engines.merging import Index, Merged, Part, Tree, is_whole, list_of, merge, model_table, part_of, table_of, whole_of
from engines.parameters import check_parameters
from engines.problems import Problem, did_you_mean, join, shorten
from engines.recipes import conflicts
from engines.teachers import MODEL, REFERENCES, outside

_MEASURED = (
    "speed/train_tokens_per_s",
    "speed/infer_tokens_per_s",
    "speed/generate_tokens_per_s",
    "speed/time_to_quality_s",
    "latency/p50_ms",
    "latency/p95_ms",
    "memory/train_peak_host_mib",
    "memory/infer_peak_host_mib",
    "memory/train_peak_device_mib",
    "memory/infer_peak_device_mib",
    "size/parameters",
    "size/nonzero_parameters",
    "size/model_mib",
    "compute/flops_per_token",
    "compute/executed_flops_per_token",
    "compute/bytes_per_token",
    "cost/train_s",
    "cost/train_tokens",
    "cost/train_flops",
    "energy/joules_per_token",
    "energy/infer_joules_per_token",
)
_QUALITY = (
    "quality/test_perplexity",
    "quality/test_bits_per_char",
    "quality/test_reciprocal_rank",
    "quality/test_accuracy",
    "quality/test_macro_f1",
    "quality/test_nll",
    "quality/test_context_perplexity",
    "quality/test_spearman",
    "quality/test_pearson",
    "quality/similarity_rho",
    "quality/valid_perplexity",
)
"""Those that are suggested; a task may give others."""


def check_meaning(data: Tree, index: Index) -> list[Problem]:
    """Everything that is wrong beyond keys and types; `data` may have holes where keys or types were wrong."""
    variants = merge(data, index)
    problems = [*_names(data), *_references(variants, index), *_metrics(data), *_targets(data), *_base(data, index)]
    for variant in variants:
        problems += _missing(variant, index, variant.path if is_whole(model_table(data.get("model"))) else "")
        for part, role in variant.parts():
            problems += check_part(part, role, index)
        problems += check_recipe(variant, index)
    problems += _dropped(data, index)
    unique: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        unique.setdefault((problem.path, problem.rule), problem)
    return list(unique.values())


# --- One part -------------------------------------------------------------------------------------------------------------------------------


def check_part(part: Part, role: str, index: Index) -> list[Problem]:
    """Is the id known, loadable and right for this place, and do its parameters fit its schema?"""
    if not part.id:
        return [] if "id" in part.table else [Problem(part.path, None, "needs an id", f'write {{ id = "..." }} with one of the {_plural(role)}')]
    entry, place = index.entry(part.id), part.place("id")
    fitting = [name for name, other in index.entries.items() if role_of(other) == role]
    if entry is None:
        hint = did_you_mean(part.id, fitting, listed=False) or did_you_mean(part.id, index.entries, listed=False) or did_you_mean(part.id, fitting)
        return [Problem(place, part.id, f"names no {_singular(role)} of the catalogue", hint)]
    if entry.get("error"):
        return [Problem(place, part.id, "cannot be loaded", str(entry["error"]).strip().splitlines()[-1])]
    if role_of(entry) != role:
        is_a = _singular(role_of(entry))
        return [Problem(place, part.id, f"is {_article(is_a)}, but {_article(_singular(role))} belongs here", did_you_mean(part.id, fitting))]
    problems = []
    available = entry.get("available") or {"ok": True}
    if not available["ok"]:
        problems.append(Problem(place, part.id, "cannot run on this machine", str(available.get("reason", ""))))
    return problems + check_parameters(part, entry)


def role_of(entry: Mapping[str, Any]) -> str:
    """The slot of a block; else the kind."""
    return str(entry.get("slot") or entry.get("kind") or "")


def _singular(role: str) -> str:
    names = {"feedforward": "feed-forward block", "mixer": "mixer", "head": "head", "embedding": "embedding", "model": "whole model"}
    return names.get(role, role or "broken plugin")


def _plural(role: str) -> str:
    return "corpora" if role == "corpus" else f"{_singular(role)}s"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# --- Combinations ---------------------------------------------------------------------------------------------------------------------------


def _missing(variant: Merged, index: Index, path: str) -> list[Problem]:
    """Blocks that an assembled model lacks, and layers where the task has none. path: the table whose `model` should hold them; empty for the
    base."""
    if variant.whole is not None:
        return []
    without = str((index.entry(variant.task.id) or {}).get("no_layers") or "") if variant.task else ""
    needed: dict[str, Any] = {"embedding": variant.embedding, "layers": variant.layers, "head": variant.head}
    of_layers, hint = join(path, "model", "layers"), f'variant "{variant.name}" has none'
    problems = []
    if without and variant.layers:
        problems.append(Problem(of_layers, None, f"must be empty: {without}", f'write layers = [] (variant "{variant.name}")'))
    elif not without and variant.layers == []:
        problems.append(Problem(of_layers, [], "must not be empty", "add one: { mixer = { id = ... } }"))
    if without or variant.layers == []:
        del needed["layers"]
    return problems + [Problem(join(path, "model", key), None, "is required", hint) for key, part in needed.items() if part is None]


def _base(data: Tree, index: Index) -> list[Problem]:
    """Parts of the base that every variant replaces are not seen by merging and would stay unchecked."""
    model = model_table(data.get("model"))
    parts = [(whole_of(index, data.get("model"), "model"), "model")]
    model = {} if is_whole(model) else model
    parts += [(part_of(index, model.get(slot), f"model.{slot}"), slot) for slot in ("embedding", "head")]
    for number, layer in enumerate(list_of(model.get("layers"))):
        parts += [(part_of(index, table_of(layer).get(slot), f"model.layers[{number}].{slot}"), slot) for slot in ("mixer", "feedforward")]
    techniques = list_of(table_of(data.get("training")).get("techniques"))
    parts += [(part_of(index, item, f"training.techniques[{number}]"), "technique") for number, item in enumerate(techniques)]
    return [problem for part, role in parts if part is not None for problem in check_part(part, role, index)]


def check_recipe(variant: Merged, index: Index) -> list[Problem]:
    """One recipe: nothing twice, one of a group, what is required is there, nothing that conflicts, the declared order."""
    problems: list[Problem] = []
    clashes = list(conflicts(variant.recipe, index))
    ids = [part.id for part in variant.recipe]
    groups = [index.group(name) for name in ids]
    present = set(ids) | set(groups) - {""}
    for number, part in enumerate(variant.recipe):
        entry, place = index.entry(part.id) or {}, part.place("id")
        if part.id and part.id in ids[:number]:
            problems.append(Problem(place, part.id, "stands twice in the recipe", "keep one of them"))
        elif groups[number] and groups[number] in groups[:number]:
            other = ids[groups.index(groups[number])]
            problems.append(Problem(place, part.id, f"is the second {groups[number]} of the recipe", f"keep it or {other}"))
        for needed in entry.get("requires", ()):
            if index.canonical(needed) not in present:
                choices = providers(needed, index)
                add = f"add {' or '.join(choices)}" if choices else "nothing in the catalogue provides it"
                problems.append(Problem(place, part.id, f"requires {needed} in the recipe of {shorten(variant.name)}", add))
        problems += [Problem(place, part.id, f"conflicts with {each.against}", each.sentence) for each in clashes if each.seat == number]
        late = [index.canonical(name) for name in entry.get("after", ()) if index.canonical(name) in ids[number + 1 :]]
        problems += [Problem(place, part.id, f"must stand after {name}", f"move {name} before it") for name in late]
    return problems


def providers(needed: str, index: Index) -> list[str]:
    """The ids that satisfy a requirement, an id or a group; empty where the catalogue has none."""
    return [needed] if index.entry(needed) else sorted(name for name, entry in index.entries.items() if entry.get("group") == needed)


def _dropped(data: Tree, index: Index) -> list[Problem]:
    base = {
        index.canonical(name)
        for item in list_of(table_of(data.get("training")).get("techniques"))
        if isinstance(name := item.get("id") if isinstance(item, dict) else item, str)
    }
    return [
        Problem(join("variant", number, "without", seat), name, "is not among the techniques of the base", did_you_mean(name, base))
        for number, variant in enumerate(list_of(data.get("variant")))
        for seat, name in enumerate(list_of(table_of(variant).get("without")))
        if isinstance(name, str) and index.canonical(name) not in base
    ]


def _names(data: Tree) -> list[Problem]:
    """Names that must differ, and the baseline."""
    problems = []
    for table in ("variant", "target"):
        seen: dict[str, int] = {}
        for number, item in enumerate(list_of(data.get(table))):
            name = table_of(item).get("name")
            if isinstance(name, str) and seen.setdefault(name, number) != number:
                problems.append(Problem(join(table, number, "name"), name, f"is also the name of {table}[{seen[name]}]", "give each its own name"))
    names = [item["name"] for item in list_of(data.get("variant")) if isinstance(table_of(item).get("name"), str)]
    baseline = table_of(data.get("experiment")).get("baseline")
    if isinstance(baseline, str) and names and baseline not in names:
        problems.append(Problem("experiment.baseline", baseline, "is not the name of a variant", did_you_mean(baseline, names)))
    return problems


def _metrics(data: Tree) -> list[Problem]:
    problems, measure = [], table_of(data.get("measure"))
    of_batches = [f"speed/infer_tokens_per_s/batch_{size}" for size in list_of(measure.get("batches"))]
    for number, name in enumerate(list_of(measure.get("metrics"))):
        key = str(name).partition("@")[0]
        if isinstance(name, str) and not key.startswith("quality/") and key not in (*_MEASURED, *of_batches):
            known = [*_MEASURED, *of_batches, *_QUALITY]
            problems.append(Problem(join("measure", "metrics", number), name, "is not a metric", did_you_mean(key, known)))
    return problems


def _targets(data: Tree) -> list[Problem]:
    """Runtimes that are not installed here, or do not run on the device."""
    problems = []
    for number, item in enumerate(list_of(data.get("target"))):
        target = table_of(item)
        if target.get("runtime") != "onnxruntime":
            continue
        path, device = join("target", number, "runtime"), target.get("device", "auto")
        if missing := extras.missing(extras.ONNX):
            problems.append(Problem(path, "onnxruntime", f"needs {', '.join(missing)}, not installed here", extras.advice(missing)))
        if device not in ("auto", "cpu"):
            problems.append(Problem(join("target", number, "device"), device, "must be cpu where onnxruntime runs the model", 'write device = "cpu"'))
    return problems


# --- References from variant to variant -----------------------------------------------------------------------------------------------------


ELSE = "name a variant, a run (run:12), or the path of an exported model"


def references(variant: Merged, index: Index, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """(path, name) of every parameter of a variant that names another variant, of which there are `names`."""
    for part, _ in variant.parts():
        for key, schema in index.properties(part.id).items():
            if schema.get("reference") in REFERENCES:
                value = part.table.get(key, schema.get("default"))
                for name in value if isinstance(value, list) else [value]:
                    if isinstance(name, str) and name and not (schema["reference"] == MODEL and outside(name, names)):
                        yield part.places.get(key, join(part.path, key)), name


def needs_of(variants: list[Merged], index: Index) -> dict[str, list[str]]:
    """For each variant the variants whose finished models it reads, without duplicates, in the order of the recipe."""
    names = {variant.name for variant in variants}
    return {variant.name: list(dict.fromkeys(name for _, name in references(variant, index, names))) for variant in variants}


def _references(variants: list[Merged], index: Index) -> list[Problem]:
    problems: list[Problem] = []
    graph = needs_of(variants, index)
    for variant in variants:
        for path, name in references(variant, index, graph):
            if name not in graph:
                others = [other for other in graph if other != variant.name]
                problems.append(Problem(path, name, "is not the name of a variant", did_you_mean(name, others) or ELSE))
            elif trail := _way(graph, name, variant.name):
                circle = " needs ".join(json.dumps(step, ensure_ascii=False) for step in [variant.name, *trail])
                problems.append(Problem(path, name, f"closes a circle: {circle}", "let one of them do without the other"))
    return problems


def _way(graph: Mapping[str, list[str]], start: str, goal: str) -> list[str]:
    """A chain of needs from `start` to `goal`, both included; empty where there is none."""
    trails, seen = [[start]], {start}
    while trails:
        trail = trails.pop(0)
        if trail[-1] == goal:
            return trail
        for step in graph.get(trail[-1], []):
            if step not in seen:
                seen.add(step)
                trails.append([*trail, step])
    return []
