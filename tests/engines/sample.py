"""A small catalogue and an experiment for the tests of the experiment file, made from plugin classes that are only declared."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from engines.api import Block, Corpus, Plugin, Task, Technique, param


class Lookup(Block):
    slot = "embedding"
    width: int = param(64, "Width of a vector.", ge=1)


class LSTM(Block):
    slot = "mixer"
    width: int = param(64, "Units.", ge=1)
    layers: int = param(1, "Stacked layers.", ge=1, le=8)


class Attention(Block):
    slot = "mixer"
    heads: int = param(4, "Heads.", ge=1)
    positions: Literal["rotary", "learned"] = param("rotary", "Positions.")


class Dense(Block):
    slot = "feedforward"
    width: int | None = param(None, "Inner width; four times the outer where left out.", ge=1)


class Full(Block):
    slot = "head"
    tied: bool = param(False, "Share the weights of the embedding.")


class Adaptive(Block):
    slot = "head"
    was: ClassVar[tuple[str, ...]] = ("softmax/adaptive_softmax",)
    cutoffs: list[int] = param([2000, 10000], "Where the tails begin.")
    factor: float = param(4.0, "Shrinking of each tail.", gt=0)


class NGram(Block):
    slot = "model"
    order: int = param(5, "Words.", ge=1, le=6)
    smoothing: Literal["kneser_ney", "add_k"] = param("kneser_ney", "Smoothing.")


class Own(Block):
    slot = "model"
    factory: str = param(help="Where the model comes from.")
    weights: str = param("", "Weights.", path=True)
    folder: str = param(".", "Where the module lies.", path=True)
    arguments: dict[str, Any] = param({}, "Arguments of the factory.")


class Adam(Technique):
    group = "optimizer"
    lr: float = param(1e-3, "Learning rate.", gt=0)

    def optimizer(self, factory: Any, ctx: Any) -> Any:
        return factory


class SGD(Adam):
    lr: float = param(1.0, "Learning rate.", gt=0)


class Clip(Technique):
    max_norm: float = param(0.25, "Largest norm.", gt=0)

    def step(self, update: Any, ctx: Any) -> Any:
        return update


class Warmup(Clip):
    requires = ("optimizer",)


class Prune(Technique):
    after = ("optimization/clip_norm",)
    conflicts = {"quantization/int8": "Prune first in a variant of its own, or leave one of them out."}
    sparsity: float = param(0.5, "Share of zeros.", ge=0, lt=1)

    def finish(self, module: Any, ctx: Any) -> Any:
        return module, {}


class Int8(Technique):
    def finish(self, module: Any, ctx: Any) -> Any:
        return module, {}


class SoftLabels(Technique):
    teacher: str = param(help="What teaches.", reference="model")
    temperature: float = param(2.0, "Softening.", gt=0)

    def loss(self, loss_of: Any, ctx: Any) -> Any:
        return loss_of


class TextFiles(Corpus):
    train: str = param(help="Training text.", path=True)
    valid: str = param("", help="Validation text.", path=True)
    level: Literal["word", "char", "bpe"] = param("word", "Unit.")
    vocabulary: int = param(10_000, "Largest vocabulary.", ge=2)


class Stdlib(Corpus):
    vocabulary: int = param(10_000, "Largest vocabulary.", ge=2)


class LanguageModelTask(Task):
    pass


class WordTask(Task):
    no_layers = "Word embeddings have none."


_PLUGINS: dict[str, type[Plugin]] = {
    "attention/full": Attention,
    "baselines/ngram": NGram,
    "models/own": Own,
    "corpora/python_stdlib": Stdlib,
    "corpora/text_files": TextFiles,
    "distillation/soft_labels": SoftLabels,
    "embeddings/lookup": Lookup,
    "feedforward/dense": Dense,
    "optimization/adam": Adam,
    "optimization/clip_norm": Clip,
    "optimization/sgd": SGD,
    "optimization/warmup": Warmup,
    "pruning/magnitude": Prune,
    "quantization/int8": Int8,
    "recurrent/lstm": LSTM,
    "softmax/adaptive": Adaptive,
    "softmax/full": Full,
    "tasks/language_model": LanguageModelTask,
    "tasks/word_embedding": WordTask,
}


def _entry(id: str, plugin: Any) -> dict[str, Any]:
    return {
        "id": id,
        "kind": plugin.kind,
        "slot": getattr(plugin, "slot", ""),
        "group": getattr(plugin, "group", ""),
        "requires": list(getattr(plugin, "requires", ())),
        "conflicts": dict(getattr(plugin, "conflicts", {})),
        "after": list(getattr(plugin, "after", ())),
        "was": list(plugin.was),
        "no_layers": getattr(plugin, "no_layers", ""),
        "parameters": plugin.model_json_schema(),
        "available": {"ok": True, "reason": ""},
        "error": "",
    }


CATALOGUE: dict[str, Any] = {"digest": "sample", "plugins": {id: _entry(id, plugin) for id, plugin in _PLUGINS.items()}}
CATALOGUE["plugins"]["broken/thing"] = {"id": "broken/thing", "kind": "", "slot": "", "error": "line 3\nSyntaxError: invalid syntax"}
CATALOGUE["plugins"]["precision/fp8"] = _entry("precision/fp8", Int8) | {"available": {"ok": False, "reason": "needs CUDA capability 9.0"}}

TEXT = """\
# Which output layer?
[experiment]
name = "Which output layer for 33k words?"
task = "language_model"                    # a name, or a table with parameters
corpus = { id = "corpora/text_files", train = "train.txt", level = "word" }   # word: split on white space
budget = { tokens = 2_000_000 }            # or steps, seconds, epochs
seeds = [0, 1, 2, 3, 4]
device = "auto"                            # auto | cpu | cuda | cuda:1 | mps
threads = 1
baseline = "full"

[model]                                    # what every variant starts from
embedding = { id = "embeddings/lookup", width = 200 }
layers = [
    { mixer = { id = "recurrent/lstm", width = 200 }, repeat = 2 },   # two of them
]
head = { id = "softmax/full", tied = true }

[training]
batch = 20
sequence = 35
techniques = [ { id = "optimization/adam", lr = 1e-3 }, { id = "optimization/clip_norm", max_norm = 0.25 } ]

[measure]                                  # optional
margin = 0.05

[[target]]                                 # where finished variants are timed
name = "one core"
device = "cpu"
threads = 1

# the baseline
[[variant]]
name = "full"

# the rival
[[variant]]
name = "adaptive"
model.head = { id = "softmax/adaptive", cutoffs = [2000, 10000] }   # two tails

[[variant]]
name = "pruned, sgd, larger batch"
training.batch = 40
techniques = [ { id = "optimization/sgd", lr = 1.0 }, { id = "pruning/magnitude", sparsity = 0.8 } ]
without = [ "optimization/clip_norm" ]
"""
