"""The experiment file: reading, editing, merging, checking, writing. One format for the window, the command line and the notebook.

    experiment = load(path)                           # TOML; JSON with the same keys
    problems = experiment.problems(catalogue.read())  # everything that is wrong, at once
    plans = experiment.plans()                        # {variant: what a worker gets}
    text = dump(experiment.set("variant.pruned.training.batch", 40))     # comments of untouched parts stay

An Experiment never changes: every edit returns a new one. It may hold something wrong (a file that is being edited); `problems` tells,
`plans` and the typed properties raise ExperimentError.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from engines import catalogue as catalogues
from engines import variants as edits
from engines.checking import check_meaning, needs_of
from engines.commented import render
from engines.keypaths import KeyPathError, assignment, drop, locate, look, put
from engines.merging import Index, Tree, list_of, merge, plan_of
from engines.placing import placed
from engines.problems import ExperimentError, Problem, did_you_mean
from engines.schema import ExperimentFile, Variant
from engines.structure import check_structure

SMOKE_STEPS = 3
SMOKE_TOKENS = 2_000


@dataclass(frozen=True)
class Experiment:
    """One experiment file.

    data: its tables as plain values. folder: what relative paths are relative to. text: the TOML it was read from, whose comments `dump` keeps.
    """

    data: Tree
    folder: Path
    text: str = ""

    # --- What it says -----------------------------------------------------------------------------------------------------------------------

    @cached_property
    def file(self) -> ExperimentFile:
        """The tables as typed objects, defaults filled in. Raises ExperimentError where keys or types are wrong."""
        problems, _ = check_structure(self.data)
        if problems:
            raise ExperimentError(problems)
        return ExperimentFile.model_validate(self.data)

    @property
    def name(self) -> str:
        return self.file.experiment.name

    @property
    def seeds(self) -> list[int]:
        return self.file.experiment.seeds

    @property
    def variants(self) -> list[Variant]:
        return self.file.variant

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with: as named, else the first."""
        return self.file.experiment.baseline or self.file.variant[0].name

    def plans(self, catalogue: Mapping[str, Any] | None = None) -> dict[str, Tree]:
        """{variant name: plan}: merged, old ids renewed, defaults filled in, paths absolute; pure JSON.

        Raises ExperimentError where keys or types are wrong; what only `problems` finds (an unknown id) stays in the plan as it is.
        """
        file, index = self.file, Index(catalogue if catalogue is not None else catalogues.read())
        settings = {
            "name": file.experiment.name,
            "budget": file.experiment.budget.model_dump(exclude_none=True),
            "device": file.experiment.device,
            "threads": file.experiment.threads,
            "training": file.training.model_dump(include={"batch", "sequence"}),
            "measure": file.measure.model_dump(),
            "targets": [target.model_dump() for target in file.target],
            "variants": [variant.name for variant in file.variant],
        }
        return {variant.name: plan_of(variant, settings, index, self.folder) for variant in merge(self.data, index)}

    def problems(self, catalogue: Mapping[str, Any] | None = None) -> list[Problem]:
        """All that is wrong, in the order of the file's sections; empty where the experiment can be submitted."""
        problems, sound = check_structure(self.data)
        told = {problem.path.removesuffix(".id") for problem in problems}
        meaning = check_meaning(sound, Index(catalogue if catalogue is not None else catalogues.read()))
        return problems + [problem for problem in meaning if problem.path not in told]

    def check(self, catalogue: Mapping[str, Any] | None = None) -> None:
        """Raises ExperimentError with all problems, if there are any."""
        if problems := self.problems(catalogue):
            raise ExperimentError(problems)

    def placed(self, problems: Iterable[Problem], catalogue: Mapping[str, Any] | None = None) -> list[Problem]:
        """Problems of plans, as the inspector finds them (`VARIANT.model.head`), with the paths of this file; shared ones told once."""
        return placed(problems, merge(self.data, Index(catalogue if catalogue is not None else catalogues.read())), self.data)

    def needs(self, catalogue: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
        """For each variant the variants whose finished models it reads (a teacher, initial weights)."""
        index = Index(catalogue if catalogue is not None else catalogues.read())
        return needs_of(merge(self.data, index), index)

    def digest(self) -> str:
        """SHA-256 of the values: the same for the same question, whatever its layout, comments and order of keys."""
        return hashlib.sha256(json.dumps(self.data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    # --- Edits: each returns a new experiment ------------------------------------------------------------------------------------------------

    def get(self, path: str, default: Any = None) -> Any:
        """What the file says at a key path (a copy); `default` where it says nothing."""
        try:
            return copy.deepcopy(look(self.data, locate(self.data, path), default))
        except KeyPathError:
            return default

    def set(self, path: str, value: Any) -> Experiment:
        """With `value` at a key path; None takes the key away. Raises KeyPathError where the path leads nowhere."""
        if value is None:
            return self.remove(path)
        value = _given(value)
        if _holds_null(value):
            raise KeyPathError(f"The list at {path} holds null", "leave the entry out")
        return self._with(put(self.data, locate(self.data, path), value))

    def remove(self, path: str) -> Experiment:
        """Without what stands at a key path. Raises KeyPathError where the path leads nowhere."""
        return self._with(drop(self.data, locate(self.data, path)))

    def add_variant(self, name: str, *, like: str = "", position: int | None = None) -> Experiment:
        """With a new variant: the base as it is, or a copy of the variant `like`. Raises KeyPathError where there is no such variant."""
        data = copy.deepcopy(self.data)
        edits.add_variant(data, name, like=self._number(like) if like else None, position=position)
        return self._with(data)

    def with_variants(self, tables: Iterable[Tree]) -> Experiment:
        """With more variants behind the others, each as the table that the file would hold."""
        return self._with({**self.data, "variant": [*list_of(self.data.get("variant")), *tables]})

    def with_tables(self, data: Tree) -> Experiment:
        """With other tables, as an edit of several places at once leaves them."""
        return self._with(data)

    def remove_variant(self, name: str) -> Experiment:
        """Without a variant; where it was the baseline, the first of the others becomes it. Raises KeyPathError where there is none so called."""
        data = copy.deepcopy(self.data)
        edits.remove_variant(data, self._number(name))
        return self._with(data)

    def rename_variant(self, old: str, new: str, catalogue: Mapping[str, Any] | None = None) -> Experiment:
        """With a variant under a new name; the baseline and the parameters that name it follow. Raises KeyPathError where there is none so called."""
        data = copy.deepcopy(self.data)
        edits.rename_variant(data, Index(catalogue if catalogue is not None else catalogues.read()), self._number(old), new)
        return self._with(data)

    def override(self, assignments: Iterable[str]) -> Experiment:
        """With `key=value` texts of the command line applied in order. Raises ExperimentError for unknown keys and wrong types, all at once."""
        problems: list[Problem] = []
        changed = self
        for text in assignments:
            try:
                path, value = assignment(text)
                changed = changed.set(path, value)
            except KeyPathError as error:
                problems.append(Problem(text.partition("=")[0], None, error.rule, error.hint))
        before = {(problem.path, problem.rule) for problem in check_structure(self.data)[0]}
        problems += [problem for problem in check_structure(changed.data)[0] if (problem.path, problem.rule) not in before]
        if problems:
            raise ExperimentError(problems)
        return changed

    def smoke(self) -> Experiment:
        """The same experiment made tiny: a few steps, one seed, little held-out text. Shows that everything runs, not which is better."""
        held_out = self.file.measure.held_out_tokens
        measure = {"evaluations": 1, "rounds": 2, "launches": 2, "seconds": 0.1, "held_out_tokens": min(held_out or SMOKE_TOKENS, SMOKE_TOKENS)}
        nothing = 0 in self.file.experiment.budget.model_dump(exclude_none=True).values()
        small = self.set("experiment.budget", {"steps": 0 if nothing else SMOKE_STEPS}).set("experiment.seeds", self.seeds[:1])
        for number, variant in enumerate(self.variants):
            small = small.set(f"variant[{number}].budget", None) if variant.budget else small
        return small.set("measure", {**small.get("measure", {}), **measure})

    def _number(self, name: str) -> int:
        names = edits.variant_names(self.data)
        if name not in names:
            raise KeyPathError(f"There is no variant {json.dumps(name, ensure_ascii=False)}", did_you_mean(name, names))
        return names.index(name)

    def _with(self, data: Tree) -> Experiment:
        # The text follows each edit: what was renamed and what was replaced can only be told apart one edit at a time.
        return replace(self, data=data, text=render(data, self.text) if self.text else "")


def from_dict(data: Mapping[str, Any], folder: Path | str = ".") -> Experiment:
    """An experiment from plain values with the keys of the file. None means left out."""
    return Experiment(_given(data), Path(folder).resolve())


def parse(text: str, folder: Path | str, *, format: Literal["toml", "json"] = "toml") -> Experiment:
    """An experiment from the text of a file. Raises ExperimentError where the text is no TOML or JSON table; `problems` tells the rest."""
    try:
        data = json.loads(text) if format == "json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ExperimentError([Problem("", None, f"the file is not valid {format.upper()}: {error}")]) from error
    if not isinstance(data, dict):
        raise ExperimentError([Problem("", None, "the file must hold a JSON object with the tables of an experiment")])
    experiment = from_dict(data, folder)
    return replace(experiment, text=text) if format == "toml" else experiment


def load(path: Path | str) -> Experiment:
    """An experiment from a file, JSON where it ends in .json. Raises ExperimentError with a sentence where it cannot be read."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ExperimentError([Problem("", None, f"{path} is not a text in UTF-8: {error}")]) from error
    except OSError as error:
        raise ExperimentError([Problem("", None, f"{path} cannot be read: {error.strerror or error}")]) from error
    return parse(text, path.resolve().parent, format="json" if path.suffix.lower() == ".json" else "toml")


def dump(experiment: Experiment, *, format: Literal["toml", "json"] = "toml") -> str:
    """The text of the file: TOML with the comments of what was read, or JSON. Reads back as the same values.

    Raises ExperimentError where a list holds null (from JSON), which TOML cannot say.
    """
    if format == "json":
        return json.dumps(experiment.data, indent=2, ensure_ascii=False) + "\n"
    if _holds_null(experiment.data):
        raise ExperimentError([Problem("", None, "a list of the experiment holds null, which TOML cannot say", "leave the entry out")])
    return render(experiment.data, experiment.text)


def _given(value: Any) -> Any:
    """Plain copies of nested tables and lists without the keys whose value is None."""
    if isinstance(value, Mapping):
        return {str(key): _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list | tuple) else value


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_null(item) for item in value.values())
    return any(_holds_null(item) for item in value) if isinstance(value, list) else value is None
