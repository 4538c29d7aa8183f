"""The tables of an experiment file as pydantic classes: which keys there are, their types, defaults and bounds.

What only the catalogue knows (ids, parameters of plugins, combinations) is checked in `engines.checking`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from engines.merging import BLOCKS, is_whole, list_of, model_table, table_of
from engines.problems import Problem, did_you_mean, join

Name = Annotated[str, Field(min_length=1, pattern=r"^\S([^\n]*\S)?$")]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Whole = Annotated[int, Field(ge=1)]
Unit = Literal["tokens", "steps", "seconds", "epochs"]
UNITS: tuple[str, ...] = get_args(Unit)


class Table(BaseModel):
    """A table with fixed keys. Types are strict: "20" is not 20."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Choice(BaseModel):
    """A chosen plugin: its id and, beside it, its parameters. A text alone stands for the id with default parameters."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    id: Name

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value


class Change(Choice):
    """A choice of a variant: with `id` it replaces the one of the base, without `id` its keys are merged into it."""

    id: Name | None = None  # type: ignore[assignment]


class Layer(Table):
    """One layer, or `repeat` equal ones. `residual` and `norm` left out: the mixer decides."""

    mixer: Choice
    feedforward: Choice | None = None
    repeat: Whole = 1
    residual: bool | None = None
    norm: Literal["layer", "rms", "none"] | None = None


class ModelTable(Table):
    """`[model]`: what every variant starts from. With `id` (or `factory`, which stands for models/own) it names a whole model, and the other
    keys are that model's parameters; without, it holds the blocks of which the model is assembled."""

    model_config = ConfigDict(extra="allow")
    id: Name | None = None
    embedding: Choice | None = None
    layers: list[Layer] | None = None
    head: Choice | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return model_table(value) if isinstance(value, str) else value


class ModelChange(ModelTable):
    """`model` of a variant. A list of layers replaces the list of the base."""

    embedding: Change | None = None
    head: Change | None = None


class TrainingTable(Table):
    """`[training]`: sequences in a minibatch, tokens in a sequence, and the recipe."""

    batch: Whole = 20
    sequence: Whole = 35
    techniques: list[Choice] = []


class TrainingChange(Table):
    """`training` of a variant; its techniques stand one level higher, in the variant itself."""

    batch: Whole | None = None
    sequence: Whole | None = None


class Budget(Table):
    """How long to train: exactly one of the four. 0 tokens or steps: not at all; the model is judged as it is made, and finished."""

    tokens: Annotated[int, Field(ge=0)] | None = None
    steps: Annotated[int, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Budget:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            have = f"has {' and '.join(given)}" if given else "is empty"
            raise ValueError(f"must hold exactly one of tokens, steps, seconds, epochs, but {have}")
        return self


class ExperimentTable(Table):
    """`[experiment]`: the question."""

    name: Name
    task: Choice
    corpus: Choice
    budget: Budget
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    device: Device = "auto"
    threads: Whole | None = None
    baseline: Name | None = None

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"must not name a seed twice: {', '.join(map(str, twice))}")
        return seeds


class Measure(Table):
    """`[measure]`: the metrics that judge (all that were measured where the list is empty), and how carefully.

    margin: the ratio beyond 1 that counts as a practical difference. rounds, seconds: interleaved timing rounds at most (0: none) and the length
    of one timed window of a finished model (those of training are half as long). launches: how often the timed processes are started anew among
    the rounds; it is launches that an interval narrows with. limit: seconds that the rounds of one session may take. A session ends sooner where
    every ratio is known as closely as the margin. batches: further batch sizes at which finished models are timed.
    evaluations: validations during training. held_out_tokens: tokens of a split that are evaluated, 0 for all. quality: the validation figure
    that the time to quality asks for; the baseline's final one where left out.
    """

    metrics: list[Name] = []
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    rounds: Annotated[int, Field(ge=0)] = 10
    launches: Whole = 5
    seconds: Annotated[float, Field(gt=0)] = 1.0
    limit: Annotated[float, Field(gt=0)] = 300.0
    batches: list[Whole] = []
    evaluations: Annotated[int, Field(ge=0)] = 10
    held_out_tokens: Annotated[int, Field(ge=0)] = 0
    quality: float | None = None

    @field_validator("batches")
    @classmethod
    def _distinct(cls, batches: list[int]) -> list[int]:
        twice = sorted({size for size in batches if batches.count(size) > 1})
        if twice:
            raise ValueError(f"must not name a batch size twice: {', '.join(map(str, twice))}")
        return batches

    @field_validator("launches")
    @classmethod
    def _no_launch_without_a_round(cls, launches: int, info: ValidationInfo) -> int:
        rounds = info.data.get("rounds", 0)
        if rounds and launches > rounds:
            raise ValueError(f"must not exceed rounds, which is {rounds}: every launch has at least one round")
        return launches


class Target(Table):
    """`[[target]]`: where finished variants are timed. runtime: what runs them there; onnxruntime runs exported graphs, on the CPU.

    max_memory: MiB, the peak while the model judges text (of the device on a GPU, else of the host). max_latency_ms: ms, what 95 of 100
    next-token steps stay within. Variants over a limit are marked, not dropped.
    """

    name: Name
    device: Device = "auto"
    threads: Whole | None = None
    batch: Whole = 1
    runtime: Literal["torch", "onnxruntime"] = "torch"
    max_memory: Annotated[float, Field(gt=0)] | None = None
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None


class Variant(Table):
    """`[[variant]]`: a name and what differs from the base."""

    name: Name
    corpus: Change | None = None
    model: ModelChange = ModelChange()
    training: TrainingChange = TrainingChange()
    techniques: list[Choice] = []
    without: list[Name] = []


class ExperimentFile(Table):
    """The whole file."""

    experiment: ExperimentTable
    model: ModelTable = ModelTable()
    training: TrainingTable = TrainingTable()
    measure: Measure = Measure()
    target: list[Target] = []
    variant: Annotated[list[Variant], Field(min_length=1)]


_RULES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "greater than"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _table_at(keys: tuple[int | str, ...]) -> type[BaseModel]:
    """The class that describes the table at a place of the file, found by walking down the annotations."""
    here: Any = ExperimentFile
    for key in keys:
        if isinstance(key, str):
            here = here.model_fields[key].annotation
        while not (isinstance(here, type) and issubclass(here, BaseModel)) and get_args(here):
            here = next((part for part in get_args(here) if part is not type(None)), None)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else Table


def _problem(error: ErrorDetails) -> Problem:
    keys, kind, value, context = error["loc"], error["type"], error["input"], error.get("ctx", {})
    path = join("", *keys)
    if kind == "extra_forbidden":
        name = str(keys[-1])
        if name == "techniques" and keys[:1] == ("variant",):
            return Problem(path, value, "is not a key of a variant's training", "write `techniques` and `without` in the variant itself")
        return Problem(path, value, "is an unknown key", did_you_mean(name, _table_at(keys[:-1]).model_fields))
    if kind == "missing":
        return Problem(path, None, _RULES[kind], "add at least one [[variant]] with a name" if keys == ("variant",) else "")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return Problem(path, value, f"must be {words} {context[bound]}")
    if kind == "string_pattern_mismatch":
        if keys[-1] == "device":
            return Problem(path, value, "must be one of auto, cpu, cuda, cuda:N, mps", _device_meant(str(value)))
        return Problem(path, value, "must be one line without blanks at its ends")
    if kind == "literal_error":
        known = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return Problem(path, value, f"must be one of {', '.join(known)}", did_you_mean(str(value), known) if isinstance(value, str) else "")
    if kind == "value_error":
        return Problem(path, value, str(context["error"]))
    hint = ""
    if kind in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        hint = f"write {int(value):_}"
    elif kind in ("int_type", "float_type") and isinstance(value, str):
        hint = "leave the quotes away"
    return Problem(path, value, _RULES.get(kind, error["msg"]), hint)


def _device_meant(value: str) -> str:
    """The device somebody had in mind. torch calls every GPU of NVIDIA and AMD cuda, which no resemblance of names tells."""
    name, _, number = value.lower().partition(":")
    if name in ("gpu", "nvidia", "rocm", "hip"):
        return f'did you mean "cuda{":" + number if number.isdigit() else ""}"?'
    return did_you_mean(value, ["auto", "cpu", "cuda", "mps"])


def _infinite(value: Any, path: str) -> list[Problem]:
    """Numbers that JSON cannot carry, anywhere below a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return [Problem(path, str(value), "must be a finite number")]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _infinite(item, join(path, str(key)))]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _infinite(item, join(path, index))]
    return []


def check_structure(data: dict[str, Any]) -> tuple[list[Problem], dict[str, Any]]:
    """Problems of keys, types and bounds, and the data without the offending values (None in lists), so that the rest can be checked too."""
    problems = _infinite(data, "")
    sound = data
    try:
        ExperimentFile.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "finite_number":
                problems.append(_problem(detail))
            sound = _without(sound, detail["loc"])
    for keys, value in _strange_keys(data):
        problems.append(Problem(join("", *keys), value, "is an unknown key", did_you_mean(str(keys[-1]), ModelTable.model_fields)))
        sound = _without(sound, keys)
    return problems, sound


def _strange_keys(data: dict[str, Any]) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    """(keys, value) of what stands in a model that is assembled from blocks and is none of them."""
    base = model_table(data.get("model"))
    tables: list[tuple[tuple[int | str, ...], dict[str, Any]]] = [] if is_whole(base) else [(("model",), base)]
    for number, variant in enumerate(list_of(data.get("variant"))):
        own = model_table(table_of(variant).get("model"))
        # Without an id, keys that are no blocks are parameters of a whole model of the base.
        if not is_whole(own) and (not is_whole(base) or any(key in own for key in BLOCKS)):
            tables.append((("variant", number, "model"), own))
    for place, table in tables:
        yield from (((*place, key), value) for key, value in table.items() if key not in ModelTable.model_fields)


def _without(data: Any, keys: tuple[int | str, ...]) -> Any:
    """A copy of nested data without the value at `keys`; the same data where nothing stands there."""
    if not keys:
        return None
    key, rest = keys[0], keys[1:]
    if isinstance(data, dict) and key in data:
        below = _without(data[key], rest)
        return {k: below if k == key else v for k, v in data.items() if k != key or below is not None}
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        return [_without(item, rest) if index == key else item for index, item in enumerate(data)]
    return data
