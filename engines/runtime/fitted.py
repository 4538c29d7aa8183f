"""Models that take in the training text at once (n-grams, linear classifiers), without steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.runtime.context import Session


def fit(session: Session) -> None:
    """Give the model the training text, or the training texts, as many as the budget names, each once; on the clock of training."""
    model, ids, training, stream = session.model, session.text.splits["train"], session.plan["training"], session.stream
    texts = session.task.of_documents
    there, step = (stream.tokens_per_epoch, training["batch"]) if texts else (len(ids), training["batch"] * training["sequence"])
    wanted = session.budget.tokens(tokens_per_step=step, tokens_per_epoch=there)
    given = stream.first(wanted) if texts else (ids[:wanted],)  # type: ignore[attr-defined]
    start = time.perf_counter()
    sentence = model.fit(*given)  # type: ignore[operator]
    session.seconds += time.perf_counter() - start
    session.tokens += wanted
    session.fitted = f"{sentence} {wanted:,} of the {there:,} training {'texts' if texts else 'tokens'} were read, each once."
