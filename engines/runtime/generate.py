"""What a person asks a finished language model: write on, and how probable is this sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from engines.runtime.finished import Finished, FinishedError, load_finished
from engines.store.database import Store

LONGEST = 10_000
"""Tokens written at most, and tokens of a sentence judged at most."""


@lru_cache(maxsize=1)
def finished(store: str, run: int) -> Finished:
    """The finished model of a run, on the CPU. Raises FinishedError, StoreError. The latest one stays in memory."""
    with Store.open(store, read_only=True) as opened:
        found = load_finished(opened.model_folder(run))
    if found.text.encode is None or found.text.decode is None or not hasattr(found.model, "hidden"):
        raise FinishedError(f"Run {run} is no language model on text, so it can neither write nor judge sentences.")
    if found.task.no_steps:
        raise FinishedError(f"Run {run} can neither write nor judge sentences. {found.task.no_steps}")
    return found


def generate(found: Finished, prompt: str, *, tokens: int = 100, temperature: float = 1.0, top_k: int = 0, seed: int = 0) -> dict[str, Any]:
    """{"text", "prompt_tokens", "tokens", "ends"}: the prompt and what the model writes after it.

    temperature divides the log probabilities before sampling; 0 takes the most probable token each time. top_k: only the k most probable
    tokens may be drawn (0: all). The unknown token is never drawn, since it cannot be read. The same seed writes the same. A head without a
    distribution writes at temperature 0 alone.
    """
    if not 1 <= tokens <= LONGEST:
        raise ValueError(f"{tokens} tokens cannot be written at once: ask for 1 to {LONGEST:,}.")
    if not temperature >= 0 or not math.isfinite(temperature):
        raise ValueError(f"temperature is {temperature}: it must be 0 (always the most probable token) or larger.")
    model: Any = found.model
    if temperature and not getattr(model.head, "normalised", True):
        raise ValueError("This model's head gives scores and no probabilities, so nothing can be drawn from it: set the temperature to 0.")
    known, start = _encoded(found, prompt)
    draw = torch.Generator().manual_seed(seed)
    written: list[int] = []
    with torch.no_grad():
        x_BTD, state, _ = model.hidden(_row(start + known), None)
        for _ in range(tokens):
            written.append(_next(model.head, x_BTD[:, -1], found.text.vocabulary.unknown, temperature, top_k, draw))
            x_BTD, state, _ = model.hidden(_row(written[-1:]), state)
    return {"text": _decode(found)(known + written), "prompt_tokens": len(known), "tokens": len(written)}


def probability(found: Finished, text: str) -> dict[str, Any]:
    """{"nats", "tokens", "perplexity", "words": [{"token", "log_prob", "unknown"}]} of a text of the user's, exact.

    The first token is judged after a line end (where the vocabulary has one), since something has to stand before it. A word outside the
    vocabulary is judged as the unknown token. Raises ValueError for an empty text and for a head without a distribution.
    """
    model: Any = found.model
    if not getattr(model.head, "normalised", True):
        raise ValueError("This model's head gives scores and no probabilities, so it cannot judge a sentence.")
    ids, start = _encoded(found, text)
    if not ids:
        raise ValueError("There is no token in this text: type a word or more.")
    if len(ids) > LONGEST:
        raise ValueError(f"The text has {len(ids):,} tokens: judge at most {LONGEST:,} at once.")
    before = start or [0]
    with torch.no_grad():
        x_BTD, _, _ = model.hidden(_row(before + ids[:-1]), None)
        nll_N = model.head.nll(x_BTD[0, len(before) - 1 :], torch.tensor(ids)).double().tolist()
    vocabulary = found.text.vocabulary
    words = [{"token": vocabulary.tokens[i], "log_prob": -nll, "unknown": i == vocabulary.unknown} for i, nll in zip(ids, nll_N, strict=True)]
    nats = math.fsum(nll_N)
    mean = nats / len(ids)
    return {"nats": nats, "tokens": len(ids), "perplexity": math.exp(mean) if mean < 700 else None, "words": words}


def _encoded(found: Finished, text: str) -> tuple[list[int], list[int]]:
    """(ids of the text, ids of the line end that is read before it)."""
    assert found.text.encode is not None
    tokens = found.text.vocabulary.tokens
    line_end = next((i for i in (tokens.index(token) for token in ("\n", "Ċ") if token in tokens)), None)
    ids = found.text.encode(text)
    return ids, ([] if line_end is None else [line_end]) or ([] if ids else [0])


def _decode(found: Finished) -> Callable[[list[int]], str]:
    assert found.text.decode is not None
    return found.text.decode


def _row(ids: list[int]) -> torch.Tensor:
    return torch.tensor(ids)[None]


def _next(head: Any, hidden_ND: torch.Tensor, unknown: int | None, temperature: float, top_k: int, draw: torch.Generator) -> int:
    """One token id after hidden state (1, D)."""
    if temperature == 0 or top_k:
        # One more than asked for, since the unknown token may be among them.
        best_NK, ids_NK = head.topk(hidden_ND, min(max(top_k, 1) + 1, head.vocabulary_size))
        keep = [(value, i) for value, i in zip(best_NK[0].tolist(), ids_NK[0].tolist(), strict=True) if i != unknown][: max(top_k, 1)]
        if temperature == 0:
            return int(keep[0][1])
        share_K = torch.tensor([value for value, _ in keep], dtype=torch.float64).div(temperature).softmax(0)
        return int(keep[int(torch.multinomial(share_K, 1, generator=draw))][1])
    log_prob_V = head.log_prob(hidden_ND)[0].double()
    if unknown is not None:
        log_prob_V[unknown] = -math.inf
    return int(torch.multinomial((log_prob_V / temperature).softmax(0), 1, generator=draw))
