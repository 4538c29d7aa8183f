"""What a model has to know of its text once the text is not there: tokens, counts, classes, how text is cut; as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.api import Documents, Text, Vocabulary
from engines.toolbox.tokens import Coder, Lexicon


def described(text: Text) -> dict[str, Any]:
    """Plain values from which `without_splits` makes a text that a model can be built for."""
    vocabulary, training = text.vocabulary, text.documents.get("train")
    found: dict[str, Any] = {
        "fingerprint": text.fingerprint, "licence": text.licence, "level": text.level, "tokens": list(vocabulary.tokens),
        "counts": np.asarray(vocabulary.counts).tolist(), "unknown": vocabulary.unknown,
        "pairs": text.pairs,
    }  # fmt: skip
    coder = getattr(text.encode, "__self__", None)
    if isinstance(coder, Coder):
        found["coder"] = coder.settings
    if text.classes:
        labels = np.zeros(0, dtype=np.int64) if training is None else training.labels
        found |= {"classes": list(text.classes), "class_counts": np.bincount(labels, minlength=len(text.classes)).tolist()}
    return found


def without_splits(found: Mapping[str, Any]) -> Text:
    """A text of no tokens with the vocabulary, the classes and the coder of the one that was described."""
    vocabulary = Vocabulary(tuple(found["tokens"]), np.asarray(found["counts"], dtype=np.int64), found["unknown"])
    coder = None
    if settings := found.get("coder"):
        lexicon = Lexicon(vocabulary.tokens, vocabulary.counts, vocabulary.unknown, settings["merges"])
        coder = Coder(lexicon, settings["level"], settings["lowercase"])
    documents = {}
    if classes := found.get("classes", ()):
        labels = np.repeat(np.arange(len(classes)), found["class_counts"])
        documents["train"] = Documents(np.arange(1, len(labels) + 1), labels)
    return Text(
        splits={}, character_ends={}, vocabulary=vocabulary, fingerprint=found["fingerprint"], licence=found["licence"], level=found["level"],
        encode=coder.encode if coder else None, decode=coder.decode if coder else None, classes=tuple(classes), documents=documents,
        pairs=found.get("pairs", False),
    )  # fmt: skip
