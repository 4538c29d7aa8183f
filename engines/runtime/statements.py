"""What a run says of its text, its training and its work: sentences with the facts behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.api import Text
from engines.runtime.work import per_token as per_token_of
from engines.store.rows import EffectRow

if TYPE_CHECKING:
    from engines.runtime.train import Trainer


def of_training(trainer: Trainer) -> tuple[str, dict[str, Any]]:
    """What training was, and its facts; who made no step has no series of losses that could equal another one."""
    session = trainer.session
    if session.step:
        return f"{session.step:,} updates.", {"loss_digest": trainer.losses.digest, "steps": session.step}
    return session.fitted or "Nothing was trained: the budget is nothing.", {"steps": 0, "tokens": session.tokens}


def of_work(work: dict[str, Any], trainer: Trainer) -> EffectRow:
    """Operations and bytes per token: of scoring with the finished model, and of a training step where one was counted."""
    per_token = dict(work["per_token"])
    uncounted = dict(work["uncounted"])
    if trainer.work is not None:
        per_token |= per_token_of(trainer.work, trainer.work_tokens, "training_")
        uncounted |= trainer.work.uncounted
    forward = f"Scoring a token takes {per_token['forward_flops']:,.0f} operations and moves {per_token['forward_bytes']:,.0f} bytes"
    training = f"; training on one {per_token['training_flops']:,.0f} and {per_token['training_bytes']:,.0f}" if trainer.work else ""
    return EffectRow("", "work", f"{forward}{training}.", {**work, "per_token": per_token, "uncounted": uncounted})


def _unknown_share(text: Text) -> dict[str, float]:
    """Share of unknown tokens in each split; figures per character compare across vocabularies only where it is about zero."""
    unknown = text.vocabulary.unknown
    return {split: float((ids == unknown).mean()) if unknown is not None else 0.0 for split, ids in text.splits.items()}


def of_text(text: Text) -> str:
    """The prepared text in one line."""
    sizes = ", ".join(f"{split} {len(ids):,}" for split, ids in text.splits.items())
    unknown = _unknown_share(text).get("test", 0.0)
    return (
        f"{text.level} level, {text.vocabulary.size:,} types; tokens: {sizes}; {100 * unknown:.1f}% of the test split unknown; "
        f"licence {text.licence}; fingerprint {text.fingerprint[:12]}."
    )


def of_conditions(text: Text) -> tuple[str, dict[str, Any]]:
    """The text as a condition of all figures."""
    return of_text(text), {"corpus": text.fingerprint, "unknown_share": _unknown_share(text)}
