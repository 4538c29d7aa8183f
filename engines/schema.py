"""The tables of an experiment file as pydantic classes: which keys there are, their types, defaults and bounds.

What only the catalogue knows (ids, parameters of plugins, combinations) is checked in `engines.checking`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from engines.merging import model_table

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
    the rounds; it is launches that an interval narrows with. limit: seconds that the rounds of one session may take, loading and
    warm-up apart; as many rounds as a verdict needs (six) are made in any case. A session ends sooner where every ratio is known as closely as
    the margin. until_narrow: whether it goes on after its rounds, launch by launch, until they are or the limit is spent, the loading of these
    further launches counted. batches: further batch sizes at which finished models are timed.
    evaluations: validations during training. held_out_tokens: tokens of a split that are evaluated, 0 for all. quality: the validation figure
    that the time to quality asks for; the baseline's final one where left out.
    """

    metrics: list[Name] = []
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    rounds: Annotated[int, Field(ge=0)] = 10
    launches: Whole = 5
    seconds: Annotated[float, Field(gt=0)] = 1.0
    limit: Annotated[float, Field(gt=0)] = 300.0
    until_narrow: bool = False
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
    """`[[variant]]`: a name and what differs from the base. budget: in place of the experiment's, for one that is to train as long in all as
    another that is trained on after it was cut."""

    name: Name
    budget: Budget | None = None
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
