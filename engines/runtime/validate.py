"""What is wrong with plans that only the plugins' code can tell: rules across parameters, parts that do not fit, what cannot run here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import nn

from engines import catalogue
from engines.api import Corpus, CorpusError, Task, Technique
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.problems import Problem, join
from engines.runtime.failures import first_line
from engines.runtime.ownmetric import MetricError, OwnMetric
from engines.runtime.plan import PlanError, device_of, plugin
from engines.runtime.sketch import BuildError, parts, sketch
from engines.runtime.teachers import problem_of
from engines.teachers import outside
from engines.toolbox.plainfiles import FileError

LENGTH = 4
"""Tokens that a model is tried on."""


def problems(plans: Mapping[str, Mapping[str, Any]], runs: Path | None = None) -> list[Problem]:
    """Everything that is wrong, of all variants. Paths begin with the variant's name: `pruned.model.layers[0].mixer.width`.

    Every plugin is made from its parameters, the corpus looks whether its files are there, and the model is built and run on a few tokens,
    a large one without weights on shapes alone. runs: folder of the runs of the store, where recipes name one.
    """
    return [
        Problem(f"{join('', variant)}.{problem.path}", problem.value, problem.rule, problem.hint)
        for variant, plan in plans.items()
        for problem in [*_of_plan(plan), *_of_teachers(plan, plans, runs)]
    ]


def _of_plan(plan: Mapping[str, Any]) -> list[Problem]:
    found = [problem for path, role, choice in parts(plan) for problem in _of_part(path, role, choice)]
    try:
        device_of(plan["device"])
    except (PlanError, RuntimeError) as error:
        found.append(Problem("device", plan["device"], str(error)))
    reference = plan["task"].get("evaluate")
    if reference and not any(problem.path.startswith("task") for problem in found):
        try:
            OwnMetric(str(reference), str(plan["folder"]))
        except MetricError as error:
            found.append(Problem("task.evaluate", reference, str(error)))
    broken = {problem.path for problem in found if not problem.path.startswith("techniques")}
    return found if broken - {"device"} else [*found, *_of_model(plan)]


def _of_part(path: str, role: str, choice: Mapping[str, Any]) -> list[Problem]:
    parameters = {key: value for key, value in choice.items() if key != "id"}
    try:
        kind = catalogue.load(choice["id"])
        if reason := kind.unavailable():
            return [Problem(f"{path}.id", choice["id"], f"cannot run here: {reason}")]
        made = kind(**parameters)
        if isinstance(made, Corpus | Task):
            made.check()
    except (UnknownPlugin, BrokenPlugin) as error:
        return [Problem(f"{path}.id", choice["id"], str(error))]
    except ValidationError as error:
        return [
            # A rule across parameters stands at the part itself, whose whole table would be no help as a value.
            Problem(join(path, *each["loc"]), each["input"] if each["loc"] else None, each["msg"].removeprefix("Value error, "))
            for each in error.errors(include_url=False, include_context=False)
        ]
    except FileError as error:
        return [Problem(join(path, error.parameter), None, str(error))]
    except ValueError as error:  # what a corpus or a task finds missing
        return [Problem(path, None, str(error))]
    return []


def _of_teachers(plan: Mapping[str, Any], variants: Collection[str], runs: Path | None) -> list[Problem]:
    """Finished models from outside that cannot be read, or know other words."""
    found = []
    for number, choice in enumerate(plan["techniques"]):
        try:
            fields = catalogue.load(choice["id"]).model_fields
        except (UnknownPlugin, BrokenPlugin):
            continue  # told already
        for key, field in fields.items():
            marks, reference = field.json_schema_extra, choice.get(key)
            if isinstance(marks, dict) and marks.get("reference") == "model" and isinstance(reference, str) and outside(reference, variants):
                try:
                    sentence = problem_of(reference, plan, runs)
                except (PlanError, CorpusError, UnknownPlugin, BrokenPlugin) as error:
                    sentence = f'The teacher "{reference}" cannot be read here: {error}'
                found += [Problem(join("techniques", number, key), reference, sentence)] if sentence else []
    return found


def _of_model(plan: Mapping[str, Any]) -> list[Problem]:
    try:
        built = sketch(plan)
    except BuildError as error:
        return [Problem(error.path, None, str(error))]
    except CorpusError as error:
        return [Problem("corpus", None, str(error))]
    device = next((p.device for p in built.model.parameters()), None)
    ids_BT = torch.zeros(2, min(LENGTH, int(plan["training"]["sequence"])), dtype=torch.int64, device=device)
    try:
        with torch.no_grad():
            built.model.eval().hidden(ids_BT, None)  # type: ignore[operator]
    except NotImplementedError:
        pass  # an operator that needs values, which the meta device has not: only a run can tell
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return [Problem("model", None, f"cannot be run on {tuple(ids_BT.shape)} ids: {first_line(error)}")]
    return _of_matches(plan, built.model)


def _of_matches(plan: Mapping[str, Any], model: nn.Module) -> list[Problem]:
    """Techniques that would fail on this model by what their types and patterns find in it."""
    found: list[Problem] = []
    if callable(getattr(model, "fit", None)):
        return found  # it takes in the text at once, and no technique is called
    for number, choice in enumerate(plan["techniques"]):
        try:
            matches = cast(Technique, plugin(choice)).matches(model)
        except (PlanError, UnknownPlugin, BrokenPlugin):
            continue  # told already
        if matches is not None and matches.refusal:
            found.append(Problem(join("techniques", number), None, matches.refusal))
    return found
