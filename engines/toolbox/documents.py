"""Whole texts with labels: batches of them, the classifiers that read them, and how right these are.

Shapes: B texts, T tokens of the longest of them, D width, C classes. Shorter texts end in IGNORED, which stands for no token; a classifier gives
one hidden state a text, (B, 1, D), and a batch has one target a text, (B, 1), so that heads, losses and techniques work as on tokens.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.api import Documents, Text, Vocabulary
from engines.toolbox.assembly import LanguageModel
from engines.toolbox.batches import Batch
from engines.toolbox.entry import TrainingEntry
from engines.toolbox.heads import IGNORED
from engines.toolbox.whole import Scores

MASKS = ("mask_BT", "mask", "attention_mask")
"""What the argument of a whole model that says where tokens are may be called."""


def class_vocabulary(text: Text) -> Vocabulary:
    """The classes as what a head predicts, with their counts in the training split. Raises ValueError where the corpus has no labels."""
    if not text.classes:
        raise ValueError("The corpus has no labels to tell texts apart by: use one that has, such as corpora/labelled_files.")
    training = text.documents.get("train")
    size = len(text.classes)
    counts = np.ones(size, dtype=np.int64) if training is None else np.bincount(training.labels, minlength=size)
    return Vocabulary(text.classes, counts)


def documents_of(text: Text, split: str, length: int) -> Documents:
    """The texts of a split. A stand-in without documents, on which shapes and times are tried, is cut into texts of `length` tokens whose labels
    take turns."""
    found = text.documents.get(split)
    if found is not None:
        return found
    tokens = len(text.splits[split])
    ends = np.append(np.arange(length, tokens, length, dtype=np.int64), tokens)
    return Documents(ends, np.arange(len(ends)) % max(1, len(text.classes)))


def padded(ids: np.ndarray, documents: Documents, picked: Sequence[int] | np.ndarray, length: int) -> Tensor:
    """The first `length` tokens of each picked text, (B, T), T that of the longest; IGNORED behind the end of the others."""
    end_B = documents.ends[picked]
    start_B = np.where(np.asarray(picked) > 0, documents.ends[np.asarray(picked) - 1], 0)
    stop_B = np.minimum(end_B, start_B + length)
    place_BT = start_B[:, None] + np.arange(max(1, int((stop_B - start_B).max())))
    ids_BT = np.take(ids, place_BT, mode="clip").astype(np.int64)
    return torch.from_numpy(np.where(place_BT < stop_B[:, None], ids_BT, IGNORED))


def batch_of(ids: np.ndarray, documents: Documents, picked: Sequence[int] | np.ndarray, length: int) -> Batch:
    """The picked texts and their classes."""
    targets_B1 = torch.from_numpy(documents.labels[picked].astype(np.int64))[:, None]
    return Batch(padded(ids, documents, picked, length), targets_B1, fresh=True)


class DocumentStream:
    """Endless training batches of `batch` texts, each epoch in another order, drawn from seed and epoch alone. A last batch may be smaller."""

    def __init__(self, text: Text, batch: int, length: int, seed: int) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"training.batch is {batch} and training.sequence is {length}: both must be at least 1.")
        self.batch, self.length, self.seed = batch, length, seed
        self.tokens_per_epoch = self._open(text)
        """Texts in an epoch."""
        self.epoch = self._position = 0
        self._begin()

    def _open(self, text: Text) -> int:
        """Take the training split; how much there is to draw from."""
        self._ids, self._documents = text.splits["train"], documents_of(text, "train", self.length)
        return len(self._documents.labels)

    def _batch(self, picked: np.ndarray) -> Batch:
        return batch_of(self._ids, self._documents, picked, self.length)

    def first(self, texts: int) -> tuple[list[np.ndarray], np.ndarray]:
        """The first `texts` of the first epoch, each cut behind `length` tokens, and their classes: for what takes them in at once."""
        ends, labels = self._documents.ends, self._documents.labels
        picked = np.random.default_rng([self.seed, 0]).permutation(self.tokens_per_epoch)[:texts]
        starts = np.append(0, ends[:-1])
        return [np.asarray(self._ids[starts[i] : min(ends[i], starts[i] + self.length)]) for i in picked], labels[picked]

    def _begin(self) -> None:
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(self.tokens_per_epoch)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._position >= self.tokens_per_epoch:
            self.epoch, self._position = self.epoch + 1, 0
            self._begin()
        picked = self._order[self._position : self._position + self.batch]
        self._position += len(picked)
        return self._batch(picked)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch begins."""
        return {"epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self._position = int(state["epoch"]), int(state["position"])
        self._begin()


# --- Models ---------------------------------------------------------------------------------------------------------------------------------


class Classifier(LanguageModel):
    """p(class | text): embedding, layers, the mean of what they give for the tokens, head. Padding takes no part in it."""

    def hidden(self, ids_BT: Tensor, state: Any = None) -> tuple[Tensor, Any, dict[str, Any]]:
        """One hidden state a text, (B, 1, D), no state, and the extras of the layers."""
        present_BT = ids_BT >= 0
        x_BTD, _, extras = self.through(self.embedding(ids_BT.clamp(min=0)), None, present_BT)
        return mean_of_tokens(x_BTD, present_BT).unsqueeze(1), (), extras


def drawn(there: int, wanted: int) -> np.ndarray:
    """Which texts are judged: so many (0: all), the same for the same numbers. Files are often sorted, so the first ones would be of one kind."""
    order = np.random.default_rng(0).permutation(there)
    return order[: wanted or None]


def mean_of_tokens(x_BTD: Tensor, present_BT: Tensor) -> Tensor:
    """Mean over the tokens that are there, (B, D)."""
    here_BT1 = present_BT.unsqueeze(-1)
    total_BD = x_BTD.masked_fill(~here_BT1, 0).sum(dim=1)
    return total_BD / here_BT1.sum(dim=1).clamp(min=1).to(total_BD.dtype)


class ScoresClassifier(TrainingEntry):
    """p(class | text) = softmax(body(ids_BT, mask_BT)), scores (B, C). Ids behind the end of a text are 0 and masked."""

    def __init__(self, body: nn.Module, classes: int, length: int) -> None:
        super().__init__()
        self.body = body
        self.head = Scores(classes)
        self.length = length

    def hidden(self, ids_BT: Tensor, state: Any = None) -> tuple[Tensor, Any, dict[str, Any]]:
        """The scores, (B, 1, C)."""
        return self.body(ids_BT.clamp(min=0), ids_BT >= 0).unsqueeze(1), (), {}


class FittedClassifier(ScoresClassifier):
    """One whose body takes in the training texts at once."""

    def fit(self, texts: Sequence[np.ndarray], label_N: np.ndarray) -> str:
        """Hand them on; what was found, in a sentence."""
        body: Any = self.body
        return str(body.fit(texts, label_N))


def as_classifier(module: nn.Module, name: str, classes: int, vocabulary_size: int, length: int) -> ScoresClassifier:
    """The whole model as a classifier, tried on two texts. Raises ValueError with a sentence where it fails, gives other shapes or reads padding."""
    check_reader(module, name, "a classifier of texts", "one score for each class", classes, vocabulary_size, length)
    kind = FittedClassifier if callable(getattr(module, "fit", None)) else ScoresClassifier
    return kind(module, classes, length)


def check_reader(module: nn.Module, name: str, role: str, gives: str, columns: int | None, vocabulary_size: int, length: int) -> None:
    """Try module(ids_BT, mask_BT) on two texts. Raises ValueError with a sentence where it fails, gives anything but (B, columns) numbers
    (None: any number of columns) or reads padding. role, gives: what it is to be, and what its numbers are, for the sentence."""
    arguments = list(inspect.signature(module.forward).parameters)
    if len(arguments) < 2 or arguments[1] not in MASKS:
        raise ValueError(
            f"{name} cannot tell tokens from padding: its forward takes ({', '.join(arguments)}), and {role} must take (ids, mask), "
            "where the mask (B, T) is True where there is a token."
        )
    held = next((tensor for tensor in (*module.parameters(), *module.buffers())), None)
    device = held.device if held is not None else torch.device("cpu")
    short, long = max(1, min(3, length)), max(1, min(8, length))
    ids_BT = torch.arange(2 * long, device=device).view(2, long) % vocabulary_size
    ids_BT[0, short:] = IGNORED
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            together = _read(module, name, gives, ids_BT, columns)
            if device.type != "meta":
                alone = _read(module, name, gives, ids_BT[:1, :short], columns)
                moved = float((together[:1] - alone).abs().max())
                if not moved <= 1e-4 * float(alone.abs().max().clamp(min=1)):
                    raise ValueError(
                        f"{name} reads padding: behind the end of a text it moves a score by {moved:.3g}. Leave out what the mask leaves out, in "
                        "attention and where tokens are pooled."
                    )
    finally:
        module.train(training)


def _read(module: nn.Module, name: str, gives: str, ids_BT: Tensor, columns: int | None) -> Tensor:
    try:
        found: Any = module(ids_BT.clamp(min=0), ids_BT >= 0)
    except NotImplementedError:
        raise
    except Exception as error:
        raise ValueError(f"{name} failed on ids and a mask of shape {tuple(ids_BT.shape)}: {type(error).__name__}: {error}") from error
    right = isinstance(found, Tensor) and found.ndim == 2 and len(found) == len(ids_BT) and columns in (None, found.shape[1])
    if not right:
        given = f"scores of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        wanted = f"({len(ids_BT)}, {'width' if columns is None else columns})"
        raise ValueError(f"{name} gives {given} for ids of shape {tuple(ids_BT.shape)}: it must give {wanted}, {gives}.")
    return found


# --- How right --------------------------------------------------------------------------------------------------------------------------------


def wilson(right: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share that was seen `right` times of `of`: all p with |right / of - p| <= z sqrt(p (1 - p) / of) (Wilson, 1927)."""
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (right + z2 / 2) / (of + z2)
    reach = math.sqrt(z2) / (of + z2) * math.sqrt(right * (of - right) / of + z2 / 4)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def macro_f1(predicted_N: np.ndarray, label_N: np.ndarray, classes: int) -> float:
    """Mean over the classes of 2 hits / (predicted + labelled); a class that is neither predicted nor there takes no part."""
    hits = np.bincount(label_N[predicted_N == label_N], minlength=classes)
    both = np.bincount(predicted_N, minlength=classes) + np.bincount(label_N, minlength=classes)
    return float((2 * hits[both > 0] / both[both > 0]).mean())
