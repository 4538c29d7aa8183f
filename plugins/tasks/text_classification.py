"""Tell which class a whole text belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from engines.api import Block, Figure, Site, Task, Text, param
from engines.toolbox.assembly import below_head
from engines.toolbox.documents import (
    Classifier,
    DocumentStream,
    ScoresClassifier,
    as_classifier,
    class_vocabulary,
    documents_of,
    drawn,
    macro_f1,
    padded,
    wilson,
)


class TextClassification(Task):
    """Text classification

    x_1 .. x_n = layers(embedding(w_1 .. w_n))                                     (1)
    p(class | w) = head(mean of x_1 .. x_n)                                        (2)

    w the tokens of a text, x_t (D,). The head is any of the catalogue, built over the classes (the most frequent one first) in place of the
    words: for a few classes `softmax/full`, whose bias begins at how frequent they are. Layers may look both ways (`attention/bidirectional`)
    or one way. In place of the blocks, a whole model of the slot `model` gives one score a class from ids and a mask.

    Training: batches of `training.batch` texts in an order that each epoch draws anew, each cut behind `training.sequence` tokens. A token of
    the budget and of every speed is one text: budget = { epochs = 3 } reads all of them three times.

    Padding: texts of a batch end where the longest ends, and what is behind the end of the others takes no part in attention, in the experts'
    choice of tokens, in the mean (2) or in the loss: a text gets the same probabilities in whichever batch it is.

    Held-out, on n texts of a split (all, or as many as `measure.held_out_tokens` says, drawn once for all variants and seeds):

        accuracy = share of texts whose class has the highest score                (3)  with Wilson's interval over the texts
        macro F1 = mean over classes of 2 hits / (predicted + labelled)            (4)
        nll = mean of -log p(class | text), in nats                                (5)  under heads with a distribution

    Beside them the accuracy of always saying the class that is most frequent in training: what a model that learned nothing reaches. The
    interval of (3) is about other texts of the same kind; how much seeds differ is another matter, and compared over seeds.

    Does nothing when: never; it is what is learned.

    Reference: interval, Wilson (1927), Probable inference, the law of succession, and statistical inference, https://doi.org/10.2307/2276774
    """

    paper = "Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927, https://doi.org/10.2307/2276774"
    no_steps = "Classifiers read whole texts and predict no next token."
    of_documents = True

    majority: bool = param(True, "Also give the accuracy of always saying the most frequent class, as a floor to compare with.")

    def assemble(
        self, model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int
    ) -> Classifier | ScoresClassifier:
        """Build `model` = {"embedding", "layers", "head"}, or adapt the whole model {"id", ...}. Raises ValueError with a sentence where parts do
        not fit or the corpus has no labels."""
        classes = class_vocabulary(text)
        if "id" in model:
            whole = blocks(model).build(Site(width=0, vocabulary=text.vocabulary, length=length, classes=text.classes))
            return as_classifier(whole, model["id"], classes.size, text.vocabulary.size, length)
        parts = below_head(model, blocks, text, length, whole_texts=True)
        head = blocks(model["head"]).build(replace(parts.site, vocabulary=classes, embedding=None, classes=text.classes))
        return Classifier(parts.embedding, parts.layers, head, parts.final_norm, length=length)

    def batches(self, text: Text, batch: int, length: int, seed: int) -> DocumentStream:
        return DocumentStream(text, batch, length, seed)

    def held_out(self, text: Text, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Texts of the test split as they come, (B, T) with T at most `length`, and their classes, (B, 1)."""
        documents = documents_of(text, "test", length)
        picked = np.resize(drawn(len(documents.labels), 0), batch)
        targets_B1 = torch.from_numpy(documents.labels[picked].astype(np.int64))[:, None]
        return padded(text.splits["test"], documents, picked, length), targets_B1

    def held_out_batches(self, text: Text, split: str, tokens: int, batch: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Texts (B, T), padded with -1, and their classes (B, 1)."""
        documents = documents_of(text, split, length)
        for picked in _in_batches(drawn(len(documents.labels), tokens), batch):
            targets_B1 = torch.from_numpy(documents.labels[picked].astype(np.int64))[:, None]
            yield padded(text.splits[split], documents, picked, length), targets_B1

    def evaluate(self, model: nn.Module, text: Text, split: str, tokens: int, batch: int, device: torch.device) -> list[Figure]:
        """Figures on `tokens` texts of a split (0: all), `batch` at a time."""
        read: Any = model
        length = int(read.length)
        documents = documents_of(text, split, length)
        picked = drawn(len(documents.labels), tokens)
        # Texts of like length together need little padding, which changes no figure.
        sizes = np.diff(documents.ends, prepend=0)
        picked = picked[np.argsort(sizes[picked], kind="stable")]
        label_N = documents.labels[picked].astype(np.int64)
        normalised = bool(getattr(read.head, "normalised", True))
        nats, best = 0.0, []
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for first in range(0, len(picked), batch):
                    ids_BT = padded(text.splits[split], documents, picked[first : first + batch], length)
                    hidden_ND = read.hidden(ids_BT.to(device), None)[0].flatten(0, 1)
                    best.append(read.head.topk(hidden_ND, 1)[1][:, 0].cpu().numpy())
                    if normalised:
                        target_N = torch.from_numpy(label_N[first : first + batch]).to(hidden_ND.device)
                        nats += read.head.nll(hidden_ND, target_N).cpu().double().sum().item()
        finally:
            model.train(training)
        return self._figures(text, split, np.concatenate(best), label_N, nats if normalised else None)

    def _figures(self, text: Text, split: str, predicted_N: np.ndarray, label_N: np.ndarray, nats: float | None) -> list[Figure]:
        n, right = len(label_N), int((predicted_N == label_N).sum())
        low, high = wilson(right, n)
        detail = {"texts": n, "right": right, "interval": "Wilson, 95%, over texts"}
        figures = [
            Figure(f"quality/{split}_accuracy", right / n, "", "higher", low, high, detail),  # (3)
            Figure(f"quality/{split}_macro_f1", macro_f1(predicted_N, label_N, len(text.classes)), "", "higher"),  # (4)
        ]
        if nats is not None:
            figures.append(Figure(f"quality/{split}_nll", nats / n, "nats/text", "lower"))  # (5)
        if self.majority:
            figures.append(Figure(f"quality/{split}_majority_accuracy", float((label_N == 0).mean()), "", "none"))
        return figures


def _in_batches(picked: np.ndarray, batch: int) -> list[np.ndarray]:
    return [picked[first : first + batch] for first in range(0, len(picked), batch)]
